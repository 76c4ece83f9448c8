/**
 * A packed block: a run of whole items (batch heads, records, events), compressed, under a checksum of its own that also covers
 * where it is. A point read takes one of these and nothing else. Layout in docs/FORMAT.md.
 *
 *   tag method 0 0 | stored length | unpacked length | data | crc
 *
 * What compression does not make smaller stands as it is. Decoding takes any bytes: `undefined` means they are no whole, sound
 * block, and no more memory is used than the head, once checked, says.
 */
import { brotliCompressSync, constants, deflateRawSync } from 'node:zlib';
import { getU16, getU32, putU16, putU32, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { inflateInto, SPARE_BYTES, unbrotliInto } from './unpacking.js';

export const PACKED_TAG = 0xc1;
const HEAD_BYTES = 12;
const CRC_BYTES = 4;
/** What a block takes besides its data. */
export const PACKED_BLOCK_BYTES = HEAD_BYTES + CRC_BYTES;
const METHOD_STORED = 0;
/** RFC 1951. */
const METHOD_DEFLATE = 1;
/** RFC 7932. */
const METHOD_BROTLI = 2;
/** Quality 1 takes half the time that deflate takes at any of its levels, and comes out as small. A window of 16 KiB holds any block of several items. */
const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 14 };
const MOST_BROTLI_BYTES = 16 * 1024;
const DEFLATE_LEVEL = 3;
/** Node makes its output in chunks: one that just fits spares copies, and memory. It takes no smaller ones than this. */
const MIN_CHUNK_BYTES = 64;
/** Deflate makes no more than 1032 bytes of one; what brotli would make more of is left to it. */
const MAX_EXPANSION = 1040;

/** Writes the block that holds `items[from, to)` at `at`, where there is room for them and PACKED_BLOCK_BYTES. Returns the position after it. */
export function encodePackedBlock(into: Uint8Array, at: number, items: Uint8Array, from: number, to: number, seed: number): number {
  const raw = view(items, from, to);
  const { method, data } = pack(raw);
  into[at] = PACKED_TAG;
  into[at + 1] = method;
  putU16(into, at + 2, 0);
  putU32(into, at + 4, data.length);
  putU32(into, at + 8, raw.length);
  into.set(data, at + HEAD_BYTES);
  const end = at + HEAD_BYTES + data.length;
  putU32(into, end, crc32(view(into, at, end), seed));
  return end + CRC_BYTES;
}

function pack(raw: Uint8Array): { readonly method: number; readonly data: Uint8Array } {
  const chunkSize = Math.max(MIN_CHUNK_BYTES, raw.length);
  if (raw.length <= MOST_BROTLI_BYTES) {
    const data = brotliCompressSync(raw, { params: BROTLI, chunkSize });
    if (data.length < raw.length && raw.length <= data.length * MAX_EXPANSION) return { method: METHOD_BROTLI, data };
  }
  const data = deflateRawSync(raw, { level: DEFLATE_LEVEL, chunkSize });
  return data.length < raw.length ? { method: METHOD_DEFLATE, data } : { method: METHOD_STORED, data: raw };
}

/** Length of the block that may begin at `at`; 0 where none does that ends by `end`. */
export function packedBlockLengthAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + PACKED_BLOCK_BYTES > end || bytes[at] !== PACKED_TAG) return 0;
  const length = getU32(bytes, at + 4) + PACKED_BLOCK_BYTES;
  return length <= end - at ? length : 0;
}

/** The items of the block in `bytes[at, at + length)`, in memory of their own; undefined unless its checksum passes and it unpacks to what it says. */
export function unpackBlock(bytes: Uint8Array, at: number, length: number, seed: number): Buffer | undefined {
  const unpackedBytes = unpackedBytesOf(bytes, at, length, seed);
  if (unpackedBytes === 0) return undefined;
  const items = Buffer.allocUnsafeSlow(unpackedBytes + SPARE_BYTES);
  return unpackData(bytes, at, length, unpackedBytes, items, 0) ? items.subarray(0, unpackedBytes) : undefined;
}

/** The same to `into`, from `to` on, where there is room up to `end` and SPARE_BYTES behind it; returns how many bytes they are, 0 for undefined. */
export function unpackBlockInto(
  bytes: Uint8Array,
  at: number,
  length: number,
  seed: number,
  into: Buffer,
  to: number,
  end: number,
): number {
  const unpackedBytes = unpackedBytesOf(bytes, at, length, seed);
  if (unpackedBytes === 0 || unpackedBytes > end - to) return 0;
  return unpackData(bytes, at, length, unpackedBytes, into, to) ? unpackedBytes : 0;
}

function unpackData(bytes: Uint8Array, at: number, length: number, unpackedBytes: number, into: Buffer, to: number): boolean {
  const data = view(bytes, at + HEAD_BYTES, at + length - CRC_BYTES);
  const method = bytes[at + 1];
  if (method !== METHOD_STORED) return (method === METHOD_BROTLI ? unbrotliInto : inflateInto)(data, unpackedBytes, into, to);
  into.set(data, to);
  return true;
}

/** What the head of the block says; 0 unless its checksum passes, and what it says may be. */
function unpackedBytesOf(bytes: Uint8Array, at: number, length: number, seed: number): number {
  const dataEnd = at + length - CRC_BYTES;
  if (crc32(view(bytes, at, dataEnd), seed) !== getU32(bytes, dataEnd)) return 0;
  const method = bytes[at + 1];
  const dataBytes = dataEnd - at - HEAD_BYTES;
  const unpackedBytes = getU32(bytes, at + 8);
  if (getU16(bytes, at + 2) !== 0) return 0;
  if (method === METHOD_STORED) return dataBytes === unpackedBytes ? unpackedBytes : 0;
  const isKnown = method === METHOD_DEFLATE || method === METHOD_BROTLI;
  return isKnown && unpackedBytes <= dataBytes * MAX_EXPANSION ? unpackedBytes : 0;
}
