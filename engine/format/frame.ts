/**
 * The frame: what one write makes durable, under one checksum that also covers where it belongs. Layout in docs/FORMAT.md.
 *
 *   head (48) | batches | end tag | zeros to a multiple of 8 less 4 | crc
 *
 * Invariants: a frame begins and ends on multiples of 8 in its file; its checksum is seeded with database, shard, segment and
 * offset, so a whole frame in the wrong place fails. Everything in it begins with a tag byte, the frame itself too, so a
 * reader walks item by item from any item on. A crash while it is written leaves a frame that fails its checksum.
 *
 * The batches of a frame that compaction wrote may be packed (packed-frame.ts): then they are read from an image of the frame as it
 * would be otherwise, and the head says how many bytes of the file they took.
 */
import type { LogEvent, ReadRecord, StoredBatch } from '../log/types.js';
import { decodeBatchHead } from './batch.js';
import { align8, allZero, clear, getU16, getU32, getU48, putU32, putU48, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { decodeEvent, eventLengthAt } from './event.js';
import { decodeRecord, recordIsIntact, recordLengthAt } from './record.js';
import { type SegmentPlace, seedAt } from './segment.js';

export const FRAME_TAG = 0xf5;
const MAGIC = 0x465256f5; // F5 56 52 46: tag, VRF
export const FRAME_HEAD_BYTES = 48;
export const FRAME_LAST_SEQ_AT = 26;
export const END_TAG = 0xee;
const CRC_BYTES = 4;
export const FRAME_TAIL_BYTES = 1 + CRC_BYTES;
export const FRAME_MIN_BYTES = align8(FRAME_HEAD_BYTES + FRAME_TAIL_BYTES);
/** Nothing longer is written, or believed. */
export const MAX_FRAME_BYTES = 256 * 1024 * 1024;

export const FRAME_DATA = 1;
/** Covers nothing, carries an attested seq. */
export const FRAME_MARK = 2;
/** The last frame of a sealed segment. */
export const FRAME_FOOTER = 3;

export interface FrameHead {
  readonly kind: number;
  /** Whole frame. */
  readonly length: number;
  readonly epoch: number;
  /** Seqs covered; 0 and 0 for marks and footers. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly attestedSeq: number;
  readonly batchCount: number;
  /** Of the batches. */
  readonly payloadBytes: number;
  /** Set where they are packed: what they take in the file. */
  readonly packedBytes?: number;
}

const FLAG_PACKED = 1;
const COMPRESSION_BLOCKS = 1;
/** No compression that we read makes more of a byte. */
const MAX_EXPANSION = 1040;

/** Length of a frame with this much payload. */
export function frameBytes(payloadBytes: number): number {
  return align8(FRAME_HEAD_BYTES + payloadBytes + FRAME_TAIL_BYTES);
}

/** Completes the frame around the payload, packed or not, that stands at `FRAME_HEAD_BYTES`, for this place and offset. Returns its length. */
export function finishFrame(into: Uint8Array, head: Omit<FrameHead, 'length'>, place: SegmentPlace, offset: number): number {
  const storedBytes = head.packedBytes ?? head.payloadBytes;
  const length = frameBytes(storedBytes);
  clear(into, 0, FRAME_HEAD_BYTES);
  putU32(into, 0, MAGIC);
  putU32(into, 4, length);
  into[8] = head.kind;
  if (head.packedBytes !== undefined) {
    into[9] = FLAG_PACKED;
    into[10] = COMPRESSION_BLOCKS;
  }
  putU32(into, 12, head.batchCount);
  putU32(into, 16, head.epoch);
  putU48(into, 20, head.firstSeq);
  putU48(into, FRAME_LAST_SEQ_AT, head.lastSeq);
  putU48(into, 32, head.attestedSeq);
  putU32(into, 40, storedBytes);
  putU32(into, 44, head.payloadBytes);
  const payloadEnd = FRAME_HEAD_BYTES + storedBytes;
  into[payloadEnd] = END_TAG;
  clear(into, payloadEnd + 1, length - CRC_BYTES);
  putU32(into, length - CRC_BYTES, crc32(view(into, 0, length - CRC_BYTES), seedAt(place, offset)));
  return length;
}

/** Length of the frame that may begin at `at`, or 0 where none can; it may reach beyond `end`. Needs 8 bytes. */
export function frameLengthAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 8 > end || getU32(bytes, at) !== MAGIC) return 0;
  const length = getU32(bytes, at + 4);
  return length >= FRAME_MIN_BYTES && length <= MAX_FRAME_BYTES && length % 8 === 0 ? length : 0;
}

/** The head of the whole frame in `bytes[at, at + length)`, `offset` being its place in the file; undefined unless its checksum passes and its head is sound. */
export function checkFrame(bytes: Uint8Array, at: number, length: number, place: SegmentPlace, offset: number): FrameHead | undefined {
  const end = at + length;
  if (crc32(view(bytes, at, end - CRC_BYTES), seedAt(place, offset)) !== getU32(bytes, end - CRC_BYTES)) return undefined;
  const kind = bytes[at + 8]!;
  const storedBytes = getU32(bytes, at + 40);
  const payloadBytes = getU32(bytes, at + 44);
  const isPacked = bytes[at + 9] === FLAG_PACKED;
  const firstSeq = getU48(bytes, at + 20);
  const lastSeq = getU48(bytes, at + FRAME_LAST_SEQ_AT);
  if (bytes[at + 9] !== (isPacked ? FLAG_PACKED : 0) || bytes[at + 10] !== (isPacked ? COMPRESSION_BLOCKS : 0)) return undefined;
  if (bytes[at + 11] !== 0 || getU16(bytes, at + 38) !== 0) return undefined;
  if (isPacked) {
    // Bounded before anything is made of it.
    if (kind !== FRAME_DATA || payloadBytes === 0 || payloadBytes > Math.min(MAX_FRAME_BYTES, storedBytes * MAX_EXPANSION))
      return undefined;
  } else if (payloadBytes !== storedBytes) return undefined;
  if (storedBytes > length || frameBytes(storedBytes) !== length) return undefined;
  const payloadEnd = at + FRAME_HEAD_BYTES + storedBytes;
  if (bytes[payloadEnd] !== END_TAG || !allZero(bytes, payloadEnd + 1, end - CRC_BYTES)) return undefined;
  if (
    kind === FRAME_DATA
      ? firstSeq === 0 || lastSeq < firstSeq
      : firstSeq !== 0 || lastSeq !== 0 || (kind !== FRAME_MARK && kind !== FRAME_FOOTER)
  )
    return undefined;
  if (kind === FRAME_MARK && payloadBytes !== 0) return undefined;
  return {
    kind,
    length,
    epoch: getU32(bytes, at + 16),
    firstSeq,
    lastSeq,
    attestedSeq: getU48(bytes, at + 32),
    batchCount: getU32(bytes, at + 12),
    payloadBytes,
    ...(isPacked ? { packedBytes: storedBytes } : {}),
  };
}

export function encodeMark(place: SegmentPlace, offset: number, epoch: number, attestedSeq: number): Uint8Array {
  const bytes = new Uint8Array(FRAME_MIN_BYTES);
  finishFrame(bytes, { kind: FRAME_MARK, epoch, firstSeq: 0, lastSeq: 0, attestedSeq, batchCount: 0, payloadBytes: 0 }, place, offset);
  return bytes;
}

/**
 * All batches of the checked data frame at `at` (of its image, where it is packed), byte fields views of `bytes`; undefined where the structure inside is unsound.
 * `checkRecords`: verify each record's own checksum too (the frame's covers them).
 */
export function decodeBatches(
  bytes: Uint8Array,
  at: number,
  head: FrameHead,
  place: SegmentPlace,
  checkRecords = false,
): StoredBatch[] | undefined {
  const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
  if (end > bytes.length) return undefined;
  const batches: StoredBatch[] = [];
  let seq = head.firstSeq - 1;
  for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
    const batch = decodeBatchHead(bytes, p, end);
    if (batch === undefined || batch.firstSeq <= seq || batch.lastSeq > head.lastSeq) return undefined;
    const batchEnd = p + batch.totalBytes;
    seq = batch.lastSeq;
    p += batch.headBytes;
    const records: ReadRecord[] = [];
    let event: LogEvent | undefined;
    if (batch.isEvent) {
      const length = eventLengthAt(bytes, p, batchEnd);
      const found = length === 0 ? undefined : decodeEvent(bytes, p, length, place.recordSeed);
      if (found === undefined || found.seq !== batch.firstSeq) return undefined;
      event = found.event;
      p += length;
    } else {
      let previous = batch.firstSeq - 1;
      for (let i = 0; i < batch.count; i++) {
        const length = recordLengthAt(bytes, p, batchEnd);
        if (length === 0 || (checkRecords && !recordIsIntact(bytes, p, length, place.recordSeed))) return undefined;
        const record = decodeRecord(bytes, p, length);
        if (record === undefined || record.seq <= previous || record.batchEndSeq !== batch.lastSeq || record.time !== batch.time)
          return undefined;
        previous = record.seq;
        records.push(record);
        p += length;
      }
    }
    if (p !== batchEnd) return undefined;
    batches.push({ firstSeq: batch.firstSeq, lastSeq: batch.lastSeq, time: batch.time, idempotency: batch.idempotency, records, event });
  }
  return batches.length === head.batchCount ? batches : undefined;
}
