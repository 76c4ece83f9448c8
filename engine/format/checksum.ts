/**
 * CRC-32 (the zlib polynomial): finds accidents, not forgers. Owns nothing else; identity is hash.ts's.
 *
 * A `seed` is the CRC of what went before, so that a checksum can cover where bytes belong (database, shard, file, offset) as
 * well as the bytes: `crc32(frame, crc32(place))` is the CRC of both one after the other.
 */
import { crc32 as zlibCrc32 } from 'node:zlib';

/** Unsigned 32 bits. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed);
}
