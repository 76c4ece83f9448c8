/**
 * Little-endian integers in byte arrays, and the one way to say that bytes are bad.
 *
 * Everything is a plain number: u48 and u64 are joined by multiplication, never by BigInt. Callers check bounds
 * before they read; reading past the end gives NaN-free garbage (0 for missing bytes), never an exception.
 */
import { VarveError } from '../errors.js';

const TWO_32 = 4294967296;
/** Largest value a u64 field may hold here. */
export const MAX_SAFE = Number.MAX_SAFE_INTEGER;

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function putU48(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0);
  putU16(bytes, at + 4, Math.floor(value / TWO_32));
}

export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0);
  putU32(bytes, at + 4, Math.floor(value / TWO_32));
}

export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function getU48(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU16(bytes, at + 4) * TWO_32;
}

/** Above MAX_SAFE the result is inexact: the caller refuses such values. */
export function getU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU32(bytes, at + 4) * TWO_32;
}

/** The next multiple of 8. */
export function align8(value: number): number {
  const rest = value % 8;
  return rest === 0 ? value : value + 8 - rest;
}

/** A view, whatever class `bytes` is of. */
export function view(bytes: Uint8Array, from: number, to: number): Buffer {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset + from, to - from);
}

/**
 * What a buffer decodes text with, behind `toString` and its checks, which cost as much as a short text. Node tells of it nowhere, so it
 * is used where it is there and does the same.
 */
interface TextSlices {
  utf8Slice?(from: number, to: number): string;
}

/** The text in `bytes[from, to)`, bounds that lie within it. */
export const utf8Text: (bytes: Buffer, from: number, to: number) => string = hasTextSlices()
  ? (bytes, from, to) => (bytes as TextSlices).utf8Slice!(from, to)
  : (bytes, from, to) => bytes.toString('utf8', from, to);

function hasTextSlices(): boolean {
  const bytes = Buffer.from('Tromsø');
  try {
    return (bytes as TextSlices).utf8Slice?.(1, bytes.length) === 'romsø';
  } catch {
    return false;
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Zeros a few bytes: a loop, because a Buffer's `fill` costs more than that to call. */
export function clear(bytes: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) bytes[i] = 0;
}

/** True where `bytes[from, to)` is all zeros. */
export function allZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Bytes that failed their checksum, hash or structure. `offset` is into the file. */
export function corrupt(file: string, offset: number, what: string): VarveError<'CORRUPT'> {
  return new VarveError('CORRUPT', `${what} (${file} at ${offset})`, { file, offset, what });
}
