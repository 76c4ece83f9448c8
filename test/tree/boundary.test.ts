import { describe, expect, it } from 'vitest';
import { BoundaryRule } from '../../engine/tree/boundary.js';
import { bytesOf, DATABASE_ID, versionKey } from './support.js';

const KEY_BYTES = 20;
const SIZE = KEY_BYTES + 47 + 2;

/** Lengths of the leaves that `count` keys make. */
function leaves(rule: BoundaryRule, count: number, level = 0): number[] {
  const lengths: number[] = [];
  let filled = 0;
  let entries = 0;
  for (let i = 0; i < count; i++) {
    const key = bytesOf(versionKey(i.toString().padStart(11, '0'), 1));
    filled += SIZE;
    entries++;
    if (!rule.ends(level, entries, filled, SIZE, key, 0, key.length)) continue;
    lengths.push(filled);
    filled = 0;
    entries = 0;
  }
  return lengths;
}

describe('the boundary rule', () => {
  const rule = new BoundaryRule(DATABASE_ID);

  it('makes nodes of about the target with little variance, none below the minimum or far beyond the cap', () => {
    const lengths = leaves(rule, 200_000);
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    const deviation = Math.sqrt(lengths.reduce((sum, length) => sum + (length - mean) ** 2, 0) / lengths.length);
    expect(mean).toBeGreaterThan(3900);
    expect(mean).toBeLessThan(4300);
    expect(deviation / mean).toBeLessThan(0.3);
    for (const length of lengths) {
      expect(length).toBeGreaterThanOrEqual(1024);
      expect(length).toBeLessThan(3 * 4096 + SIZE);
    }
  });

  it('decides anew on every level and for every database', () => {
    const key = bytesOf(versionKey('k', 1));
    const verdicts = (r: BoundaryRule, level: number): string =>
      Array.from({ length: 200 }, (_, i) => (r.ends(level, 9, 5000 + i, 600, key.with(2, i), 0, key.length) ? '1' : '0')).join('');
    const other = new BoundaryRule(DATABASE_ID.with(0, 1));
    expect(new Set([verdicts(rule, 0), verdicts(rule, 1), verdicts(rule, 2), verdicts(other, 0)]).size).toBe(4);
    expect(verdicts(rule, 0)).toMatch(/01|10/);
  });

  it('never ends an inner node of one entry, always ends one at the cap', () => {
    const key = bytesOf(versionKey('k', 1));
    expect(rule.ends(1, 1, 50_000, 50_000, key, 0, key.length)).toBe(false);
    expect(rule.ends(1, 2, 3 * 4096, 100, key, 0, key.length)).toBe(true);
    expect(rule.ends(0, 1, 3 * 4096, 100, key, 0, key.length)).toBe(true);
    for (let i = 0; i < 256; i++) expect(rule.ends(0, 9, 1023, 1000, key.with(2, i), 0, key.length)).toBe(false);
  });

  it('is the one the format documents', () => {
    const lengths = leaves(rule, 2000).slice(0, 12);
    expect(lengths.map((length) => length / SIZE)).toMatchInlineSnapshot(`
      [
        96,
        52,
        65,
        49,
        52,
        78,
        57,
        59,
        80,
        75,
        59,
        77,
      ]
    `);
  });
});
