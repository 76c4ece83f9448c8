/**
 * The head of a batch inside a frame: what its records share. Behind it come `count` records, or one event.
 * Layout in docs/FORMAT.md. Decoding takes any bytes.
 */
import { assert } from '../errors.js';
import type { Idempotency } from '../log/types.js';
import { allZero, clear, getU16, getU32, getU48, getU64, MAX_SAFE, putU16, putU32, putU48, putU64, view } from './bytes.js';

export const BATCH_TAG = 0xb1;
export const BATCH_FIXED_BYTES = 40;
const CONTENT_HASH_BYTES = 16;
const FLAG_IDEMPOTENCY = 1;
const FLAG_EVENT = 2;
const MAX_KEY_BYTES = 255;
export const BATCH_LAST_SEQ_AT = 18;

export interface BatchHead {
  /** Bytes of the head itself. */
  readonly headBytes: number;
  /** Bytes of head and items. */
  readonly totalBytes: number;
  readonly count: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly time: number;
  readonly isEvent: boolean;
  readonly idempotency: Idempotency | undefined;
}

export function batchHeadBytes(idempotency: Idempotency | undefined): number {
  return idempotency === undefined ? BATCH_FIXED_BYTES : BATCH_FIXED_BYTES + 1 + idempotency.key.length + CONTENT_HASH_BYTES;
}

/** Writes all but the total length, which `setBatchBytes` fills in once the items are there. */
export function encodeBatchHead(into: Uint8Array, at: number, head: Omit<BatchHead, 'headBytes' | 'totalBytes'>): number {
  const { idempotency } = head;
  const headBytes = batchHeadBytes(idempotency);
  clear(into, at, at + BATCH_FIXED_BYTES);
  into[at] = BATCH_TAG;
  into[at + 1] = (idempotency === undefined ? 0 : FLAG_IDEMPOTENCY) | (head.isEvent ? FLAG_EVENT : 0);
  putU16(into, at + 2, headBytes);
  putU32(into, at + 8, head.count);
  putU48(into, at + 12, head.firstSeq);
  putU48(into, at + BATCH_LAST_SEQ_AT, head.lastSeq);
  putU64(into, at + 24, head.time);
  if (idempotency !== undefined) {
    const { key, contentHash } = idempotency;
    assert(
      key.length >= 1 && key.length <= MAX_KEY_BYTES && contentHash.length === CONTENT_HASH_BYTES,
      'an idempotency key and its hash fit',
    );
    let p = at + BATCH_FIXED_BYTES;
    into[p++] = key.length;
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i);
      assert(code < 0x80, 'an idempotency key is ASCII');
      into[p++] = code;
    }
    into.set(contentHash, p);
  }
  return at + headBytes;
}

export function setBatchBytes(into: Uint8Array, at: number, totalBytes: number): void {
  putU32(into, at + 4, totalBytes);
}

/** The batch head at `at`, whose batch ends by `end`; undefined where there is none or it is unsound. */
export function decodeBatchHead(bytes: Uint8Array, at: number, end: number): BatchHead | undefined {
  if (at + BATCH_FIXED_BYTES > end || bytes[at] !== BATCH_TAG) return undefined;
  const flags = bytes[at + 1]!;
  const headBytes = getU16(bytes, at + 2);
  const totalBytes = getU32(bytes, at + 4);
  const count = getU32(bytes, at + 8);
  const firstSeq = getU48(bytes, at + 12);
  const lastSeq = getU48(bytes, at + BATCH_LAST_SEQ_AT);
  const time = getU64(bytes, at + 24);
  if (flags > 3 || headBytes < BATCH_FIXED_BYTES || totalBytes < headBytes || totalBytes > end - at) return undefined;
  if (firstSeq === 0 || lastSeq < firstSeq || count > lastSeq - firstSeq + 1 || time > MAX_SAFE || !allZero(bytes, at + 32, at + 40))
    return undefined;
  const isEvent = (flags & FLAG_EVENT) !== 0;
  if (isEvent && (count !== 1 || lastSeq !== firstSeq)) return undefined;
  let idempotency: Idempotency | undefined;
  if ((flags & FLAG_IDEMPOTENCY) !== 0) {
    const keyAt = at + BATCH_FIXED_BYTES + 1;
    const keyEnd = keyAt + bytes[keyAt - 1]!;
    if (keyEnd === keyAt || keyEnd + CONTENT_HASH_BYTES !== at + headBytes) return undefined;
    const key = view(bytes, keyAt, keyEnd).toString('latin1');
    idempotency = { key, contentHash: view(bytes, keyEnd, keyEnd + CONTENT_HASH_BYTES) };
  } else if (headBytes !== BATCH_FIXED_BYTES) return undefined;
  return { headBytes, totalBytes, count, firstSeq, lastSeq, time, isEvent, idempotency };
}
