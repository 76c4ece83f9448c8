/**
 * seq or time -> where to begin reading: one entry per interval of bytes, in the same raw form in memory and in a footer.
 *
 *   entry (24 bytes): seq u48 | file offset of that record u48 | bytes back to its frame u32 | time of its batch u64
 *
 * In a packed segment records have no offsets: an entry is of the first record in a packed block, and has the block's.
 *
 * Invariants: seqs and offsets strictly increase, times never decrease; every entry points at the first byte of a record or packed block.
 * Derived from the frames (law 2): a crash loses nothing.
 */
import { getU32, getU48, getU64, putU32, putU48, putU64 } from '../format/bytes.js';
import { INDEX_ENTRY_BYTES } from '../format/footer.js';
import { floorEntry } from './seq-search.js';

const FIRST_CAPACITY = 64;

export class SparseIndex {
  #bytes: Uint8Array;
  #count: number;

  /** Over the raw entries of a footer, or empty. */
  constructor(raw: Uint8Array = new Uint8Array(0)) {
    this.#bytes = raw;
    this.#count = Math.floor(raw.length / INDEX_ENTRY_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  /** The entries as a footer holds them. */
  get raw(): Uint8Array {
    return this.#bytes.subarray(0, this.#count * INDEX_ENTRY_BYTES);
  }

  add(seq: number, time: number, offset: number, frameOffset: number): void {
    const at = this.#count * INDEX_ENTRY_BYTES;
    if (at + INDEX_ENTRY_BYTES > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(FIRST_CAPACITY * INDEX_ENTRY_BYTES, this.#bytes.length * 2));
      grown.set(this.raw);
      this.#bytes = grown;
    }
    putU48(this.#bytes, at, seq);
    putU48(this.#bytes, at + 6, offset);
    putU32(this.#bytes, at + 12, offset - frameOffset);
    putU64(this.#bytes, at + 16, time);
    this.#count++;
  }

  seqAt(entry: number): number {
    return getU48(this.#bytes, entry * INDEX_ENTRY_BYTES);
  }

  offsetAt(entry: number): number {
    return getU48(this.#bytes, entry * INDEX_ENTRY_BYTES + 6);
  }

  frameOffsetAt(entry: number): number {
    return this.offsetAt(entry) - getU32(this.#bytes, entry * INDEX_ENTRY_BYTES + 12);
  }

  timeAt(entry: number): number {
    return getU64(this.#bytes, entry * INDEX_ENTRY_BYTES + 16);
  }

  /** The last entry with a seq up to `seq`; -1 where none. */
  floorSeq(seq: number): number {
    return floorEntry(this.#bytes, INDEX_ENTRY_BYTES, this.#count, seq);
  }

  /** The last entry with a time up to `time`; -1 where none. */
  floorTime(time: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timeAt(middle) <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
