/**
 * BLAKE3: identity of everything hashed. HalfSipHash: the keyed hash that decides tree boundaries (see tree/boundary).
 *
 * Small inputs are the hot path (a record or body of a few hundred bytes), so this calls the WebAssembly exports of
 * `blake3-wasm` directly: one allocation inside the module, one copy in, 32 bytes out.
 *
 * Much that is longer than a chunk goes four chunks at a time (blake3-tree.ts), as do the records of a batch (record-stamp.ts).
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
import { hashTree, PIECE_BYTES, TreeStream } from './blake3-tree.js';
import { MAX_INPUT_BYTES as CHUNK_BYTES, type LaneKernel, laneKernel } from './lane-kernel.js';

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
/** Long inputs that are worth making the kernel for: it takes as long as hashing these. */
const BYTES_BEFORE_KERNEL = 1024 * 1024;
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

let longBytes = 0;

/** For an input of more than a chunk, once there were enough of them. */
function kernelFor(bytes: number): LaneKernel | undefined {
  if (longBytes < BYTES_BEFORE_KERNEL) {
    longBytes += bytes;
    return undefined;
  }
  return laneKernel();
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
  const kernel = bytes > CHUNK_BYTES ? kernelFor(bytes) : undefined;
  if (kernel !== undefined) {
    const digest = Buffer.allocUnsafe(HASH_BYTES);
    hashTree(kernel, parts, digest, 0);
    return digest;
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
  const kernel = length > CHUNK_BYTES ? kernelFor(length) : undefined;
  if (kernel !== undefined) {
    hashTree(kernel, [head, bytes.subarray(from, to)], into, at);
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

/** For what does not fit in memory at once. May hold memory of the module until `digest` or `free`. */
export class Blake3Stream {
  /** Before it is clear that the input is long; undefined from then on. */
  #held: Uint8Array[] | undefined = [];
  #heldBytes = 0;
  #tree: TreeStream | undefined;
  /** Where there is no kernel: 0 while not needed, and once freed. */
  #hasher = 0;
  #isOpen = true;

  /** `isWide`: four chunks at a time, where this machine can and the input is long. */
  constructor(isWide = true) {
    if (!isWide) this.#begin(undefined);
  }

  update(bytes: Uint8Array): this {
    this.#mustBeOpen();
    if (this.#held === undefined) this.#feed(bytes);
    else if (this.#heldBytes + bytes.length <= PIECE_BYTES) {
      // The caller may use its buffer again, and a slice of a Buffer is no copy.
      this.#held.push(new Uint8Array(bytes));
      this.#heldBytes += bytes.length;
    } else {
      const held = this.#held;
      this.#begin(laneKernel());
      for (const part of held) this.#feed(part);
      this.#feed(bytes);
    }
    return this;
  }

  #begin(kernel: LaneKernel | undefined): void {
    this.#held = undefined;
    if (kernel === undefined) this.#hasher = wasm.create_hasher();
    else this.#tree = new TreeStream(kernel);
  }

  #feed(bytes: Uint8Array): void {
    if (this.#tree !== undefined) {
      this.#tree.update(bytes);
      return;
    }
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      const piece = bytes.subarray(start, start + PIECE_BYTES);
      const input = wasm.__wbindgen_malloc(piece.length);
      memory().set(piece, input);
      wasm.blake3hash_update(this.#hasher, input, piece.length);
    }
  }

  /** Ends the stream. */
  digest(): Buffer {
    this.#mustBeOpen();
    let digest: Buffer;
    if (this.#held !== undefined) digest = blake3(Buffer.concat(this.#held));
    else if (this.#tree !== undefined) this.#tree.digest((digest = Buffer.allocUnsafe(HASH_BYTES)));
    else {
      wasm.blake3hash_digest(this.#hasher, OUT, HASH_BYTES);
      digest = takeOutput();
    }
    this.free();
    return digest;
  }

  /** For a stream given up before its digest; harmless after it. */
  free(): void {
    if (this.#hasher !== 0) wasm.__wbg_blake3hash_free(this.#hasher);
    this.#hasher = 0;
    this.#held = undefined;
    this.#tree = undefined;
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
    // Twice, written out: a loop of two took a fifth longer.
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
