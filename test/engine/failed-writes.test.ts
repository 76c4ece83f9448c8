/** Law 9 and law 11 at the face of the database: what a failed write tells whom, and that work goes on after it. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode, VarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { afterKill, codeOf, failure, letRecover, machine, SECOND } from './support.js';

/** Fills a group, so that what follows is queued in another. */
const LARGE = 'x'.repeat(5_000_000);

describe('an answer that rests on a queued write', () => {
  it('waits for its commit: a conflict with a version that became durable is a CONFLICT that names it', async () => {
    const { db } = await machine();
    const first = db.put('c', 'k', 1);
    const second = failure(db.put('c', 'k', 2, { expect: null }));
    const order: string[] = [];
    await Promise.all([first.then(() => order.push('put')), second.then(() => order.push('conflict'))]);
    expect(order).toEqual(['put', 'conflict']);
    expect(await second).toMatchObject({ code: 'CONFLICT', details: { current: (await first).id } });
  });

  it('is NOT_WRITTEN, without an id, where that commit fails: a conflict', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'other', 0);
    platform.failOn('sync', { kind: 'failed-sync' }, { path: '/log/' });
    const first = codeOf(db.put('c', 'k', 1));
    const second = codeOf(db.put('c', 'k', 2, { expect: null }));
    const third = codeOf(db.put('c', 'k', 2, { expect: '0001000000000001' }));
    expect([await first, await second, await third]).toEqual(['OUTCOME_UNKNOWN', 'NOT_WRITTEN', 'NOT_WRITTEN']);
  });

  it('is NOT_WRITTEN where that commit fails: nothing to delete after a queued delete', async () => {
    const { db, platform } = await machine();
    const { id } = await db.put('c', 'k', 1);
    platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    const first = codeOf(db.delete('c', 'k'));
    const second = codeOf(db.delete('c', 'k'));
    expect([await first, await second]).toEqual(['NOT_WRITTEN', 'NOT_WRITTEN']);
    await letRecover(platform);
    expect((await db.delete('c', 'k')).supersedes).toBe(id);
  });

  it('is NOT_WRITTEN where that commit fails: a time behind a queued one', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1, { time: '2001-01-01T00:00:00Z' });
    platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    const first = codeOf(db.put('c', 'k', 2, { time: '2003-01-01T00:00:00Z' }));
    const second = codeOf(db.put('c', 'k', 3, { time: '2002-01-01T00:00:00Z' }));
    const third = failure(db.put('c', 'k', 3, { time: '2000-01-01T00:00:00Z' }));
    expect([await first, await second]).toEqual(['NOT_WRITTEN', 'NOT_WRITTEN']);
    expect(await third).toMatchObject({ code: 'TIME_BEHIND', details: { newest: '2001-01-01T00:00:00.000000Z' } });
    await letRecover(platform);
    await db.put('c', 'k', 3, { time: '2002-01-01T00:00:00Z' });
  });

  it('tells the newest time once it is durable, and not before', async () => {
    const { db } = await machine();
    await db.put('c', 'k', 1, { time: '2001-01-01T00:00:00Z' });
    const queued = db.put('c', 'k', 2, { time: '2003-01-01T00:00:00Z' });
    const behind = failure(db.put('c', 'k', 3, { time: '2002-01-01T00:00:00Z' }));
    expect(db.newestTime()).toBe('2001-01-01T00:00:00.000000Z');
    await queued;
    expect(await behind).toMatchObject({ code: 'TIME_BEHIND', details: { newest: '2003-01-01T00:00:00.000000Z' } });
    expect(db.newestTime()).toBe('2003-01-01T00:00:00.000000Z');
  });

  it('fails with it where a replayed idempotency key waits for the first request', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'other', 0);
    platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    const first = codeOf(db.put('c', 'k', 1, { idempotencyKey: 'once' }));
    const again = codeOf(db.put('c', 'k', 1, { idempotencyKey: 'once' }));
    const other = codeOf(db.put('c', 'k', 2, { idempotencyKey: 'once' }));
    expect([await first, await again, await other]).toEqual(['NOT_WRITTEN', 'NOT_WRITTEN', 'NOT_WRITTEN']);
    await letRecover(platform);
    expect((await db.insert([{ collection: 'c', key: 'k', body: 2 }], { idempotencyKey: 'once' })).replayed).toBe(false);
  });

  it('never names an id that was never given out, also where a batch conflicts with itself', async () => {
    const { db } = await machine();
    const item = { collection: 'c', key: 'k', body: 1 };
    expect(await failure(db.insert([item, { ...item, expect: null }]))).toMatchObject({ code: 'CONFLICT', details: { current: null } });
    const { id } = await db.put('c', 'k', 0);
    expect(await failure(db.insert([item, { ...item, expect: id }]))).toMatchObject({ code: 'CONFLICT', details: { current: id } });
    expect(db.now().history('c', 'k').records).toHaveLength(1);
  });
});

describe('a failed write', () => {
  it('is NOT_WRITTEN where it never reached the disk whole, OUTCOME_UNKNOWN where it may have', async () => {
    const cases = [
      { kind: 'write', fault: { kind: 'short', bytes: 20 }, code: 'NOT_WRITTEN' },
      { kind: 'write', fault: { kind: 'error', code: 'ENOSPC' }, code: 'NOT_WRITTEN' },
      { kind: 'write', fault: { kind: 'error', code: 'EIO' }, code: 'OUTCOME_UNKNOWN' },
      { kind: 'sync', fault: { kind: 'failed-sync' }, code: 'OUTCOME_UNKNOWN' },
    ] as const;
    for (const { kind, fault, code } of cases) {
      const { db, platform } = await machine({ maxBodyBytes: 6_000_000 });
      const { id } = await db.put('c', 'k', 'before');
      platform.failOn(kind, fault, { path: '/log/' });
      const failed = codeOf(db.put('c', 'k', LARGE));
      const behind = codeOf(db.put('c', 'k', 'behind'));
      expect(await failed).toBe(code);
      expect(await behind).toBe('NOT_WRITTEN');
      expect(db.shards()[0]).toMatchObject({ state: 'read-only' });
      expect(db.now().get('c', 'k')).toMatchObject({ id, body: 'before' });
      expect(await codeOf(db.put('c', 'k', 'too early'))).toBe('NOT_WRITTEN');

      await letRecover(platform);
      expect(db.shards()[0]).toMatchObject({ state: 'open', reason: undefined });
      const survived = db.now().get('c', 'k')?.body;
      expect(code === 'NOT_WRITTEN' ? ['before'] : ['before', LARGE]).toContain(survived);
      await db.put('c', 'k', 'after');
      expect(
        db
          .now()
          .history('c', 'k')
          .records.map((record) => record.body),
      ).toEqual(survived === 'before' ? ['after', 'before'] : ['after', LARGE, 'before']);
      await db.close();
    }
  });

  it('keeps reads and past points up, and refuses only what depends on its outcome', async () => {
    const { db, platform } = await machine();
    const { id, time } = await db.put('c', 'k', 'before');
    await platform.advanceAndSettle(1000);
    platform.failOn('sync', { kind: 'failed-sync' }, { path: '/log/', times: Infinity });
    expect(await codeOf(db.put('c', 'k', 'failed'))).toBe('OUTCOME_UNKNOWN');
    expect((await db.asOf(id)).get('c', 'k')?.body).toBe('before');
    expect((await db.asOf(time)).get('c', 'k')?.body).toBe('before');
    await platform.advanceAndSettle(1000);
    const newer = new Date(platform.clock.nowMicros() / 1000).toISOString();
    expect(await codeOf(db.asOf(newer))).toBe('UNAVAILABLE');
    platform.clearFaults();
    await letRecover(platform);
    const body = (await db.asOf(newer)).get('c', 'k')?.body;
    expect(['before', 'failed']).toContain(body);
    await db.put('c', 'k', 'after');
    expect((await db.asOf(newer)).get('c', 'k')?.body).toBe(body);
  });

  it('of a first batch leaves nothing behind, and the next one is the first', async () => {
    const { db, platform } = await machine();
    platform.failOn('sync', { kind: 'failed-sync' }, { path: '.seg.tmp' });
    expect(await codeOf(db.put('c', 'k', 1))).toBe('NOT_WRITTEN');
    expect(db.now().get('c', 'k')).toBeUndefined();
    expect(db.newestTime()).toBeUndefined();
    await letRecover(platform);
    expect(await db.put('c', 'k', 1)).toMatchObject({ seq: 1, supersedes: null });
  });

  it('is never acknowledged later: what survives a power cut is a prefix of what was tried', async () => {
    for (const keeps of ['none', 'some'] as const) {
      const first = await machine();
      const { db, platform } = first;
      for (let i = 1; i <= 3; i++) await db.put('c', `k${i}`, i);
      platform.failOn('sync', { kind: 'failed-sync', keeps }, { path: '/log/', times: Infinity });
      const tried = [4, 5, 6].map((i) => codeOf(db.put('c', `k${i}`, i)));
      expect(new Set(await Promise.all(tried))).toEqual(new Set(['OUTCOME_UNKNOWN']));
      platform.clearFaults();
      const after = await afterKill(first);
      const seen = after.db
        .now()
        .list('c')
        .map((record) => record.body);
      expect([
        [1, 2, 3],
        [1, 2, 3, 4, 5, 6],
      ]).toContainEqual(seen);
      await after.db.put('c', 'k9', 9);
    }
  });

  it('waits for room on a full disk, tells why meanwhile, and goes on when there is some', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 'before');
    platform.capacityBytes = platform.fileList().reduce((sum, file) => sum + file.size, 0) + 50;
    expect(await codeOf(db.put('c', 'k', 'x'.repeat(500)))).toBe('NOT_WRITTEN');
    for (let i = 0; i < 5; i++) {
      await letRecover(platform);
      expect(db.now().get('c', 'k')?.body).toBe('before');
      expect(['NOT_WRITTEN', 'OUTCOME_UNKNOWN']).toContain(await codeOf(db.put('c', 'k', 'x'.repeat(500))));
    }
    platform.capacityBytes = Infinity;
    await letRecover(platform);
    await db.put('c', 'k', 'after');
    expect(
      db
        .now()
        .history('c', 'k')
        .records.map((record) => record.body),
    ).toEqual(['after', 'before']);
    await db.close();
  });

  it('in one shard does not stop another', async () => {
    const { db, platform } = await machine({ shards: 2 });
    const keys = [1, 2].map(
      (shard) => Array.from({ length: 50 }, (_, i) => `k${i}`).find((key) => db.shardOf('c', key) === shard) as string,
    );
    for (const key of keys) await db.put('c', key, 0);
    platform.failOn('sync', { kind: 'failed-sync' }, { path: 'shards/0001/log/' });
    expect(await codeOf(db.put('c', keys[0] as string, 1))).toBe('OUTCOME_UNKNOWN');
    await db.put('c', keys[1] as string, 1);
    expect(db.shards().map(({ state }) => state)).toEqual(['read-only', 'open']);
  });

  it('of the mark that an idle log writes stops the shard as any other does, and it recovers', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1);
    platform.failOn('sync', { kind: 'failed-sync' }, { path: '/log/' });
    await platform.advanceAndSettle(260_000);
    expect(db.shards()[0]?.state).toBe('read-only');
    await letRecover(platform);
    await db.put('c', 'k', 2);
    expect(
      db
        .now()
        .history('c', 'k')
        .records.map((record) => record.body),
    ).toEqual([2, 1]);
  });

  it('of a fold stops no writes and loses nothing', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1);
    platform.failOn('write', { kind: 'error', code: 'EIO' }, { path: '/tree/' });
    await expect(db.checkpoint()).rejects.toThrow();
    await db.put('c', 'k', 2);
    expect(
      db
        .now()
        .history('c', 'k')
        .records.map((record) => record.body),
    ).toEqual([2, 1]);
    await db.checkpoint();
    expect((await db.root(1))?.entries).toBe(2);
    expect(
      db
        .now()
        .history('c', 'k')
        .records.map((record) => record.body),
    ).toEqual([2, 1]);
  });
});

describe('damage that recovery meets behind the tree', () => {
  it('makes the shard refuse, as it would after an open', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'in the tree', 1);
    await db.checkpoint();
    const { seq } = await db.put('c', 'damaged', 'd'.repeat(2000));
    await db.put('c', 'behind', 1);
    await platform.advanceAndSettle(SECOND);
    const { path } = platform.fileList().find((file) => file.path.endsWith('.seg'))!;
    platform.flipBit(path, 8 * (platform.contents(path).indexOf('d'.repeat(100)) + 50));
    platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    expect(await codeOf(db.put('c', 'k', 1))).toBe('NOT_WRITTEN');
    await letRecover(platform);
    expect(db.shards()[0]).toMatchObject({ state: 'damaged' });
    expect(await failure(db.put('c', 'k', 1))).toMatchObject({ code: 'DAMAGED', details: { shard: 1, fromSeq: seq, toSeq: seq } });
    expect(await codeOf(() => db.now().get('c', 'behind'))).toBe('DAMAGED');
    expect(db.at([seq - 1]).get('c', 'in the tree')?.body).toBe(1);

    const again = await afterKill({ platform, db });
    expect(again.db.shards()[0]).toMatchObject({ state: 'damaged' });
    expect(await codeOf(again.db.put('c', 'k', 1))).toBe('DAMAGED');
  });

  it('changes nothing where a tree covers it', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'damaged', 'd'.repeat(2000));
    await db.checkpoint();
    const { path } = platform.fileList().find((file) => file.path.endsWith('.seg'))!;
    platform.flipBit(path, 8 * (platform.contents(path).indexOf('d'.repeat(100)) + 50));
    platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    expect(await codeOf(db.put('c', 'k', 1))).toBe('NOT_WRITTEN');
    await letRecover(platform);
    expect(db.shards()[0]).toMatchObject({ state: 'open' });
    await db.put('c', 'k', 1);
  });
});

describe('a tree that cannot be written', () => {
  it('bounds the memtable: writes are OVERLOADED until folding works again, and then nothing is missing', async () => {
    const { db, platform } = await machine({ memtableBytes: 64 * 1024, checkpointRecords: 50 });
    await db.put('c', 'first', 0);
    platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '/tree/', times: Infinity });
    let written = 0;
    let refused: ErrorCode | undefined;
    while (refused === undefined && written < 10_000) {
      await db.put('c', `k${written}`, written).then(
        () => written++,
        (error: VarveError) => {
          refused = error.code;
        },
      );
    }
    expect(refused).toBe('OVERLOADED');
    expect(written).toBeGreaterThan(500);
    expect(db.shards()[0]?.reason).toContain('ENOSPC');
    expect(db.now().get('c', 'k1')?.body).toBe(1);
    await letRecover(platform);
    expect(await codeOf(db.put('c', 'k', 1))).toBe('OVERLOADED');
    platform.clearFaults();
    await letRecover(platform);
    await db.put('c', 'after', 1);
    expect(db.shards()[0]).toMatchObject({ state: 'open', reason: undefined });
    expect(await db.collection('c')).toMatchObject({ versions: written + 2 });
    for (let i = 0; i < written; i += 97) expect(db.now().get('c', `k${i}`)?.body).toBe(i);
    const root = await db.root(1);
    expect(root?.entries).toBeGreaterThanOrEqual(written);
    await db.close();
  });

  it('is left alone once the database is closed', async () => {
    const { db, platform } = await machine({ checkpointRecords: 50 });
    platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '/tree/', times: Infinity });
    for (let i = 0; i < 200; i++) await db.put('c', `k${i}`, i);
    await letRecover(platform);
    await db.close();
    platform.clearFaults();
    const before = platform.ops;
    await platform.advanceAndSettle(60 * SECOND);
    expect(platform.ops).toBe(before);
    expect((await openWith(platform)).now().get('c', 'k199')?.body).toBe(199);
  });
});
