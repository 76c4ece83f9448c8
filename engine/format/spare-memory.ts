/**
 * Large pieces of memory that are used again. One that is made anew for every request is worse than the request: it lies outside the heap,
 * where it counts towards the next full collection of garbage, and its pages come from the system one fault at a time.
 *
 *   take -> written, read -> giveBack -> take …       never given back: goes with whoever keeps it
 *
 * Invariants: only what was taken here comes back; nobody looks at it from then on. Keeps KEPT_PIECES of KEPT_BYTES at most.
 */
import { assert } from '../errors.js';

/** Smaller ones are cheap enough to be made anew. */
const LEAST_BYTES = 32 * 1024;
const STEP_BYTES = 64 * 1024;
const KEPT_BYTES = 1024 * 1024;
const KEPT_PIECES = 4;

export class SpareMemory {
  /** The one given back last is the one most likely to lie in the processor's cache. */
  readonly #free: ArrayBufferLike[] = [];
  /** Those that may come back. */
  readonly #taken = new WeakSet<ArrayBufferLike>();

  /** So many bytes, of whatever is there: at the beginning of a buffer of their own. */
  take(bytes: number): Buffer {
    if (bytes < LEAST_BYTES || bytes > KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes);
    const memory = this.#fitting(bytes) ?? Buffer.allocUnsafeSlow(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES).buffer;
    this.#taken.add(memory);
    return Buffer.from(memory, 0, bytes);
  }

  /** Any part of what was taken. What was made elsewhere, or is too small or too large to keep, is left to the collector. */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#taken.delete(buffer)) {
      assert(!this.#free.includes(buffer), 'memory is given back once');
      return;
    }
    if (this.#free.length === KEPT_PIECES) this.#free.shift();
    this.#free.push(buffer);
  }

  #fitting(bytes: number): ArrayBufferLike | undefined {
    for (let i = this.#free.length - 1; i >= 0; i--) if (this.#free[i]!.byteLength >= bytes) return this.#free.splice(i, 1)[0];
    return undefined;
  }
}
