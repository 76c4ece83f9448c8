/** What a directory says of itself, and who may open it: identity, shards, lock, closing. */
import { describe, expect, it } from 'vitest';
import { blake3, hex } from '../../engine/format/hash.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { afterKill, codeOf, failure, letRecover, machine, reopen } from './support.js';

const NODE_FILE = 'node.json';

describe('the number of shards', () => {
  it('is fixed at creation', async () => {
    const first = await machine({ shards: 3 });
    expect(first.db.shardCount).toBe(3);
    await first.db.close();
    expect(await failure(openWith(first.platform, { shards: 2 }))).toMatchObject({
      code: 'INCOMPATIBLE',
      details: { expected: '2 shards', found: '3 shards' },
    });
    expect((await openWith(first.platform, {})).shardCount).toBe(3);
  });

  it('is one unless more are asked for, and a whole number', async () => {
    expect((await machine()).db.shardCount).toBe(1);
    for (const shards of [0, -1, 1.5, 65_536, Number.NaN]) {
      expect(await codeOf(openWith(new MemoryPlatform({ seed: 1 }), { shards }))).toBe('INVALID');
    }
  });

  it('may be 256: written, listed, closed and opened again as one database', { timeout: 120_000 }, async () => {
    let current = await machine({ shards: 256 });
    const keys = Array.from({ length: 600 }, (_, i) => `k${String(i).padStart(4, '0')}`);
    await Promise.all(keys.map((key, i) => current.db.put('c', key, i)));
    expect(new Set(keys.map((key) => current.db.shardOf('c', key))).size).toBeGreaterThan(200);
    const roots = async () => Promise.all(current.db.shards().map(async ({ shard }) => (await current.db.root(shard))?.root));
    const before = await roots();
    for (const again of [reopen, afterKill]) {
      current = await again(current);
      expect(current.db.shardCount).toBe(256);
      expect(
        current.db
          .now()
          .list('c', { limit: 1000 })
          .map(({ key }) => key),
      ).toEqual(keys);
      expect(await current.db.collection('c')).toMatchObject({ entities: 600, versions: 600 });
      expect(await roots()).toEqual(before);
    }
    await current.db.setPlacement('d', 'group:g');
    await current.db.insert([
      { collection: 'd', key: 'a', body: 1 },
      { collection: 'd', key: 'b', body: 2 },
    ]);
  });
});

describe('the lock', () => {
  it('keeps a second opening out until the first has closed', async () => {
    const { platform, db } = await machine();
    expect(await codeOf(openWith(platform))).toBe('LOCKED');
    await db.put('c', 'k', 1);
    await db.close();
    const again = await openWith(platform);
    expect(again.now().get('c', 'k')?.body).toBe(1);
  });

  it('is given back where opening fails', async () => {
    const { platform, db } = await machine();
    await db.close();
    expect(await codeOf(openWith(platform, { shards: 2 }))).toBe('INCOMPATIBLE');
    const sound = platform.contents(NODE_FILE);
    platform.store(NODE_FILE, Buffer.from('{}'));
    expect(await codeOf(openWith(platform))).toBe('CORRUPT');
    platform.store(NODE_FILE, sound);
    await (await openWith(platform)).close();
  });
});

describe('node.json', () => {
  it('is believed by the hash that directories made earlier carry, and not by another', async () => {
    const { platform, db } = await machine();
    const { databaseId } = db;
    await db.close();
    const { check: _, ...identity } = JSON.parse(platform.contents(NODE_FILE).toString());
    const store = (check: unknown) => platform.store(NODE_FILE, Buffer.from(JSON.stringify({ ...identity, check })));
    const hash = hex(blake3(Buffer.from(JSON.stringify(identity, Object.keys(identity).sort()))));
    store(hash);
    const again = await openWith(platform);
    expect(again.databaseId).toBe(databaseId);
    await again.close();
    for (const check of [hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0')), hash.slice(0, 8), '', null, 7, undefined]) {
      store(check);
      expect(await failure(openWith(platform))).toMatchObject({ code: 'CORRUPT', details: { file: NODE_FILE } });
    }
  });

  it('keeps the identity through every reopening', async () => {
    const first = await machine();
    const { databaseId, nodeId } = first.db;
    expect(databaseId).toMatch(/^[0-9a-f]{32}$/);
    expect(nodeId).toMatch(/^[0-9a-f]{32}$/);
    expect(nodeId).not.toBe(databaseId);
    const { db } = await reopen(first);
    expect([db.databaseId, db.nodeId]).toEqual([databaseId, nodeId]);
  });

  it('that is damaged is CORRUPT, whichever digit it is', async () => {
    const { platform, db } = await machine();
    await db.put('c', 'k', 1);
    await db.close();
    const sound = platform.contents(NODE_FILE);
    for (let at = 0; at < sound.length; at++) {
      const changed = Buffer.from(sound);
      changed[at] = (changed[at] as number) ^ 1;
      platform.store(NODE_FILE, changed);
      // A blank that became another character between two values: still no other identity.
      expect(await failure(openWith(platform))).toMatchObject({ code: 'CORRUPT', details: { file: NODE_FILE } });
    }
    for (const bytes of ['', 'null', '[]', '{', sound.subarray(0, 50)]) {
      platform.store(NODE_FILE, Buffer.from(bytes));
      expect(await codeOf(openWith(platform))).toBe('CORRUPT');
    }
    platform.store(NODE_FILE, sound);
    expect((await openWith(platform)).now().get('c', 'k')?.body).toBe(1);
  });

  it('that is missing beside data is CORRUPT: nothing is begun over it, whichever shard holds the data', async () => {
    const { platform, db } = await machine({ shards: 3 });
    const key = Array.from({ length: 50 }, (_, i) => `k${i}`).find((candidate) => db.shardOf('c', candidate) === 3) as string;
    await db.put('c', key, 1);
    await db.close();
    const sound = platform.contents(NODE_FILE);
    platform.files.remove(NODE_FILE);
    for (const shards of [3, 1, undefined]) {
      expect(await codeOf(openWith(platform, shards === undefined ? {} : { shards }))).toBe('CORRUPT');
    }
    platform.store(NODE_FILE, sound);
    expect((await openWith(platform)).now().get('c', key)?.body).toBe(1);
  });

  it('is there whole or not at all after a power cut at any moment of creation, and creation then works', async () => {
    const trial = new MemoryPlatform({ seed: 3 });
    await (await openWith(trial, { shards: 2 })).close();
    const operations = trial.ops;
    expect(operations).toBeGreaterThan(10);
    for (let at = 0; at < operations; at++) {
      for (const keep of [true, false]) {
        const platform = new MemoryPlatform({ seed: 3 });
        platform.crashAt(at);
        await openWith(platform, { shards: 2 })
          .then((db) => db.close())
          .catch(() => undefined);
        const after = platform.crash({ next: (n) => (keep ? n - 1 : 0) });
        const db = await openWith(after, { shards: 2 });
        await db.put('c', 'k', at);
        await db.close();
      }
    }
  });
});

describe('an opening that fails', () => {
  it('leaves no timer behind that writes to the directory later', async () => {
    const { platform, db } = await machine({ shards: 2 });
    await db.put('c', 'a', 1);
    await db.close();
    platform.failOn(['create', 'write', 'sync', 'open'], { kind: 'error', code: 'EIO' }, { path: 'shards/0002/', times: Infinity });
    await openWith(platform)
      .then((opened) => opened.close())
      .catch(() => undefined);
    platform.clearFaults();
    const before = platform.ops;
    await letRecover(platform);
    expect(platform.ops).toBe(before);
  });
});

describe('a closed database', () => {
  it('answers CLOSED to everything that needs it', async () => {
    const { db } = await machine();
    const { id } = await db.put('c', 'k', 1);
    const view = db.now();
    const [listed] = view.list('c');
    const closing = db.close();
    const calls: (() => unknown)[] = [
      () => db.insert([{ collection: 'c', key: 'k', body: 2 }]),
      () => db.put('c', 'k', 2),
      () => db.delete('c', 'k'),
      () => db.now(),
      () => db.asOf('2001-01-01T00:00:00Z'),
      () => db.asOf(id),
      () => db.record(id),
      () => db.collections(),
      () => db.collection('c'),
      () => db.setPlacement('d', 'group:g'),
      () => db.root(1),
      () => db.checkpoint(),
    ];
    for (const call of calls) expect(await codeOf(call)).toBe('CLOSED');
    await closing;
    for (const call of calls) expect(await codeOf(call)).toBe('CLOSED');
    const reads = [
      () => view.get('c', 'k'),
      () => view.history('c', 'k'),
      () => view.list('c'),
      () => db.at([1]).get('c', 'k'),
      () => listed?.body,
    ];
    for (const read of reads) expect(await codeOf(read)).toBe('CLOSED');
    await db.close();
  });

  it('has finished what was queued', async () => {
    const { db, platform } = await machine();
    const queued = Array.from({ length: 50 }, (_, i) => db.put('c', `k${i}`, i));
    await db.close();
    await Promise.all(queued);
    expect((await openWith(platform)).now().list('c')).toHaveLength(50);
  });

  it('closes while its disk fails, and what was acknowledged is there', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1);
    platform.failOn(['write', 'sync', 'create', 'rename'], { kind: 'error', code: 'EIO' }, { times: Infinity });
    expect(['NOT_WRITTEN', 'OUTCOME_UNKNOWN']).toContain(await codeOf(db.put('c', 'k', 2)));
    await db.close();
    platform.clearFaults();
    const again = await openWith(platform);
    expect(again.now().history('c', 'k').records.at(-1)?.body).toBe(1);
  });
});
