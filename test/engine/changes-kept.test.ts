/**
 * Law 6 for feeds and differences, with real trims, compactions and erasures: what they answered before, they answer again or refuse.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Changes, Database, Difference, View } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { machine, reopen } from './support.js';

const OPTIONS = { segmentBytes: 2000, upkeep: { automatic: false } };
const KEYS = ['a', 'b', 'c'];
const COLLECTIONS = ['c', 'd'];

function drain(changes: Changes): string[] {
  const told: string[] = [];
  while (!changes.atEnd) told.push(...changes.next(5).map(({ id, body }) => `${id} ${JSON.stringify(body)}`));
  return told;
}

function differences(db: Database, from: View, to: View, collection: string): Difference[] {
  const diff = db.diff(from, to, { collection });
  const told: Difference[] = [];
  while (diff.place !== undefined) told.push(...diff.next());
  return told.sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The answer, or that it is refused for what was trimmed. */
function asked<T>(work: () => T): T | 'trimmed' {
  try {
    return work();
  } catch (error) {
    if (isVarveError(error, 'TRIMMED')) return 'trimmed';
    throw error;
  }
}

async function compacted(db: Database): Promise<void> {
  const job = await db.jobEnded(db.compact({ force: true }).id);
  expect(job).toMatchObject({ state: 'done' });
}

const step = fc.record({
  key: fc.constantFrom(...KEYS),
  collection: fc.constantFrom(...COLLECTIONS),
  what: fc.constantFrom('put', 'put', 'put', 'delete'),
});

describe('after a trim', () => {
  it('feeds and differences say what they said before, or refuse', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 }),
        fc.array(step, { minLength: 5, maxLength: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(),
        async (shards, steps, versions, at) => {
          let m = await machine({ ...OPTIONS, shards });
          const views = [m.db.now()];
          let n = 0;
          for (const { key, collection, what } of steps) {
            if (what === 'put') await m.db.put(collection, key, `${n++} ${'x'.repeat(100)}`);
            else if (m.db.now().get(collection, key)?.deleted === false) await m.db.delete(collection, key);
            views.push(m.db.now());
          }
          const positions = views.map((view) => view.positions.map((position) => position ?? 0));
          const end = positions.at(-1)!;
          const feeds = (db: Database) =>
            positions.flatMap((after) =>
              COLLECTIONS.map((collection) => asked(() => drain(db.changes({ after, until: end, collection })))),
            );
          const diffs = (db: Database) =>
            [views[at % views.length]!, views[0]!, views.at(-1)!].flatMap((from) =>
              views.flatMap((to) => COLLECTIONS.map((collection) => asked(() => differences(db, from, to, collection)))),
            );
          const before = [feeds(m.db), diffs(m.db)];
          await m.db.setRetention('c', { keep: 'last', versions });
          await compacted(m.db);
          for (let round = 0; round < 2; round++) {
            for (const [kind, now] of [feeds(m.db), diffs(m.db)].entries()) {
              for (const [i, answer] of now.entries()) if (answer !== 'trimmed') expect(answer).toEqual(before[kind]![i]);
              // What was not trimmed is told as before, and so is what came last.
              now.forEach((answer, i) => {
                if (i % 2 === 1) expect(answer).not.toBe('trimmed');
              });
            }
            expect(drain(m.db.changes({ after: end, collection: 'c' }))).toEqual([]);
            const left = drain(m.db.changes({ collection: 'c', partial: true }));
            const kept = KEYS.flatMap((key) =>
              m.db
                .now()
                .history('c', key)
                .records.map(({ id, body }) => `${id} ${JSON.stringify(body)}`),
            );
            expect(left.sort()).toEqual(kept.sort());
            m = await reopen(m, OPTIONS);
          }
          await m.db.close();
        },
      ),
      { numRuns: 25 },
    );
  });

  it('what is left is told without what only the files still hold', async () => {
    const { db } = await machine({ upkeep: { automatic: false } });
    const dropped = await db.put('c', 'a', 'dropped');
    for (let n = 0; n < 100; n++) await db.put('c', `k${n}`, n);
    await db.put('c', 'a', 'kept');
    await db.setRetention('c', { keep: 'last', versions: 1 });
    // Too little is dead for a segment to be written anew.
    expect(await db.jobEnded(db.compact().id)).toMatchObject({ state: 'done', result: { versionsDropped: 1, recordsDropped: 0 } });
    const told = drain(db.changes({ partial: true }));
    expect(told).toHaveLength(101);
    expect(told.join()).not.toContain(dropped.id);
    await db.close();
  });

  it('a proof of what was dropped is refused, one of what was kept holds', async () => {
    const { db } = await machine(OPTIONS);
    const ids = [];
    for (let n = 0; n < 10; n++) ids.push((await db.put('c', 'a', n)).id);
    await db.setRetention('c', { keep: 'last', versions: 2 });
    await compacted(db);
    expect(await db.proof(ids[0]!).catch((error: unknown) => isVarveError(error, 'TRIMMED'))).toBe(true);
    const { root } = (await db.root(1))!;
    expect(await db.proof(ids[9]!)).toMatchObject({ root });
    await db.close();
  });
});

describe('after an erasure', () => {
  it('the feed tells the record without its body, whether or not it is still in a file', async () => {
    const { db } = await machine(OPTIONS);
    const secret = await db.put('c', 'ann', 'secret');
    await db.put('c', 'bob', 'other');
    const reader = db.changes();
    // Read ahead before the erasure.
    expect(reader.next(1).map(({ id }) => id)).toEqual([secret.id]);
    const again = db.changes();
    const job = await db.erase({ collection: 'c', key: 'ann', reason: 'asked to' });
    const told = again.next();
    expect(told.map(({ key, erased, body }) => [key, erased, body])).toEqual([
      ['ann', true, undefined],
      ['bob', false, 'other'],
    ]);
    expect(told[0]!.hash).toBe(secret.hash);
    await db.jobEnded(job.id);
    expect(db.changes().next()[0]).toMatchObject({ id: secret.id, erased: true, body: undefined, hash: secret.hash });
    await db.close();
  });
});
