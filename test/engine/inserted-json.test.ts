/** The answer of an insert, written as bytes: what toJSON of its records says. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InsertImages } from '../../engine/index.js';
import { insertedJson } from '../../engine/inserted-json.js';
import { InsertedBatch, recordsJson } from '../../engine/record-view.js';
import type { ShardId } from '../../engine/types.js';
import { machine } from './support.js';

const item = fc.record({
  collection: fc.constantFrom('a', 'a', 'customers', `c${'x'.repeat(63)}`),
  key: fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1 }),
    fc.string({ unit: 'binary', maxLength: 512 }),
    fc.constant('\u{10ffff}'.repeat(128)),
  ),
  deleted: fc.boolean(),
  replaced: fc.nat(3),
  refs: fc.array(fc.nat({ max: 2 ** 31 - 1 }), { maxLength: 3 }),
});

describe('the records of an insert as JSON', () => {
  it('are what their toJSON says, whatever the keys, the seqs and the shard', () => {
    const seq = fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constantFrom(999_998, 2 ** 31 - 2, 2 ** 32 - 2, 2 ** 32, 2 ** 48 - 20));
    fc.assert(
      fc.property(
        fc.array(item, { maxLength: 6 }),
        seq,
        fc.integer({ min: 1, max: 65_535 }),
        fc.boolean(),
        (items, firstSeq, shard, isEach) => {
          const batch = new InsertedBatch(shard as ShardId, items, firstSeq, 1_795_000_000_000_000, isEach);
          items.forEach(({ replaced, refs }, i) => {
            batch.supersedes.push(replaced);
            if (refs.length > 0) batch.setRefs(i, refs);
            for (let j = 0; j < 32; j++) batch.hashes[i * 32 + j] = i * 37 + j * 11;
          });
          const records = items.map((_, i) => batch.record(i));
          expect(insertedJson(batch, '{"records":[', ']}').toString()).toBe(JSON.stringify({ records }));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are the same for a first answer and for one given again', async () => {
    const { db } = await machine();
    const insert = () =>
      db.insert(
        [
          { collection: 'c', key: 'é"', body: 1 },
          { collection: 'c', key: 'b', body: 2, refs: ['#0'] },
        ],
        { idempotencyKey: 'k' },
      );
    const first = recordsJson(await insert(), '[', ']').toString();
    expect(JSON.parse(first)).toHaveLength(2);
    expect(recordsJson(await insert(), '[', ']').toString()).toBe(first);
    expect(JSON.stringify((await insert()).records)).toBe(first);
  });

  it('are the same where they are made while the disk is at work, for whoever asks and however often', async () => {
    const { db } = await machine();
    for (const [i, json] of [['[', ']'] as const, ['{"records":[', ']}'] as const].entries()) {
      const keys = ['a', `é${i}`, 'x'.repeat(300)];
      const result = await db.insert(
        keys.map((key) => ({ collection: 'c', key, body: i })),
        { json },
      );
      const expected = `[${result.records.map((record) => JSON.stringify(record)).join(',')}]`;
      for (let ask = 0; ask < 2; ask++) {
        expect(recordsJson(result, '[', ']').toString()).toBe(expected);
        expect(recordsJson(result, '{"records":[', ']}').toString()).toBe(`{"records":${expected}}`);
      }
    }
  });

  it('tell keys that were never made strings', async () => {
    const { db } = await machine();
    const images = new InsertImages(false);
    const keys = ['a', 'é/ü', '\u{1f600}', "it's", 'k'.repeat(512)];
    for (const key of keys) {
      const name = Buffer.from(`"${key}"`);
      images.begin();
      expect(images.name('c', name, 1, name.length - 1, 0xff)).toBe(true);
      images.body(Buffer.from('1'), 0, 1, 10);
      images.end();
    }
    const result = await db.insert(images, { json: ['[', ']'] });
    images.release();
    expect(recordsJson(result, '[', ']').toString()).toBe(JSON.stringify(result.records));
    expect(result.records.map(({ key }) => key)).toEqual(keys);
  });
});
