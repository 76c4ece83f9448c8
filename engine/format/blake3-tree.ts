/**
 * BLAKE3 of long inputs, four chunks at a time (blake3-kernel.ts).
 *
 *   input   1024-byte chunks | … ->  a hash each  ->  pairs make parents, level by level  ->  the root
 *   stream  pieces of 64 chunks, each a whole subtree; what waits for its right neighbour lies on a stack
 *
 * Invariants: the last piece is held back until more comes, for whatever is last of all is hashed as the root. The kernel's memory is
 * used within one call only, so any number of streams may be under way. No I/O; nothing survives a crash or needs to.
 */
import { type Blake3Kernel, makeKernel } from './blake3-kernel.js';

const CHUNK_BYTES = 1024;
const BLOCK_BYTES = 64;
const HASH_BYTES = 32;
const PIECE_CHUNKS = 64;
const PIECE_BYTES = PIECE_CHUNKS * CHUNK_BYTES;
const LANES = 4;
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;

let kernel: Blake3Kernel | undefined;
let memory = new Uint8Array(0);
let isMade = false;
/** In the kernel's memory: the input, room for what lanes without one read, then the hashes of a level. */
const HASHES = PIECE_BYTES + LANES * CHUNK_BYTES;

/** Whether there is a kernel, made when first asked: it takes longer than opening a database does. Where there is none, no stream is of use. */
export function hasLanes(): boolean {
  if (!isMade) {
    isMade = true;
    kernel = makeKernel();
    if (kernel !== undefined) memory = new Uint8Array(kernel.memory.buffer);
  }
  return kernel !== undefined;
}

/** Leaves the hash of the subtree over the memory's first bytes, a piece at most, at HASHES. `chunk`: the number of its first chunk. */
function hashPiece(bytes: number, chunk: number, isRoot: boolean): void {
  const whole = Math.floor(bytes / CHUNK_BYTES);
  const rest = bytes - whole * CHUNK_BYTES;
  const rootEnd = isRoot && bytes <= CHUNK_BYTES ? CHUNK_END | ROOT : CHUNK_END;
  for (let i = 0; i < whole; i += LANES)
    kernel!.hash4(i * CHUNK_BYTES, CHUNK_BYTES, 16, BLOCK_BYTES, chunk + i, 1, 0, CHUNK_START, rootEnd, HASHES + i * HASH_BYTES);
  let count = whole;
  if (rest > 0 || bytes === 0) {
    const blocks = Math.max(1, Math.ceil(rest / BLOCK_BYTES));
    memory.fill(0, bytes, whole * CHUNK_BYTES + blocks * BLOCK_BYTES);
    const lastBytes = rest - (blocks - 1) * BLOCK_BYTES;
    kernel!.hash4(whole * CHUNK_BYTES, 0, blocks, lastBytes, chunk + whole, 0, 0, CHUNK_START, rootEnd, HASHES + whole * HASH_BYTES);
    count++;
  }
  const odd = new Uint8Array(HASH_BYTES);
  for (; count > 1; count = Math.ceil(count / 2)) {
    const pairs = count >> 1;
    const hasOdd = count % 2 === 1;
    if (hasOdd) odd.set(memory.subarray(HASHES + (count - 1) * HASH_BYTES, HASHES + count * HASH_BYTES));
    const flags = isRoot && count === 2 ? PARENT | ROOT : PARENT;
    for (let i = 0; i < pairs; i += LANES)
      kernel!.hash4(HASHES + i * BLOCK_BYTES, BLOCK_BYTES, 1, BLOCK_BYTES, 0, 0, flags, 0, 0, HASHES + i * HASH_BYTES);
    if (hasOdd) memory.set(odd, HASHES + pairs * HASH_BYTES);
  }
}

/** The parent of `left` and what lies at HASHES, to the same place. */
function hashParent(left: Uint8Array, isRoot: boolean): void {
  memory.copyWithin(HASHES + HASH_BYTES, HASHES, HASHES + HASH_BYTES);
  memory.set(left, HASHES);
  kernel!.hash4(HASHES, 0, 1, BLOCK_BYTES, 0, 0, isRoot ? PARENT | ROOT : PARENT, 0, 0, HASHES);
}

export class TreeStream {
  /** Not hashed yet: a piece at most. */
  #held = new Uint8Array(0);
  #heldBytes = 0;
  #pieces = 0;
  /** Hashes of whole subtrees, the larger ones first. */
  readonly #stack: Uint8Array[] = [];

  update(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      if (this.#heldBytes === PIECE_BYTES) {
        this.#take(this.#held);
        this.#heldBytes = 0;
      }
      if (this.#heldBytes === 0 && bytes.length - from > PIECE_BYTES) {
        this.#take(bytes.subarray(from, from + PIECE_BYTES));
        from += PIECE_BYTES;
        continue;
      }
      const part = bytes.subarray(from, from + PIECE_BYTES - this.#heldBytes);
      this.#hold(part);
      from += part.length;
    }
  }

  #hold(part: Uint8Array): void {
    const needed = this.#heldBytes + part.length;
    if (needed > this.#held.length) {
      const larger = new Uint8Array(Math.min(PIECE_BYTES, Math.max(needed, 2 * this.#held.length)));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(part, this.#heldBytes);
    this.#heldBytes = needed;
  }

  /** A whole piece that is not the last. */
  #take(piece: Uint8Array): void {
    memory.set(piece, 0);
    hashPiece(PIECE_BYTES, this.#pieces * PIECE_CHUNKS, false);
    this.#pieces++;
    // As many subtrees of the same size as there are trailing zeros have their right neighbour now.
    for (let rest = this.#pieces; rest % 2 === 0; rest /= 2) hashParent(this.#stack.pop()!, false);
    this.#stack.push(memory.slice(HASHES, HASHES + HASH_BYTES));
  }

  digest(into: Uint8Array): void {
    memory.set(this.#held.subarray(0, this.#heldBytes), 0);
    hashPiece(this.#heldBytes, this.#pieces * PIECE_CHUNKS, this.#stack.length === 0);
    for (let i = this.#stack.length - 1; i >= 0; i--) hashParent(this.#stack[i]!, i === 0);
    into.set(memory.subarray(HASHES, HASHES + HASH_BYTES));
  }
}
