import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3, hex } from '../../engine/format/hash.js';
import {
  bodyHash,
  bodyHashOf,
  type HashedRecord,
  recordHash,
  storedRecordHash,
  TOMBSTONE_BODY_HASH,
} from '../../engine/format/record-hash.js';
import { KIND_PUT, KIND_TOMBSTONE, type StoredRecord } from '../../engine/log/types.js';
import { MAX_SEQ, MAX_SHARD } from '../../engine/types.js';

const salt = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const body = Buffer.from('{"name":"Alice"}');
const none = Buffer.alloc(0);

/** The encoding as the header comment gives it, made the plain way. */
function encode(record: HashedRecord): Buffer {
  const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
  const u64 = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return bytes;
  };
  const u48 = (value: number): Buffer => u64(BigInt(value)).subarray(2);
  return Buffer.concat([
    Buffer.from('vrv:rec1'),
    u64((BigInt(record.shard) << 48n) | BigInt(record.seq)),
    u64(BigInt(record.time)),
    Buffer.from([record.kind]),
    u16(record.collection.length),
    record.collection,
    u16(record.key.length),
    record.key,
    u48(record.supersedes),
    u16(record.refs.length),
    ...record.refs.map(u48),
    record.bodyHash,
  ]);
}

function stored(change: Partial<StoredRecord> = {}): StoredRecord {
  return {
    kind: KIND_PUT,
    seq: 2623,
    time: 1_795_248_000_000_000,
    batchEndSeq: 2623,
    supersedes: 2497,
    refs: [17, 2 ** 40],
    collection: Buffer.from('customers'),
    key: Buffer.from('alice'),
    body,
    salt,
    bodyHash: undefined,
    ...change,
  };
}

describe('the record hash', () => {
  it('is pinned', () => {
    expect(hex(bodyHash(salt, body))).toBe('6f81f5a6cb39e8adaf2180c9f4d4452a6c46676baa6db7e613a6280e0b81d5d7');
    expect(hex(TOMBSTONE_BODY_HASH)).toBe('9ac2bb1f64b3367748028373a203391520aa124cec26ce6404c805c978072c09');
    expect(hex(storedRecordHash(1, stored()))).toBe('516fa5d5c2a80068db06bbbc23feefa0634eabc6c36f2f6cca16949279439492');
    expect(hex(storedRecordHash(1, stored({ kind: KIND_TOMBSTONE, seq: 2624, supersedes: 2623, refs: [], body: none, salt: none })))).toBe(
      '64a7da05e7d177bda989887e5b182aa3c254e6d7ddec8543ab510acb0753f5a7',
    );
  });

  it('covers the documented bytes', () => {
    const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
    const seq = fc.integer({ min: 0, max: MAX_SEQ });
    fc.assert(
      fc.property(
        fc.record({
          shard: fc.integer({ min: 1, max: MAX_SHARD }),
          seq,
          time: fc.maxSafeInteger().map(Math.abs),
          kind: fc.constantFrom(KIND_PUT, KIND_TOMBSTONE),
          collection: bytes(64),
          key: bytes(512),
          supersedes: seq,
          refs: fc.array(seq, { maxLength: 1000 }),
          bodyHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        }),
        (record) => {
          expect(recordHash(record)).toEqual(blake3(encode(record)));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('stays the same when the body is erased', () => {
    const whole = stored();
    const erased = stored({ body: none, salt: none, bodyHash: bodyHash(salt, body) });
    expect(storedRecordHash(1, erased)).toEqual(storedRecordHash(1, whole));
  });

  it('of a tombstone does not depend on what is stored as its salt', () => {
    expect(bodyHashOf(stored({ kind: KIND_TOMBSTONE, body: none, salt }))).toEqual(
      bodyHashOf(stored({ kind: KIND_TOMBSTONE, body: none, salt: none })),
    );
  });

  it('changes with every field', () => {
    const record: HashedRecord = { ...stored(), shard: 1, bodyHash: bodyHash(salt, body) };
    const changes: Partial<HashedRecord>[] = [
      {},
      { shard: 2 },
      { seq: 2624 },
      { time: record.time + 1 },
      { kind: KIND_TOMBSTONE },
      { collection: Buffer.from('customersa'), key: Buffer.from('lice') },
      { supersedes: 0 },
      { refs: [17] },
      { refs: [2 ** 40, 17] },
      { bodyHash: TOMBSTONE_BODY_HASH },
    ];
    expect(new Set(changes.map((change) => hex(recordHash({ ...record, ...change })))).size).toBe(changes.length);
  });

  it('takes what is over the limits, so that it can be refused by its hash', () => {
    const record: HashedRecord = { ...stored(), shard: 1, key: Buffer.alloc(60_000, 'k'), bodyHash: TOMBSTONE_BODY_HASH };
    expect(recordHash(record)).toEqual(blake3(encode(record)));
    expect(hex(storedRecordHash(1, stored()))).toBe('516fa5d5c2a80068db06bbbc23feefa0634eabc6c36f2f6cca16949279439492');
  });
});
