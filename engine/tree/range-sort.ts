/**
 * Sorts byte strings that lie one after the other in one array: by their first byte into buckets, each bucket by the next byte,
 * and so on; few strings by insertion. A shared prefix costs one look a byte, and no comparison runs through it again and again.
 *
 *   many strings   what all share -> the eight bytes behind it of each, as numbers that lie together -> sorted as numbers are
 *
 * so that strings are not looked up again and again all over memory; those whose eight bytes are the same are sorted as above.
 *
 * Pure. Strings that are equal keep no particular order.
 */
const FEW = 24;
/** From here on heads pay for what is made for them. */
const MANY = 4096;
const HEAD_BYTES = 8;
/** Sorted by so many bits at a time. */
const DIGIT_BITS = 16;
const DIGITS = 1 << DIGIT_BITS;
/** One bucket for strings that end here, one a byte value. */
const BUCKETS = 257;

/** `starts` has one entry a string and one more for the end of the last. Answers their indexes in byte order. */
export function sortRanges(bytes: Uint8Array, starts: Uint32Array): Uint32Array {
  const order = new Uint32Array(starts.length - 1);
  for (let i = 0; i < order.length; i++) order[i] = i;
  const sorter = new RangeSorter(bytes, starts, order);
  if (order.length < MANY) sorter.sort(0, order.length, 0, 0);
  else sorter.sortMany(0, order.length, 0);
  return order;
}

/** Byte order of `[aStart, aEnd)` and `[bStart, bEnd)`, whose first `from` bytes are known to be the same. */
export function compareRanges(bytes: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number, from: number): number {
  let a = aStart + from;
  let b = bStart + from;
  while (a < aEnd && b < bEnd) {
    const difference = bytes[a++]! - bytes[b++]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

class RangeSorter {
  readonly #bytes: Uint8Array;
  readonly #starts: Uint32Array;
  readonly #order: Uint32Array;
  readonly #moved: Uint32Array;
  /** Ends of buckets, an array for each call that is under way. */
  readonly #ends: Int32Array[] = [];

  constructor(bytes: Uint8Array, starts: Uint32Array, order: Uint32Array) {
    this.#bytes = bytes;
    this.#starts = starts;
    this.#order = order;
    this.#moved = new Uint32Array(order.length);
  }

  /** As `sort` does, by heads. */
  sortMany(low: number, high: number, alike: number): void {
    const shared = this.#sharedBy(low, high, alike);
    const heads = new Heads(this.#bytes, this.#starts, this.#order.subarray(low, high), shared);
    heads.sort();
    const { high: highs, low: lows } = heads;
    this.#order.set(heads.order, low);
    for (let i = 0; i < highs.length; ) {
      let end = i + 1;
      while (end < highs.length && highs[end] === highs[i] && lows[end] === lows[i]) end++;
      // Zeros stand for bytes and for none: what ends within its head is told apart here.
      if (end - i >= MANY && this.#sharedBy(low + i, low + end, shared) >= shared + HEAD_BYTES)
        this.sortMany(low + i, low + end, shared + HEAD_BYTES);
      else if (end - i > 1) this.sort(low + i, low + end, shared, 0);
      i = end;
    }
  }

  /** How many bytes the strings of `order[low, high)` share, of which `alike` are known. */
  #sharedBy(low: number, high: number, alike: number): number {
    const bytes = this.#bytes;
    const starts = this.#starts;
    const first = starts[this.#order[low]!]!;
    let shared = starts[this.#order[low]! + 1]! - first;
    for (let i = low + 1; i < high && shared > alike; i++) {
      const start = starts[this.#order[i]!]!;
      shared = Math.min(shared, starts[this.#order[i]! + 1]! - start);
      for (let at = alike; at < shared; at++) if (bytes[first + at] !== bytes[start + at]) shared = at;
    }
    return shared;
  }

  /** Sorts `order[low, high)`, whose strings share their first `shared` bytes. */
  sort(low: number, high: number, shared: number, depth: number): void {
    const bytes = this.#bytes;
    const starts = this.#starts;
    const order = this.#order;
    const moved = this.#moved;
    if (high - low <= FEW) {
      this.#insert(low, high, shared);
      return;
    }
    const ends = (this.#ends[depth] ??= new Int32Array(BUCKETS));
    let at = shared;
    for (;;) {
      ends.fill(0);
      for (let i = low; i < high; i++) {
        const string = order[i]!;
        const byteAt = starts[string]! + at;
        ends[byteAt < starts[string + 1]! ? bytes[byteAt]! + 1 : 0]!++;
      }
      const first = order[low]!;
      const firstAt = starts[first]! + at;
      const bucket = firstAt < starts[first + 1]! ? bytes[firstAt]! + 1 : 0;
      if (ends[bucket] !== high - low) break;
      if (bucket === 0) return; // all of them end here: equal
      at++;
    }
    let end = low;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const start = end;
      end += ends[bucket]!;
      ends[bucket] = start;
    }
    for (let i = low; i < high; i++) {
      const string = order[i]!;
      const byteAt = starts[string]! + at;
      moved[ends[byteAt < starts[string + 1]! ? bytes[byteAt]! + 1 : 0]!++] = string;
    }
    order.set(moved.subarray(low, high), low);
    let start = ends[0]!;
    for (let bucket = 1; bucket < BUCKETS; bucket++) {
      const until = ends[bucket]!;
      if (until - start > 1) this.sort(start, until, at + 1, depth + 1);
      start = until;
    }
  }

  #insert(low: number, high: number, shared: number): void {
    const starts = this.#starts;
    const order = this.#order;
    for (let i = low + 1; i < high; i++) {
      const string = order[i]!;
      const start = starts[string]!;
      const end = starts[string + 1]!;
      let j = i;
      while (j > low) {
        const before = order[j - 1]!;
        if (compareRanges(this.#bytes, starts[before]!, starts[before + 1]!, start, end, shared) <= 0) break;
        order[j] = before;
        j--;
      }
      order[j] = string;
    }
  }
}

interface Columns {
  order: Uint32Array;
  high: Uint32Array;
  low: Uint32Array;
}

/** Eight bytes of each string as two numbers, zeros behind its end, and which string it is. */
class Heads implements Columns {
  order: Uint32Array;
  high: Uint32Array;
  low: Uint32Array;

  constructor(bytes: Uint8Array, starts: Uint32Array, order: Uint32Array, shared: number) {
    this.order = order.slice();
    this.high = new Uint32Array(order.length);
    this.low = new Uint32Array(order.length);
    for (let i = 0; i < order.length; i++) {
      const end = starts[order[i]! + 1]!;
      const at = starts[order[i]!]! + shared;
      this.high[i] = wordAt(bytes, at, end);
      this.low[i] = wordAt(bytes, at + 4, end);
    }
  }

  /** From the last digit to the first: each pass keeps the order of the one before among equals. */
  sort(): void {
    let spare: Columns = {
      order: new Uint32Array(this.order.length),
      high: new Uint32Array(this.high.length),
      low: new Uint32Array(this.low.length),
    };
    const places = new Uint32Array(DIGITS);
    for (const [word, shift] of [
      ['low', 0],
      ['low', DIGIT_BITS],
      ['high', 0],
      ['high', DIGIT_BITS],
    ] as const) {
      const { order, high, low } = this;
      const by = this[word];
      places.fill(0);
      for (let i = 0; i < by.length; i++) places[(by[i]! >>> shift) & (DIGITS - 1)]!++;
      if (places[(by[0]! >>> shift) & (DIGITS - 1)] === by.length) continue;
      for (let digit = 0, at = 0; digit < DIGITS; digit++) {
        const count = places[digit]!;
        places[digit] = at;
        at += count;
      }
      for (let i = 0; i < by.length; i++) {
        const to = places[(by[i]! >>> shift) & (DIGITS - 1)]!++;
        spare.order[to] = order[i]!;
        spare.high[to] = high[i]!;
        spare.low[to] = low[i]!;
      }
      this.order = spare.order;
      this.high = spare.high;
      this.low = spare.low;
      spare = { order, high, low };
    }
  }
}

/** Four bytes, big-endian. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  let word = 0;
  for (let i = at; i < at + 4; i++) word = word * 256 + (i < end ? bytes[i]! : 0);
  return word;
}
