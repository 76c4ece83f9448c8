/** Law 3: the root is a function of the entries alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMPTY_ROOT_HASH } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { Random } from '../support/random.js';
import {
  applyToModel,
  changeRuns,
  check,
  contents,
  fold,
  freshHash,
  hexOf,
  type Model,
  modelContents,
  openStore,
  run,
  versionKey,
} from './support.js';

const SEED = Number(process.env['SEED'] ?? 20251);

async function settle(batches: readonly (readonly (readonly [string, number | undefined])[])[], targetBytes: number): Promise<void> {
  const store = await openStore({ targetBytes });
  const model: Model = new Map();
  let root: TreeRoot | undefined;
  for (const [i, batch] of batches.entries()) {
    root = await fold(store, root, run(batch), i + 1);
    applyToModel(model, new Map(batch));
    expect(root.entries).toBe(model.size);
    expect(hexOf(root)).toBe(await freshHash(model, { targetBytes }));
    expect(check(store, root)).toMatchObject({ entries: model.size, problems: [] });
  }
  if (root !== undefined) expect(contents(store, root)).toEqual(modelContents(model));
}

describe('the root hash', () => {
  it('is that of a fresh build after any batches of inserts, replacements and deletes', async () => {
    for (const [targetBytes, numRuns] of [
      [64, 60],
      [256, 60],
      [4096, 15],
    ] as const) {
      await fc.assert(
        fc.asyncProperty(fc.array(changeRuns, { minLength: 1, maxLength: 6 }), (batches) => settle(batches, targetBytes)),
        { numRuns, seed: SEED + targetBytes },
      );
    }
  });

  it.each([
    [128, 1500],
    [4096, 20_000],
  ])('holds for deep trees under random changes (target %i, %i entities; seed in SEED)', async (targetBytes, entities) => {
    const random = new Random(SEED);
    const store = await openStore({ targetBytes });
    const model: Model = new Map();
    let root: TreeRoot | undefined;
    let seq = 1;
    for (let round = 0; round < 12; round++) {
      const batch: [string, number | undefined][] = [];
      const size = random.pick([1, 2, 10, 300, entities]);
      const existing = [...model.keys()];
      for (let i = 0; i < size; i++) {
        if (existing.length > 0 && random.chance(round % 3 === 2 ? 0.8 : 0.2)) batch.push([random.pick(existing), undefined]);
        else batch.push([versionKey(`k${random.chance(0.2) ? 'hot' : random.below(entities)}`, seq), seq]);
        seq += 1 + random.below(3);
      }
      root = await fold(store, root, run(batch), seq);
      applyToModel(model, new Map(batch));
      expect(hexOf(root), `seed ${SEED}, round ${round}`).toBe(await freshHash(model, { targetBytes }));
    }
    expect(check(store, root!).problems).toEqual([]);
    expect(contents(store, root!)).toEqual(modelContents(model));
  });

  it('is the same one entry at a time, in any order, as all at once', async () => {
    const keys = Array.from({ length: 120 }, (_, i) => versionKey(`k${i % 40}`, i + 1));
    const model: Model = new Map(keys.map((key, i) => [key, i]));
    const expected = await freshHash(model, { targetBytes: 64 });
    const random = new Random(SEED);
    for (const order of [keys, [...keys].reverse(), keys.toSorted(() => random.below(3) - 1)]) {
      const store = await openStore({ targetBytes: 64 });
      let root: TreeRoot | undefined;
      for (const key of order) root = await fold(store, root, run([[key, model.get(key)!]]));
      expect(hexOf(root!)).toBe(expected);
    }
  });

  it('comes back when changes are taken back, and only the root collapses', async () => {
    const store = await openStore({ targetBytes: 64 });
    const keys = Array.from({ length: 400 }, (_, i) => versionKey(`k${i.toString().padStart(4, '0')}`, 7));
    const full = await fold(store, undefined, run(keys.map((key, i) => [key, i])));
    expect(full.height).toBeGreaterThan(3);
    for (let kept = 0; kept < 5; kept++) {
      for (const keep of [keys.slice(0, kept), keys.slice(keys.length - kept), keys.slice(200, 200 + kept)]) {
        const gone = keys.filter((key) => !keep.includes(key));
        const few = await fold(store, full, run(gone.map((key) => [key, undefined])));
        expect(hexOf(few)).toBe(await freshHash(new Map(keep.map((key) => [key, keys.indexOf(key)])), { targetBytes: 64 }));
        expect(check(store, few)).toMatchObject({ entries: kept, problems: [] });
        const again = await fold(store, few, run(gone.map((key) => [key, keys.indexOf(key)])));
        expect(hexOf(again)).toBe(hexOf(full));
        expect(again.height).toBe(full.height);
      }
    }
  });

  it('of nothing is that of the empty leaf, from the start or after everything is deleted', async () => {
    const store = await openStore();
    const nothing = await fold(store, undefined, []);
    expect(nothing).toMatchObject({ entries: 0, height: -1 });
    expect(hexOf(nothing)).toBe(Buffer.from(EMPTY_ROOT_HASH).toString('hex'));
    const keys = Array.from({ length: 300 }, (_, i) => versionKey('hot', i + 1));
    const some = await fold(store, nothing, run(keys.map((key, i) => [key, i])));
    const emptied = await fold(store, some, run(keys.map((key) => [key, undefined])));
    expect(emptied).toEqual(nothing);
    expect(hexOf(await fold(store, emptied, run([['absent', undefined]])))).toBe(hexOf(nothing));
    expect(store.cursor(emptied).seekFirst()).toBe(false);
  });

  it('does not change when what is deleted was not there, or what is put was', async () => {
    const store = await openStore();
    const keys = Array.from({ length: 200 }, (_, i) => versionKey(`k${i}`, 1));
    const root = await fold(store, undefined, run(keys.map((key, i) => [key, i])));
    expect(hexOf(await fold(store, root, run(keys.map((key) => [`${key}x`, undefined]))))).toBe(hexOf(root));
    expect(hexOf(await fold(store, root, run(keys.map((key, i) => [key, i]))))).toBe(hexOf(root));
  });

  it('depends on values, and on the database only through boundaries', async () => {
    const model: Model = new Map(Array.from({ length: 300 }, (_, i) => [versionKey(`k${i}`, 1), i]));
    const one = await freshHash(model);
    expect(await freshHash(new Map([...model, [versionKey('k7', 1), 999]]))).not.toBe(one);
    expect(await freshHash(model, { databaseId: new Uint8Array(16) })).not.toBe(one);
    expect(await freshHash(model, { shard: 9 })).toBe(one);
  });
});

describe('golden roots', () => {
  const hot = Array.from({ length: 5000 }, (_, i): [string, number] => [versionKey('hot', i + 1), i]);
  const wide = Array.from({ length: 5000 }, (_, i): [string, number] => [versionKey(`key-${(i * 7919) % 5000}`, i + 1, 'things'), i]);

  it('are pinned for the real node size', async () => {
    expect(await freshHash(new Map([[versionKey('a', 1), 1]]), { targetBytes: 4096 })).toMatchInlineSnapshot(
      `"57d33de94c2bf8eaf3a9bfd58b691d268726715790ba46e6c70495df93b37fba"`,
    );
    expect(await freshHash(new Map(hot), { targetBytes: 4096 })).toMatchInlineSnapshot(
      `"16209098c30b08d8937bdabaab9826082ae4cb3a416d5c747988659a00eacb30"`,
    );
    expect(await freshHash(new Map(wide), { targetBytes: 4096 })).toMatchInlineSnapshot(
      `"5974666508db8696f1ab63fbcdacd34068eb9191e597bd8ff572a39545eb1243"`,
    );
    expect(await freshHash(new Map([...hot, ...wide]), { targetBytes: 4096 })).toMatchInlineSnapshot(
      `"1cdc85f9092fc57306a2dc8630d2af0342741178f778d533570c176bfa9c34bc"`,
    );
  });
});
