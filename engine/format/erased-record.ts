/**
 * A stored record made into its erased twin: salt and body give way to the hash of both, everything else stays, and with it the
 * record's own hash (record-hash.ts). Layout of either in docs/FORMAT.md.
 */
import { getU16, putU32, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { HASH_BYTES } from './hash.js';
import { SALT_BYTES } from './limits.js';
import { RECORD_FIXED_BYTES } from './record.js';
import { bodyHash } from './record-hash.js';

const FLAGS_AT = 2;
const LENGTH_AT = 4;
const FLAG_ERASED = 1;
const FLAG_SALTED = 2;
const REF_BYTES = 6;
const CRC_BYTES = 4;

/** Bytes of the erased twin of the sound record at `at`; 0 where there is no body to erase (a tombstone, erased already). */
export function erasedBytes(bytes: Uint8Array, at: number): number {
  if (bytes[at + FLAGS_AT] !== FLAG_SALTED) return 0;
  return namesBytes(bytes, at) + HASH_BYTES + CRC_BYTES;
}

/** Writes the twin at `to`, for which there is room; returns its end. */
export function encodeErased(into: Uint8Array, to: number, bytes: Uint8Array, at: number, length: number, seed: number): number {
  const named = namesBytes(bytes, at);
  const saltAt = at + named;
  into.set(view(bytes, at, saltAt), to);
  into.set(bodyHash(view(bytes, saltAt, saltAt + SALT_BYTES), view(bytes, saltAt + SALT_BYTES, at + length - CRC_BYTES)), to + named);
  into[to + FLAGS_AT] = FLAG_ERASED;
  const end = to + named + HASH_BYTES;
  putU32(into, to + LENGTH_AT, named + HASH_BYTES + CRC_BYTES);
  putU32(into, end, crc32(view(into, to, end), seed));
  return end + CRC_BYTES;
}

/** Everything before the salt. */
function namesBytes(bytes: Uint8Array, at: number): number {
  return RECORD_FIXED_BYTES + getU16(bytes, at + 36) * REF_BYTES + getU16(bytes, at + 32) + getU16(bytes, at + 34);
}
