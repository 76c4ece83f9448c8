/**
 * Events inside a frame: what the log holds besides records. One event is a batch of its own and takes one seq.
 * Layouts in docs/FORMAT.md.
 */
import { assert } from '../errors.js';
import type { CheckpointEvent, EpochEvent, ErasureEvent, LogEvent, TrimEvent } from '../log/types.js';
import { allZero, getU16, getU32, getU48, putU16, putU32, putU48, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { HASH_BYTES } from './hash.js';
import { EPOCH_SEQS, MAX_COLLECTION_BYTES, MAX_KEY_BYTES, MAX_REASON_BYTES, MAX_URL_BYTES } from './limits.js';
import { countOfRuns, decodeRuns, encodeRuns, runsBytes } from './seq-runs.js';

export const EVENT_TAG = 0xe1;
const TYPE_CHECKPOINT = 1;
const TYPE_TRIM = 2;
const TYPE_ERASURE = 3;
const TYPE_EPOCH = 4;
const FIXED_BYTES = 16;
const CRC_BYTES = 4;
export const EVENT_MIN_BYTES = FIXED_BYTES + CRC_BYTES;
const CHECKPOINT_BYTES = FIXED_BYTES + 6 + 6 + 4 + 2 * HASH_BYTES + CRC_BYTES;
const TRIM_HEAD_BYTES = 12;
const ERASURE_HEAD_BYTES = 6;
export const NODE_ID_BYTES = 16;
const EPOCH_HEAD_BYTES = 4 + 6 + NODE_ID_BYTES + 2 + 2;

/** Length of the event once encoded. */
export function eventBytes(event: LogEvent): number {
  switch (event.type) {
    case 'checkpoint':
      return CHECKPOINT_BYTES;
    case 'trim':
      return FIXED_BYTES + TRIM_HEAD_BYTES + runsBytes(event.runs) + CRC_BYTES;
    case 'erasure':
      return FIXED_BYTES + ERASURE_HEAD_BYTES + event.collection.length + event.key.length + event.reason.length + CRC_BYTES;
    case 'epoch':
      return FIXED_BYTES + EPOCH_HEAD_BYTES + event.url.length + event.reason.length + CRC_BYTES;
  }
}

/** Returns the end. */
export function encodeEvent(into: Uint8Array, at: number, event: LogEvent, seq: number, seed: number): number {
  const length = eventBytes(event);
  into.fill(0, at, at + FIXED_BYTES);
  into[at] = EVENT_TAG;
  into[at + 1] = TYPES[event.type];
  putU32(into, at + 4, length);
  putU48(into, at + 8, seq);
  const p = at + FIXED_BYTES;
  if (event.type === 'checkpoint') encodeCheckpoint(into, p, event, seq);
  else if (event.type === 'trim') encodeTrim(into, p, event, seq);
  else if (event.type === 'erasure') encodeErasure(into, p, event);
  else encodeEpoch(into, p, event, seq);
  const end = at + length - CRC_BYTES;
  putU32(into, end, crc32(view(into, at, end), seed));
  return end + CRC_BYTES;
}

const TYPES = { checkpoint: TYPE_CHECKPOINT, trim: TYPE_TRIM, erasure: TYPE_ERASURE, epoch: TYPE_EPOCH } as const;

function encodeCheckpoint(into: Uint8Array, p: number, event: CheckpointEvent, seq: number): void {
  assert(event.root.length === HASH_BYTES && event.previous.length === HASH_BYTES, 'a checkpoint names hashes of 32 bytes');
  assert(event.throughSeq < seq, 'a checkpoint covers what came before it');
  putU48(into, p, event.throughSeq);
  putU48(into, p + 6, event.entries);
  putU32(into, p + 12, 0);
  into.set(event.root, p + 16);
  into.set(event.previous, p + 48);
}

function encodeTrim(into: Uint8Array, p: number, event: TrimEvent, seq: number): void {
  const last = event.runs[event.runs.length - 1];
  assert(last !== undefined && last.toSeq < seq, 'a trim drops something, and only what came before it');
  putU48(into, p, countOfRuns(event.runs));
  putU32(into, p + 6, event.runs.length);
  putU16(into, p + 10, 0);
  encodeRuns(into, p + TRIM_HEAD_BYTES, event.runs);
}

function encodeErasure(into: Uint8Array, p: number, { collection, key, reason }: ErasureEvent): void {
  assert(collection.length <= MAX_COLLECTION_BYTES && key.length <= MAX_KEY_BYTES && reason.length <= MAX_REASON_BYTES, 'names fit');
  putU16(into, p, collection.length);
  putU16(into, p + 2, key.length);
  putU16(into, p + 4, reason.length);
  into.set(collection, p + ERASURE_HEAD_BYTES);
  into.set(key, p + ERASURE_HEAD_BYTES + collection.length);
  into.set(reason, p + ERASURE_HEAD_BYTES + collection.length + key.length);
}

function encodeEpoch(into: Uint8Array, p: number, { epoch, endsAt, node, url, reason }: EpochEvent, seq: number): void {
  assert(epoch > 1 && beginsBehind(seq, endsAt) && node.length === NODE_ID_BYTES, 'an epoch begins behind the one before');
  assert(url.length <= MAX_URL_BYTES && reason.length <= MAX_REASON_BYTES, 'texts fit');
  putU32(into, p, epoch);
  putU48(into, p + 4, endsAt);
  into.set(node, p + 10);
  putU16(into, p + 26, url.length);
  putU16(into, p + 28, reason.length);
  into.set(url, p + EPOCH_HEAD_BYTES);
  into.set(reason, p + EPOCH_HEAD_BYTES + url.length);
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
  if (getU16(bytes, at + 2) !== 0 || getU16(bytes, at + 14) !== 0) return undefined;
  const seq = getU48(bytes, at + 8);
  const p = at + FIXED_BYTES;
  const type = bytes[at + 1];
  let event: LogEvent | undefined;
  if (type === TYPE_CHECKPOINT) event = decodeCheckpoint(bytes, p, end, seq);
  else if (type === TYPE_TRIM) event = decodeTrim(bytes, p, end, seq);
  else if (type === TYPE_ERASURE) event = decodeErasure(bytes, p, end);
  else if (type === TYPE_EPOCH) event = decodeEpoch(bytes, p, end, seq);
  return event === undefined ? undefined : { seq, event };
}

function decodeCheckpoint(bytes: Uint8Array, p: number, end: number, seq: number): CheckpointEvent | undefined {
  if (end - p !== CHECKPOINT_BYTES - EVENT_MIN_BYTES || !allZero(bytes, p + 12, p + 16)) return undefined;
  const throughSeq = getU48(bytes, p);
  if (throughSeq >= seq) return undefined;
  const entries = getU48(bytes, p + 6);
  return { type: 'checkpoint', throughSeq, entries, root: view(bytes, p + 16, p + 48), previous: view(bytes, p + 48, p + 80) };
}

function decodeTrim(bytes: Uint8Array, p: number, end: number, seq: number): TrimEvent | undefined {
  if (end - p < TRIM_HEAD_BYTES || getU16(bytes, p + 10) !== 0) return undefined;
  const runs = decodeRuns(bytes, p + TRIM_HEAD_BYTES, end, getU32(bytes, p + 6));
  const last = runs?.[runs.length - 1];
  if (runs === undefined || last === undefined || last.toSeq >= seq || countOfRuns(runs) !== getU48(bytes, p)) return undefined;
  return { type: 'trim', runs };
}

function decodeErasure(bytes: Uint8Array, p: number, end: number): ErasureEvent | undefined {
  if (end - p < ERASURE_HEAD_BYTES) return undefined;
  const collectionEnd = p + ERASURE_HEAD_BYTES + getU16(bytes, p);
  const keyEnd = collectionEnd + getU16(bytes, p + 2);
  if (keyEnd + getU16(bytes, p + 4) !== end) return undefined;
  if (collectionEnd - p - ERASURE_HEAD_BYTES > MAX_COLLECTION_BYTES || keyEnd - collectionEnd > MAX_KEY_BYTES) return undefined;
  if (end - keyEnd > MAX_REASON_BYTES) return undefined;
  return {
    type: 'erasure',
    collection: view(bytes, p + ERASURE_HEAD_BYTES, collectionEnd),
    key: view(bytes, collectionEnd, keyEnd),
    reason: view(bytes, keyEnd, end),
  };
}

function decodeEpoch(bytes: Uint8Array, p: number, end: number, seq: number): EpochEvent | undefined {
  if (end - p < EPOCH_HEAD_BYTES) return undefined;
  const epoch = getU32(bytes, p);
  const endsAt = getU48(bytes, p + 4);
  const urlEnd = p + EPOCH_HEAD_BYTES + getU16(bytes, p + 26);
  const reasonBytes = getU16(bytes, p + 28);
  if (epoch < 2 || !beginsBehind(seq, endsAt) || urlEnd + reasonBytes !== end) return undefined;
  if (urlEnd - p - EPOCH_HEAD_BYTES > MAX_URL_BYTES || reasonBytes > MAX_REASON_BYTES) return undefined;
  const node = view(bytes, p + 10, p + 26);
  return { type: 'epoch', epoch, endsAt, node, url: view(bytes, p + EPOCH_HEAD_BYTES, urlEnd), reason: view(bytes, urlEnd, end) };
}

/** One stretch of seqs for each epoch since the one that ended, seen here or not. */
function beginsBehind(seq: number, endsAt: number): boolean {
  return seq > endsAt && (seq - endsAt) % EPOCH_SEQS === 0;
}
