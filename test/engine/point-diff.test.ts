/** The difference of two points in time, against a model that compares every entity at both. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Database, Difference, View } from '../../engine/database.js';
import type { Engine } from '../../engine/engine.js';
import { codeOf, failure, machine } from './support.js';

const KEYS = ['a', 'b', 'c', 'd'];
const COLLECTIONS = ['c', 'd'];

function all(db: Database, from: View, to: View, collection?: string, max?: number): Difference[] {
  const options = collection === undefined ? {} : { collection };
  const told: Difference[] = [];
  // Each stretch by a reader of its own: a place is all there is to know.
  for (let diff = db.diff(from, to, options); diff.place !== undefined; diff = db.diff(from, to, { ...options, after: diff.place })) {
    told.push(...diff.next(max));
    if (diff.place === undefined) break;
  }
  return sorted(told);
}

function model(from: View, to: View, collections: readonly string[]): Difference[] {
  const told: Difference[] = [];
  for (const collection of collections) {
    for (const key of KEYS) {
      const ids = [from, to]
        .map((view) => view.get(collection, key))
        .map((version) => (version === undefined || version.deleted ? null : version.id));
      if (ids[0] !== ids[1]) told.push({ collection, key, from: ids[0]!, to: ids[1]! });
    }
  }
  return sorted(told);
}

const sorted = (list: Difference[]) => [...list].sort((a, b) => `${a.collection} ${a.key}`.localeCompare(`${b.collection} ${b.key}`));

describe('the difference of two points in time', () => {
  it('is what comparing every entity at both gives, whichever comes first', async () => {
    const step = fc.record({
      key: fc.constantFrom(...KEYS),
      collection: fc.constantFrom(...COLLECTIONS),
      what: fc.constantFrom('put', 'put', 'delete', 'checkpoint'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { maxLength: 25 }),
        fc.integer({ min: 1, max: 3 }),
        async (shards, steps, max) => {
          const { db } = await machine({ shards });
          const views = [db.now()];
          let n = 0;
          for (const { key, collection, what } of steps) {
            if (what === 'checkpoint') await db.checkpoint();
            else if (what === 'put') await db.put(collection, key, n++);
            else if (db.now().get(collection, key)?.deleted === false) await db.delete(collection, key);
            views.push(db.now());
          }
          for (const from of [views[0]!, views[Math.floor(views.length / 2)]!, views.at(-1)!]) {
            for (const to of [views[0]!, views[Math.floor(views.length / 3)]!, views.at(-1)!]) {
              expect(all(db, from, to, undefined, max)).toEqual(model(from, to, COLLECTIONS));
              expect(all(db, from, to, 'd')).toEqual(model(from, to, ['d']));
            }
          }
          await db.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('leaves out what came and went in between, and tells one that was made anew', async () => {
    const { db } = await machine();
    const a = await db.put('c', 'a', 1);
    const before = db.now();
    await db.put('c', 'b', 1);
    await db.delete('c', 'b');
    await db.delete('c', 'a');
    const again = await db.put('c', 'a', 1);
    expect(all(db, before, db.now())).toEqual([{ collection: 'c', key: 'a', from: a.id, to: again.id }]);
    await db.close();
  });

  it('costs what changed: it looks at nothing outside the two points', async () => {
    const { db } = await machine();
    for (let n = 0; n < 3000; n += 1000) {
      await db.insert(Array.from({ length: 1000 }, (_, i) => ({ collection: 'c', key: `k${n + i}`, body: n })));
    }
    const before = db.now();
    await db.put('c', 'k5', 'new');
    const diff = db.diff(before, db.now());
    expect(diff.next().map(({ key }) => key)).toEqual(['k5']);
    expect(diff.place).toBeUndefined();
    await db.close();
  });

  it('of system collections is told where it is asked for', async () => {
    const { db } = await machine({ shards: 2 });
    const before = db.now();
    await db.setPlacement('c', 'group:g');
    expect(all(db, before, db.now())).toEqual([]);
    expect(all(db, before, db.now(), '_collections').map(({ key }) => key)).toEqual(['c']);
    await db.close();
  });

  it('reaches no further than a record that is its point', async () => {
    const { db } = await machine({ shards: 2 });
    await db.setPlacement('g', 'group:g');
    const first = await db.put('g', 'a', 1);
    const second = await db.put('g', 'a', 2);
    const [from, to] = [await db.asOf(first.id), await db.asOf(second.id)];
    expect(all(db, from, to, 'g')).toEqual([{ collection: 'g', key: 'a', from: first.id, to: second.id }]);
    expect(await codeOf(() => db.diff(from, to))).toBe('CROSS_SHARD');
    await db.close();
  });

  it('is refused before a horizon, unless a snapshot stands there', async () => {
    const { db } = await machine();
    const first = await db.put('c', 'a', 1);
    const from = await db.asOf(first.id);
    const kept = await db.put('c', 'a', 'kept');
    await db.createSnapshot('kept', kept.id);
    const second = await db.put('c', 'a', 2);
    const running = db.diff(from, db.now());
    const { exactness } = (db as Engine).shardList[0]!;
    exactness.raise('c', { seq: second.seq, time: 0 });
    for (const collection of [undefined, 'c']) {
      const options = collection === undefined ? {} : { collection };
      expect(await failure(() => db.diff(from, db.now(), options))).toMatchObject({ code: 'TRIMMED', details: { horizon: second.id } });
      expect(await codeOf(() => db.diff(db.now(), from, options))).toBe('TRIMMED');
    }
    expect(await codeOf(() => running.next())).toBe('TRIMMED');
    expect(all(db, from, db.now(), 'd')).toEqual([]);
    expect(all(db, await db.asOf(kept.id), db.now())).toEqual([{ collection: 'c', key: 'a', from: kept.id, to: second.id }]);
    await db.close();
  });
});
