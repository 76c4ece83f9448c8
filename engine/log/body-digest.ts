/**
 * What a footer says of everything before it, made in one pass: BLAKE3 of the whole, and a checksum of each block.
 *
 * Holds memory of the hash's own until `free`.
 */
import { crc32 } from '../format/checksum.js';
import { BLOCK_BYTES } from '../format/footer.js';
import { Blake3Stream } from '../format/hash.js';

export class BodyDigest {
  readonly #hash = new Blake3Stream();
  readonly #seed: number;
  readonly #sums: number[] = [];
  #sum: number;
  #bytes = 0;

  /** `seed`: of the segment's checksums. */
  constructor(seed: number) {
    this.#seed = seed;
    this.#sum = seed;
  }

  /** Taken in so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The file's next bytes. */
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    for (let from = 0; from < bytes.length; ) {
      const left = BLOCK_BYTES - (this.#bytes % BLOCK_BYTES);
      const part = bytes.subarray(from, from + left);
      this.#sum = crc32(part, this.#sum);
      this.#bytes += part.length;
      from += part.length;
      if (part.length === left) this.#endBlock();
    }
  }

  /** Once. */
  finish(): { readonly hash: Uint8Array; readonly sums: readonly number[] } {
    if (this.#bytes % BLOCK_BYTES > 0) this.#endBlock();
    return { hash: this.#hash.digest(), sums: this.#sums };
  }

  free(): void {
    this.#hash.free();
  }

  #endBlock(): void {
    this.#sums.push(this.#sum);
    this.#sum = this.#seed;
  }
}
