/** Decoders of stored bytes: a value, or undefined (a sentence, for nodes); with the checksum broken and with it made good again. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { VarveError } from '../../engine/errors.js';
import { putU32 } from '../../engine/format/bytes.js';
import { crc32 } from '../../engine/format/checksum.js';
import { decodeEvent, eventLengthAt } from '../../engine/format/event.js';
import { decodeFooter, decodeTrailer, encodeFooter, TRAILER_BYTES } from '../../engine/format/footer.js';
import { checkFrame, decodeBatches, FRAME_HEAD_BYTES, FRAME_TAIL_BYTES, finishFrame, frameLengthAt } from '../../engine/format/frame.js';
import { decodeRecord, encodeRecord, recordBytes, recordIsIntact, recordLengthAt } from '../../engine/format/record.js';
import { decodeSegmentHeader, encodeSegmentHeader, parseSegmentName, segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import type { NewRecord, StoredBatch } from '../../engine/log/types.js';
import { BoundaryRule } from '../../engine/tree/boundary.js';
import { parseNode } from '../../engine/tree/node.js';
import { INNER_ITEM_BYTES, NodeBuilder } from '../../engine/tree/node-builder.js';
import { recordFor } from '../log/support.js';
import { bodyOf, bytesOf, DATABASE_ID, sortedKeys, versionKey } from '../tree/support.js';
import { mutated } from './mutations.js';
import { pure, type Target } from './target.js';

const SEED = 0x1234;
const PLACE = segmentPlace(new Uint8Array(16).fill(5), 1, 1, 0);
const OFFSET = 128;

function stored(record: NewRecord, seq: number): Buffer {
  const into = Buffer.alloc(recordBytes(record));
  encodeRecord(into, 0, record, seq, 5, seq + 3, SEED);
  return into;
}
const RECORDS = [recordFor(1, 3), recordFor(2, 40), recordFor(3, 400)].map((record, n) => stored(record, 100 + n));

/** Puts the right checksum over the last four bytes. */
function reseal(bytes: Buffer, seed: number): void {
  if (bytes.length >= 4) putU32(bytes, bytes.length - 4, crc32(bytes.subarray(0, bytes.length - 4), seed));
}

const withSeal = (samples: readonly Uint8Array[]) => fc.tuple(mutated(samples), fc.boolean());

export const record: Target = pure('record', 'records and events in a frame', withSeal(RECORDS), ([bytes, sealed]) => {
  if (sealed) reseal(bytes, SEED);
  const length = recordLengthAt(bytes, 0, bytes.length);
  expect(length).toBeLessThanOrEqual(bytes.length);
  if (length > 0) {
    const intact = recordIsIntact(bytes, 0, length, SEED);
    const found = decodeRecord(bytes, 0, length);
    if (intact && !sealed) expect(RECORDS.some((one) => one.equals(bytes.subarray(0, length)))).toBe(true);
    if (found !== undefined) touch(found);
  }
  const event = eventLengthAt(bytes, 0, bytes.length);
  expect(event).toBeLessThanOrEqual(bytes.length);
  if (event > 0) decodeEvent(bytes, 0, event, SEED);
});

/** Reads everything of a record: views are made when asked for. */
function touch(found: NonNullable<ReturnType<typeof decodeRecord>>): void {
  const parts = [found.collection, found.key, found.body, found.salt, found.bodyHash];
  for (const part of parts) if (part !== undefined) expect(part.length).toBeGreaterThanOrEqual(0);
  expect(Number.isSafeInteger(found.seq) && Number.isSafeInteger(found.time) && found.batchEndSeq >= found.seq).toBe(true);
  expect(found.refs.every((ref) => ref > 0 && ref < found.seq)).toBe(true);
}

function frameBytesOf(): Buffer {
  const group = new GroupBuilder(PLACE.recordSeed);
  const idempotency = { key: 'again', contentHash: new Uint8Array(16).fill(8) };
  group.addBatch({ firstSeq: 1, time: 100, records: [recordFor(1, 3), recordFor(2, 4)], idempotency });
  const checkpoint = { type: 'checkpoint', throughSeq: 2, entries: 2, root: new Uint8Array(32), previous: new Uint8Array(32) } as const;
  group.addEvent({ seq: 3, time: 100, event: checkpoint });
  group.addBatch({ firstSeq: 4, time: 101, records: [recordFor(4, 5)] });
  return Buffer.from(group.finish(PLACE, OFFSET, 1, 0).frame);
}
const FRAME = frameBytesOf();

export const frame: Target = pure(
  'frame',
  'frames: whole ones only, and never a batch out of order',
  withSeal([FRAME]),
  ([bytes, sealed]) => {
    if (sealed && bytes.length >= FRAME_HEAD_BYTES + FRAME_TAIL_BYTES) {
      // A frame of our own making around a payload of somebody else's.
      const payloadBytes = Math.min(FRAME.readUInt32LE(40), bytes.length - FRAME_HEAD_BYTES - FRAME_TAIL_BYTES);
      const whole = Buffer.concat([bytes.subarray(0, FRAME_HEAD_BYTES + payloadBytes), Buffer.alloc(16)]);
      const [kind, epoch, batchCount] = [1, 1, bytes[12]!];
      const lastSeq = 1 + (bytes[26]! % 8);
      const length = finishFrame(whole, { kind, epoch, firstSeq: 1, lastSeq, attestedSeq: 0, batchCount, payloadBytes }, PLACE, OFFSET);
      readFrame(whole.subarray(0, length), false);
    } else readFrame(bytes, true);
  },
);

function readFrame(bytes: Buffer, mustBeOurs: boolean): void {
  const length = frameLengthAt(bytes, 0, bytes.length);
  if (length === 0 || length > bytes.length) return;
  const head = checkFrame(bytes, 0, length, PLACE, OFFSET);
  if (head === undefined) return;
  if (mustBeOurs) expect(bytes.subarray(0, length).equals(FRAME)).toBe(true);
  if (head.kind !== 1) return;
  for (const checked of [true, false]) checkBatches(decodeBatches(bytes, 0, head, PLACE, checked), head);
}

function checkBatches(batches: readonly StoredBatch[] | undefined, head: { firstSeq: number; lastSeq: number }): void {
  let seq = head.firstSeq - 1;
  for (const batch of batches ?? []) {
    expect(batch.firstSeq > seq && batch.lastSeq >= batch.firstSeq && batch.lastSeq <= head.lastSeq).toBe(true);
    seq = batch.lastSeq;
    for (const one of batch.records) touch(one);
  }
}

const SUMMARY = { lastSeq: 9, minTime: 100, maxTime: 200, records: 8, events: 1, epoch: 1 };
const FOOTER_AT = 4096;
const FOOTER = Buffer.from(
  encodeFooter(PLACE, FOOTER_AT, SUMMARY, {
    contentHash: new Uint8Array(32).fill(3),
    blocks: new Uint8Array(12).fill(4),
    index: new Uint8Array(24 * 3).fill(1),
    idempotency: new Uint8Array(52 * 2).fill(2),
  }),
);
const HEADER = Buffer.from(
  encodeSegmentHeader(PLACE, { epoch: 2, replacesFrom: 3, replacesTo: 4, compactedThrough: 5, attestedSeq: 6, createdTime: 7 }),
);

export const footer: Target = pure(
  'footer',
  'headers, footers, trailers and names of segments',
  fc.tuple(withSeal([FOOTER]), withSeal([HEADER]), fc.oneof(fc.string({ maxLength: 30 }), fc.constant('000000000001-0000.seg'))),
  ([[bytes, sealed], [header, headerSealed], name]) => {
    if (sealed) reseal(bytes, PLACE.seed);
    const trailer = decodeTrailer(bytes.subarray(Math.max(0, bytes.length - TRAILER_BYTES)), PLACE, FOOTER_AT + bytes.length);
    if (trailer !== undefined) {
      const found = decodeFooter(bytes.subarray(0, bytes.length - TRAILER_BYTES), PLACE, trailer);
      if (found !== undefined && !sealed) expect(bytes.equals(FOOTER)).toBe(true);
    }
    if (headerSealed) reseal(header, PLACE.seed);
    try {
      const found = decodeSegmentHeader(header, PLACE, 'a.seg');
      if (found !== undefined && !headerSealed) expect(header.subarray(0, HEADER.length).equals(HEADER)).toBe(true);
    } catch (error) {
      // Another version of the format is INCOMPATIBLE, by name.
      if (!(error instanceof VarveError)) throw error;
    }
    const parsed = parseSegmentName(name);
    if (parsed !== undefined) expect(Number.isSafeInteger(parsed.base) && parsed.base > 0).toBe(true);
  },
);

function nodeBytes(level: number): Buffer {
  const builder = new NodeBuilder(new BoundaryRule(DATABASE_ID), level);
  const keys = sortedKeys(Array.from({ length: 20 }, (_, n) => versionKey(`key${n % 7}`, n + 1)));
  for (const [i, key] of keys.entries()) builder.add(bytesOf(key), level === 0 ? bodyOf(i) : Buffer.alloc(INNER_ITEM_BYTES, i));
  const bytes = Buffer.alloc(builder.hashedBytes() + builder.addressBytes());
  builder.encode(bytes, 0);
  return bytes;
}

export const node: Target = pure(
  'node',
  'tree nodes: a sound one or a sentence, and a sound one is sound in every entry',
  fc.tuple(mutated([nodeBytes(0), nodeBytes(1), nodeBytes(3)]), fc.boolean(), fc.uint8Array({ maxLength: 40 }), fc.nat(3000)),
  ([bytes, addressed, wanted, cut]) => {
    const found = parseNode(bytes, 0, Math.min(bytes.length + 1, cut % 3 === 0 ? cut : bytes.length), addressed);
    if (typeof found === 'string') return expect(found).toMatch(/^(?:node|keys) /);
    expect(found.count).toBeGreaterThan(0);
    let before: Buffer | undefined;
    for (let i = 0; i < found.count; i++) {
      const key = found.key(i);
      if (before !== undefined) expect(Buffer.compare(before, key)).toBeLessThan(0);
      before = key;
      expect(found.value(i).length).toBe(found.valueBytes);
    }
    expect(found.search(Buffer.from(wanted), wanted.length)).toBeLessThanOrEqual(found.count);
  },
);
