/** Placement groups: several collections in one shard, decided once for the whole database (law 7). */
import { describe, expect, it } from 'vitest';
import type { Database } from '../../engine/database.js';
import { openWith } from '../../engine/index.js';
import { afterKill, codeOf, failure, letRecover, machine, reopen } from './support.js';

const KEYS = Array.from({ length: 30 }, (_, i) => `k${i}`);

function shardsOf(db: Database, collection: string): number[] {
  return [...new Set(KEYS.map((key) => db.shardOf(collection, key)))].sort((a, b) => a - b);
}

describe('a placement group', () => {
  it('puts collections into one shard, so that a batch over them is one, through every reopening', async () => {
    let current = await machine({ shards: 4 });
    expect(shardsOf(current.db, 'orders')).toEqual([1, 2, 3, 4]);
    expect(await current.db.setPlacement('orders', 'group:shop')).toEqual({
      name: 'orders',
      placement: 'group:shop',
      entities: 0,
      versions: 0,
    });
    await current.db.setPlacement('lines', 'group:shop');
    const home = shardsOf(current.db, 'orders');
    expect(home).toHaveLength(1);
    expect(shardsOf(current.db, 'lines')).toEqual(home);
    await current.db.insert(
      KEYS.flatMap((key) => [
        { collection: 'orders', key, body: 1 },
        { collection: 'lines', key, body: 2 },
      ]),
    );
    for (const again of [reopen, afterKill, reopen]) {
      current = await again(current);
      expect(shardsOf(current.db, 'orders')).toEqual(home);
      expect(await current.db.collection('lines')).toEqual({ name: 'lines', placement: 'group:shop', entities: 30, versions: 30 });
      expect(current.db.now().list('orders')).toHaveLength(30);
    }
  });

  it('is fixed once the collection has records, unless it stays the same', async () => {
    const { db } = await machine({ shards: 2 });
    await db.put('byKey', 'k', 1);
    expect(await failure(db.setPlacement('byKey', 'group:g'))).toMatchObject({
      code: 'PLACEMENT_FIXED',
      details: { collection: 'byKey', placement: 'key' },
    });
    expect((await db.setPlacement('byKey', 'key')).placement).toBe('key');
    await db.setPlacement('c', 'group:g');
    await db.setPlacement('c', 'group:h');
    await db.put('c', 'k', 1);
    await db.delete('c', 'k');
    expect(await codeOf(db.setPlacement('c', 'key'))).toBe('PLACEMENT_FIXED');
    expect((await db.setPlacement('c', 'group:h')).versions).toBe(2);
  });

  it('never moves a collection away from records that are still queued', async () => {
    for (let i = 0; i < 8; i++) {
      const { db } = await machine({ shards: 4 });
      const queued = db.put('c', `k${i}`, i);
      const code = codeOf(db.setPlacement('c', 'group:g'));
      await queued;
      expect(await code).toBe('PLACEMENT_FIXED');
      expect(db.now().get('c', `k${i}`)?.body).toBe(i);
    }
  });

  it('makes inserts that come meanwhile wait for the decision', async () => {
    const { db } = await machine({ shards: 4 });
    const placing = db.setPlacement('c', 'group:g');
    const inserted = Promise.all(KEYS.map((key) => db.put('c', key, 1)));
    await placing;
    const home = shardsOf(db, 'c')[0];
    expect(new Set((await inserted).map(({ shard }) => shard))).toEqual(new Set([home]));
    expect(db.now().list('c')).toHaveLength(30);
  });

  it('is logged in every shard, and readable as an entity of the system', async () => {
    const { db } = await machine({ shards: 3 });
    await db.setPlacement('c', 'group:g');
    for (const { shard } of db.shards()) expect((await db.root(shard))?.entries).toBe(1);
    expect(db.now().get('_collections', 'c')?.body).toEqual({ placement: 'group:g' });
    expect(await db.collection('_collections')).toMatchObject({ entities: 1 });
    expect(await codeOf(db.put('_collections', 'c', 1))).toBe('SYSTEM_COLLECTION');
    expect(await codeOf(db.setPlacement('_collections', 'group:g'))).toBe('SYSTEM_COLLECTION');
    for (const placement of ['', 'group:', 'group:a b', 'shard:1', `group:${'x'.repeat(65)}`]) {
      expect(await codeOf(db.setPlacement('d', placement))).toBe('INVALID');
    }
  });
});

describe('a placement that reaches only some shards', () => {
  it('is completed at open after a crash between two of them', async () => {
    const first = await machine({ shards: 4 });
    await first.db.put('other', 'k', 1);
    let halves = 0;
    const trial = await afterKill(first);
    const before = trial.platform.ops;
    await trial.db.setPlacement('c', 'group:g');
    const operations = trial.platform.ops - before;
    for (let at = 0; at < operations; at++) {
      const { platform, db } = await afterKill(first);
      platform.crashAt(platform.ops + at);
      await db.setPlacement('c', 'group:g').catch(() => undefined);
      const after = platform.crash({ next: (n) => n - 1 });
      const again = await openWith(after);
      const decided = again.now().get('_collections', 'c') !== undefined;
      const entries = await Promise.all(again.shards().map(async ({ shard }) => (await again.root(shard))?.entries ?? 0));
      const others = await Promise.all(first.db.shards().map(async ({ shard }) => (await first.db.root(shard))?.entries ?? 0));
      expect(entries.map((count, i) => count - (others[i] ?? 0))).toEqual([1, 1, 1, 1].map((one) => (decided ? one : 0)));
      expect((await again.collection('c'))?.placement).toBe(decided ? 'group:g' : undefined);
      if (decided) halves++;
      await Promise.all(KEYS.map((key) => again.put('c', key, 1)));
      expect(again.now().list('c')).toHaveLength(30);
      await again.close();
    }
    expect(halves).toBeGreaterThan(3);
  });

  it('is undone where one shard cannot log it, and nothing is lost to it after a restart', async () => {
    for (const fault of [{ kind: 'short', bytes: 3 }, { kind: 'failed-sync' }] as const) {
      const first = await machine({ shards: 3 });
      const { db, platform } = first;
      await Promise.all(KEYS.map((key) => db.put('other', key, 1)));
      platform.failOn(fault.kind === 'short' ? 'write' : 'sync', fault, { path: 'shards/0003/log/' });
      expect(['NOT_WRITTEN', 'OUTCOME_UNKNOWN']).toContain(await codeOf(db.setPlacement('c', 'group:g')));
      expect(db.now().get('_collections', 'c')).toMatchObject({ deleted: true });
      expect(shardsOf(db, 'c')).toEqual([1, 2, 3]);
      await letRecover(platform);
      await Promise.all(KEYS.map((key) => db.put('c', key, 1)));
      const again = await reopen(first);
      expect(again.db.now().list('c')).toHaveLength(30);
      expect(KEYS.map((key) => again.db.now().get('c', key)?.body)).toEqual(KEYS.map(() => 1));
    }
  });

  it('keeps inserts of the collection waiting while it can be neither completed nor undone', async () => {
    const first = await machine({ shards: 3 });
    const { db, platform } = first;
    await Promise.all(KEYS.map((key) => db.put('other', key, 1)));
    const inThird = KEYS.find((key) => db.shardOf('c', key) === 3) as string;
    platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '/log/', skip: 1, times: Infinity });
    expect(await codeOf(db.setPlacement('c', 'group:g'))).toBe('NOT_WRITTEN');
    expect(await codeOf(db.put('c', inThird, 1))).toBe('NOT_WRITTEN');
    platform.clearFaults();
    await letRecover(platform);
    await Promise.all(KEYS.map((key) => db.put('c', key, 1)));
    expect(db.now().list('c')).toHaveLength(30);
    const again = await reopen(first);
    expect(KEYS.map((key) => again.db.now().get('c', key)?.body)).toEqual(KEYS.map(() => 1));
    expect((await again.db.collection('c'))?.placement).toBe('key');
  });

  it('can be decided again once the disk works', async () => {
    const first = await machine({ shards: 3 });
    const { db, platform } = first;
    await Promise.all(KEYS.map((key) => db.put('other', key, 1)));
    platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '/log/', skip: 1, times: Infinity });
    expect(await codeOf(db.setPlacement('c', 'group:g'))).toBe('NOT_WRITTEN');
    platform.clearFaults();
    await letRecover(platform);
    await db.setPlacement('c', 'group:h');
    await Promise.all(KEYS.map((key) => db.put('c', key, 1)));
    const again = await reopen(first);
    expect(await again.db.collection('c')).toMatchObject({ placement: 'group:h', entities: 30 });
    expect(shardsOf(again.db, 'c')).toHaveLength(1);
  });
});
