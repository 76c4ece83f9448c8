import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, type InsertItem, type JsonValue, parseStrict } from '../../engine/index.js';
import { PlainReader, readPlainBatch, readPlainLine } from '../../server/plain-inserts.js';
import { batchEnvelope, lineEnvelope } from '../../server/schemas.js';

type Said = readonly { collection: string; key: string; body: string }[];

function said(items: readonly InsertItem[]): Said {
  return items.map(({ collection, key, bodyBytes }) => ({ collection, key, body: Buffer.from(bodyBytes!).toString() }));
}

/** The way by values. Throws where it refuses. */
function slowBatch(bytes: Buffer): Said {
  const { records } = batchEnvelope.parse(parseStrict(bytes, { maxDepth: 67 }));
  return records.map(({ collection, key, body }) => ({ collection, key, body: canonicalJson(body).toString() }));
}

/** The engine refuses any other, and says why. */
function hasNames({ collection, key }: Pick<InsertItem, 'collection' | 'key'>): boolean {
  return collection !== '' && !['', '.', '..'].includes(key) && Buffer.byteLength(key) <= 512;
}

function fastBatch(text: string | Buffer, maxBodyBytes = 1000): Said | undefined {
  const plain = readPlainBatch(Buffer.from(text), maxBodyBytes);
  const all = plain === undefined ? undefined : said(plain.images.asItems());
  plain?.release();
  return all;
}

const plainItem = fc.record({
  collection: fc.constantFrom('a', 'customers', 'customer', ''),
  key: fc.oneof(fc.string({ unit: fc.constantFrom('a', 'k', '0', '/', 'é', '\u{1f600}', ' ') }), fc.constant('..')),
  body: fc.jsonValue({ stringUnit: 'binary', maxDepth: 3 }) as fc.Arbitrary<JsonValue>,
});
const anyItem = fc.oneof(
  { weight: 5, arbitrary: plainItem },
  fc.record({ collection: fc.constant('a'), key: fc.constant('"\\\n'), deleted: fc.constant(true) }),
  fc.record({ collection: fc.constant('a'), key: fc.constant('k'), body: fc.constant(1), refs: fc.constant([]) }),
  fc.record({ collection: fc.constant(1), key: fc.constant('k'), body: fc.constant(1) }),
  fc.jsonValue(),
);
const shuffled = plainItem.chain((item) => fc.shuffledSubarray(Object.entries(item), { minLength: 3 }).map(Object.fromEntries));

describe('plain inserts', () => {
  it('are read as the values say, whatever the bodies, the order of the fields and the white space', () => {
    fc.assert(
      fc.property(fc.array(shuffled, { minLength: 1, maxLength: 5 }), fc.constantFrom(undefined, 1, '\r\n\t'), (records, indent) => {
        const bytes = Buffer.from(JSON.stringify({ records }, null, indent));
        const names = records as unknown as InsertItem[];
        expect(fastBatch(bytes, 1e6)).toEqual(names.every(hasNames) ? slowBatch(bytes) : undefined);
      }),
      { numRuns: 500 },
    );
  });

  it('are never taken where the way by values refuses, nor as anything else', () => {
    const text = fc
      .tuple(fc.array(anyItem, { maxLength: 3 }), fc.nat(), fc.nat(255), fc.boolean())
      .map(([records, place, byte, isChanged]) => {
        const bytes = Buffer.from(JSON.stringify({ records }));
        if (isChanged) bytes[place % bytes.length] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(text, (bytes) => {
        const fast = fastBatch(bytes, 1e6);
        if (fast !== undefined) expect(fast).toEqual(slowBatch(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it('are left to the longer way where anything is unusual', () => {
    const item = '{"collection":"a","key":"k","body":1}';
    expect(fastBatch(`{"records":[${item}]}`)).toHaveLength(1);
    for (const odd of [
      '',
      '{}',
      '{"records":[]}',
      `{"records":[${item}]`,
      `{"records":[${item}]}}`,
      `{"records":[${item}]} x`,
      `{"records":[${item}]}\0`,
      `{"records":[${item},]}`,
      `{"time":"2026-11-21T08:00:00Z","records":[${item}]}`,
      `{"records":[${item}],"records":[${item}]}`,
      '{"records":[{"collection":"a","key":"k"}]}',
      '{"records":[{"collection":"a","key":"k","deleted":true}]}',
      '{"records":[{"collection":"a","key":"k","key":"k","body":1}]}',
      '{"records":[{"collection":"a","key":"\\u006b","body":1}]}',
      '{"records":[{"collection":"a","key":"k\n","body":1}]}',
      '{"records":[{"collection":"a","key":1,"body":1}]}',
      `{"records":[{"collection":"a","key":"k","body":"${'x'.repeat(1000)}"}]}`,
      `{"records":[{"collection":"a","key":"k","body":${'['.repeat(65)}${']'.repeat(65)}}]}`,
    ])
      expect(fastBatch(odd), odd).toBeUndefined();
    const bad = Buffer.from('{"records":[{"collection":"a","key":"k?","body":1}]}');
    bad[bad.indexOf('?')] = 0xff;
    expect(fastBatch(bad)).toBeUndefined();
  });

  it('may have an idempotency key where they are lines by themselves', () => {
    const key = fc.oneof(fc.string({ maxLength: 300 }), fc.string({ unit: 'binary' }), fc.constant(1), fc.constant(undefined));
    fc.assert(
      fc.property(shuffled, key, fc.boolean(), (item, idempotencyKey, isFirst) => {
        const keyed = idempotencyKey === undefined ? {} : { idempotencyKey };
        const bytes = Buffer.from(JSON.stringify(isFirst ? { ...keyed, ...item } : { ...item, ...keyed }));
        const plain = readPlainLine(bytes, 1e6);
        const isGood =
          hasNames(item as unknown as InsertItem) &&
          (idempotencyKey === undefined || (typeof idempotencyKey === 'string' && /^[!#-[\]-~]{1,255}$/.test(idempotencyKey)));
        expect(plain !== undefined).toBe(isGood);
        if (plain === undefined) return;
        expect(said(plain.images.asItems())).toEqual(slowBatch(Buffer.from(JSON.stringify({ records: [item] }))));
        expect(plain.idempotencyKey).toBe(idempotencyKey);
        plain.release();
      }),
      { numRuns: 500 },
    );
    const line = '{"collection":"a","key":"k","body":1,"idempotencyKey":"i"}';
    expect(fastBatch(`{"records":[${line}]}`)).toBeUndefined();
    const reader = new PlainReader(1000, false, false);
    reader.open(Buffer.from(line));
    expect(reader.line(0, line.length)).toBe(false);
    reader.release();
    expect(readPlainLine(Buffer.from(line.replace('}', ',"idempotencyKey":"i"}')), 1000)).toBeUndefined();
  });

  it('are read line by line out of one text, a refused one leaving nothing behind', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(plainItem, anyItem), { maxLength: 6 }), fc.boolean(), (lines, isCut) => {
        const texts = lines.map((line, i) => JSON.stringify(line).slice(0, isCut && i === 0 ? -1 : undefined));
        const bytes = Buffer.from(texts.join('\n'));
        const reader = new PlainReader(1e6, true, false);
        reader.open(bytes);
        const taken: Said[number][] = [];
        let from = 0;
        for (const text of texts) {
          const to = from + Buffer.byteLength(text);
          if (reader.line(from, to)) {
            const { collection, key, body } = lineEnvelope.parse(parseStrict(bytes.subarray(from, to), { maxDepth: 65 }));
            taken.push({ collection, key, body: canonicalJson(body).toString() });
          }
          from = to + 1;
        }
        expect(said(reader.images.asItems())).toEqual(taken);
        reader.release();
      }),
      { numRuns: 500 },
    );
  });
});
