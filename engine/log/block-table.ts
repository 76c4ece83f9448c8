/**
 * Which block of a segment a record begins in, and what the block's bytes must sum up to.
 *
 *   entry (12 bytes, in a footer): seq of the first record that begins in the block u48 | its offset in the block u16 | crc-32 u32
 *
 * Where no record begins in a block, its entry has the seq of the next record and the offset NO_START; behind the last record
 * the seq is MAX_SEQ. The checksum covers the block's bytes up to the footer, seeded like the frames'.
 *
 * Invariants: seqs never decrease. A segment that is not sealed has no checksums yet. Derived from the frames (law 2): a
 * crash loses nothing.
 */
import { getU16, getU32, getU48, putU16, putU32, putU48 } from '../format/bytes.js';
import { BLOCK_BYTES, BLOCK_ENTRY_BYTES, blockTableBytes } from '../format/footer.js';
import { MAX_SEQ } from '../types.js';

export const NO_START = 0xffff;
const FIRST_CAPACITY = 64;

export class BlockTable {
  #seqs: Float64Array;
  #starts: Uint16Array;
  #sums: Uint32Array | undefined;
  #count = 0;

  /** Empty: grows with `note`. */
  constructor(capacity = FIRST_CAPACITY) {
    this.#seqs = new Float64Array(capacity);
    this.#starts = new Uint16Array(capacity);
  }

  /** Over the checked entries of a footer. */
  static from(raw: Uint8Array): BlockTable {
    const count = raw.length / BLOCK_ENTRY_BYTES;
    const table = new BlockTable(count);
    const sums = new Uint32Array(count);
    for (let block = 0, at = 0; block < count; block++, at += BLOCK_ENTRY_BYTES) {
      table.#seqs[block] = getU48(raw, at);
      table.#starts[block] = getU16(raw, at + 6);
      sums[block] = getU32(raw, at + 8);
    }
    table.#count = count;
    table.#sums = sums;
    return table;
  }

  /** As a footer at `footerOffset` holds it, with the blocks' checksums. */
  encode(footerOffset: number, sums: readonly number[]): Uint8Array {
    const raw = new Uint8Array(blockTableBytes(footerOffset));
    for (let block = 0, at = 0; at < raw.length; block++, at += BLOCK_ENTRY_BYTES) {
      const known = block < this.#count;
      putU48(raw, at, known ? this.#seqs[block]! : MAX_SEQ);
      putU16(raw, at + 6, known ? this.#starts[block]! : NO_START);
      putU32(raw, at + 8, sums[block] ?? 0);
    }
    return raw;
  }

  /** Takes in the next record. */
  note(seq: number, offset: number): void {
    const block = Math.floor(offset / BLOCK_BYTES);
    if (block < this.#count) return;
    if (block >= this.#seqs.length) this.#grow(block + 1);
    this.#seqs.fill(seq, this.#count, block + 1);
    this.#starts.fill(NO_START, this.#count, block);
    this.#starts[block] = offset - block * BLOCK_BYTES;
    this.#count = block + 1;
  }

  /** Whether the blocks' checksums are known. */
  get hasSums(): boolean {
    return this.#sums !== undefined;
  }

  sumOf(block: number): number {
    return this.#sums![block]!;
  }

  /** Seq of the first record that begins in the block. */
  seqOf(block: number): number {
    return this.#seqs[block]!;
  }

  /** Offset in the block of that record; NO_START where none begins there. */
  startOf(block: number): number {
    return this.#starts[block]!;
  }

  /** The block in which the record with this seq begins, if there is one; -1 where it would come before all. */
  find(seq: number): number {
    const seqs = this.#seqs;
    const last = this.#count - 1;
    if (last < 0 || seqs[0]! > seq) return -1;
    // Seqs are nearly evenly spread: look where it should be, then nearby. Invariant: seqs[low] <= seq < seqs[high].
    let low = 0;
    let high = this.#count;
    const first = seqs[0]!;
    let guess = Math.floor(((seq - first) / (seqs[last]! - first)) * last);
    for (let step = 1; high - low > 1; step *= 2) {
      if (!(guess > low && guess < high)) guess = (low + high) >>> 1;
      if (seqs[guess]! <= seq) {
        low = guess;
        guess += step;
      } else {
        high = guess;
        guess -= step;
      }
    }
    return low;
  }

  #grow(needed: number): void {
    const capacity = Math.max(needed, this.#seqs.length * 2);
    const seqs = new Float64Array(capacity);
    const starts = new Uint16Array(capacity);
    seqs.set(this.#seqs);
    starts.set(this.#starts);
    this.#seqs = seqs;
    this.#starts = starts;
  }
}
