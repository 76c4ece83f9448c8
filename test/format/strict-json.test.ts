import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVarveError, type VarveError } from '../../engine/errors.js';
import { canonicalJson } from '../../engine/format/canonical-json.js';
import { keepsItsValue } from '../../engine/format/json-number.js';
import { canonicalFromBytes, parseStrict, type StrictOptions } from '../../engine/format/strict-json.js';
import { firstInvalidUtf8 } from '../../engine/format/strict-json-place.js';
import { jsonValue, nearJson } from '../support/near-json.js';

function parse(text: string): unknown {
  return parseStrict(Buffer.from(text));
}

function refusal(input: string | Uint8Array, options?: StrictOptions): VarveError<'INVALID'> {
  try {
    parseStrict(typeof input === 'string' ? Buffer.from(input) : input, options);
  } catch (error) {
    if (isVarveError(error, 'INVALID')) return error;
    throw error;
  }
  throw new Error(`was not refused: ${input}`);
}

/** What `work` gives, or the code of the VarveError it throws; nothing else may come out. */
function outcome<T>(work: () => T): T | 'INVALID' {
  try {
    return work();
  } catch (error) {
    if (isVarveError(error, 'INVALID')) return 'INVALID';
    throw error;
  }
}

describe('strict JSON', () => {
  it('agrees with JSON.parse on everything JSON.stringify makes', () => {
    fc.assert(
      fc.property(jsonValue, fc.constantFrom(undefined, 2, '\t', ' \r\n'), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(parse(text)).toEqual(JSON.parse(text));
        expect(canonicalFromBytes(Buffer.from(text)).equals(canonicalJson(JSON.parse(text)))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('gives back what canonical JSON holds, byte for byte', () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const canonical = canonicalJson(value);
        expect(canonicalFromBytes(canonical).equals(canonical)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses or reads any bytes at all, and reads only what JSON.parse reads', () => {
    fc.assert(
      fc.property(nearJson, (one) => {
        const value = outcome(() => parseStrict(one));
        if (value === 'INVALID') return;
        expect(value).toEqual(JSON.parse(Buffer.from(one).toString('utf8')));
        canonicalJson(value, { maxBytes: Number.MAX_SAFE_INTEGER });
      }),
      { numRuns: 5000 },
    );
  });

  it('refuses what the grammar refuses', () => {
    for (const text of [
      '',
      ' ',
      'nul',
      'tru',
      'True',
      '01',
      '-',
      '-01',
      '1.',
      '.5',
      '1e',
      '1e+',
      '+1',
      '0x1',
      'NaN',
      'Infinity',
      "'a'",
      '"',
      '"\\x"',
      '"\\u12g4"',
      '"\\',
      '"\t"',
      '"\u0000"',
      '[',
      '[1',
      '[1,',
      '[1,]',
      '[,1]',
      '[1 2]',
      '{',
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a":1,}',
      '{a:1}',
      '{"a" 1}',
      '{,}',
      '1 2',
      '{}x',
      '[]]',
      '\u00a01',
      '// c\n1',
      '\f1',
    ]) {
      refusal(text);
    }
  });

  it('refuses duplicate keys, also where escapes make them so, in objects small and large', () => {
    const many = Array.from({ length: 500 }, (_, i) => `"k${i}":${i}`);
    for (const text of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '{"\\n":1,"\\u000a":2}',
      '{"":1,"":1}',
      '[{"x":{"a":1,"b":{},"a":1}}]',
      '{"__proto__":1,"__proto__":2}',
      `{${many.join()},"k250":0}`,
    ]) {
      expect(refusal(text).details.expected).toBe('each key once');
    }
    // Equal hashes (31 * 'A' + 'a' = 31 * 'B' + 'B') are not equal keys; equal keys of different objects are not duplicates.
    for (const text of ['{"Aa":1,"BB":2}', '[{"a":1},{"a":1}]', '{"a":{"a":{"a":1}}}', `{${many.join()}}`])
      expect(parse(text)).toEqual(JSON.parse(text));
  });

  it('refuses lone surrogates, escaped or raw, and takes pairs', () => {
    for (const text of ['"\\ud800"', '"\\udc00"', '"\\ud800x"', '"\\ud800\\n"', '"\\ud800\\ud800"', '"\\udc00\\ud800"', '{"\\ud800":1}'])
      refusal(text);
    expect(refusal(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)).details.expected).toBe('UTF-8');
    expect(parse('"\\ud83d\\ude00 \u{1f600}"')).toBe('\u{1f600} \u{1f600}');
  });

  it('refuses bytes that are not UTF-8, and names the first', () => {
    for (const bad of [
      [0x80],
      [0xc0, 0x80],
      [0xc2],
      [0xe0, 0x80, 0x80],
      [0xf0, 0x80, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xff],
    ]) {
      expect(refusal(Uint8Array.of(0x22, 0x61, ...bad, 0x22)).details.path).toBe('line 1, column 3');
    }
  });

  it('finds the first byte that is not UTF-8 exactly where the decoder does', () => {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0x61, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xe1, 0xed, 0xf0, 0xf1, 0xf4, 0xf5), {
          maxLength: 8,
        }),
        (list) => {
          const bytes = Uint8Array.from(list);
          const good = firstInvalidUtf8(bytes);
          expect(() => decoder.decode(bytes.subarray(0, good))).not.toThrow();
          if (good < bytes.length)
            for (let end = good + 1; end <= bytes.length; end++) expect(() => decoder.decode(bytes.subarray(0, end))).toThrow();
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('refuses a byte order mark and what follows the value', () => {
    expect(refusal('\ufeff{}').message).toContain('byte order mark');
    expect(refusal('{} {}').details).toEqual({ path: 'line 1, column 4', expected: 'nothing more' });
  });

  it('refuses numbers that change as a double and takes those that do not', () => {
    for (const text of [
      '9007199254740993',
      '1e400',
      '-1e400',
      '1e-400',
      '0.1000000000000000055511151231257827',
      '123456789012345678',
      '2.00000000000000000001',
      '1e99999999999999999999',
      '4.9e-324',
    ]) {
      expect(refusal(`[${text}]`).message).toContain('cannot be held exactly');
    }
    for (const text of [
      '0',
      '-0',
      '1.0',
      '1e2',
      '0.10',
      '0.1',
      '1E+2',
      '100e-2',
      '-0.0e5',
      '0e99999999999999999999',
      '9007199254740992',
      '9007199254740994',
      '123456789012345680000',
      '1e21',
      '5e-324',
      '1.7976931348623157e308',
      '0.30000000000000004',
      `1${'0'.repeat(300)}`,
      `0.${'0'.repeat(300)}1`,
    ]) {
      expect(parse(text)).toBe(JSON.parse(text));
    }
  });

  it('takes every double in every notation of its shortest decimal', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(20), (value, digits) => {
        expect(keepsItsValue(String(value))).toBe(true);
        expect(keepsItsValue(value.toExponential())).toBe(true);
        // With more or fewer digits it is kept if the shortest decimal of what it reads as is the same one.
        const rounded = value.toExponential(digits);
        expect(keepsItsValue(rounded)).toBe(sameDecimal(rounded, Number(rounded).toExponential()));
      }),
      { numRuns: 2000 },
    );
  });

  it('holds 64 levels, refuses the 65th, and any number more', () => {
    expect(parse('['.repeat(64) + ']'.repeat(64))).toBeDefined();
    for (const levels of [65, 1_000_000]) expect(refusal('[{"a":'.repeat(levels)).details.expected).toContain('64');
    expect(refusal('[[1]]', { maxDepth: 1 }).details.path).toBe('line 1, column 2');
  });

  it('keeps an own __proto__ property and leaves prototypes alone', () => {
    const value = parse('{"__proto__":{"polluted":true},"constructor":1}') as object;
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(canonicalFromBytes(Buffer.from('{"b":1,"__proto__":{"a":1}}')).toString()).toBe('{"__proto__":{"a":1},"b":1}');
  });

  it('names line, column and JSON path', () => {
    const error = refusal('{\n  "ä": [1, {"b\\n": tru}]\n}', { what: 'line 7' });
    expect(error.details).toEqual({ path: 'line 2, column 23', expected: 'true' });
    expect(error.message).toContain('line 7: line 2, column 23 (at $["ä"][1]["b\\n"])');
    expect(refusal('{"a":{"b":1},"c":[1,2,x]}').message).toContain('$.c[2]');
    expect(refusal('{"a":1 "b":2}').details.expected).toBe("',' or '}'");
    expect(refusal('').message).toContain('found the end');
  });

  it('refuses what is over maxBytes before reading it', () => {
    expect(() => parseStrict(Buffer.alloc(11, '['), { maxBytes: 10, what: 'body' })).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE', details: { what: 'body', limit: 10, actual: 11 } }),
    );
    expect(outcome(() => parseStrict(Buffer.from('"12345678"'), { maxBytes: 10 }))).toBe('12345678');
  });

  it('reads a view in the middle of a buffer', () => {
    const whole = Buffer.from(
      'xx{"a":[1.5,12345678901234567890e0,"é"],"a2":1}xx'.replace('12345678901234567890e0', '12345678901234567000e0'),
    );
    expect(parseStrict(new Uint8Array(whole.buffer, whole.byteOffset + 2, whole.length - 4))).toEqual({
      a: [1.5, 12345678901234567000, 'é'],
      a2: 1,
    });
  });
});

/** Two outputs of toExponential, equal but for trailing zeros of the mantissa. */
function sameDecimal(a: string, b: string): boolean {
  const plain = (text: string): string => text.replace(/(\.\d*?)0+e/, '$1e').replace('.e', 'e');
  return plain(a).replace(/^-/, '') === plain(b).replace(/^-/, '') || Number(a) === 0;
}
