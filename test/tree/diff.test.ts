import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffTrees } from '../../engine/tree/diff.js';
import { NodeCache } from '../../engine/tree/tree-store.js';
import { applyToModel, bodyOf, changeRuns, fold, type Model, openStore, run, sortedKeys, versionKey } from './support.js';

const hex = (n: number | undefined): string | undefined => (n === undefined ? undefined : Buffer.from(bodyOf(n)).toString('hex'));

describe('the diff of two trees', () => {
  it('is what differs between two maps, in one store or in two', async () => {
    await fc.assert(
      fc.asyncProperty(changeRuns, changeRuns, fc.boolean(), async (first, second, related) => {
        const here = await openStore({ targetBytes: 64 });
        const there = await openStore({ targetBytes: 64 });
        const left: Model = new Map();
        applyToModel(left, new Map(first));
        const right: Model = related ? new Map(left) : new Map();
        applyToModel(right, new Map(second));
        const a = { store: here, root: await fold(here, undefined, run(left)) };
        const b = related
          ? { store: here, root: await fold(here, a.root, run(second)) }
          : { store: there, root: await fold(there, undefined, run(right)) };
        const expected = sortedKeys(new Set([...left.keys(), ...right.keys()]))
          .filter((key) => left.get(key) !== right.get(key))
          .map((key) => ({ key, left: hex(left.get(key)), right: hex(right.get(key)) }));
        const found = [...diffTrees(a, b)].map((d) => ({
          key: d.key.toString('latin1'),
          left: d.left?.toString('hex'),
          right: d.right?.toString('hex'),
        }));
        expect(found).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it('reads few nodes where little differs', async () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => versionKey(`k${i.toString().padStart(6, '0')}`, 1));
    const model: Model = new Map(keys.map((key, i) => [key, i]));
    const caches = [new NodeCache(1 << 26), new NodeCache(1 << 26)] as const;
    const sides = [];
    for (const [i, cache] of caches.entries()) {
      const store = await openStore({ cache, targetBytes: 4096 });
      if (i === 1) for (const at of [0, 777, 19_999]) model.set(keys[at]!, 1_000_000 + at);
      sides.push({ store, root: await fold(store, undefined, run(model)) });
    }
    expect([...diffTrees(sides[0]!, sides[1]!)].map((d) => keys.indexOf(d.key.toString('latin1')))).toEqual([0, 777, 19_999]);
    expect(caches[0].nodes).toBeLessThan(20);
    expect(caches[1].nodes).toBeLessThan(20);
  });
});
