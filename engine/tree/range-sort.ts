/**
 * Sorts byte strings that lie one after the other in one array: by their first byte into buckets, each bucket by the next byte,
 * and so on; few strings by insertion. A shared prefix costs one look a byte, and no comparison runs through it again and again.
 *
 * Pure. Strings that are equal keep no particular order.
 */
const FEW = 24;
/** One bucket for strings that end here, one a byte value. */
const BUCKETS = 257;

/** `starts` has one entry a string and one more for the end of the last. Answers their indexes in byte order. */
export function sortRanges(bytes: Uint8Array, starts: Uint32Array): Uint32Array {
  const order = new Uint32Array(starts.length - 1);
  for (let i = 0; i < order.length; i++) order[i] = i;
  new RangeSorter(bytes, starts, order).sort(0, order.length, 0, 0);
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
