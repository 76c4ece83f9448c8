/** The feed: everything durable, in order per shard, once, from any position on, and never what may yet vanish. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Changes, Database } from '../../engine/database.js';
import type { Engine } from '../../engine/engine.js';
import { afterKill, codeOf, failure, letRecover, machine } from './support.js';

/** All there is by now. */
function drain(changes: Changes, max?: number): { id: string; shard: number; seq: number; key: string; body: unknown }[] {
  const told = [];
  while (!changes.atEnd) {
    for (const { id, shard, seq, key, body } of changes.next(max)) told.push({ id, shard, seq, key, body });
  }
  return told;
}

const keysOf = (changes: Changes, max?: number) => drain(changes, max).map(({ key }) => key);

describe('the feed', () => {
  it('tells every record in order, tombstones too, and nothing of the system unless it is asked for', async () => {
    const { db } = await machine();
    await db.setPlacement('c', 'group:g');
    const first = await db.put('c', 'a', 1);
    await db.put('d', 'b', 2);
    await db.checkpoint();
    const last = await db.delete('c', 'a');
    const told = db.changes().next();
    expect(told.map(({ id, key, deleted }) => [id, key, deleted])).toEqual([
      [first.id, 'a', false],
      [expect.any(String), 'b', false],
      [last.id, 'a', true],
    ]);
    expect(told[0]!.hash).toBe(first.hash);
    expect(keysOf(db.changes({ collection: 'd' }))).toEqual(['b']);
    expect(keysOf(db.changes({ collection: '_collections' }))).toEqual(['c']);
    await db.close();
  });

  it('goes on from any position, over any number of shards, however little is asked for at a time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 12 }),
        async (shards, max, sizes) => {
          const { db } = await machine({ shards, segmentBytes: 4096 });
          await db.setPlacement('c', 'group:g');
          let n = 0;
          for (const size of sizes) {
            if (size % 4 === 0) await db.checkpoint();
            await db.insert(Array.from({ length: size }, () => ({ collection: 'c', key: `k${n % 5}`, body: n++ })));
            await db.put('by-key', `k${n}`, n);
          }
          const whole = drain(db.changes());
          for (const shard of db.shards()) {
            const seqs = whole.filter((record) => record.shard === shard.shard).map(({ seq }) => seq);
            expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
          }
          expect(new Set(whole.map(({ id }) => id)).size).toBe(n + sizes.length);
          const resumed = [];
          for (let changes = db.changes(); ; changes = db.changes({ after: [...changes.positions] })) {
            resumed.push(...changes.next(max).map(({ id }) => id));
            if (changes.atEnd) break;
          }
          expect([...resumed].sort()).toEqual(whole.map(({ id }) => id).sort());
          await db.close();
        },
      ),
      { numRuns: 20 },
    );
  });

  it('ends where it was told to, within a batch too', async () => {
    const { db } = await machine();
    const { records } = await db.insert([1, 2, 3, 4].map((body) => ({ collection: 'c', key: `k${body}`, body })));
    const changes = db.changes({ after: [records[0]!.seq], until: [records[2]!.seq] });
    expect(keysOf(changes)).toEqual(['k2', 'k3']);
    expect(changes.done).toBe(true);
    await changes.wait();
    expect(changes.next()).toEqual([]);
    await db.close();
  });

  it('wakes who waits with the commit, and with the abort of who gave up', async () => {
    const { db } = await machine({ shards: 3 });
    const changes = db.changes();
    const woken = changes.wait();
    await db.put('c', 'a', 1);
    await woken;
    expect(keysOf(changes)).toEqual(['a']);
    const given = new AbortController();
    const waiting = changes.wait(given.signal);
    given.abort();
    await waiting;
    expect(changes.next()).toEqual([]);
    await changes.wait(AbortSignal.abort());
    await db.close();
  });

  it('wakes who waits when the database closes, and is closed then', async () => {
    const { db } = await machine();
    const changes = db.changes();
    const waiting = changes.wait();
    await db.close();
    await waiting;
    expect(await codeOf(() => changes.next())).toBe('CLOSED');
  });

  it('never tells what is not durable', async () => {
    const { platform, db } = await machine();
    await db.put('c', 'a', 1);
    const changes = db.changes();
    expect(keysOf(changes)).toEqual(['a']);
    platform.failOn('sync', { kind: 'failed-sync' }, { path: '/log/' });
    const writing = codeOf(db.put('c', 'b', 2));
    const seen = [];
    for (let i = 0; i < 20; i++) {
      seen.push(...keysOf(changes));
      await Promise.resolve();
    }
    expect(await writing).toBe('OUTCOME_UNKNOWN');
    expect([...seen, ...keysOf(changes)]).toEqual([]);
    const waiting = changes.wait();
    await letRecover(platform);
    await db.put('c', 'd', 3);
    await waiting;
    // What survived of the failed group is part of the history now, and comes first.
    const survived = db.now().get('c', 'b') !== undefined;
    expect(keysOf(changes)).toEqual(survived ? ['b', 'd'] : ['d']);
    await db.close();
  });

  it('goes on after a restart from the positions it had', async () => {
    const first = await machine({ shards: 2 });
    for (let n = 0; n < 10; n++) await first.db.put('c', `k${n}`, n);
    const changes = first.db.changes();
    const before = changes.next(3).map(({ key }) => key);
    const after = [...changes.positions];
    const { db } = await afterKill(first);
    const rest = keysOf(db.changes({ after }));
    expect([...before, ...rest].sort()).toEqual(Array.from({ length: 10 }, (_, n) => `k${n}`));
    await db.close();
  });

  it('refuses what it cannot mean', async () => {
    const { db } = await machine({ shards: 2 });
    expect(await codeOf(() => db.changes({ after: [1] }))).toBe('INVALID');
    expect(await codeOf(() => db.changes({ after: [-1] }))).toBe('INVALID');
    expect(await codeOf(() => db.changes({ shard: 3 }))).toBe('INVALID');
    expect(await codeOf(() => db.changes({ collection: '!' }))).toBe('INVALID');
    await db.close();
  });

  it('is refused from before a horizon on, of its own collection alone', async () => {
    const { db } = await machine();
    const early = await db.put('c', 'a', 1);
    const late = await db.put('c', 'a', 2);
    const slow = db.changes({ after: [early.seq] });
    const shard = (db as Engine).shardList[0]!;
    shard.exactness.raise('c', { seq: late.seq, time: 0 });
    for (const options of [{}, { collection: 'c' }]) {
      const error = await failure(() => db.changes(options).next());
      expect(error).toMatchObject({ code: 'TRIMMED', details: { collection: 'c', horizon: late.id } });
      expect(db.changes({ ...options, after: [late.seq] }).next()).toEqual([]);
    }
    expect(await codeOf(() => slow.next())).toBe('TRIMMED');
    expect(db.changes({ collection: 'd' }).next()).toEqual([]);
    await db.close();
  });

  it('stops at damage, after everything before it', async () => {
    const { platform, db } = await machine();
    for (let n = 0; n < 40; n++) await db.put('c', `k${n}`, 'x'.repeat(200));
    await db.close();
    const log = platform.fileList().find(({ path }) => path.includes('/log/'))!;
    platform.flipBit(log.path, Math.floor(log.size / 2) * 8);
    const again = await afterKill({ platform, db });
    const changes = again.db.changes();
    const told: string[] = [];
    const error = await failure(() => {
      while (!changes.atEnd) told.push(...changes.next(7).map(({ key }) => key));
    });
    expect(error.code).toBe('DAMAGED');
    expect(told.length).toBeGreaterThan(0);
    expect(told).toEqual(told.map((_, n) => `k${n}`));
    await again.db.close();
  });
});

describe('a feed that is far behind', () => {
  it('reads the log in stretches, and lets records it does not want pass in steps', async () => {
    const { db } = await machine({ segmentBytes: 1024 * 1024 });
    await fill(db, 'noise', 9000);
    const wanted = await db.put('c', 'a', 'x');
    await fill(db, 'noise', 100);
    const changes = db.changes({ collection: 'c' });
    expect(changes.next()).toEqual([]);
    expect(changes.atEnd).toBe(false);
    expect(drain(changes).map(({ id }) => id)).toEqual([wanted.id]);
    expect(drain(db.changes()).length).toBe(9101);
    await db.close();
  });
});

async function fill(db: Database, collection: string, count: number): Promise<void> {
  for (let at = 0; at < count; at += 500) {
    const size = Math.min(500, count - at);
    await db.insert(Array.from({ length: size }, (_, n) => ({ collection, key: `k${(at + n) % 700}`, body: 'y'.repeat(300) })));
  }
}
