/**
 * Events inside a frame: what the log holds besides records. One event is a batch of its own and takes one seq.
 * Layout and the numbers reserved for later types in docs/FORMAT.md.
 */
import { assert } from '../errors.js';
import type { LogEvent } from '../log/types.js';
import { allZero, getU16, getU32, getU48, putU32, putU48, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { HASH_BYTES } from './hash.js';

export const EVENT_TAG = 0xe1;
/** Types 2 trim, 3 erasure and 4 epoch are reserved. */
const TYPE_CHECKPOINT = 1;
const FIXED_BYTES = 16;
const CRC_BYTES = 4;
export const EVENT_MIN_BYTES = FIXED_BYTES + CRC_BYTES;
const CHECKPOINT_BYTES = FIXED_BYTES + 6 + 6 + 4 + 2 * HASH_BYTES + CRC_BYTES;

/** The largest event there is. */
export const EVENT_MAX_ENCODED_BYTES = CHECKPOINT_BYTES;

export function encodeEvent(into: Uint8Array, at: number, event: LogEvent, seq: number, seed: number): number {
  assert(event.root.length === HASH_BYTES && event.previous.length === HASH_BYTES, 'a checkpoint names hashes of 32 bytes');
  assert(event.throughSeq < seq, 'a checkpoint covers what came before it');
  into.fill(0, at, at + CHECKPOINT_BYTES);
  into[at] = EVENT_TAG;
  into[at + 1] = TYPE_CHECKPOINT;
  putU32(into, at + 4, CHECKPOINT_BYTES);
  putU48(into, at + 8, seq);
  putU48(into, at + 16, event.throughSeq);
  putU48(into, at + 22, event.entries);
  into.set(event.root, at + 32);
  into.set(event.previous, at + 64);
  const end = at + CHECKPOINT_BYTES - CRC_BYTES;
  putU32(into, end, crc32(view(into, at, end), seed));
  return end + CRC_BYTES;
}

/** Length of the event that may begin at `at`, or 0 where none can that ends by `end`. */
export function eventLengthAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + EVENT_MIN_BYTES > end || bytes[at] !== EVENT_TAG) return 0;
  const length = getU32(bytes, at + 4);
  return length >= EVENT_MIN_BYTES && length <= end - at ? length : 0;
}

/** The event in `bytes[at, at + length)`; undefined where it fails its checksum, or is of no known type or shape. */
export function decodeEvent(bytes: Uint8Array, at: number, length: number, seed: number): { seq: number; event: LogEvent } | undefined {
  const end = at + length - CRC_BYTES;
  if (crc32(view(bytes, at, end), seed) !== getU32(bytes, end)) return undefined;
  if (bytes[at + 1] !== TYPE_CHECKPOINT || length !== CHECKPOINT_BYTES || getU16(bytes, at + 2) !== 0) return undefined;
  const seq = getU48(bytes, at + 8);
  const throughSeq = getU48(bytes, at + 16);
  if (throughSeq >= seq || getU16(bytes, at + 14) !== 0 || !allZero(bytes, at + 28, at + 32)) return undefined;
  const event: LogEvent = {
    type: 'checkpoint',
    throughSeq,
    entries: getU48(bytes, at + 22),
    root: view(bytes, at + 32, at + 64),
    previous: view(bytes, at + 64, at + 96),
  };
  return { seq, event };
}
