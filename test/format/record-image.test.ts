import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteArena } from '../../engine/format/byte-arena.js';
import { blake3 } from '../../engine/format/hash.js';
import { beginRecordImage, endRecordImage, imageKeyAt, putImageRefs, type RecordImage } from '../../engine/format/record.js';
import { bodyHash, recordHash, TOMBSTONE_BODY_HASH } from '../../engine/format/record-hash.js';
import { stampImages, stampOneByOne } from '../../engine/format/record-stamp.js';
import { segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { KIND_PUT, KIND_TOMBSTONE, type NewRecord } from '../../engine/log/types.js';

const PLACE = segmentPlace(new Uint8Array(16).fill(5), 1, 1, 0);
const SHARD = 3;
const FIRST_SEQ = 2 ** 33;
const NONE = new Uint8Array(0);
const names = fc.string({ minLength: 1, maxLength: 200, unit: 'binary' });
/** Short, and around the longest that the kernel hashes, and longer than its memory. */
const bodyLength = fc.oneof(
  { weight: 20, arbitrary: fc.nat(400) },
  { weight: 5, arbitrary: fc.integer({ min: 995, max: 1005 }) },
  fc.constant(70_000),
);
const seqs = fc.integer({ min: 1, max: FIRST_SEQ - 1 });
const given = fc.record({
  deleted: fc.boolean(),
  collection: fc.uint8Array({ minLength: 1, maxLength: 64 }),
  key: names,
  bodyLength,
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  refs: fc.oneof({ weight: 20, arbitrary: fc.array(seqs, { maxLength: 5 }) }, fc.array(seqs, { minLength: 900, maxLength: 1000 })),
  supersedes: fc.integer({ min: 0, max: FIRST_SEQ - 1 }),
});

function append(arena: ByteArena, item: NewRecord, key: string): RecordImage {
  const at = arena.end;
  const saltAt = beginRecordImage(arena, item.kind, item.refs.length, item.collection, key);
  arena.reserve(item.body.length);
  arena.bytes.set(item.body, arena.end);
  arena.end += item.body.length;
  const end = endRecordImage(arena, at);
  arena.bytes.set(item.salt, saltAt);
  putImageRefs(arena.bytes, at, item.refs);
  const keyAt = imageKeyAt(at, item.refs.length, item.collection.length);
  return { kind: item.kind, collectionBytes: item.collection, at, keyAt, saltAt, end };
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + length) % 251);
}

/** The frame of a batch, and its record hashes. */
function stamped(
  records: readonly NewRecord[],
  keys: readonly string[],
  time: number,
  stamp: typeof stampImages,
): { frame: Buffer; hashes: Uint8Array } {
  const arena = ByteArena.take();
  const images = records.map((record, i) => append(arena, record, keys[i]!));
  const hashes = new Uint8Array(records.length * 32);
  const supersedes = records.map((record) => record.supersedes);
  stamp(arena.bytes, images, { shard: SHARD, firstSeq: FIRST_SEQ, time, supersedes, hashes }, PLACE.recordSeed);
  const builder = new GroupBuilder(PLACE.recordSeed);
  builder.addImages(arena.bytes, arena.end, { firstSeq: FIRST_SEQ, time, count: records.length });
  arena.giveBack();
  return { frame: builder.finish(PLACE, 128, 1, 0).frame, hashes };
}

const oneByOne: typeof stampImages = (arena, images, batch, seed) => {
  for (let i = 0; i < images.length; i++) stampOneByOne(arena, images, i, batch, seed);
};

describe('records written as images', () => {
  it.each([
    ['one by one', oneByOne, 30],
    ['four side by side', stampImages, 300],
  ] as const)('stand in their frame, and are hashed, as ones encoded whole: %s', (_, stamp, maxLength) => {
    const one: NewRecord = {
      kind: KIND_PUT,
      collection: pattern(3),
      key: Buffer.from('k'),
      body: pattern(5),
      salt: pattern(16),
      refs: [],
      supersedes: 0,
    };
    // Enough of them to be worth a kernel.
    stamped(new Array<NewRecord>(1000).fill(one), new Array<string>(1000).fill('k'), 1, stamp);
    // And so much that is long that it is hashed in the same memory.
    for (let i = 0; i < 40; i++) blake3(pattern(60_000));
    fc.assert(
      fc.property(fc.array(given, { minLength: 1, maxLength }), fc.maxSafeNat(), (items, time) => {
        const records = items.map(
          ({ deleted, collection, key, bodyLength: length, salt, refs, supersedes }): NewRecord => ({
            kind: deleted ? KIND_TOMBSTONE : KIND_PUT,
            collection,
            key: Buffer.from(key),
            body: deleted ? NONE : pattern(length),
            salt: deleted ? NONE : salt,
            refs,
            supersedes,
          }),
        );
        const whole = new GroupBuilder(PLACE.recordSeed);
        whole.addBatch({ firstSeq: FIRST_SEQ, time, records });
        const { frame, hashes } = stamped(
          records,
          items.map(({ key }) => key),
          time,
          stamp,
        );
        expect(Buffer.compare(frame, whole.finish(PLACE, 128, 1, 0).frame)).toBe(0);
        const expected = records.map((record, i) => {
          const bodyHashed = record.kind === KIND_TOMBSTONE ? TOMBSTONE_BODY_HASH : bodyHash(record.salt, record.body);
          return recordHash({ ...record, shard: SHARD, seq: FIRST_SEQ + i, time, bodyHash: bodyHashed });
        });
        expect(Buffer.compare(hashes, Buffer.concat(expected))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('are refused where their refs or what they supersede are not behind them', () => {
    const record = {
      kind: KIND_PUT,
      collection: Buffer.from('c'),
      key: Buffer.from('k'),
      body: Buffer.from('1'),
      salt: new Uint8Array(16),
    } as const;
    const place = (refs: number[], supersedes: number): void => {
      const arena = ByteArena.take();
      const image = append(arena, { ...record, refs, supersedes }, 'k');
      const batch = { shard: SHARD, firstSeq: 9, time: 1, supersedes: [supersedes], hashes: new Uint8Array(32) };
      stampImages(arena.bytes, [image], batch, PLACE.recordSeed);
    };
    expect(() => place([8], 8)).not.toThrow();
    expect(() => place([9], 8)).toThrow('backwards');
    expect(() => place([], 9)).toThrow('in order');
  });
});

describe('an arena', () => {
  it('keeps what was written while it grows, and is given back once', () => {
    const arena = ByteArena.take();
    for (let i = 0; i < 100; i++) {
      arena.reserve(1000);
      arena.bytes.fill(i, arena.end, arena.end + 1000);
      arena.end += 1000;
    }
    for (let i = 0; i < 100; i++) expect(arena.bytes[i * 1000 + 999]).toBe(i);
    arena.giveBack();
    expect(() => arena.giveBack()).toThrow('once');
    const again = ByteArena.take();
    expect(again.end).toBe(0);
    expect(ByteArena.take()).not.toBe(again);
  });
});
