import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entityKey, treeKey } from '../../engine/format/keys.js';
import { NodeCache, type TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { MAX_SEQ } from '../../engine/types.js';
import { bodyOf, bytesOf, fold, type Model, openStore, run, sortedKeys, versionKey, versionKeys } from './support.js';

const models: fc.Arbitrary<Model> = fc.uniqueArray(versionKeys, { maxLength: 150 }).map((keys) => new Map(keys.map((key, i) => [key, i])));

async function treeOf(model: Model, cacheBytes = 1 << 20): Promise<{ store: TreeStore; root: TreeRoot; keys: string[] }> {
  const store = await openStore({ targetBytes: 64, cache: new NodeCache(cacheBytes) });
  return { store, root: await fold(store, undefined, run(model)), keys: sortedKeys(model.keys()) };
}

type Step = readonly ['seek', string] | readonly ['next'] | readonly ['previous'] | readonly ['first'] | readonly ['last'];
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.tuple(
        fc.constant('seek' as const),
        fc.oneof(versionKeys, fc.string({ unit: fc.constantFrom('\0', 'a', 'c', 'h', 'ÿ'), maxLength: 5 })),
      ),
    },
    { weight: 3, arbitrary: fc.constant(['next'] as const) },
    { weight: 1, arbitrary: fc.constant(['previous'] as const) },
    { weight: 1, arbitrary: fc.constantFrom(['first'] as const, ['last'] as const) },
  ),
  { maxLength: 60 },
);

describe('a cursor', () => {
  it('moves as an index into a sorted array does', async () => {
    await fc.assert(
      fc.asyncProperty(models, steps, fc.constantFrom(1, 1 << 20), async (model, moves, cacheBytes) => {
        const { store, root, keys } = await treeOf(model, cacheBytes);
        const cursor = store.cursor(root);
        let at = -1;
        for (const move of moves) {
          let answer: boolean;
          if (move[0] === 'seek') {
            answer = cursor.seek(bytesOf(move[1]));
            at = keys.findIndex((key) => key >= move[1]);
          } else if (move[0] === 'first' || move[0] === 'last') {
            answer = move[0] === 'first' ? cursor.seekFirst() : cursor.seekLast();
            at = move[0] === 'first' ? (keys.length > 0 ? 0 : -1) : keys.length - 1;
          } else {
            answer = move[0] === 'next' ? cursor.next() : cursor.previous();
            if (at >= 0) at = move[0] === 'next' ? at + 1 : at - 1;
            if (at >= keys.length) at = -1;
          }
          expect(answer).toBe(at >= 0);
          expect(cursor.valid).toBe(at >= 0);
          if (at < 0) continue;
          const key = keys[at]!;
          expect(cursor.keyLatin1()).toBe(key);
          expect(cursor.key().toString('latin1')).toBe(key);
          expect(cursor.value().equals(bodyOf(model.get(key)!))).toBe(true);
          expect(cursor.entity()).toBe(key.slice(0, -6));
          expect(versionKey('', cursor.seq(), '').slice(-6)).toBe(key.slice(-6));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('skips from entity to entity and finds in each the version as of a seq', async () => {
    await fc.assert(
      fc.asyncProperty(models, fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(2 ** 32, MAX_SEQ)), async (model, seq) => {
        const { store, root, keys } = await treeOf(model);
        const inverted = versionKey('', seq, '').slice(-6);
        const entities: string[] = [];
        const versions: string[] = [];
        const expected: [string, string | undefined][] = [];
        for (const entity of new Set(keys.map((key) => key.slice(0, -6)))) {
          expected.push([entity, keys.find((key) => key.slice(0, -6) === entity && key.slice(-6) >= inverted)]);
        }
        const cursor = store.cursor(root);
        for (cursor.seekFirst(); cursor.valid; cursor.nextEntity()) entities.push(cursor.entity());
        expect(entities).toEqual(expected.map(([entity]) => entity));
        for (cursor.seekFirst(); cursor.settle(seq); cursor.nextEntity()) versions.push(cursor.keyLatin1());
        expect(versions).toEqual(expected.flatMap(([, key]) => (key === undefined ? [] : [key])));
        const bound = bytesOf(entities[entities.length >> 1] ?? 'c');
        for (cursor.seekFirst(); cursor.valid; cursor.next()) expect(cursor.isBefore(bound)).toBe(Buffer.compare(cursor.key(), bound) < 0);
        for (const [entity, key] of [...expected, ['c\0absent\0', undefined] as const]) {
          const version = store.ceiling(root, entity, seq);
          expect(version === undefined ? undefined : Buffer.from(treeKey(entity, version.seq)).toString('latin1')).toBe(key);
          if (key !== undefined) expect(version?.value.equals(bodyOf(model.get(key)!))).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('does not mind folds into newer versions of its tree', async () => {
    const store = await openStore({ targetBytes: 64 });
    const keys = Array.from({ length: 200 }, (_, i) => versionKey(`k${i}`, 1));
    const root = await fold(store, undefined, run(keys.map((key, i) => [key, i])));
    const cursor = store.cursor(root);
    let seen = 0;
    for (cursor.seekFirst(); cursor.valid; cursor.next()) {
      if (seen++ % 50 === 0) await fold(store, root, run(keys.map((key) => [key, undefined])), seen);
    }
    expect(seen).toBe(200);
  });
});

describe('the store', () => {
  it('counts what lies between two keys, and gets exact ones', async () => {
    await fc.assert(
      fc.asyncProperty(models, versionKeys, versionKeys, async (model, from, to) => {
        const { store, root, keys } = await treeOf(model);
        expect(store.countRange(root, bytesOf(from), bytesOf(to))).toBe(keys.filter((key) => key >= from && key < to).length);
        expect(store.countRange(root, bytesOf(''), bytesOf('\xff'))).toBe(keys.length);
        expect(store.hasKeyBetween(root, bytesOf(from), bytesOf(to))).toBe(keys.some((key) => key >= from && key < to));
        for (const key of [from, to])
          expect(store.get(root, bytesOf(key))?.toString('hex')).toBe(
            model.has(key) ? Buffer.from(bodyOf(model.get(key)!)).toString('hex') : undefined,
          );
      }),
      { numRuns: 100 },
    );
  });

  it('tells entities apart of which one begins with the other', async () => {
    const model: Model = new Map([
      [versionKey('a', 5), 1],
      [versionKey('ab', 5), 2],
      [versionKey('b', 5), 3],
    ]);
    const { store, root } = await treeOf(model);
    expect(store.ceiling(root, entityKey('c', 'a'), 4)).toBeUndefined();
    expect(store.ceiling(root, entityKey('c', 'a'), 5)?.seq).toBe(5);
    expect(store.ceiling(root, entityKey('c', 'aa'), 9)).toBeUndefined();
    expect(store.ceiling(root, entityKey('c', 'ab'), 9)?.value.equals(bodyOf(2))).toBe(true);
  });
});
