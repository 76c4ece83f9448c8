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
import { floorEntry } from './seq-search.js';

export const NO_START = 0xffff;
const FIRST_CAPACITY = 64;

export class BlockTable {
  /** Entries as a footer holds them: an open decodes none that it does not need. */
  #raw: Uint8Array;
  #count: number;
  /** Whether the blocks' checksums are known. */
  readonly hasSums: boolean;

  /** Empty: grows with `note`. */
  constructor(capacity = FIRST_CAPACITY, raw: Uint8Array = new Uint8Array(capacity * BLOCK_ENTRY_BYTES), hasSums = false) {
    this.#raw = raw;
    this.hasSums = hasSums;
    this.#count = hasSums ? raw.length / BLOCK_ENTRY_BYTES : 0;
  }

  /** Over the checked entries of a footer, which it keeps. */
  static from(raw: Uint8Array): BlockTable {
    return new BlockTable(0, raw, true);
  }

  /** As a footer at `footerOffset` holds it, with the blocks' checksums. */
  encode(footerOffset: number, sums: readonly number[]): Uint8Array {
    const raw = new Uint8Array(blockTableBytes(footerOffset));
    raw.set(this.#raw.subarray(0, Math.min(raw.length, this.#count * BLOCK_ENTRY_BYTES)));
    for (let block = 0, at = 0; at < raw.length; block++, at += BLOCK_ENTRY_BYTES) {
      if (block >= this.#count) {
        putU48(raw, at, MAX_SEQ);
        putU16(raw, at + 6, NO_START);
      }
      putU32(raw, at + 8, sums[block] ?? 0);
    }
    return raw;
  }

  /** Takes in the next record. */
  note(seq: number, offset: number): void {
    const last = Math.floor(offset / BLOCK_BYTES);
    if (last < this.#count) return;
    const bytes = (last + 1) * BLOCK_ENTRY_BYTES;
    if (bytes > this.#raw.length) {
      const grown = new Uint8Array(Math.max(bytes, this.#raw.length * 2));
      grown.set(this.#raw);
      this.#raw = grown;
    }
    for (let block = this.#count; block <= last; block++) {
      putU48(this.#raw, block * BLOCK_ENTRY_BYTES, seq);
      putU16(this.#raw, block * BLOCK_ENTRY_BYTES + 6, block < last ? NO_START : offset - last * BLOCK_BYTES);
    }
    this.#count = last + 1;
  }

  sumOf(block: number): number {
    return getU32(this.#raw, block * BLOCK_ENTRY_BYTES + 8);
  }

  /** Seq of the first record that begins in the block. */
  seqOf(block: number): number {
    return getU48(this.#raw, block * BLOCK_ENTRY_BYTES);
  }

  /** Offset in the block of that record; NO_START where none begins there. */
  startOf(block: number): number {
    return getU16(this.#raw, block * BLOCK_ENTRY_BYTES + 6);
  }

  /** The block in which the record with this seq begins, if there is one; -1 where it would come before all. */
  find(seq: number): number {
    return floorEntry(this.#raw, BLOCK_ENTRY_BYTES, this.#count, seq);
  }
}
