/** JSON and NDJSON from strangers: refused with a place, or stored as exactly what was said. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { canonicalFromBytes, isVarveError, parseStrict } from '../../engine/index.js';
import { LineSplitter } from '../../server/ndjson.js';
import { exactForm } from './exact-form.js';
import { mutated } from './mutations.js';
import { pure, type Target } from './target.js';

const SAMPLES = [
  '{"a":1,"b":[true,false,null,""],"c":{"d":1.5e-7,"e":-0.001,"__proto__":{"x":1}},"é":"\\ud83d\\ude00"}',
  '[9007199254740991,9007199254740992,0.1,1e21,123456789012345680000,5e-324,1.7976931348623157e308,-0]',
  '{"":"\\u0000\\n\\"\\\\\\/","k\\u0065y":1,"ключ":"значение","toString":1,"constructor":{"prototype":[]}}',
  `${'['.repeat(63)}1${']'.repeat(63)}`,
  `{${Array.from({ length: 30 }, (_, n) => `"key${n}":${n}`).join(',')}}`,
  '"plain"',
  ' 12 ',
].map((text) => Buffer.from(text));

const pieces = fc.constantFrom(
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '"a"',
    '"a":1',
    '"\\u0061":1',
    '1',
    '-',
    '0',
    '.5',
    'e9',
    'E+400',
    '1e400',
    '1e-400',
    '\\ud800',
  ],
  ...[
    '9007199254740993',
    '0.1000000000000000055511151231257827',
    '"__proto__":{}',
    'true',
    'null',
    ' ',
    '\n',
    '\u0000',
    '\ufeff',
    '\u2028',
  ],
);
const texts = fc.oneof(
  mutated(SAMPLES),
  fc.array(pieces, { maxLength: 20 }).map((parts) => Buffer.from(parts.join(''))),
  fc.json().map((text) => Buffer.from(text)),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => Buffer.from(String(number))),
  fc.tuple(fc.bigInt(), fc.integer({ min: -340, max: 320 })).map(([digits, power]) => Buffer.from(`${digits}e${power}`)),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
);

function attempt<T>(work: () => T): { value: T } | undefined {
  try {
    return { value: work() };
  } catch (error) {
    if (!isVarveError(error, 'INVALID') && !isVarveError(error, 'TOO_LARGE')) throw error;
    return undefined;
  }
}

export const json: Target = pure('json', 'bodies: refused, or stored as exactly what they say', texts, (bytes) => {
  const before = Buffer.from(bytes);
  const parsed = attempt(() => parseStrict(bytes));
  const stored = attempt(() => canonicalFromBytes(bytes));
  expect(bytes.equals(before)).toBe(true);
  const form = exactForm(bytes);
  if (parsed === undefined) return expect(stored).toBeUndefined();
  expect(form).toBeDefined();
  if (stored === undefined) return;
  expect(exactForm(stored.value)).toBe(form);
  expect(canonicalFromBytes(stored.value).equals(stored.value)).toBe(true);
});

const chunked = fc.tuple(
  fc.oneof(
    mutated([Buffer.from('{"collection":"c","key":"k","body":1}\n\n{"a":2}\r\n  \nlast'), Buffer.from('\n'.repeat(20))]),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  ),
  fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 20 }),
  fc.integer({ min: 1, max: 60 }),
);

export const ndjson: Target = pure(
  'ndjson',
  'lines of a stream: the same however the chunks fall, none over its cap',
  chunked,
  ([bytes, cuts, cap]) => {
    const splitter = new LineSplitter(cap);
    const lines = [];
    let at = 0;
    for (const cut of cuts) {
      lines.push(...splitter.push(bytes.subarray(at, at + cut)));
      at += cut;
    }
    lines.push(...splitter.push(bytes.subarray(Math.min(at, bytes.length))), ...splitter.end());
    const expected = bytes
      .toString('latin1')
      .split('\n')
      .map((text, index) => ({ number: index + 1, text }))
      .filter(({ text }) => !/^[ \t\r]*$/.test(text) || text.length > cap);
    expect(lines.map(({ number, bytes: line }) => ({ number, text: line?.toString('latin1') }))).toEqual(
      expected.map(({ number, text }) => ({ number, text: text.length > cap ? undefined : text })),
    );
  },
);
