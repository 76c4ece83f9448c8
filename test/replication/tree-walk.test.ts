import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex } from '../../engine/format/hash.js';
import type { TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import type { Seq } from '../../engine/types.js';
import { holdTree } from '../../engine/verifying/held-trees.js';
import { sideOf } from '../../replication/comparison.js';
import { readNodes } from '../../replication/tree-service.js';
import { type TreeSide, UnprovenTree, walkTrees } from '../../replication/tree-walk.js';
import { applyToModel, bodyOf, changeRuns, fold, type Model, openStore, run, sortedKeys, versionKey } from '../tree/support.js';

const hexOf = (value: Uint8Array | undefined): string | undefined => (value === undefined ? undefined : hex(value));

function side(store: TreeStore, root: TreeRoot): TreeSide {
  return sideOf(holdTree(store, root, { seq: 1 as Seq, root: hex(root.hash) as never, entries: root.entries }));
}

async function sideOfModel(model: Model, targetBytes = 64): Promise<TreeSide> {
  const store = await openStore({ targetBytes });
  return side(store, await fold(store, undefined, run(model)));
}

describe('the walk over two copies of a tree', () => {
  it('finds what differs between two maps', async () => {
    await fc.assert(
      fc.asyncProperty(changeRuns, changeRuns, fc.boolean(), async (first, second, related) => {
        const left: Model = new Map();
        applyToModel(left, new Map(first));
        const right: Model = related ? new Map(left) : new Map();
        applyToModel(right, new Map(second));
        const walk = await walkTrees(await sideOfModel(left), await sideOfModel(right));
        const told = walk.differences.map(({ ours, theirs }) => `${hexOf(ours)} ${hexOf(theirs)}`).sort();
        const value = (n: number | undefined) => (n === undefined ? undefined : hex(bodyOf(n)));
        const expected = sortedKeys(new Set([...left.keys(), ...right.keys()]))
          .filter((key) => left.get(key) !== right.get(key))
          .map((key) => `${value(left.get(key))} ${value(right.get(key))}`);
        expect(told).toEqual(expected.sort());
        expect(walk.truncated).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  const COUNT = 100_000;
  const keys = Array.from({ length: COUNT }, (_, i) => versionKey(`k${i.toString().padStart(6, '0')}`, i + 1));
  const bigModel = (): Model => new Map(keys.map((key, i) => [key, i]));

  it('finds 10 differences of 100,000 entries with few nodes, one question a level', async () => {
    const ours = await sideOfModel(bigModel(), 4096);
    const changed = bigModel();
    const places = [5, 11_111, 22_222, 33_333, 44_444, 55_555, 66_666, 77_777, 88_888, 99_999];
    for (const [i, at] of places.entries()) {
      if (i % 3 === 2) changed.delete(keys[at]!);
      else changed.set(keys[at]!, COUNT + i);
    }
    const walk = await walkTrees(ours, await sideOfModel(changed, 4096));
    expect(walk.differences.map(({ seq }) => seq)).toEqual(places.map((at) => at + 1));
    expect(walk.differences.map(({ key }) => key)).toEqual(places.map((at) => `k${at.toString().padStart(6, '0')}`));
    expect(walk.differences.filter(({ theirs }) => theirs === undefined)).toHaveLength(3);
    expect(walk.nodes).toBeLessThan(40);
    expect(walk.questions).toBeLessThanOrEqual(4);
  });

  it('reads nothing where the roots are equal', async () => {
    const one = await sideOfModel(bigModel(), 4096);
    const walk = await walkTrees(one, { ...one, read: () => Promise.reject(new Error('nothing was to be read')) });
    expect(walk).toEqual({ differences: [], nodes: 0, questions: 0, truncated: false });
  });

  it('goes on in what comes first where too much differs, and says so', async () => {
    const other: Model = new Map([...bigModel()].map(([key, i]) => [key, i + 1]));
    const walk = await walkTrees(await sideOfModel(bigModel(), 4096), await sideOfModel(other, 4096), { maxNodesALevel: 20 });
    expect(walk.truncated).toBe(true);
    expect(walk.nodes).toBeLessThan(80);
    expect(walk.differences.length).toBeGreaterThan(100);
    expect(walk.differences.map(({ seq }) => seq)).toEqual(walk.differences.map((_, i) => i + 1));
  });

  it('believes no node that lacks the hash its parent names', async () => {
    const ours = await sideOfModel(bigModel(), 4096);
    const changed = bigModel();
    changed.set(keys[500]!, COUNT);
    const theirs = await sideOfModel(changed, 4096);
    for (const lieAt of [0, 1, 2]) {
      let asked = 0;
      const liar: TreeSide = {
        ...theirs,
        async read(refs) {
          const nodes = await theirs.read(refs);
          if (asked++ !== lieAt) return nodes;
          const lie = Buffer.from(nodes[0]!);
          lie.writeUInt8(lie.readUInt8(lie.length - 1) ^ 1, lie.length - 1);
          return [lie, ...nodes.slice(1)];
        },
      };
      await expect(walkTrees(ours, liar)).rejects.toThrow(UnprovenTree);
    }
    await expect(walkTrees(ours, { ...theirs, read: (refs) => Promise.resolve(refs.map(() => undefined)) })).rejects.toThrow(
      'a node is missing',
    );
  });

  it('takes any bytes for an answer with nodes, and none that is not one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 })), fc.nat(5), async (parts, count) => {
        const nodes = await readNodes(parts, count);
        if (nodes !== undefined) expect(nodes).toHaveLength(count);
      }),
    );
    const empty = new Uint8Array(4);
    expect(await readNodes([empty, empty], 2)).toEqual([undefined, undefined]);
    expect(await readNodes([empty, empty], 1)).toBeUndefined();
    expect(await readNodes([empty], 2)).toBeUndefined();
  });
});
