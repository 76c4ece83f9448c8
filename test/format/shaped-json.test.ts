/** Stored bodies parsed by their shape: always what JSON.parse says of the same text. */
import { deepStrictEqual } from 'node:assert';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseShaped } from '../../engine/format/shaped-json.js';

const seed = Number(process.env.SEED ?? 20_251_121);
/** What stands before and behind a body in a block: bytes that could go on with it. */
const BEFORE = '{"a":';
const BEHIND = ['', '"', '}', '1', ',"b":2}', '\0\0', ']}'];

function shaped(json: string, behind = ''): unknown {
  const body = Buffer.from(json);
  const bytes = Buffer.concat([Buffer.from(BEFORE), body, Buffer.from(behind)]);
  return parseShaped(bytes, BEFORE.length, BEFORE.length + body.length);
}

/** What pays keeps it from pausing. */
function keepGoing(): void {
  for (let i = 0; i < 5; i++) shaped('{"known":1}');
}

/** Both ways, several times, so that what was learned by one is used by the next. */
function same(json: string, times = 3): void {
  let expected: unknown;
  let fails = false;
  try {
    expected = JSON.parse(json);
  } catch {
    fails = true;
  }
  for (let i = 0; i < times; i++) {
    keepGoing();
    const behind = BEHIND[(i + json.length) % BEHIND.length]!;
    if (fails) {
      expect(() => shaped(json, behind), json).toThrow(SyntaxError);
      continue;
    }
    const got = shaped(json, behind);
    deepStrictEqual(got, expected, json);
    expect(JSON.stringify(got)).toBe(JSON.stringify(expected));
  }
}

describe('a body parsed by its shape', () => {
  it('is what JSON.parse says, whatever it holds', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.string({ maxLength: 12 }),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer({ min: -1e9, max: 1e9 }).map((n) => n / 1000),
        fc.constantFrom(null, true, false, '', 'Tromsø', 'line\nline', '"', '\\'),
        fc.array(tie('any'), { maxLength: 4 }),
        tie('object'),
      ),
      object: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'id', 'na me', '1', '-1', 'ä', '__proto__', 'q"', ''), tie('any'), {
        maxKeys: 6,
      }),
    })).object;
    fc.assert(
      fc.property(value, (object) => same(JSON.stringify(object))),
      { numRuns: 600, seed },
    );
  });

  it('is refused where JSON.parse refuses it, and never taken for something else', () => {
    const known = '{"active":true,"address":{"city":"Porto","zip":"12345"},"balance":-12.5,"id":7,"none":null,"tags":["x","y"]}';
    same(known, 10);
    fc.assert(
      fc.property(
        fc.nat(known.length),
        fc.nat(3),
        fc.constantFrom('', '"', '0', '-', '.', 'e', ',', '}', '{', ']', '\\', ' ', '\n', 'u', 'é'),
        (at, less, more) => same(known.slice(0, at) + more + known.slice(at + less), 1),
      ),
      { numRuns: 1500, seed },
    );
  });

  it('keeps every number as it is', () => {
    const numbers = ['0', '-0', '1e3', '1E+3', '-1.5e-7', '0.1', '123456789012345', '9007199254740993', '0.30000000000000004', '5e-324'];
    const wrong = ['01', '-', '1.', '.5', '1.e3', '+1', '0x1', '1e', 'NaN', '--1', '00'];
    same('{"n":1}', 10);
    for (const number of [...numbers, ...wrong, '1'.repeat(70), `0.${'3'.repeat(40)}`]) same(`{"n":${number}}`);
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (n) => same(`{"n":${String(n)}}`, 1)),
      { numRuns: 500, seed },
    );
  });

  it('tells shapes apart that begin alike', () => {
    const bodies = ['{"a":1}', '{"a":1,"b":2}', '{"a":1,"c":{"b":2}}', '{"a":{},"b":[]}', '{"b":1}', '{"a":[{"b":1},{"c":2}]}', '{}'];
    for (let round = 0; round < 20; round++) for (const body of bodies) same(body, 1);
    for (const twice of ['{"a":1,"a":2}', '{"a":1,"b":2,"a":3}']) same(twice);
  });

  it('gives every caller an object of its own', () => {
    const body = '{"a":{"b":[1]},"c":2}';
    const first = shaped(body) as { a: { b: number[] }; c: number };
    for (let i = 0; i < 3; i++) {
      const other = shaped(body) as typeof first;
      other.a.b.push(9);
      other.c = i;
      expect(shaped(body)).toEqual({ a: { b: [1] }, c: 2 });
    }
  });

  it('goes on being right where no two bodies have the same keys', () => {
    for (let i = 0; i < 6000; i++) same(`{"key${i}":${i},"same":{"x${i % 50}":"y"}}`, 1);
    same('{"key1":1,"same":{"x1":"y"}}');
  });

  it('takes large, deep and wide bodies', () => {
    same(`{"text":"${'x'.repeat(2000)}"}`);
    same(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`);
    same(`{"a":${'['.repeat(40)}${']'.repeat(40)}}`);
    same(`{${Array.from({ length: 100 }, (_, i) => `"k${i}":${i}`).join()}}`);
  });
});
