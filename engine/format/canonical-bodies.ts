/**
 * Bodies read one after the other out of a text, as they are stored: canonical-bytes.ts for those who read what stands around them.
 *
 * Invariants: a body's slice is good until `release`, whatever is appended behind it; after `release` nothing is used any more.
 */
import { ByteArena } from './byte-arena.js';
import { appendCanonicalBytes, endCanonicalBytes, sawHighBytes } from './canonical-bytes.js';

export class CanonicalBodies {
  readonly #arena = ByteArena.take();
  #noted = false;

  /** Where the next body begins. */
  get end(): number {
    return this.#arena.end;
  }

  /** Takes the value at `from` (behind white space, if any). The offset behind it, or -1 where it is not plainly well-formed JSON that ends by `to`. */
  append(text: Uint8Array, from: number, to: number): number {
    return appendCanonicalBytes(this.#arena, text, from, to);
  }

  /** The bytes since `from`. */
  slice(from: number): Uint8Array {
    return this.#arena.bytes.subarray(from, this.#arena.end);
  }

  /** Forgets what lies behind `end`. */
  cutTo(end: number): void {
    this.#arena.end = end;
  }

  /** As if a text had them: for what is read beside the bodies. */
  noteHighBytes(): void {
    this.#noted = true;
  }

  /** Whether there were bytes beyond ASCII since the last call: they are UTF-8 only if the caller finds so. */
  sawHighBytes(): boolean {
    const saw = sawHighBytes() || this.#noted;
    this.#noted = false;
    return saw;
  }

  release(): void {
    this.#arena.giveBack();
    endCanonicalBytes();
  }
}
