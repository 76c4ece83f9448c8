/** Cursors come back from strangers: the right one goes on, anything else is a 400. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeCursor, encodeCursor, positions, seq } from '../../server/cursor.js';
import { Problem } from '../../server/problem.js';

const place = z.tuple([seq, seq]);
const fixed = { db: 'd', route: 'history', collection: 'c', key: 'k' };

function slugOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Problem) return error.slug;
    throw error;
  }
  return 'nothing';
}

describe('cursors', () => {
  it('give back the question and the place', () => {
    const text = encodeCursor({ ...fixed, order: 'asc' }, [3, 9]);
    expect(decodeCursor(text, fixed, {}, place)).toEqual({ question: { ...fixed, order: 'asc' }, place: [3, 9] });
    expect(decodeCursor(text, fixed, { order: 'asc' }, place).place).toEqual([3, 9]);
  });

  it('stay with the entity, route and database they came from', () => {
    const text = encodeCursor(fixed, [3, 9]);
    for (const other of [{ key: 'l' }, { collection: 'd' }, { route: 'list' }, { db: 'e' }]) {
      expect(slugOf(() => decodeCursor(text, { ...fixed, ...other }, {}, place))).toBe('invalid');
    }
  });

  it('refuse parameters that are not those of the first page, and name them', () => {
    const text = encodeCursor({ ...fixed, order: 'asc' }, [3, 9]);
    expect(() => decodeCursor(text, fixed, { order: 'desc' }, place)).toThrow(/order/);
    expect(() => decodeCursor(text, fixed, { to: 'x' }, place)).toThrow(/to/);
  });

  it('never take what is no cursor', () => {
    const forged = [[9, 9, 9], [-1, 3], [1.5, 2], [2 ** 48, 2], 'x', null, { 0: 1 }].map((value) => encodeCursor(fixed, value));
    const other = Buffer.from(JSON.stringify([2, fixed, [1, 2]])).toString('base64url');
    for (const text of [...forged, other, 'AAAA', '{}', 'a b', encodeCursor(fixed, [1, 2]).slice(0, -3)]) {
      expect(
        slugOf(() => decodeCursor(text, fixed, {}, place)),
        text,
      ).toBe('invalid');
    }
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        expect(slugOf(() => decodeCursor(text, fixed, {}, place))).toBe('invalid');
      }),
    );
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(slugOf(() => decodeCursor(Buffer.from(text).toString('base64url'), fixed, {}, place))).toBe('invalid');
      }),
    );
  });

  it('hold the positions of every shard, unreached ones too', () => {
    const schema = z.tuple([positions, z.string()]);
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.integer({ min: 0, max: 2 ** 48 - 1 })), { minLength: 1 }),
        fc.string({ unit: 'grapheme' }),
        (at, after) => {
          expect(decodeCursor(encodeCursor(fixed, [at, after]), fixed, {}, schema).place).toEqual([at, after]);
        },
      ),
    );
  });
});
