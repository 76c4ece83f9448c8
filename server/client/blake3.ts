/**
 * BLAKE3 in plain TypeScript, so that proofs can be checked where no WebAssembly module can be loaded: hash mode, 32 bytes out.
 * Source: the BLAKE3 specification (O'Connor, Aumasson, Neves, Wilcox-O'Hearn).
 *
 *   chunks of 1024 bytes ─▶ one chaining value each ─▶ a binary tree, left-heavy ─▶ root
 *
 * 32-bit integer arithmetic alone, so every runtime agrees; a property test holds it equal to the engine's.
 */

const OUT_BYTES = 32;
const BLOCK_BYTES = 64;
const CHUNK_BYTES = 1024;
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const TWO_32 = 2 ** 32;

const IV = Uint32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8] as const;

/** Which word of the block each step of each round takes: the permutation, applied again and again. */
const SCHEDULE: readonly Uint8Array[] = (() => {
  const rounds = [Uint8Array.from({ length: 16 }, (_, i) => i)];
  for (let round = 1; round < 7; round++) rounds.push(Uint8Array.from(PERMUTATION, (from) => rounds[round - 1]![from]!));
  return rounds;
})();

const state = new Uint32Array(16);
const block = new Uint32Array(16);

/** 32 bytes: one hash over the parts as if they were one. */
export function blake3(...parts: readonly Uint8Array[]): Uint8Array {
  return digest(parts.length === 1 ? parts[0]! : joined(parts));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function digest(input: Uint8Array): Uint8Array {
  const root = new Uint8Array(OUT_BYTES);
  const view = new DataView(root.buffer);
  subtree(input, 0, input.length, 0, ROOT).forEach((word, i) => view.setUint32(i * 4, word, true));
  return root;
}

/** The chaining value of `input[from, to)`, whose first chunk is number `chunk`. */
function subtree(input: Uint8Array, from: number, to: number, chunk: number, flags: number): Uint32Array {
  const bytes = to - from;
  if (bytes <= CHUNK_BYTES) return chunkValue(input, from, to, chunk, flags);
  // The left side is the largest power of two of chunks that leaves something for the right one.
  let left = CHUNK_BYTES;
  while (left * 2 < bytes) left *= 2;
  const leftValue = subtree(input, from, from + left, chunk, 0);
  const rightValue = subtree(input, from + left, to, chunk + left / CHUNK_BYTES, 0);
  block.set(leftValue, 0);
  block.set(rightValue, 8);
  return compress(IV, 0, BLOCK_BYTES, PARENT | flags);
}

function chunkValue(input: Uint8Array, from: number, to: number, chunk: number, flags: number): Uint32Array {
  let value: Uint32Array = IV;
  let at = from;
  do {
    const length = Math.min(BLOCK_BYTES, to - at);
    block.fill(0);
    for (let i = 0; i < length; i++) block[i >> 2]! |= input[at + i]! << ((i & 3) * 8);
    const start = at === from ? CHUNK_START : 0;
    at += length;
    const end = at === to ? CHUNK_END | flags : 0;
    value = compress(value, chunk, length, start | end);
  } while (at < to);
  return value;
}

/** Over `block`. The first eight words of the output: a chaining value, or the start of the root. */
function compress(value: Uint32Array, counter: number, length: number, flags: number): Uint32Array {
  state.set(value, 0);
  for (let i = 0; i < 4; i++) state[i + 8] = IV[i]!;
  state[12] = counter;
  state[13] = Math.floor(counter / TWO_32);
  state[14] = length;
  state[15] = flags;
  for (const words of SCHEDULE) {
    mix(0, 4, 8, 12, block[words[0]!]!, block[words[1]!]!);
    mix(1, 5, 9, 13, block[words[2]!]!, block[words[3]!]!);
    mix(2, 6, 10, 14, block[words[4]!]!, block[words[5]!]!);
    mix(3, 7, 11, 15, block[words[6]!]!, block[words[7]!]!);
    mix(0, 5, 10, 15, block[words[8]!]!, block[words[9]!]!);
    mix(1, 6, 11, 12, block[words[10]!]!, block[words[11]!]!);
    mix(2, 7, 8, 13, block[words[12]!]!, block[words[13]!]!);
    mix(3, 4, 9, 14, block[words[14]!]!, block[words[15]!]!);
  }
  const out = new Uint32Array(8);
  for (let i = 0; i < 8; i++) out[i] = state[i]! ^ state[i + 8]!;
  return out;
}

function mix(a: number, b: number, c: number, d: number, x: number, y: number): void {
  state[a] = state[a]! + state[b]! + x;
  state[d] = rotated(state[d]! ^ state[a]!, 16);
  state[c] = state[c]! + state[d]!;
  state[b] = rotated(state[b]! ^ state[c]!, 12);
  state[a] = state[a]! + state[b]! + y;
  state[d] = rotated(state[d]! ^ state[a]!, 8);
  state[c] = state[c]! + state[d]!;
  state[b] = rotated(state[b]! ^ state[c]!, 7);
}

function rotated(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
