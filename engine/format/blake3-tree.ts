/**
 * BLAKE3 of long inputs, four chunks at a time (lane-kernel.ts).
 *
 *   input   1024-byte chunks | … ->  a hash each  ->  pairs make parents, level by level  ->  the root
 *   stream  pieces of 64 chunks, each a whole subtree; what waits for its right neighbour lies on a stack
 *
 * Invariants: the last piece is held back until more comes, for whatever is last of all is hashed as the root. The kernel's memory is
 * used within one call only, so any number of streams may be under way. No I/O; nothing survives a crash or needs to.
 */
import {
  MAX_INPUT_BYTES as CHUNK_BYTES,
  CHUNK_END,
  CHUNK_START,
  KERNEL_BYTES,
  LANES,
  type LaneKernel,
  PARENT,
  ROOT,
} from './lane-kernel.js';

const PAIR_BYTES = 64;
const HASH_BYTES = PAIR_BYTES / 2;
const PIECE_CHUNKS = 64;
export const PIECE_BYTES = PIECE_CHUNKS * CHUNK_BYTES;

const COLUMN_BYTES = 4 * (PIECE_CHUNKS + LANES);
const CHUNKS = KERNEL_BYTES;
const LENGTHS = CHUNKS + COLUMN_BYTES;
const HASH_PLACES = LENGTHS + COLUMN_BYTES;
const PAIRS = HASH_PLACES + COLUMN_BYTES;
const PAIR_LENGTHS = PAIRS + COLUMN_BYTES;
const HASHES = PAIR_LENGTHS + COLUMN_BYTES;
const ODD = HASHES + HASH_BYTES * (PIECE_CHUNKS + 2 * LANES);
/** Where a piece is put to be hashed. */
const INPUT = ODD + HASH_BYTES;

/** Leaves the hash of the subtree over the piece at INPUT at HASHES. `chunk`: the number of its first chunk. */
function hashPiece(kernel: LaneKernel, bytes: number, chunk: number, isRoot: boolean): void {
  const { words, bytes: memory } = kernel;
  let count = Math.ceil(bytes / CHUNK_BYTES);
  // The memory is shared: what columns say is said anew each time.
  for (let i = 0; i < count + LANES; i++) {
    words[CHUNKS / 4 + i] = INPUT + i * CHUNK_BYTES;
    words[LENGTHS / 4 + i] = i < count - 1 ? CHUNK_BYTES : i === count - 1 ? bytes - i * CHUNK_BYTES : 1;
    words[HASH_PLACES / 4 + i] = HASHES + i * HASH_BYTES;
    words[PAIRS / 4 + i] = HASHES + i * PAIR_BYTES;
    words[PAIR_LENGTHS / 4 + i] = PAIR_BYTES;
  }
  kernel.hash(CHUNKS, LENGTHS, HASH_PLACES, count, chunk, 1, 0, CHUNK_START, isRoot && count === 1 ? CHUNK_END | ROOT : CHUNK_END);
  for (; count > 1; count = Math.ceil(count / 2)) {
    const pairs = count >> 1;
    // Lanes beyond the pairs write, too: over what is left over.
    if (count % 2 === 1) memory.copyWithin(ODD, HASHES + (count - 1) * HASH_BYTES, HASHES + count * HASH_BYTES);
    kernel.hash(PAIRS, PAIR_LENGTHS, HASH_PLACES, pairs, 0, 0, isRoot && count === 2 ? PARENT | ROOT : PARENT, 0, 0);
    if (count % 2 === 1) memory.copyWithin(HASHES + pairs * HASH_BYTES, ODD, ODD + HASH_BYTES);
  }
}

/** The parent of `left` and what lies at HASHES, to the same place. */
function hashParent(kernel: LaneKernel, left: Uint8Array, isRoot: boolean): void {
  const { bytes: memory } = kernel;
  memory.copyWithin(INPUT + HASH_BYTES, HASHES, HASHES + HASH_BYTES);
  memory.set(left, INPUT);
  hashOne(kernel, PAIR_BYTES, isRoot ? PARENT | ROOT : PARENT);
}

function hashOne(kernel: LaneKernel, length: number, flags: number): void {
  const { words } = kernel;
  for (let i = 0; i < LANES; i++) {
    words[CHUNKS / 4 + i] = INPUT;
    words[LENGTHS / 4 + i] = length;
    words[HASH_PLACES / 4 + i] = HASHES;
  }
  kernel.hash(CHUNKS, LENGTHS, HASH_PLACES, 1, 0, 0, flags, 0, 0);
}

/** Of 1 to PIECE_BYTES bytes, in parts, to `into[at, at + 32)`. */
export function hashTree(kernel: LaneKernel, parts: readonly Uint8Array[], into: Uint8Array, at: number): void {
  const { bytes: memory } = kernel;
  let length = 0;
  for (const part of parts) {
    memory.set(part, INPUT + length);
    length += part.length;
  }
  hashPiece(kernel, length, 0, true);
  for (let i = 0; i < HASH_BYTES; i++) into[at + i] = memory[HASHES + i]!;
}

/** Of more than a piece. */
export class TreeStream {
  readonly #kernel: LaneKernel;
  /** Not hashed yet: a piece at most. */
  readonly #held = new Uint8Array(PIECE_BYTES);
  #heldBytes = 0;
  #pieces = 0;
  /** Hashes of whole subtrees, the larger ones first. */
  readonly #stack: Uint8Array[] = [];

  constructor(kernel: LaneKernel) {
    this.#kernel = kernel;
  }

  update(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
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
      this.#held.set(part, this.#heldBytes);
      this.#heldBytes += part.length;
      from += part.length;
    }
  }

  /** A whole piece that is not the last. */
  #take(piece: Uint8Array): void {
    const kernel = this.#kernel;
    const { bytes: memory } = kernel;
    memory.set(piece, INPUT);
    hashPiece(kernel, PIECE_BYTES, this.#pieces * PIECE_CHUNKS, false);
    this.#pieces++;
    // As many subtrees of the same size as there are trailing zeros have their right neighbour now.
    for (let rest = this.#pieces; rest % 2 === 0; rest /= 2) hashParent(kernel, this.#stack.pop()!, false);
    this.#stack.push(memory.slice(HASHES, HASHES + HASH_BYTES));
  }

  digest(into: Uint8Array): void {
    const kernel = this.#kernel;
    const { bytes: memory } = kernel;
    memory.set(this.#held.subarray(0, this.#heldBytes), INPUT);
    hashPiece(kernel, this.#heldBytes, this.#pieces * PIECE_CHUNKS, this.#stack.length === 0);
    for (let i = this.#stack.length - 1; i >= 0; i--) hashParent(kernel, this.#stack[i]!, i === 0);
    into.set(memory.subarray(HASHES, HASHES + HASH_BYTES));
  }
}
