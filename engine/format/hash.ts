/**
 * BLAKE3: identity of everything hashed. HalfSipHash: the keyed hash that decides tree boundaries (see tree/boundary).
 *
 * Small inputs are the hot path (a record or body of a few hundred bytes), so this calls the WebAssembly exports of
 * `blake3-wasm` directly: one allocation inside the module, one copy in, 32 bytes out.
 *
 *   malloc(n) -> copy the parts -> hash(ptr, n, OUT, 32)    frees ptr itself; OUT stays ours
 *
 * Invariants: the module frees every input buffer it is given, never the output one. An allocation may grow the module's
 * memory, which detaches views of it: `memory()` is called after every allocation and before every touch. Large inputs go
 * through in pieces, so the module's memory stays small whatever is hashed. Nothing here is asynchronous, so the one output
 * buffer is never shared by two calls. A crash loses nothing: there is no state between calls.
 */
import bindings from 'blake3-wasm/dist/wasm/nodejs/blake3_js.js';
import type { HashHex } from '../types.js';
import { hasWideBlake3, WideBlake3 } from './blake3-wide.js';

/** What we use of the module's raw exports; pointers are offsets into `memory`. */
interface RawBlake3 {
  readonly memory: WebAssemblyMemory;
  __wbindgen_malloc(bytes: number): number;
  hash(input: number, inputBytes: number, output: number, outputBytes: number): void;
  create_hasher(): number;
  blake3hash_update(hasher: number, input: number, inputBytes: number): void;
  blake3hash_digest(hasher: number, output: number, outputBytes: number): void;
  __wbg_blake3hash_free(hasher: number): void;
}
interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer;
}

export const HASH_BYTES = 32;
/** Inputs above this are fed in pieces of this size. */
const PIECE_BYTES = 64 * 1024;
/** Up to here a loop copies faster than a call out of JavaScript. */
const LOOP_BYTES = 64;

const wasm = (bindings as unknown as { readonly __wasm: RawBlake3 }).__wasm;
const OUT = wasm.__wbindgen_malloc(HASH_BYTES);
let view = new Uint8Array(wasm.memory.buffer);

/** The module's memory; a detached view has length 0. */
function memory(): Uint8Array {
  if (view.length === 0) view = new Uint8Array(wasm.memory.buffer);
  return view;
}

function takeOutput(): Buffer {
  const digest = Buffer.allocUnsafe(HASH_BYTES);
  const from = memory();
  for (let i = 0; i < HASH_BYTES; i++) digest[i] = from[OUT + i]!;
  return digest;
}

/** 32 bytes: one hash over the parts as if they were one. */
export function blake3(...parts: Uint8Array[]): Buffer {
  let bytes = 0;
  for (let i = 0; i < parts.length; i++) bytes += parts[i]!.length;
  if (bytes > PIECE_BYTES) {
    const stream = new Blake3Stream();
    for (const part of parts) stream.update(part);
    return stream.digest();
  }
  const input = wasm.__wbindgen_malloc(bytes);
  const to = memory();
  let at = input;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    to.set(part, at);
    at += part.length;
  }
  wasm.hash(input, bytes, OUT, HASH_BYTES);
  return takeOutput();
}

/** The 32 bytes of `head` and `bytes[from, to)` as if they were one, to `into[at, at + 32)`. Allocates nothing. */
export function blake3Into(into: Uint8Array, at: number, head: Uint8Array, bytes: Uint8Array, from: number, to: number): void {
  const length = head.length + to - from;
  if (length > PIECE_BYTES) {
    into.set(blake3(head, bytes.subarray(from, to)), at);
    return;
  }
  const input = wasm.__wbindgen_malloc(length);
  const target = memory();
  let p = input;
  for (let i = 0; i < head.length; i++) target[p++] = head[i]!;
  if (to - from > LOOP_BYTES) target.set(bytes.subarray(from, to), p);
  else for (let i = from; i < to; i++) target[p++] = bytes[i]!;
  wasm.hash(input, length, OUT, HASH_BYTES);
  const digest = memory();
  for (let i = 0; i < HASH_BYTES; i++) into[at + i] = digest[OUT + i]!;
}

/** For what does not fit in memory at once. Holds memory of the module until `digest` or `free`. */
export class Blake3Stream {
  /** Where this machine hashes several chunks at once; otherwise the module's hasher does it, 0 once freed. */
  #wide: WideBlake3 | undefined;
  #hasher: number;
  #isOpen = true;

  constructor(isWide = hasWideBlake3()) {
    this.#wide = isWide ? new WideBlake3() : undefined;
    this.#hasher = isWide ? 0 : wasm.create_hasher();
  }

  update(bytes: Uint8Array): this {
    this.#mustBeOpen();
    if (this.#wide !== undefined) {
      this.#wide.update(bytes);
      return this;
    }
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      const piece = bytes.subarray(start, start + PIECE_BYTES);
      const input = wasm.__wbindgen_malloc(piece.length);
      memory().set(piece, input);
      wasm.blake3hash_update(this.#hasher, input, piece.length);
    }
    return this;
  }

  /** Ends the stream. */
  digest(): Buffer {
    this.#mustBeOpen();
    if (this.#wide !== undefined) {
      const digest = this.#wide.digest();
      this.free();
      return digest;
    }
    wasm.blake3hash_digest(this.#hasher, OUT, HASH_BYTES);
    const digest = takeOutput();
    this.free();
    return digest;
  }

  /** For a stream given up before its digest; harmless after it. */
  free(): void {
    if (this.#hasher !== 0) wasm.__wbg_blake3hash_free(this.#hasher);
    this.#hasher = 0;
    this.#wide = undefined;
    this.#isOpen = false;
  }

  #mustBeOpen(): void {
    if (!this.#isOpen) throw new Error('assertion failed: a Blake3Stream is not used after its digest');
  }
}

export function hex(bytes: Uint8Array): HashHex {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex') as HashHex;
}

/**
 * HalfSipHash-2-4 with 32 bits of output (unsigned) of `bytes[start, end)`. Source: Aumasson and Bernstein's reference.
 * `key`: two words. Allocates nothing, and is exact on 32-bit integers everywhere, so every runtime agrees.
 */
export function halfSipHash(key: Uint32Array, bytes: Uint8Array, start = 0, end = bytes.length): number {
  const k0 = key[0]! | 0;
  const k1 = key[1]! | 0;
  let v0 = k0;
  let v1 = k1;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  const length = end - start;
  const words = length >>> 2;
  // Per word two rounds, for the tail (rest | length << 24) two, then four to finish.
  for (let word = 0; word <= words; word++) {
    const at = start + (word << 2);
    let m: number;
    if (word < words) {
      m = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    } else {
      m = length << 24;
      const rest = length & 3;
      if (rest > 2) m |= bytes[at + 2]! << 16;
      if (rest > 1) m |= bytes[at + 1]! << 8;
      if (rest > 0) m |= bytes[at]!;
    }
    v3 ^= m;
    for (let round = 0; round < 2; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= m;
  }
  v2 ^= 0xff;
  for (let round = 0; round < 4; round++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return (v1 ^ v3) >>> 0;
}
