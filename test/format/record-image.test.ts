import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteArena } from '../../engine/format/byte-arena.js';
import { beginRecordImage, endRecordImage, imageKeyAt, putImageRefs } from '../../engine/format/record.js';
import { bodyHash, imageHash, recordHash, TOMBSTONE_BODY_HASH } from '../../engine/format/record-hash.js';
import { segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { KIND_PUT, KIND_TOMBSTONE, type NewRecord } from '../../engine/log/types.js';

const PLACE = segmentPlace(new Uint8Array(16).fill(5), 1, 1, 0);
const FIRST_SEQ = 2 ** 33;
const names = fc.string({ minLength: 1, maxLength: 200, unit: 'binary' });
const given = fc.record({
  deleted: fc.boolean(),
  collection: fc.uint8Array({ minLength: 1, maxLength: 64 }),
  key: names,
  body: fc.uint8Array({ maxLength: 1000 }),
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  refs: fc.array(fc.integer({ min: 1, max: FIRST_SEQ - 1 }), { maxLength: 5 }),
  supersedes: fc.integer({ min: 0, max: FIRST_SEQ - 1 }),
});

function append(arena: ByteArena, item: NewRecord, key: string): { at: number; keyAt: number; saltAt: number; end: number } {
  const at = arena.end;
  const saltAt = beginRecordImage(arena, item.kind, item.refs.length, item.collection, key);
  arena.reserve(item.body.length);
  arena.bytes.set(item.body, arena.end);
  arena.end += item.body.length;
  const end = endRecordImage(arena, at);
  arena.bytes.set(item.salt, saltAt);
  putImageRefs(arena.bytes, at, item.refs);
  return { at, keyAt: imageKeyAt(at, item.refs.length, item.collection.length), saltAt, end };
}

describe('a record written as an image', () => {
  it('stands in its frame, and is hashed, as one encoded whole', () => {
    const none = new Uint8Array(0);
    fc.assert(
      fc.property(fc.array(given, { minLength: 1, maxLength: 20 }), fc.maxSafeNat(), (items, time) => {
        const records = items.map(
          ({ deleted, collection, key, body, salt, refs, supersedes }): NewRecord => ({
            kind: deleted ? KIND_TOMBSTONE : KIND_PUT,
            collection,
            key: Buffer.from(key),
            body: deleted ? none : body,
            salt: deleted ? none : salt,
            refs,
            supersedes,
          }),
        );
        const whole = new GroupBuilder(PLACE.recordSeed);
        whole.addBatch({ firstSeq: FIRST_SEQ, time, records });
        const arena = ByteArena.take();
        const images = records.map((record, i) => append(arena, record, items[i]!.key));
        const made = new GroupBuilder(PLACE.recordSeed);
        made.addImages(arena.bytes, arena.end, { firstSeq: FIRST_SEQ, time, supersedes: records.map(({ supersedes }) => supersedes) });
        expect(Buffer.compare(made.finish(PLACE, 128, 1, 0).frame, whole.finish(PLACE, 128, 1, 0).frame)).toBe(0);
        for (const [i, record] of records.entries()) {
          const hash = new Uint8Array(40);
          const image = { ...images[i]!, kind: record.kind, collectionBytes: record.collection };
          imageHash(3, arena.bytes, image, FIRST_SEQ + i, time, record.supersedes, record.refs, hash, 5);
          const bodyHashed = record.kind === KIND_TOMBSTONE ? TOMBSTONE_BODY_HASH : bodyHash(record.salt, record.body);
          const expected = recordHash({ ...record, shard: 3, seq: FIRST_SEQ + i, time, bodyHash: bodyHashed });
          expect(Buffer.compare(hash.subarray(5, 37), expected)).toBe(0);
        }
        arena.giveBack();
      }),
    );
  });

  it('is refused where its refs or what it supersedes are not behind it', () => {
    const record = {
      kind: KIND_PUT,
      collection: Buffer.from('c'),
      key: Buffer.from('k'),
      body: Buffer.from('1'),
      salt: new Uint8Array(16),
    } as const;
    const place = (refs: number[], supersedes: number): void => {
      const arena = ByteArena.take();
      append(arena, { ...record, refs, supersedes }, 'k');
      new GroupBuilder(PLACE.recordSeed).addImages(arena.bytes, arena.end, { firstSeq: 9, time: 1, supersedes: [supersedes] });
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
