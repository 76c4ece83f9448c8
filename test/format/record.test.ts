import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { getU32, putU32 } from '../../engine/format/bytes.js';
import { crc32 } from '../../engine/format/checksum.js';
import { decodeEvent, encodeEvent, eventBytes, eventLengthAt } from '../../engine/format/event.js';
import { decodeRecord, encodeRecord, RECORD_TAG, recordBytes, recordIsIntact, recordLengthAt } from '../../engine/format/record.js';
import type { LogEvent, NewRecord } from '../../engine/log/types.js';
import { KIND_PUT, KIND_TOMBSTONE } from '../../engine/log/types.js';

const SEED = 0x1234;
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const seqs = fc.integer({ min: 10, max: 2 ** 48 - 1000 });
const puts = fc.record({
  collection: bytes(64),
  key: bytes(300),
  body: bytes(2000),
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  refs: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
  supersedes: fc.integer({ min: 0, max: 9 }),
});
const records = fc
  .tuple(puts, fc.boolean())
  .map(
    ([put, deleted]): NewRecord =>
      deleted ? { ...put, kind: KIND_TOMBSTONE, body: new Uint8Array(0), salt: new Uint8Array(0) } : { ...put, kind: KIND_PUT },
  );

function encoded(record: NewRecord, seq = 100, time = 5, batchEnd = seq + 3): Buffer {
  const into = Buffer.alloc(recordBytes(record));
  expect(encodeRecord(into, 0, record, seq, time, batchEnd, SEED)).toBe(into.length);
  return into;
}

describe('a record', () => {
  it('comes back as it went in', () => {
    fc.assert(
      fc.property(records, seqs, fc.maxSafeNat(), (record, seq, time) => {
        const stored = encoded(record, seq, time, seq + 7);
        expect(recordLengthAt(stored, 0, stored.length)).toBe(stored.length);
        expect(recordIsIntact(stored, 0, stored.length, SEED)).toBe(true);
        const back = decodeRecord(stored, 0, stored.length)!;
        expect(back).toMatchObject({
          kind: record.kind,
          seq,
          time,
          batchEndSeq: seq + 7,
          supersedes: record.supersedes,
          refs: record.refs,
          bodyHash: undefined,
        });
        for (const field of ['collection', 'key', 'body', 'salt'] as const) expect(Buffer.compare(back[field], record[field])).toBe(0);
      }),
    );
  });

  it('fails its checksum when any bit is flipped, or in another database', () => {
    const stored = encoded({
      kind: KIND_PUT,
      supersedes: 3,
      refs: [7],
      collection: Buffer.from('c'),
      key: Buffer.from('k'),
      body: Buffer.from('{"a":1}'),
      salt: Buffer.alloc(16, 9),
    });
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const flipped = Buffer.from(stored);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const length = recordLengthAt(flipped, 0, flipped.length);
      expect(length > 0 && recordIsIntact(flipped, 0, length, SEED)).toBe(false);
    }
    expect(recordIsIntact(stored, 0, stored.length, SEED + 1)).toBe(false);
  });

  it('decodes any bytes to a value inside them, or to nothing', () => {
    fc.assert(
      fc.property(bytes(200), fc.nat(30), (noise, at) => {
        const stored = Buffer.from(noise);
        if (at < stored.length) stored[at] = RECORD_TAG;
        const length = recordLengthAt(stored, at, stored.length);
        expect(length === 0 || at + length <= stored.length).toBe(true);
        if (length > 0) decodeRecord(stored, at, length);
      }),
    );
  });

  it('decodes a forged one, whose checksum passes, to a value inside it or to nothing', () => {
    fc.assert(
      fc.property(records, fc.array(fc.tuple(fc.nat(43), fc.nat(255)), { minLength: 1, maxLength: 4 }), (record, changes) => {
        const stored = encoded(record);
        for (const [at, value] of changes) if (at !== 0 && (at < 4 || at > 7)) stored[at] = value;
        putU32(stored, stored.length - 4, crc32(stored.subarray(0, -4), SEED));
        expect(getU32(stored, 4)).toBe(stored.length);
        const back = decodeRecord(stored, 0, stored.length);
        if (back === undefined) return;
        expect(back.supersedes).toBeLessThan(back.seq);
        expect(back.refs.every((ref) => ref > 0 && ref < back.seq)).toBe(true);
        const parts =
          back.collection.length +
          back.key.length +
          back.body.length +
          back.salt.length +
          back.refs.length * 6 +
          (back.bodyHash?.length ?? 0);
        expect(parts + 44).toBe(stored.length);
      }),
    );
  });

  it('that was erased has a body hash instead of salt and body', () => {
    const put = encoded({
      kind: KIND_PUT,
      supersedes: 0,
      refs: [],
      collection: Buffer.from('c'),
      key: Buffer.from('k'),
      body: Buffer.alloc(16, 1),
      salt: Buffer.alloc(16, 2),
    });
    put[2] = 1;
    expect(decodeRecord(put, 0, put.length)).toMatchObject({
      salt: Buffer.alloc(0),
      body: Buffer.alloc(0),
      bodyHash: Buffer.concat([Buffer.alloc(16, 2), Buffer.alloc(16, 1)]),
    });
  });
});

const EVENTS: readonly LogEvent[] = [
  { type: 'checkpoint', throughSeq: 41, entries: 2 ** 40, root: Buffer.alloc(32, 1), previous: Buffer.alloc(32, 2) },
  {
    type: 'trim',
    runs: [
      { fromSeq: 1, toSeq: 1 },
      { fromSeq: 3, toSeq: 40 },
    ],
  },
  { type: 'erasure', collection: Buffer.from('people'), key: Buffer.from('åsa'), reason: Buffer.from('asked to') },
  {
    type: 'epoch',
    epoch: 2,
    endsAt: 42,
    node: Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
    url: Buffer.from('http://b'),
    reason: Buffer.from('a dead owner'),
  },
];
const seqOf = (event: LogEvent): number => (event.type === 'epoch' ? event.endsAt + 2 ** 32 : 42);

it('an epoch event stands so, byte by byte', () => {
  const event = EVENTS.find(({ type }) => type === 'epoch')!;
  const stored = Buffer.alloc(eventBytes(event));
  encodeEvent(stored, 0, event, seqOf(event), SEED);
  const head = `e104000046000000${'2a0000000100'}0000`;
  const fields = `02000000${'2a0000000000'}000102030405060708090a0b0c0d0e0f${'0800'}${'0c00'}`;
  const texts = Buffer.from('http://ba dead owner').toString('hex');
  expect(stored.subarray(0, -4).toString('hex')).toBe(head + fields + texts);
});

it('an epoch event with the seq of another place is refused', () => {
  const event = EVENTS.find(({ type }) => type === 'epoch')!;
  const stored = Buffer.alloc(eventBytes(event));
  encodeEvent(stored, 0, event, seqOf(event), SEED);
  stored[8]! += 1;
  stored.writeUInt32LE(crc32(stored.subarray(0, -4), SEED), stored.length - 4);
  expect(decodeEvent(stored, 0, stored.length, SEED)).toBeUndefined();
});

describe.each(EVENTS)('a $type event', (event) => {
  it('comes back as it went in, and fails when any bit is flipped', () => {
    const stored = Buffer.alloc(eventBytes(event));
    expect(encodeEvent(stored, 0, event, seqOf(event), SEED)).toBe(stored.length);
    expect(decodeEvent(stored, 0, eventLengthAt(stored, 0, stored.length), SEED)).toEqual({ seq: seqOf(event), event });
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const flipped = Buffer.from(stored);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const length = eventLengthAt(flipped, 0, flipped.length);
      expect(length === 0 ? undefined : decodeEvent(flipped, 0, length, SEED)).toBeUndefined();
    }
  });

  it('is refused, never misread, whatever is behind a good checksum', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(4), (payload, type) => {
        const bytes = Buffer.alloc(20 + payload.length);
        bytes.set([0xe1, type]);
        bytes.writeUInt32LE(bytes.length, 4);
        bytes[8] = 42;
        bytes.set(payload, 16);
        bytes.writeUInt32LE(crc32(bytes.subarray(0, -4), SEED), bytes.length - 4);
        const found = decodeEvent(bytes, 0, bytes.length, SEED);
        if (found === undefined) return;
        const again = Buffer.alloc(eventBytes(found.event));
        encodeEvent(again, 0, found.event, found.seq, SEED);
        expect(again).toEqual(bytes);
      }),
    );
  });
});
