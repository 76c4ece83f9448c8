/** A plan that two make is the plan that one makes: half of the entities from the files of the tree alone, the other half up to there. */
import { describe, expect, it } from 'vitest';
import { Cancelled } from '../../engine/compaction/pace.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { type DropPlan, planDrops } from '../../engine/retention/plan.js';
import { planBeside } from '../../engine/retention/plan-beside.js';
import { KEEP_ALL, type Retention } from '../../engine/retention/policy.js';
import { entitiesOf } from '../../engine/retention/tree-entities.js';
import { halfWay, LeafWalk } from '../../engine/tree/leaf-walk.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { fold, openStore, run, versionKey } from '../tree/support.js';

const RETENTIONS = new Map<string, Retention>([
  ['a', { keep: 'last', versions: 1 }],
  ['c', { keep: 'last', versions: 3 }],
]);

async function filled(seed: number, hottest: number) {
  const random = new SeededRandom(seed);
  const machine = new MemoryPlatform();
  const store = await openStore({ machine });
  const versions = Array.from({ length: 800 }, (_, i): [string, number] => {
    const collection = ['a', 'b', 'c', 'd'][random.below(4)]!;
    const key = random.below(100) < hottest ? 'hot' : `k${random.below(60)}`;
    return [versionKey(key, i + 1, collection), i];
  });
  return { machine, store, root: await fold(store, undefined, run(versions)) };
}

/** As `planned` in trimming.ts does it. */
async function planned(store: Awaited<ReturnType<typeof openStore>>, root: TreeRoot, machine?: MemoryPlatform): Promise<DropPlan> {
  const rest = { snapshots: [250, 500], now: 0 };
  const from = machine && halfWay(store.readerInOrder(), root);
  const task = from && { ...store.place, root, from, retentions: RETENTIONS, ...rest };
  const part = task && structuredClone(await planBeside(machine!, structuredClone(task), async () => {}));
  const walk = (isAll: boolean) => new LeafWalk(store.readerInOrder(), root, isAll || from === undefined ? {} : { until: from });
  const planning = planDrops(
    { retentionOf: (collection) => RETENTIONS.get(collection) ?? KEEP_ALL, ...rest },
    (isAll) => entitiesOf(walk(isAll)),
    () => [{ seq: 790, refs: [10, 400] }],
    part && Promise.resolve(part),
  );
  for (let step = planning.next(); ; step = planning.next()) {
    if (step.done === true) return step.value;
    await step.value;
  }
}

describe('a plan that two make', () => {
  it('is the plan that one makes', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { machine, store, root } = await filled(seed, [0, 30, 90][seed % 3]!);
      const alone = await planned(store, root);
      const both = await planned(store, root, machine);
      expect(alone.drops.size).toBeGreaterThan(50);
      expect([...both.drops.values()]).toEqual([...alone.drops.values()]);
      expect(both.drops.size).toBe(alone.drops.size);
      expect(both.horizons).toEqual(alone.horizons);
    }
  });

  it('parts the tree between two entities, whichever is hot', async () => {
    for (const hottest of [0, 50, 100]) {
      const { store, root } = await filled(99, hottest);
      const from = halfWay(store.readerInOrder(), root)!;
      const entities = (range: object) => Array.from(entitiesOf(new LeafWalk(store.readerInOrder(), root, range)), ({ count }) => count);
      const [first, second, all] = [entities({ until: from }), entities({ from }), entities({})];
      expect([...first, ...second]).toEqual(all);
      expect(first.length).toBeGreaterThan(0);
    }
    const { store, root } = await filled(99, 0);
    expect([...entitiesOf(new LeafWalk(store.readerInOrder(), root, { from: Buffer.from([0xff]) }))]).toEqual([]);
    expect([...entitiesOf(new LeafWalk(store.readerInOrder(), root, { until: Buffer.from([0]) }))]).toEqual([]);
  });

  it('ends with what its pace throws', async () => {
    const { machine, store, root } = await filled(3, 0);
    const task = { ...store.place, root, from: Buffer.alloc(0), retentions: RETENTIONS, snapshots: [], now: 0 };
    const many = { ...task, retentions: new Map<string, Retention>() };
    await planBeside(machine, many, async () => {});
    const big = await filledBig();
    const cancel = async (): Promise<void> => {
      throw new Cancelled();
    };
    await expect(planBeside(big.machine, { ...task, ...big.store.place, root: big.root }, cancel)).rejects.toBeInstanceOf(Cancelled);
  });
});

/** More versions than a slice has. */
async function filledBig() {
  const machine = new MemoryPlatform();
  const store = await openStore({ machine });
  const versions = Array.from({ length: 3000 }, (_, i): [string, number] => [versionKey(`k${i % 700}`, i + 1, 'a'), i]);
  return { machine, store, root: await fold(store, undefined, run(versions)) };
}
