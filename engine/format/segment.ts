/**
 * A segment file: its name, its place in the database, and its 128-byte header. Layout in docs/FORMAT.md.
 *
 * The header is written once, before the file gets its proper name, and never changes: under a proper name a bad
 * header is damage. Name and place are enough to check the frames behind a bad header.
 */
import { VarveError } from '../errors.js';
import { allZero, corrupt, equalBytes, getU16, getU32, getU48, getU64, MAX_SAFE, putU16, putU32, putU48, putU64 } from './bytes.js';
import { crc32 } from './checksum.js';

export const FORMAT_VERSION = 1;
/** Of segments whose frames may be packed: who reads only version 1 says so, instead of taking them for damaged. */
const PACKED_VERSION = 2;
export const SEGMENT_HEADER_BYTES = 128;
export const SEGMENT_SUFFIX = '.seg';
export const TEMPORARY_SUFFIX = '.tmp';

const MAGIC = Uint8Array.from([0x56, 0x41, 0x52, 0x56, 0x45, 0x53, 0x45, 0x47]); // VARVESEG
const KIND_LOG = 1;
const CRC_AT = SEGMENT_HEADER_BYTES - 4;
const RESERVED_AT = 80;
const BASE_DIGITS = 12;

/** Where a segment belongs; every checksum of a frame inside starts from it. */
export interface SegmentPlace {
  readonly databaseId: Uint8Array;
  readonly shard: number;
  readonly base: number;
  readonly generation: number;
  /** CRC-32 of the fields above: what frame checksums are seeded with, before the frame's offset. */
  readonly seed: number;
  /** CRC-32 of database and shard: what record checksums are seeded with, so that a record may move between segments. */
  readonly recordSeed: number;
}

export interface SegmentHeader {
  readonly epoch: number;
  /** Seqs of the segments this one stands in for; 0 and 0 for one written by appending. */
  readonly replacesFrom: number;
  readonly replacesTo: number;
  /** Trim event up to which dropped records are physically gone; 0: none. */
  readonly compactedThrough: number;
  /** Every seq up to this was durable, outside this file, when it was made. */
  readonly attestedSeq: number;
  readonly createdTime: number;
  /** Set where frames may be packed. */
  readonly packed?: true;
}

export function segmentPlace(databaseId: Uint8Array, shard: number, base: number, generation: number): SegmentPlace {
  const bytes = new Uint8Array(28);
  bytes.set(databaseId.subarray(0, 16));
  putU32(bytes, 16, shard);
  putU48(bytes, 20, base);
  putU16(bytes, 26, generation);
  const recordSeed = crc32(bytes.subarray(0, 20));
  return { databaseId, shard, base, generation, seed: crc32(bytes.subarray(20), recordSeed), recordSeed };
}

const offsetBytes = new Uint8Array(8);

/** What the checksum of something that begins at `offset` in the file is seeded with. */
export function seedAt(place: SegmentPlace, offset: number): number {
  putU64(offsetBytes, 0, offset);
  return crc32(offsetBytes, place.seed);
}

export function segmentName(base: number, generation: number): string {
  return `${base.toString(16).padStart(BASE_DIGITS, '0')}-${generation.toString(16).padStart(4, '0')}${SEGMENT_SUFFIX}`;
}

export function parseSegmentName(name: string): { base: number; generation: number } | undefined {
  const base = Number.parseInt(name.slice(0, BASE_DIGITS), 16);
  const generation = Number.parseInt(name.slice(BASE_DIGITS + 1), 16);
  // Whatever is no number makes another name, and so does every other way to write one.
  return base > 0 && generation >= 0 && segmentName(base, generation) === name ? { base, generation } : undefined;
}

export function encodeSegmentHeader(place: SegmentPlace, header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  bytes.set(MAGIC);
  putU16(bytes, 8, header.packed === true ? PACKED_VERSION : FORMAT_VERSION);
  bytes[10] = KIND_LOG;
  putU32(bytes, 12, place.shard);
  bytes.set(place.databaseId, 16);
  putU48(bytes, 32, place.base);
  putU16(bytes, 38, place.generation);
  putU32(bytes, 40, header.epoch);
  putU48(bytes, 48, header.replacesFrom);
  putU48(bytes, 54, header.replacesTo);
  putU48(bytes, 60, header.compactedThrough);
  putU48(bytes, 66, header.attestedSeq);
  putU64(bytes, 72, header.createdTime);
  putU32(bytes, CRC_AT, crc32(bytes.subarray(0, CRC_AT)));
  return bytes;
}

/** Throws CORRUPT for bad bytes, INCOMPATIBLE for a newer format, and gives undefined for a good header of another place. */
export function decodeSegmentHeader(bytes: Uint8Array, place: SegmentPlace, file: string): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES) throw corrupt(file, 0, 'the segment header is cut short');
  if (crc32(bytes.subarray(0, CRC_AT)) !== getU32(bytes, CRC_AT)) throw corrupt(file, 0, 'the segment header fails its checksum');
  if (!equalBytes(bytes.subarray(0, 8), MAGIC)) throw corrupt(file, 0, 'not a segment');
  const version = getU16(bytes, 8);
  if (version !== FORMAT_VERSION && version !== PACKED_VERSION) {
    throw new VarveError('INCOMPATIBLE', `${file} has format ${version}; this version reads up to ${PACKED_VERSION}`, {
      expected: `format ${FORMAT_VERSION} or ${PACKED_VERSION}`,
      found: `format ${version}`,
    });
  }
  if (bytes[10] !== KIND_LOG || bytes[11] !== 0 || getU32(bytes, 44) !== 0 || !allZero(bytes, RESERVED_AT, CRC_AT)) {
    throw corrupt(file, 0, 'the segment header has an unknown kind or reserved bytes set');
  }
  const here =
    equalBytes(bytes.subarray(16, 32), place.databaseId) &&
    getU32(bytes, 12) === place.shard &&
    getU48(bytes, 32) === place.base &&
    getU16(bytes, 38) === place.generation;
  if (!here) return undefined;
  const createdTime = getU64(bytes, 72);
  if (createdTime > MAX_SAFE) throw corrupt(file, 72, 'the segment header has an impossible time');
  return {
    epoch: getU32(bytes, 40),
    replacesFrom: getU48(bytes, 48),
    replacesTo: getU48(bytes, 54),
    compactedThrough: getU48(bytes, 60),
    attestedSeq: getU48(bytes, 66),
    createdTime,
    ...(version === PACKED_VERSION ? { packed: true } : {}),
  };
}
