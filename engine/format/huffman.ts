/**
 * Prefix codes as deflate has them: how long each symbol's code is, from how often it comes, and the codes that follow from the lengths.
 *
 * Invariants: lengths are 1 to the most there may be, 0 for what never comes, and leave no code unused, which some readers insist on.
 * Sources: Huffman's algorithm over two queues (van Leeuwen); RFC 1951, 3.2.2.
 */
import { assert } from '../errors.js';

const MOST_SYMBOLS = 288;
const SYMBOL_BITS = 9;
const SYMBOL_MASK = (1 << SYMBOL_BITS) - 1;
/** Counts above are made smaller: they share a word with their symbol. */
const MOST_COUNTED = 1 << (31 - SYMBOL_BITS);

const leaves = new Int32Array(MOST_SYMBOLS);
const weights = new Float64Array(2 * MOST_SYMBOLS);
const parents = new Int32Array(2 * MOST_SYMBOLS);
const depths = new Int32Array(2 * MOST_SYMBOLS);

/** Of the codes of `counts`, to `lengths`. Where fewer than two symbols come, others get a code, too: readers want two. */
export function codeLengths(counts: Uint32Array, most: number, lengths: Uint8Array): void {
  assert(counts.length <= MOST_SYMBOLS && counts.length >= 2, 'a code has some symbols');
  // The rarest are made less rare until their codes are short enough.
  for (let floor = 0; !tryLengths(counts, floor, most, lengths); floor = floor * 2 + 1);
}

/** Whether no code is longer than may be, each symbol that comes counting as `floor` times at least. */
function tryLengths(counts: Uint32Array, floor: number, most: number, lengths: Uint8Array): boolean {
  const used = sortLeaves(counts, floor);
  lengths.fill(0);
  const last = 2 * used - 2;
  for (let i = 0; i < used; i++) weights[i] = leaves[i]! >>> SYMBOL_BITS;
  let leaf = 0;
  let node = used;
  for (let made = used; made <= last; made++) {
    weights[made] = 0;
    for (let i = 0; i < 2; i++) {
      const next = leaf < used && (node >= made || weights[leaf]! <= weights[node]!) ? leaf++ : node++;
      weights[made] = weights[made]! + weights[next]!;
      parents[next] = made;
    }
  }
  depths[last] = 0;
  for (let i = last - 1; i >= 0; i--) {
    depths[i] = depths[parents[i]!]! + 1;
    if (i >= used) continue;
    if (depths[i]! > most) return false;
    lengths[leaves[i]! & SYMBOL_MASK] = depths[i]!;
  }
  return true;
}

/** Counts and symbols of those that come, the rarest first; returns how many. */
function sortLeaves(counts: Uint32Array, floor: number): number {
  let used = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    const count = counts[symbol]!;
    if (count > 0) leaves[used++] = (Math.min(MOST_COUNTED - 1, Math.max(count, floor)) << SYMBOL_BITS) | symbol;
  }
  for (let symbol = 0; used < 2; symbol++) if (counts[symbol] === 0) leaves[used++] = (1 << SYMBOL_BITS) | symbol;
  leaves.subarray(0, used).sort();
  return used;
}

const firsts = new Int32Array(17);

/** The code of each symbol, its first bit lowest, as deflate writes them. */
export function codesOf(lengths: Uint8Array, codes: Uint32Array): void {
  firsts.fill(0);
  for (let symbol = 0; symbol < lengths.length; symbol++) if (lengths[symbol]! > 0) firsts[lengths[symbol]! + 1]!++;
  for (let bits = 2; bits < firsts.length; bits++) firsts[bits] = (firsts[bits]! + firsts[bits - 1]!) << 1;
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const bits = lengths[symbol]!;
    codes[symbol] = bits === 0 ? 0 : reversed(firsts[bits]!++, bits);
  }
}

function reversed(code: number, bits: number): number {
  let turned = 0;
  for (let i = 0; i < bits; i++) turned |= ((code >>> i) & 1) << (bits - 1 - i);
  return turned;
}
