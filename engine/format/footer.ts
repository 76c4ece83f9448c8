/**
 * The end of a sealed segment: a footer frame (block table, sparse index, idempotency table, counts, BLAKE3 of everything
 * before it) and a fixed 64-byte trailer that finds it. Layout in docs/FORMAT.md.
 *
 * The block table stands first and has a checksum of its own, in the trailer: point reads need nothing else of the footer.
 *
 * Both are derived from the frames before them (law 2). A crash while they are written leaves a bad trailer: the segment
 * is then not sealed, its frames are scanned, and it is sealed again.
 */
import { assert } from '../errors.js';
import { allZero, getU32, getU48, getU64, MAX_SAFE, putU32, putU48, putU64, view } from './bytes.js';
import { crc32 } from './checksum.js';
import {
  checkFrame,
  FRAME_FOOTER,
  FRAME_HEAD_BYTES,
  FRAME_MIN_BYTES,
  finishFrame,
  frameBytes,
  frameLengthAt,
  MAX_FRAME_BYTES,
} from './frame.js';
import { SEGMENT_HEADER_BYTES, type SegmentPlace } from './segment.js';

export const TRAILER_BYTES = 64;
export const INDEX_ENTRY_BYTES = 24;
export const IDEMPOTENCY_ENTRY_BYTES = 52;
/** A segment is read, checked and cached by blocks of this size, counted from the beginning of its file. */
export const BLOCK_BYTES = 32 * 1024;
export const BLOCK_ENTRY_BYTES = 12;
const FIXED_BYTES = 96;
/** From the beginning of the footer frame. */
const BLOCKS_AT = FRAME_HEAD_BYTES + FIXED_BYTES;
const TRAILER_MAGIC_LOW = 0x56524156; // VARV
const TRAILER_MAGIC_HIGH = 0x444e4545; // EEND
const TRAILER_BLOCKS_CRC_AT = 52;
const TRAILER_PACKED_AT = 56;
const TRAILER_CRC_AT = 60;

/** What opening needs to know of a sealed segment. Times are of record batches, 0 and 0 where it holds none. */
export interface SegmentSummary {
  readonly lastSeq: number;
  readonly minTime: number;
  readonly maxTime: number;
  readonly records: number;
  readonly events: number;
  readonly epoch: number;
}

/** What a segment's footer says of its records' refs: an older one says nothing. */
export const REFS_UNTOLD = 0;
export const REFS_NONE = 1;
export const REFS_SOME = 2;

export interface Footer {
  /** Raw entries of BLOCK_ENTRY_BYTES: one for each block up to the footer (log/block-table), or each packed block (log/packed-table). */
  readonly blocks: Uint8Array;
  /** Raw entries of INDEX_ENTRY_BYTES; see log/sparse-index. */
  readonly index: Uint8Array;
  /** Raw entries of IDEMPOTENCY_ENTRY_BYTES, sorted by key hash. */
  readonly idempotency: Uint8Array;
  readonly contentHash: Uint8Array;
  /** REFS_…; whoever wants refs need not read a segment that has none. */
  readonly refs?: number;
}

export interface Trailer extends SegmentSummary {
  readonly footerOffset: number;
  readonly footerBytes: number;
  /** Of the block table. */
  readonly blocksCrc: number;
  /** How many entries the table of packed blocks has; 0: the segment is not packed, and its block table counts blocks of the file. */
  readonly packedBlocks: number;
}

/** Bytes of the block table of a segment whose footer is at `footerOffset`, and which is not packed. */
export function blockTableBytes(footerOffset: number): number {
  return Math.ceil(footerOffset / BLOCK_BYTES) * BLOCK_ENTRY_BYTES;
}

/** The same of any segment. */
export function tableBytes({ packedBlocks, footerOffset }: Trailer): number {
  return packedBlocks > 0 ? packedBlocks * BLOCK_ENTRY_BYTES : blockTableBytes(footerOffset);
}

/** Where in the file it stands. */
export function blockTableOffset(trailer: Trailer): number {
  return trailer.footerOffset + BLOCKS_AT;
}

/** Whether these are the bytes of the block table that the trailer vouches for. */
export function blockTableIsIntact(bytes: Uint8Array, place: SegmentPlace, trailer: Trailer): boolean {
  return bytes.length === tableBytes(trailer) && crc32(bytes, place.seed) === trailer.blocksCrc;
}

/** Footer frame and trailer, ready to be written at `offset`. `isPacked`: its blocks are packed ones. */
export function encodeFooter(place: SegmentPlace, offset: number, summary: SegmentSummary, footer: Footer, isPacked = false): Uint8Array {
  const { blocks, index, idempotency } = footer;
  const packedBlocks = isPacked ? blocks.length / BLOCK_ENTRY_BYTES : 0;
  assert(isPacked ? packedBlocks > 0 : blocks.length === blockTableBytes(offset), 'a block table has an entry for each block');
  const payloadBytes = FIXED_BYTES + blocks.length + index.length + idempotency.length;
  const footerBytes = frameBytes(payloadBytes);
  const bytes = new Uint8Array(footerBytes + TRAILER_BYTES);
  const p = FRAME_HEAD_BYTES;
  putU32(bytes, p, index.length / INDEX_ENTRY_BYTES);
  putU32(bytes, p + 4, idempotency.length / IDEMPOTENCY_ENTRY_BYTES);
  putU48(bytes, p + 8, place.base);
  putU48(bytes, p + 14, summary.lastSeq);
  putU32(bytes, p + 20, summary.records);
  putU32(bytes, p + 24, summary.events);
  putU32(bytes, p + 28, blocks.length / BLOCK_ENTRY_BYTES);
  putU64(bytes, p + 32, summary.minTime);
  putU64(bytes, p + 40, summary.maxTime);
  bytes[p + 48] = footer.refs ?? REFS_UNTOLD;
  bytes.set(footer.contentHash, p + 64);
  bytes.set(blocks, BLOCKS_AT);
  bytes.set(index, BLOCKS_AT + blocks.length);
  bytes.set(idempotency, BLOCKS_AT + blocks.length + index.length);
  const head = {
    kind: FRAME_FOOTER,
    epoch: summary.epoch,
    firstSeq: 0,
    lastSeq: 0,
    attestedSeq: summary.lastSeq,
    batchCount: 0,
    payloadBytes,
  };
  finishFrame(bytes, head, place, offset);
  encodeTrailer(bytes, footerBytes, place, {
    ...summary,
    footerOffset: offset,
    footerBytes,
    blocksCrc: crc32(blocks, place.seed),
    packedBlocks,
  });
  return bytes;
}

function encodeTrailer(into: Uint8Array, at: number, place: SegmentPlace, trailer: Trailer): void {
  putU32(into, at, TRAILER_MAGIC_LOW);
  putU32(into, at + 4, TRAILER_MAGIC_HIGH);
  putU48(into, at + 8, trailer.footerOffset);
  putU32(into, at + 14, trailer.footerBytes);
  putU48(into, at + 18, trailer.lastSeq);
  putU64(into, at + 24, trailer.minTime);
  putU64(into, at + 32, trailer.maxTime);
  putU32(into, at + 40, trailer.records);
  putU32(into, at + 44, trailer.events);
  putU32(into, at + 48, trailer.epoch);
  putU32(into, at + TRAILER_BLOCKS_CRC_AT, trailer.blocksCrc);
  putU32(into, at + TRAILER_PACKED_AT, trailer.packedBlocks);
  putU32(into, at + TRAILER_CRC_AT, crc32(view(into, at, at + TRAILER_CRC_AT), place.seed));
}

/** `bytes` are the last TRAILER_BYTES of a file of `fileBytes`; undefined where the file is not sealed, or its trailer is bad. */
export function decodeTrailer(bytes: Uint8Array, place: SegmentPlace, fileBytes: number): Trailer | undefined {
  if (bytes.length < TRAILER_BYTES || getU32(bytes, 0) !== TRAILER_MAGIC_LOW || getU32(bytes, 4) !== TRAILER_MAGIC_HIGH) return undefined;
  if (crc32(bytes.subarray(0, TRAILER_CRC_AT), place.seed) !== getU32(bytes, TRAILER_CRC_AT)) return undefined;
  const footerOffset = getU48(bytes, 8);
  const footerBytes = getU32(bytes, 14);
  const minTime = getU64(bytes, 24);
  const maxTime = getU64(bytes, 32);
  const lastSeq = getU48(bytes, 18);
  if (footerOffset < SEGMENT_HEADER_BYTES || footerOffset % 8 !== 0 || footerBytes < FRAME_MIN_BYTES || footerBytes > MAX_FRAME_BYTES)
    return undefined;
  if (footerOffset + footerBytes + TRAILER_BYTES !== fileBytes || lastSeq < place.base - 1 || maxTime > MAX_SAFE || minTime > maxTime)
    return undefined;
  const packedBlocks = getU32(bytes, TRAILER_PACKED_AT);
  if (packedBlocks * BLOCK_ENTRY_BYTES > footerBytes) return undefined;
  return {
    footerOffset,
    footerBytes,
    lastSeq,
    minTime,
    maxTime,
    records: getU32(bytes, 40),
    events: getU32(bytes, 44),
    epoch: getU32(bytes, 48),
    blocksCrc: getU32(bytes, TRAILER_BLOCKS_CRC_AT),
    packedBlocks,
  };
}

/** `bytes` are the footer frame; undefined where it is bad or does not fit the trailer. */
export function decodeFooter(bytes: Uint8Array, place: SegmentPlace, trailer: Trailer): Footer | undefined {
  const length = frameLengthAt(bytes, 0, bytes.length);
  if (length === 0 || length !== bytes.length || length !== trailer.footerBytes) return undefined;
  const head = checkFrame(bytes, 0, length, place, trailer.footerOffset);
  if (head === undefined || head.kind !== FRAME_FOOTER || head.payloadBytes < FIXED_BYTES) return undefined;
  const p = FRAME_HEAD_BYTES;
  const indexBytes = getU32(bytes, p) * INDEX_ENTRY_BYTES;
  const idempotencyBytes = getU32(bytes, p + 4) * IDEMPOTENCY_ENTRY_BYTES;
  const blocksBytes = getU32(bytes, p + 28) * BLOCK_ENTRY_BYTES;
  if (FIXED_BYTES + blocksBytes + indexBytes + idempotencyBytes !== head.payloadBytes) return undefined;
  const blocks = view(bytes, BLOCKS_AT, BLOCKS_AT + blocksBytes);
  if (!blockTableIsIntact(blocks, place, trailer)) return undefined;
  if (getU48(bytes, p + 8) !== place.base || getU48(bytes, p + 14) !== trailer.lastSeq) return undefined;
  if (getU32(bytes, p + 20) !== trailer.records || getU32(bytes, p + 24) !== trailer.events) return undefined;
  if (getU64(bytes, p + 32) !== trailer.minTime || getU64(bytes, p + 40) !== trailer.maxTime) return undefined;
  const refs = bytes[p + 48]!;
  if (refs > REFS_SOME || !allZero(bytes, p + 49, p + 64)) return undefined;
  const indexAt = BLOCKS_AT + blocksBytes;
  return {
    blocks,
    contentHash: view(bytes, p + 64, p + 96),
    refs,
    index: view(bytes, indexAt, indexAt + indexBytes),
    idempotency: view(bytes, indexAt + indexBytes, indexAt + indexBytes + idempotencyBytes),
  };
}
