import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SortedKeys } from '../../engine/sorted-keys.js';

function drain(iterator: Iterator<string, undefined>): string[] {
  const out: string[] = [];
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) out.push(next.value);
  return out;
}

describe('SortedKeys', () => {
  it('gives every key at or after the start, in order, whatever order they came in', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ maxLength: 4 }), { maxLength: 200 }), fc.string({ maxLength: 4 }), (keys, from) => {
        const set = new SortedKeys();
        for (const key of keys) set.add(key);
        expect(drain(set.from(from))).toEqual(keys.filter((key) => key >= from).sort());
      }),
    );
  });

  it('keeps order over many merged runs', () => {
    const set = new SortedKeys();
    const keys = Array.from({ length: 50_000 }, (_, i) => String((i * 7919) % 50_000).padStart(6, '0'));
    for (const key of keys) set.add(key);
    expect(drain(set.from('025000'))).toEqual(keys.filter((key) => key >= '025000').sort());
  });

  it('does not let later additions disturb an iterator', () => {
    const set = new SortedKeys();
    for (let i = 0; i < 4000; i++) set.add(`k${i}`);
    const iterator = set.from('');
    const first = iterator.next().value;
    for (let i = 4000; i < 9000; i++) set.add(`k${i}`);
    expect([first, ...drain(iterator)]).toHaveLength(4000);
  });
});
