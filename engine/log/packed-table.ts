/**
 * Which packed block of a segment a record is in, and where that lies in the file.
 *
 *   entry (12 bytes): seq u48 of the batch or record that the block begins with | offset of the block in the file u48
 *
 * Invariants: seqs and offsets strictly increase. The blocks carry their own checksums. Derived from the frames (law 2): a crash
 * loses nothing.
 */
import { getU48, putU48 } from '../format/bytes.js';
import { BLOCK_ENTRY_BYTES } from '../format/footer.js';
import { floorEntry } from './seq-search.js';

const FIRST_CAPACITY = 64;

export class PackedTable {
  #bytes: Uint8Array;
  #count: number;

  /** Over the checked entries of a footer, which it keeps, or empty. */
  constructor(raw: Uint8Array = new Uint8Array(0)) {
    this.#bytes = raw;
    this.#count = Math.floor(raw.length / BLOCK_ENTRY_BYTES);
  }

  /** The entries as a footer holds them. */
  get raw(): Uint8Array {
    return this.#bytes.subarray(0, this.#count * BLOCK_ENTRY_BYTES);
  }

  add(seq: number, offset: number): void {
    const at = this.#count * BLOCK_ENTRY_BYTES;
    if (at === this.#bytes.length) {
      const grown = new Uint8Array(Math.max(FIRST_CAPACITY * BLOCK_ENTRY_BYTES, at * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    putU48(this.#bytes, at, seq);
    putU48(this.#bytes, at + 6, offset);
    this.#count++;
  }

  seqOf(block: number): number {
    return getU48(this.#bytes, block * BLOCK_ENTRY_BYTES);
  }

  offsetOf(block: number): number {
    return getU48(this.#bytes, block * BLOCK_ENTRY_BYTES + 6);
  }

  /** Where what is read of the file for the block may end: it does not reach further. */
  endOf(block: number, dataEnd: number): number {
    return block + 1 < this.#count ? this.offsetOf(block + 1) : dataEnd;
  }

  /** How many seqs it stands for, `lastSeq` being the segment's last. */
  spanOf(block: number, lastSeq: number): number {
    return (block + 1 < this.#count ? this.seqOf(block + 1) : lastSeq + 1) - this.seqOf(block);
  }

  /** The block that holds the record with this seq, if there is one; -1 where it would come before all. */
  find(seq: number): number {
    return floorEntry(this.#bytes, BLOCK_ENTRY_BYTES, this.#count, seq);
  }
}
