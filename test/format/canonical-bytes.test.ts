import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { VarveError } from '../../engine/errors.js';
import { ByteArena } from '../../engine/format/byte-arena.js';
import { appendCanonicalBytes, endCanonicalBytes, sawHighBytes } from '../../engine/format/canonical-bytes.js';
import { forgetShapes } from '../../engine/format/key-shapes.js';
import { canonicalByValue, canonicalFromBytes, type StrictOptions } from '../../engine/format/strict-json.js';
import { jsonValue, nearJson } from '../support/near-json.js';

/** In one pass, or undefined where that is not for it to say. Nothing may lie behind the value but white space. */
function onePass(text: Uint8Array, maxDepth?: number): Buffer | undefined {
  const arena = new ByteArena();
  arena.end = 3;
  const end = appendCanonicalBytes(arena, text, 0, text.length, maxDepth);
  const mayBeNoUtf8 = sawHighBytes();
  if (end < 0) {
    expect(arena.end).toBe(3);
    return undefined;
  }
  if (mayBeNoUtf8) expect(text.some((byte) => byte >= 0x80)).toBe(true);
  else expect(text.subarray(0, end).every((byte) => byte < 0x80)).toBe(true);
  return Buffer.from(arena.bytes.subarray(3, arena.end));
}

function outcome(work: () => Buffer): string | Pick<VarveError, 'code' | 'message' | 'details'> {
  try {
    return work().toString('hex');
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    const { code, message, details } = error;
    return { code, message, details };
  }
}

/** Both ways say the same of these bytes: what is stored, or what is wrong and where. */
function expectSame(bytes: Uint8Array, options?: StrictOptions): void {
  expect(outcome(() => canonicalFromBytes(bytes, options))).toEqual(outcome(() => canonicalByValue(bytes, options)));
}

/** Few keys, so that shapes come again, in other orders too. */
const document = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'document' },
    fc.oneof(
      fc.double({ noDefaultInfinity: true, noNaN: true }),
      fc.integer(),
      fc.string({ unit: 'grapheme', maxLength: 5 }),
      fc.constant(null),
    ),
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .uniqueArray(
        fc.tuple(fc.constantFrom('a', 'b', 'aa', 'é', '\uffff', '\u{1f600}', '', '"', '\\', '\n', '__proto__', '1', '0'), tie('value')),
        {
          maxLength: 6,
          selector: ([key]) => key,
        },
      )
      .map((entries) => new Members(entries)),
  ),
})).value;

/** An object as text, its members in this order. */
class Members {
  constructor(readonly entries: readonly (readonly [string, unknown])[]) {}
}

function textOf(value: unknown, space: string): string {
  if (value instanceof Members)
    return `{${space}${value.entries.map(([key, inner]) => `${JSON.stringify(key)}${space}:${space}${textOf(inner, space)}`).join(`${space},`)}}`;
  if (Array.isArray(value)) return `[${value.map((inner) => textOf(inner, space)).join(`,${space}`)}${space}]`;
  return JSON.stringify(value);
}

const digits = fc.string({ unit: fc.constantFrom('0', '0', '0', '1', '5', '9'), maxLength: 18 });
const number = fc
  .tuple(fc.constantFrom('', '-'), digits, fc.constantFrom('', '.'), digits, fc.constantFrom('', 'e', 'E+', 'e-'), fc.nat(400))
  .map(([sign, whole, point, fraction, e, power]) => `${sign}${whole}${point}${point === '' ? '' : fraction}${e}${e === '' ? '' : power}`);

afterEach(() => {
  forgetShapes();
  endCanonicalBytes();
});

describe('canonical JSON in one pass', () => {
  it('is what the values give, whatever JSON.stringify makes', () => {
    fc.assert(
      fc.property(jsonValue, fc.constantFrom(undefined, 2, '\t', ' \r\n'), (value, indent) => {
        const text = Buffer.from(JSON.stringify(value, null, indent));
        expectSame(text);
        // And it is no exception that it is taken.
        expect(onePass(text)?.equals(canonicalByValue(text))).toBe(true);
      }),
      { numRuns: 800 },
    );
  });

  it('puts members in order, shapes that come again and those that nearly do', () => {
    fc.assert(
      fc.property(fc.array(document, { maxLength: 6 }), fc.constantFrom('', ' ', '\n\t'), (values, space) => {
        for (const value of values) {
          const text = Buffer.from(textOf(value, space));
          expect(onePass(text)?.toString()).toBe(canonicalByValue(text).toString());
        }
      }),
      { numRuns: 800 },
    );
  });

  it('gives back what is canonical already, byte for byte', () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const canonical = canonicalByValue(Buffer.from(JSON.stringify(value)));
        expect(onePass(canonical)?.equals(canonical)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('says the same of every truncation, and of every byte changed', () => {
    const text = Buffer.from(
      ' {"b":[1,-0.5,1e3,{"é":"\\ud83d\\ude00\u{1f600}\\/\\u0041\\u001f\\u2028"}],"a":{"z":true,"y":null,"":false},"b2":12.50} ',
    );
    for (let length = 0; length <= text.length; length++) expectSame(text.subarray(0, length));
    for (let at = 0; at < text.length; at++) {
      for (const byte of [0, 0x0a, 0x20, 0x22, 0x2c, 0x30, 0x39, 0x3a, 0x5b, 0x5c, 0x5d, 0x61, 0x65, 0x7b, 0x7d, 0x7f, 0x80, 0xc3, 0xff]) {
        const changed = Buffer.from(text);
        changed[at] = byte;
        expectSame(changed);
      }
    }
  });

  it('says the same of bytes that are nearly JSON', () => {
    fc.assert(
      fc.property(nearJson, (one) => expectSame(one)),
      { numRuns: 2000 },
    );
  });

  it('writes numbers as they are stored, and leaves alone what cannot be held', () => {
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 4 }), (numbers) => {
        for (const one of numbers) expectSame(Buffer.from(one));
        expectSame(Buffer.from(`[${numbers.join(' , ')}]`));
      }),
      { numRuns: 2000 },
    );
    for (const text of [
      '-0',
      '-0.0',
      '0.0',
      '1e400',
      '1e-400',
      '1e20',
      '1e21',
      '0.000001',
      '0.0000001',
      '-0.00000012',
      '1.50',
      '100',
      '9007199254740993',
    ])
      expectSame(Buffer.from(text));
    fc.assert(
      fc.property(fc.double({ noDefaultInfinity: true, noNaN: true }), (value) => {
        expect(onePass(Buffer.from(`${value}`))?.toString()).toBe(`${value === 0 ? 0 : value}`);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds room for numbers that grow', () => {
    const text = Buffer.from(`[${new Array(2000).fill('1e20').join(',')},"${'x'.repeat(500)}"]`);
    expect(onePass(text)?.equals(canonicalByValue(text))).toBe(true);
  });

  it('moves members of every length, and more than fits what it keeps', () => {
    for (const length of [...Array(40).keys(), 511, 512, 513, 70_000, 3_000_000]) {
      const long = JSON.stringify('x'.repeat(length));
      const text = Buffer.from(`{"c":1,"b":{"z":${long},"y":2,"x":{"q":${long},"p":1}},"a":${long}}`);
      expect(onePass(text)?.equals(canonicalByValue(text))).toBe(true);
      if (length % 2 === 1) endCanonicalBytes();
    }
  });

  it('knows a key that comes twice, however it is spelt and however many there are', () => {
    const many = Array.from({ length: 100 }, (_, i) => `"k${(i * 37) % 100}":${i}`);
    for (const text of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '{"\\u0061":1,"a":2}',
      '{"a":{"a":1,"b":2,"a":3}}',
      `{${many.join(',')}}`,
      `{${many.join(',')},"k7":0}`,
    ]) {
      expectSame(Buffer.from(text));
      expectSame(Buffer.from(text));
    }
    expect(onePass(Buffer.from(`{${many.join(',')}}`))).toBeDefined();
  });

  it('takes as many levels as it is told, and no more', () => {
    for (const depth of [63, 64, 65, 70]) {
      expectSame(Buffer.from(`${'['.repeat(depth)}${']'.repeat(depth)}`));
      expectSame(Buffer.from(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`), { maxDepth: 70 });
    }
    expect(onePass(Buffer.from('[[1]]'), 2)).toBeDefined();
    expect(onePass(Buffer.from('[[1]]'), 1)).toBeUndefined();
    expect(onePass(Buffer.from('['.repeat(100_000)))).toBeUndefined();
  });

  it('holds both lengths to the limit', () => {
    for (const maxBytes of [4, 20, 21, 22]) expectSame(Buffer.from('1e20'), { maxBytes });
    expectSame(Buffer.from(`[${' '.repeat(50)}]`), { maxBytes: 20 });
  });

  it('stays right past more shapes than it remembers', () => {
    for (let i = 0; i < 6000; i++) {
      const text = Buffer.from(`{"z${i % 3000}":1,"y${i}":{"b":1,"a":2},"x":3}`);
      expect(onePass(text)?.toString()).toBe(`{"x":3,"y${i}":{"a":2,"b":1},"z${i % 3000}":1}`);
    }
  });

  it('begins anew after a text it gave up', () => {
    expect(onePass(Buffer.from('{"a":1,"b":{"c":'))).toBeUndefined();
    expect(onePass(Buffer.from('{"b":1,"a":2}'))?.toString()).toBe('{"a":2,"b":1}');
  });
});
