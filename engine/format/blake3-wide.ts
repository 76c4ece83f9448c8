/**
 * BLAKE3 of a long input, four chunks at a time: some three times as fast as one after the other. Small inputs are format/hash.ts's.
 *
 *   input -> groups of 16 chunks -> 16 chaining values -> 8 -> 4 -> 2 -> 1 -> stack: one for each bit set in the number of groups
 *   end   -> what is left, chunk by chunk -> stack -> folded from the top -> the root
 *
 * Invariants: a group is hashed only once more input is known to follow, since the last node of all is flagged as the root. The memory of
 * the module is shared by all streams: nothing stays in it between two calls.
 */
import { BLOCK_BYTES, type Blake3Kernel, makeBlake3Kernel } from './blake3-kernel.js';

const CHUNK_BYTES = 1024;
const GROUP_CHUNKS = 16;
const GROUP_BYTES = GROUP_CHUNKS * CHUNK_BYTES;
const CV_BYTES = 32;
const LANES = 4;
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;

// The module's memory: a group, then the chaining values of one level, then those of the next.
const INPUT_AT = 0;
const LEVEL_AT = GROUP_BYTES;
const NEXT_AT = LEVEL_AT + GROUP_CHUNKS * CV_BYTES;
const PAGES = 1;

let kernel: Blake3Kernel | undefined;
let memory = new Uint8Array(0);
let isTried = false;

/** Whether this machine has what it takes; made at the first call. */
export function hasWideBlake3(): boolean {
  if (!isTried) kernel = makeBlake3Kernel(PAGES);
  if (!isTried && kernel !== undefined) memory = new Uint8Array(kernel.memory.buffer);
  isTried = true;
  return kernel !== undefined;
}

export class WideBlake3 {
  /** Input that is not hashed yet: up to a group. */
  readonly #rest = new Uint8Array(GROUP_BYTES);
  #used = 0;
  #groups = 0;
  /** Chaining values of whole subtrees, the largest first. */
  readonly #stack: Uint8Array[] = [];

  /** After `hasWideBlake3`. */
  update(bytes: Uint8Array): void {
    let from = 0;
    if (this.#used > 0) {
      from = Math.min(bytes.length, GROUP_BYTES - this.#used);
      this.#rest.set(bytes.subarray(0, from), this.#used);
      this.#used += from;
      if (from === bytes.length) return;
      this.#group(this.#rest);
      this.#used = 0;
    }
    for (; bytes.length - from > GROUP_BYTES; from += GROUP_BYTES) this.#group(bytes.subarray(from, from + GROUP_BYTES));
    this.#rest.set(bytes.subarray(from), 0);
    this.#used = bytes.length - from;
  }

  /** 32 bytes. Once. */
  digest(): Buffer {
    let cv = this.#tail();
    for (let left = this.#stack.pop(); left !== undefined; left = this.#stack.pop()) cv = parentOf(left, cv, this.#stack.length === 0);
    return Buffer.from(cv);
  }

  /** A group that is not the last of the input. */
  #group(bytes: Uint8Array): void {
    memory.set(bytes, INPUT_AT);
    const counter = this.#groups * GROUP_CHUNKS;
    for (let chunk = 0; chunk < GROUP_CHUNKS; chunk += LANES) {
      const input = INPUT_AT + chunk * CHUNK_BYTES;
      const out = LEVEL_AT + chunk * CV_BYTES;
      const blocks = CHUNK_BYTES / BLOCK_BYTES;
      kernel!.hash4(input, CHUNK_BYTES, blocks, BLOCK_BYTES, counter + chunk, 1, 0, CHUNK_START, CHUNK_END, out);
    }
    this.#groups++;
    let cv = subtree(GROUP_CHUNKS);
    // As many subtrees end here as the number of groups has zeros at its end.
    for (let groups = this.#groups; groups % 2 === 0; groups /= 2) cv = parentOf(this.#stack.pop()!, cv, false);
    this.#stack.push(cv);
  }

  /** What is left: fewer chunks than a group, or one, the last of which may be short. Its top, the root where it is all there is. */
  #tail(): Uint8Array {
    const bytes = this.#used;
    const isAll = this.#stack.length === 0;
    const chunks = Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
    const counter = this.#groups * GROUP_CHUNKS;
    const cvs: Uint8Array[] = [];
    memory.set(this.#rest.subarray(0, bytes), INPUT_AT);
    memory.fill(0, INPUT_AT + bytes, INPUT_AT + chunks * CHUNK_BYTES);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const length = Math.min(CHUNK_BYTES, bytes - chunk * CHUNK_BYTES);
      const blocks = Math.max(1, Math.ceil(length / BLOCK_BYTES));
      const lastBytes = length - (blocks - 1) * BLOCK_BYTES;
      const end = isAll && chunks === 1 ? CHUNK_END | ROOT : CHUNK_END;
      kernel!.hash4(INPUT_AT + chunk * CHUNK_BYTES, 0, blocks, lastBytes, counter + chunk, 0, 0, CHUNK_START, end, LEVEL_AT);
      cvs.push(memory.slice(LEVEL_AT, LEVEL_AT + CV_BYTES));
    }
    return topOf(cvs, isAll);
  }
}

/** Of the chaining values of `count` chunks, a power of two, that stand at LEVEL_AT: the one above them all. */
function subtree(count: number): Uint8Array {
  let from = LEVEL_AT;
  let into = NEXT_AT;
  for (let pairs = count / 2; pairs >= 1; pairs /= 2) {
    for (let pair = 0; pair < pairs; pair += LANES)
      kernel!.hash4(from + pair * 2 * CV_BYTES, 2 * CV_BYTES, 1, BLOCK_BYTES, 0, 0, PARENT, 0, 0, into + pair * CV_BYTES);
    [from, into] = [into, from];
  }
  return memory.slice(from, from + CV_BYTES);
}

/** The left subtree of a node is the largest that is whole. */
function topOf(cvs: readonly Uint8Array[], isRoot: boolean): Uint8Array {
  if (cvs.length === 1) return cvs[0]!;
  let left = 1;
  while (left * 2 < cvs.length) left *= 2;
  return parentOf(topOf(cvs.slice(0, left), false), topOf(cvs.slice(left), false), isRoot);
}

function parentOf(left: Uint8Array, right: Uint8Array, isRoot: boolean): Uint8Array {
  memory.set(left, INPUT_AT);
  memory.set(right, INPUT_AT + CV_BYTES);
  kernel!.hash4(INPUT_AT, 0, 1, BLOCK_BYTES, 0, 0, isRoot ? PARENT | ROOT : PARENT, 0, 0, LEVEL_AT);
  return memory.slice(LEVEL_AT, LEVEL_AT + CV_BYTES);
}
