/** JSON Patches from one value to another: right whatever was bounded, short where that is cheap, quick always. */
import * as fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../../engine/index.js';
import { patchOf } from '../../server/patch.js';

/** As a client applies it: on a copy, in a holder, since a patch may put another value in place of it all. */
function patched(from: JsonValue, to: JsonValue): JsonValue {
  const patch = JSON.parse(JSON.stringify(patchOf(from, to)));
  const holder = { '': JSON.parse(JSON.stringify(from)) as JsonValue };
  if (patch.length === 1 && patch[0].path === '') return patch[0].value as JsonValue;
  expect(applyPatch(holder[''], patch).filter((error) => error !== null)).toEqual([]);
  return holder[''];
}

const sorted = (value: unknown): JsonValue => JSON.parse(JSON.stringify(value)) as JsonValue;
const small = fc.jsonValue({ maxDepth: 3 }).map(sorted);

describe('patches', () => {
  it('make the one value of the other', () => {
    fc.assert(
      fc.property(small, small, (from, to) => {
        fc.pre(!JSON.stringify([from, to]).includes('__proto__'));
        expect(patched(from, to)).toEqual(to);
      }),
      { numRuns: 300 },
    );
  });

  it('make one long array of another, whatever was put in, taken out or changed', () => {
    const element = fc.oneof(
      fc.integer({ min: 0, max: 3 }),
      fc.record({ a: fc.integer({ min: 0, max: 2 }), b: fc.array(fc.boolean(), { maxLength: 3 }) }),
    );
    const long = fc.array(element, { minLength: 50, maxLength: 150 });
    fc.assert(
      fc.property(long, long, (from, to) => {
        expect(patched(sorted({ list: from }), sorted({ list: to }))).toEqual(sorted({ list: to }));
      }),
      { numRuns: 60 },
    );
  });

  it('name what changed and nothing else', () => {
    expect(patchOf({ a: 1, b: { c: 2 } }, { a: 1, b: { c: 3 }, d: null })).toEqual([
      { op: 'add', path: '/d', value: null },
      { op: 'replace', path: '/b/c', value: 3 },
    ]);
    expect(patchOf([1, 2, 3], [1, 3])).toEqual([{ op: 'remove', path: '/1' }]);
    expect(patchOf({ 'a/b~c': 1, x: 'y' }, { x: 'y' })).toEqual([{ op: 'remove', path: '/a~1b~0c' }]);
    expect(patchOf({ a: 1 }, { a: 1 })).toEqual([]);
    expect(patchOf(1, 'x')).toEqual([{ op: 'replace', path: '', value: 'x' }]);
    const list = Array.from({ length: 1000 }, (_, n) => ({ n }));
    expect(patchOf(list, list.toSpliced(500, 1))).toEqual([{ op: 'remove', path: '/500' }]);
    expect(patchOf(list, list.with(7, { n: -1 }))).toEqual([{ op: 'replace', path: '/7/n', value: -1 }]);
  });

  it('are never much longer than the new value whole', () => {
    const from = Array.from({ length: 1500 }, (_, n) => ({ [`k${n}`]: n }));
    const to = from.map((_, n) => n);
    expect(patchOf(from, to)).toEqual([{ op: 'replace', path: '', value: to }]);
  });

  it('take a bounded time for bodies made to take long', () => {
    const grid = (seed: number) =>
      Array.from({ length: 60 }, (_, i) => Array.from({ length: 60 }, (_, j) => [i * seed, j, [seed, [i, j, seed]]]));
    const wide = (seed: number) => Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`k${n * seed}`, n]));
    const deep = (leaf: number): JsonValue =>
      Array.from({ length: 60 }).reduce<JsonValue>((inner) => [inner, 1, inner === 1 ? leaf : 2], leaf);
    const flat = (seed: number) => Array.from({ length: 250_000 }, (_, n) => n * seed);
    const list = (seed: number) => ({ list: flat(seed), grid: [grid(seed)] });
    for (const make of [grid, wide, deep, flat, list]) {
      const [from, to] = [sorted(make(1)), sorted(make(2))];
      const began = process.cpuUsage();
      const patch = patchOf(from, to);
      const { user } = process.cpuUsage(began);
      // Half a second is usual on a busy machine; without its bounds each of these takes minutes, or the whole memory.
      expect(user / 1e6, `${make.name}: ${patch.length} operations`).toBeLessThan(10);
      expect(JSON.stringify(patched(from, to)) === JSON.stringify(to), make.name).toBe(true);
    }
  });
});
