/** Versions taken out of a tree in one pass, and others put in by the same: what is left is the tree of what is left. */
import { describe, expect, it } from 'vitest';
import { entityKey, splitEntityKey } from '../../engine/format/keys.js';
import { Memtable } from '../../engine/memtable.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { SeqSet } from '../../engine/retention/seq-set.js';
import { entitiesOf } from '../../engine/retention/tree-entities.js';
import { NodeCache, type TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { noPause, openStore } from './support.js';

const SEED = Number(process.env['SEED'] ?? 20_261_121);

interface Version {
  readonly entity: string;
  readonly seq: number;
}

function tableOf(versions: readonly Version[]): Memtable {
  const table = new Memtable();
  for (const { entity, seq } of versions) table.add(entity, seq, seq * 10, 1 + (seq % 2), seq - 1, new Uint8Array(32).fill(seq));
  return table;
}

function build(store: TreeStore, root: TreeRoot | undefined, versions: readonly Version[]): Promise<TreeRoot> {
  return store.foldVersions(root, tableOf(versions).run(), 1, noPause);
}

function someVersions(random: SeededRandom, count: number): Version[] {
  const entity = (): string => entityKey(random.pick(['a', 'aa', 'zz']), `k${'long '.repeat(random.below(3))}${random.below(60)}`);
  const hot = entityKey('a', 'hot');
  return Array.from({ length: count }, (_, i) => ({ entity: random.below(5) === 0 ? hot : entity(), seq: 1 + i * 3 + random.below(3) }));
}

describe('a fold that drops versions', () => {
  it('leaves the root that a fresh build of the rest has, and counts what went (seed in SEED)', async () => {
    const random = new SeededRandom(SEED);
    for (let round = 0; round < 40; round++) {
      // A cache of next to nothing: the walk ahead and the fold behind it then hold different objects for one node.
      const store = await openStore(round % 3 === 0 ? { cache: new NodeCache(1) } : {});
      const all = someVersions(random, 20 + random.below(700));
      const old = all.slice(0, Math.ceil(all.length * 0.8));
      const added = all.slice(old.length);
      const drops = new SeqSet();
      const share = random.pick([0, 1, 5, 9, 10]);
      for (const { seq } of old) if (random.below(10) < share) drops.add(seq);
      // Seqs that no tree holds do no harm.
      drops.add(2 ** 40);
      const before = await build(store, undefined, old);
      const { root, dropped } = await store.foldDropping(before, tableOf(added).run(), drops, 2, noPause);

      const left = all.filter(({ seq }) => !drops.has(seq));
      const fresh = await openStore();
      const expected = left.length === 0 ? root : await build(fresh, undefined, left);
      expect([root.entries, Buffer.from(root.hash).toString('hex')]).toEqual([left.length, Buffer.from(expected.hash).toString('hex')]);
      const counts = new Map<string, number>();
      for (const { entity, seq } of old) {
        const { collection } = splitEntityKey(entity);
        if (drops.has(seq)) counts.set(collection, (counts.get(collection) ?? 0) + 1);
      }
      expect(new Map(dropped)).toEqual(counts);
      store.close();
      fresh.close();
    }
  });
});

describe('a walk over the leaves', () => {
  it('gathers the versions of each entity, newest first, across the ends of leaves', async () => {
    const random = new SeededRandom(SEED + 1);
    const store = await openStore();
    const versions = someVersions(random, 900);
    const root = await build(store, undefined, versions);
    const byEntity = new Map<string, number[]>();
    for (const { entity, seq } of versions) byEntity.set(entity, [seq, ...(byEntity.get(entity) ?? [])]);
    const expected = [...byEntity]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([entity, seqs]) => ({ collection: splitEntityKey(entity).collection, seqs }));
    const found = [];
    for (const { collection, count, seqs, times, kinds } of entitiesOf(store.leaves(root))) {
      const columns = Array.from({ length: count }, (_, i) => [seqs[i]!, times[i]!, kinds[i]!]);
      for (const [seq, time, kind] of columns) expect([time, kind]).toEqual([seq! * 10, 1 + (seq! % 2)]);
      found.push({ collection, seqs: columns.map(([seq]) => seq) });
    }
    expect(found).toEqual(expected);
    expect([...entitiesOf(store.leaves(undefined))]).toEqual([]);
    store.close();
  });
});
