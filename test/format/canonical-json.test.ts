import fc from 'fast-check';
import stableStringify from 'fast-json-stable-stringify';
import { describe, expect, it } from 'vitest';
import { isVarveError, type VarveError } from '../../engine/errors.js';
import { canonicalJson } from '../../engine/format/canonical-json.js';

function text(value: unknown): string {
  return canonicalJson(value).toString('utf8');
}

function refusal(value: unknown): VarveError<'INVALID'>['details'] {
  try {
    canonicalJson(value);
  } catch (error) {
    if (isVarveError(error, 'INVALID')) {
      expect(error.message).toContain(error.details.path);
      return error.details;
    }
    throw error;
  }
  throw new Error('was not refused');
}

/** `levels` arrays inside each other. */
function nested(levels: number): unknown {
  let value: unknown = [];
  for (let i = 1; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

describe('canonical JSON', () => {
  it('equals fast-json-stable-stringify for every JSON value', () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 6, withCrossShrink: true },
        fc.constantFrom(null, true, false),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer(),
        fc.maxSafeInteger(),
        fc.string({ unit: 'binary', maxLength: 80 }),
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.array(tie('value'), { maxLength: 6 }),
        fc.dictionary(fc.string({ unit: 'binary', maxLength: 6 }), tie('value'), { maxKeys: 8 }),
      ),
    }));
    fc.assert(
      fc.property(value, (one) => {
        expect(canonicalJson(one).equals(Buffer.from(stableStringify(one)))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('sorts keys whatever the order they came in, again and again', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ maxLength: 3 }), { minLength: 1, maxLength: 60 }), (keys) => {
        const one = Object.fromEntries(keys.map((key, i) => [key, i]));
        const other = Object.fromEntries(keys.map((key, i): [string, number] => [key, i]).reverse());
        const expected = stableStringify(one);
        for (const value of [one, other, one]) expect(text(value)).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  it('writes every UTF-16 unit as JSON.stringify does, in short and in long strings', () => {
    for (let c = 0; c < 0x10000; c += c < 0x900 ? 1 : 97) {
      if (c >= 0xd800 && c <= 0xdfff) continue;
      const one = `a${String.fromCharCode(c)}b`;
      expect(text(one)).toBe(JSON.stringify(one));
      const long = one.repeat(30);
      expect(text(long)).toBe(JSON.stringify(long));
    }
    for (const pair of ['\u{10000}', '\u{1f600}', '\u{10ffff}'])
      expect(text([pair, pair.repeat(40)])).toBe(JSON.stringify([pair, pair.repeat(40)]));
  });

  it('writes numbers as JSON.stringify does, and -0 as 0', () => {
    for (const value of [
      0,
      -0,
      1,
      9,
      10,
      99,
      100,
      999999999,
      1000000000,
      4294967295,
      4294967296,
      -1,
      2 ** 53,
      1e21,
      1e-7,
      0.1,
      5e-324,
      Number.MAX_VALUE,
    ]) {
      expect(text(value)).toBe(JSON.stringify(value));
    }
  });

  it('writes integers and decimals of every size as JSON.stringify does', () => {
    const decimal = fc
      .tuple(fc.integer({ min: -(10 ** 12), max: 10 ** 12 }), fc.integer({ min: 0, max: 8 }))
      .map(([n, places]) => n / 10 ** places);
    const near = fc.tuple(decimal, fc.integer({ min: -3, max: 3 })).map(([n, steps]) => n * (1 + steps * Number.EPSILON));
    fc.assert(
      fc.property(
        fc.oneof(
          decimal,
          near,
          fc.maxSafeInteger(),
          fc.integer({ min: -5000, max: 5000 }).map((n) => n / 100),
          fc.nat(20).map((n) => 10 ** n - 1),
          fc.nat(20).map((n) => -(10 ** n)),
        ),
        (value) => {
          expect(text(value)).toBe(JSON.stringify(value));
        },
      ),
      { numRuns: 5000 },
    );
    for (const value of [
      21474835.99,
      21474836,
      21474836.01,
      2 ** 32 * 1e6 - 1,
      2 ** 32 * 1e6,
      2 ** 32 * 1e6 + 1,
      0.01,
      0.005,
      0.015,
      0.1 + 0.2,
      1e-7,
    ]) {
      expect(text([value, -value])).toBe(JSON.stringify([value, -value]));
    }
  });

  it('keeps an own __proto__ property and reads nothing inherited', () => {
    expect(text(JSON.parse('{"b":1,"__proto__":{"a":2}}'))).toBe('{"__proto__":{"a":2},"b":1}');
    expect(text(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}');
  });

  it('refuses what JSON cannot hold and says where', () => {
    class Point {
      x = 1;
    }
    const cases: [unknown, string][] = [
      [undefined, 'body'],
      [{ a: undefined }, 'body.a'],
      [[1, () => 1], 'body[1]'],
      [{ 'odd key': [Symbol('s')] }, 'body["odd key"][0]'],
      [{ a: 1n }, 'body.a'],
      [[Number.NaN], 'body[0]'],
      [Number.POSITIVE_INFINITY, 'body'],
      [{ a: '\ud800' }, 'body.a'],
      [{ a: `${'x'.repeat(100)}\udc00` }, 'body.a'],
      ['\ud800a', 'body'],
      [{ '\udfff': 1 }, 'body["\\udfff"]'],
      [new Date(0), 'body'],
      [{ m: new Map() }, 'body.m'],
      [[new Point()], 'body[0]'],
      [new Uint8Array(2), 'body'],
      [new String('a'), 'body'],
      [{ a: { toJSON: () => 1 } }, 'body.a.toJSON'],
      // biome-ignore lint/suspicious/noSparseArray: the hole is what is tested
      [[1, , 3], 'body[1]'],
      [new Array(3), 'body[0]'],
    ];
    for (const [value, path] of cases) expect(refusal(value).path).toBe(path);
    expect(refusal({ at: new Date(0) }).expected).toContain('toISOString');
  });

  it('names the first unfit thing in key order', () => {
    expect(refusal({ z: undefined, a: undefined }).path).toBe('body.a');
  });

  it('holds 64 levels and refuses the 65th, and refuses a cycle', () => {
    expect(JSON.parse(text(nested(64)))).toEqual(nested(64));
    expect(refusal(nested(65)).expected).toContain('64');
    const cycle: { me?: unknown } = {};
    cycle.me = cycle;
    expect(refusal(cycle).expected).toContain('64');
  });

  it('refuses what is over the limit as TOO_LARGE and takes what is exactly at it', () => {
    const fits = 'x'.repeat(98);
    expect(canonicalJson(fits, { maxBytes: 100 }).length).toBe(100);
    for (const value of [
      `${fits}x`,
      { a: ['x'.repeat(50), 'x'.repeat(50)] },
      'é'.repeat(60),
      Array.from({ length: 5000 }, (_, i) => `item ${i}`),
    ]) {
      expect(() => canonicalJson(value, { maxBytes: 100, path: 'line 3' })).toThrow(
        expect.objectContaining({ code: 'TOO_LARGE', details: { what: 'line 3', limit: 100 } }),
      );
    }
    expect(canonicalJson(fits, { maxBytes: 100 }).length).toBe(100);
  });

  it('gives bytes of its own each time, also after large ones and after refusals', () => {
    const large = { text: 'é"'.repeat(2_000_000), list: Array.from({ length: 50_000 }, (_, i) => i) };
    const first = canonicalJson({ a: 1 });
    expect(canonicalJson(large, { maxBytes: 64 * 1024 * 1024 }).equals(Buffer.from(stableStringify(large)))).toBe(true);
    expect(() => canonicalJson([1, 2, undefined])).toThrow();
    expect(text({ b: 2 })).toBe('{"b":2}');
    expect(first.toString()).toBe('{"a":1}');
  });

  it('lets a getter canonicalise something else meanwhile', () => {
    const value = {
      a: 'before',
      get b() {
        return canonicalJson({ deep: 'é'.repeat(100_000) }).length;
      },
      c: 'after',
    };
    expect(text(value)).toBe(stableStringify(value));
  });
});
