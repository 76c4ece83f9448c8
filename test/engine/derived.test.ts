/** Law 2 at the face of the database: the log is the truth; trees and the catalog may go, rot or be stale, and the answers stay. */
import { describe, expect, it } from 'vitest';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { isGap, ShardLog } from '../../engine/log/index.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { afterKill, type Machine, machine, reopen } from './support.js';

const CATALOG = 'catalog.sqlite';

/** Everything that may be asked, in one string. */
async function everything(db: Database): Promise<string> {
  const roots = await Promise.all(db.shards().map(({ shard }) => db.root(shard)));
  // A close logs a checkpoint, which is a seq but no content.
  const contents = roots.map((root) => [root?.root, root?.entries]);
  const lists = ['c', 'd'].map((collection) => db.now().list(collection, { limit: 1000 }));
  const histories = lists.flat().map(({ collection, key }) => db.now().history(collection, key, { limit: 1000 }).records);
  return JSON.stringify([contents, await db.collections(), histories.flat().map(({ id, hash, body }) => [id, hash, body])]);
}

async function checkpointsOf(db: Database, upTo: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let seq = 1; seq <= upTo; seq++) {
    const root = await db.root(1, seq);
    if (root !== undefined) found.push(root);
  }
  return found;
}

/** Writes in rounds, with a checkpoint after every few. */
async function fill(db: Database, rounds = 12, checkpointEvery = 4): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await Promise.all(Array.from({ length: 30 }, (_, i) => db.put(i % 2 === 0 ? 'c' : 'd', `k${(round * 7 + i) % 100}`, { round, i })));
    if (round % 3 === 2) await db.delete('c', `k${(round * 7) % 100}`);
    if (round % checkpointEvery === checkpointEvery - 1) await db.checkpoint();
  }
}

function removeAll(platform: MemoryPlatform, part: string): number {
  const paths = platform.fileList().filter(({ path }) => path.includes(part));
  for (const { path } of paths) platform.files.remove(path);
  return paths.length;
}

describe('trees', () => {
  it('that are deleted are built again, with the same roots, counts and checkpoints', async () => {
    for (const again of [reopen, afterKill]) {
      const first = await machine({ shards: 2 });
      await fill(first.db);
      const before = await everything(first.db);
      const stopped = again === reopen ? first : { ...first, platform: first.platform.killProcess() };
      if (again === reopen) await first.db.close();
      expect(removeAll(stopped.platform, '/tree/')).toBeGreaterThan(0);
      const db = await openWith(stopped.platform);
      expect(await everything(db)).toBe(before);
      await db.checkpoint();
      expect(await everything(db)).toBe(before);
    }
  });

  it('have one root whenever they are folded: the same log gives it with any checkpoint timing', async () => {
    const first = await machine({ checkpointRecords: 1_000_000 });
    await fill(first.db, 10, 1_000_000);
    const before = await everything(first.db);
    for (const checkpointRecords of [1, 7, 50, 1_000_000]) {
      const { db } = await afterKill(first, { checkpointRecords });
      expect(await everything(db)).toBe(before);
    }
    // And folding as it goes on, from wherever the tree is.
    for (const checkpointRecords of [1, 13]) {
      const some = await afterKill(first, { checkpointRecords });
      await some.db.put('c', 'last', 1);
      const tree = await some.db.root(1);
      await some.db.close();
      removeAll(some.platform, '/tree/');
      expect((await (await openWith(some.platform)).root(1))?.root).toBe(tree?.root);
    }
  });

  it('with a rotten byte heal at open or when they are read: never a wrong answer, and in the end the right one', {
    timeout: 120_000,
  }, async () => {
    const first = await machine({ nodeCacheBytes: 1 });
    await fill(first.db, 12, 3);
    const before = await everything(first.db);
    await first.db.close();
    const trees = first.platform.fileList().filter(({ path, size }) => path.includes('/tree/') && size > 0);
    expect(trees.length).toBeGreaterThan(0);
    let healed = 0;
    for (const { path, size } of trees) {
      for (let at = 5; at < size; at += Math.ceil(size / 40)) {
        const platform = first.platform.clone();
        platform.flipBit(path, at * 8 + (at % 8));
        const db = await openWith(platform, { nodeCacheBytes: 1 });
        healed += await untilAnswered(db, before);
        await db.close();
      }
    }
    expect(healed).toBeGreaterThan(0);
  });

  it('that rot while they are open heal while they are open, and writes go on meanwhile', async () => {
    const { db, platform } = await machine({ nodeCacheBytes: 1 });
    await fill(db, 12, 12);
    await db.checkpoint();
    const before = await everything(db);
    const [tree] = platform.fileList().filter(({ path, size }) => path.includes('/tree/') && size > 0);
    const { path, size } = tree as { path: string; size: number };
    for (let at = 40; at < size; at += 64) platform.flipBit(path, at * 8);
    expect(await untilAnswered(db, before)).toBeGreaterThan(0);
    expect((await db.put('c', 'after', 1)).seq).toBeGreaterThan(0);
    const root = await db.root(1);
    await db.close();
    removeAll(platform, '/tree/');
    expect((await (await openWith(platform)).root(1))?.root).toBe(root?.root);
  });

  it('that are being built again are not read: an error until they are whole, and what was queued meanwhile is there', async () => {
    const { db, platform } = await machine({ nodeCacheBytes: 1 });
    const keys = Array.from({ length: 6000 }, (_, i) => `k${i}`);
    for (let i = 0; i < keys.length; i += 1000)
      await db.insert(keys.slice(i, i + 1000).map((key) => ({ collection: 'c', key, body: key })));
    await db.checkpoint();
    const queued = db.put('c', 'k5999', 'queued');
    for (const { path, size } of platform.fileList().filter((file) => file.path.includes('/tree/'))) {
      for (let at = 40; at < size; at += 64) platform.flipBit(path, at * 8);
    }
    // In the same turn, so that the write is queued and waits for the tree.
    expect(() => db.now().list('c')).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
    let refused = 0;
    for (let turn = 0; turn < 200; turn++) {
      for (const key of ['k0', 'k3000', 'k5998']) {
        try {
          expect(db.now().get('c', key)?.body).toBe(key);
        } catch (error) {
          if (!isVarveError(error, 'UNAVAILABLE')) throw error;
          refused++;
        }
      }
      await platform.clock.yield();
    }
    expect(refused).toBeGreaterThan(0);
    const { seq, supersedes } = await queued;
    expect(db.record(supersedes as string)?.key).toBe('k5999');
    expect(db.now().get('c', 'k5999')).toMatchObject({ seq, body: 'queued' });
    expect(await db.root(1)).toMatchObject({ entries: 6001 });
  });

  it('are not needed: on a disk that takes none, a rotten one is done without, and folded when there is room', async () => {
    const options = { nodeCacheBytes: 1, checkpointRecords: 20 };
    for (const fault of [
      { kind: 'error', code: 'ENOSPC' },
      { kind: 'error', code: 'EIO' },
    ] as const) {
      const { db, platform } = await machine(options);
      await fill(db);
      await db.checkpoint();
      const before = await everything(db);
      platform.failOn(['create', 'write', 'sync'], fault, { path: '/tree/', times: Infinity });
      for (const { path, size } of platform.fileList().filter((file) => file.path.includes('/tree/'))) {
        for (let at = 40; at < size; at += 64) platform.flipBit(path, at * 8);
      }
      let answered = 0;
      for (let i = 0; i < 20; i++) {
        try {
          const found = [db.now().list('c', { limit: 1000 }), db.now().list('d', { limit: 1000 })].map((list) =>
            list.map(({ id, key }) => [key, id]),
          );
          expect(before).toContain(JSON.stringify(found[0]?.[0]?.[1]));
          expect(found.map((list) => list.length)).toEqual(
            (await db.collections()).filter(({ name }) => /^[cd]$/.test(name)).map(({ entities }) => entities),
          );
          answered++;
        } catch (error) {
          if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'UNAVAILABLE')) throw error;
        }
        await platform.advanceAndSettle(1000);
      }
      expect(answered).toBeGreaterThan(0);
      platform.clearFaults();
      await platform.advanceAndSettle(10_000_000);
      await untilAnswered(db, before);
      await db.close();
    }
  });

  it('are made durable at open where no checkpoint in the log says that they are', async () => {
    const syncsOf = async (platform: MemoryPlatform) => {
      const db = await openWith(platform);
      const syncs = platform.trace.filter(({ kind, path }) => kind === 'sync' && path.includes('/tree/')).length;
      await db.close();
      return syncs;
    };
    const closed = await machine();
    await fill(closed.db, 3, 100);
    await closed.db.close();
    expect(await syncsOf(closed.platform.killProcess({ trace: true }))).toBe(0);
    const killed = await machine();
    await fill(killed.db, 3, 100);
    await killed.db.root(1); // folds, and logs nothing
    expect(await syncsOf(killed.platform.killProcess({ trace: true }))).toBe(1);
  });

  it('are not believed beyond the log: a tail that is gone takes its tree with it', async () => {
    const first = await machine();
    await fill(first.db, 3, 100);
    const mine = await first.db.put('c', 'last', 'mine');
    await first.db.root(1); // folds, and logs nothing
    const killed = first.platform.killProcess();
    const log = killed
      .fileList()
      .filter(({ path }) => path.includes('/log/'))
      .at(-1) as { path: string; size: number };
    // The last frame, which nothing attests, before the zeros that the next ones are written over: looks like a crash.
    const end = killed.contents(log.path).findLastIndex((byte) => byte !== 0);
    killed.flipBit(log.path, (end - 30) * 8);
    const second: Machine = { platform: killed, db: await openWith(killed) };
    expect(second.db.now().get('c', 'last')).toBeUndefined();
    const other = await second.db.put('c', 'other', 'theirs');
    expect(other.id).toBe(mine.id);
    const third = await afterKill(second);
    const before = await everything(second.db);
    expect(third.db.now().get('c', 'last')).toBeUndefined();
    expect(third.db.now().get('c', 'other')?.hash).toBe(other.hash);
    expect(await everything(third.db)).toBe(before);
  });
});

/** Asks until there is no error; answers how often there was one. */
async function untilAnswered(db: Database, expected: string): Promise<number> {
  for (let errors = 0; errors < 20; errors++) {
    try {
      expect(await everything(db)).toBe(expected);
      return errors;
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'UNAVAILABLE')) throw error;
      await db.checkpoint().catch(() => undefined); // waits for the tree that is being built
    }
  }
  throw new Error('it does not heal');
}

describe('checkpoints', () => {
  it('form one chain, also where several are asked for at once', async () => {
    const { db, platform } = await machine();
    for (let i = 0; i < 4; i++) {
      await Promise.all([db.put('c', `k${i}`, i), db.checkpoint(), db.checkpoint()]);
      await Promise.all([db.checkpoint(), db.checkpoint(), db.checkpoint()]);
    }
    await db.close();
    const log = await ShardLog.open({
      platform,
      directory: 'shards/0001/log',
      shard: 1,
      databaseId: Buffer.from(db.databaseId, 'hex'),
      segmentBytes: 1 << 20,
      indexIntervalBytes: 1024,
    });
    const events = [...log.batches(1)].flatMap((batch) => (isGap(batch) || batch.event?.type !== 'checkpoint' ? [] : [batch.event]));
    expect(events.length).toBeGreaterThanOrEqual(4);
    expect(new Set(events.map((event) => event.throughSeq)).size).toBe(events.length);
    expect(new Set(events.map((event) => Buffer.from(event.previous).toString('hex'))).size).toBe(events.length);
    expect(events.map((event) => event.throughSeq)).toEqual(events.map((event) => event.throughSeq).sort((a, b) => a - b));
  });
});

describe('the catalog', () => {
  const damages: readonly (readonly [string, (platform: MemoryPlatform, earlier: Buffer) => void])[] = [
    ['deleted', (platform) => platform.files.remove(CATALOG)],
    ['empty', (platform) => platform.store(CATALOG, Buffer.alloc(0))],
    ['no database', (platform) => platform.store(CATALOG, Buffer.alloc(20_000, 'nonsense'))],
    ['cut short', (platform) => platform.store(CATALOG, platform.contents(CATALOG).subarray(0, 5000))],
    ['of an earlier time', (platform, earlier) => platform.store(CATALOG, earlier)],
  ];

  it.each(damages)('that is %s costs no answer: the same counts and checkpoints', async (_, damage) => {
    let first = await machine();
    await fill(first.db, 6, 2);
    first = await reopen(first);
    const earlier = first.platform.contents(CATALOG);
    await fill(first.db, 6, 2);
    const before = await everything(first.db);
    const { lastSeq } = first.db.shards()[0] as { lastSeq: number };
    const checkpoints = await checkpointsOf(first.db, lastSeq);
    expect(checkpoints.length).toBeGreaterThanOrEqual(6);
    await first.db.close();
    damage(first.platform, earlier);
    const db = await openWith(first.platform);
    expect(await everything(db)).toBe(before);
    expect((await checkpointsOf(db, lastSeq)).slice(0, checkpoints.length)).toEqual(checkpoints);
    await fill(db, 2, 1);
    await db.close();
    expect(await checkpointsOf(await openWith(first.platform), lastSeq + 200)).toHaveLength(checkpoints.length + 2);
  });

  it('whose bytes rot costs no answer', { timeout: 120_000 }, async () => {
    const first = await machine();
    await fill(first.db, 4, 2);
    const before = await everything(first.db);
    const { lastSeq } = first.db.shards()[0] as { lastSeq: number };
    const checkpoints = await checkpointsOf(first.db, lastSeq);
    await first.db.close();
    const bytes = first.platform.contents(CATALOG);
    const places = Array.from({ length: Math.floor(bytes.length / 97) }, (_, i) => i * 97);
    // And the digits of the counts themselves, which would be numbers still.
    for (let at = bytes.indexOf('["c",'); at >= 0; at = bytes.indexOf('["c",', at + 1)) places.push(at + 5, at + 8);
    for (const at of places) {
      const platform = first.platform.clone();
      platform.flipBit(CATALOG, at * 8 + (bytes[at] === 0 ? at % 8 : 0));
      const db = await openWith(platform);
      expect(await everything(db)).toBe(before);
      expect((await checkpointsOf(db, lastSeq)).slice(0, checkpoints.length)).toEqual(checkpoints);
      await db.close();
    }
  });
});
