/**
 * One growing stretch of bytes that many small things are written into, so that none of them needs a buffer of its own. Taken for a
 * batch, given back once the batch has been copied to where it goes; what is never given back goes with its batch.
 *
 * Invariants: `bytes[0, end)` is what was written; growing replaces `bytes`, so positions are kept, never views. Nobody reads an
 * arena that has been given back. Memory only: a crash loses nothing.
 */
import { assert } from '../errors.js';

const FIRST_BYTES = 4096;
/** A larger one is let go when given back. */
const KEPT_BYTES = 4 * 1024 * 1024;
const KEPT_ARENAS = 2;

const free: ByteArena[] = [];

export class ByteArena {
  /** A plain Uint8Array: views of one are cheaper than of a Buffer. */
  bytes = new Uint8Array(FIRST_BYTES);
  end = 0;
  #isFree = false;

  static take(): ByteArena {
    const arena = free.pop() ?? new ByteArena();
    arena.#isFree = false;
    arena.end = 0;
    return arena;
  }

  get isFree(): boolean {
    return this.#isFree;
  }

  /** Nothing may touch it from here on, nor what was made of it. */
  giveBack(): void {
    assert(!this.#isFree, 'an arena is given back once');
    this.#isFree = true;
    if (free.length < KEPT_ARENAS && this.bytes.length <= KEPT_BYTES) free.push(this);
  }

  /** Room for so many bytes more behind `end`. */
  reserve(size: number): void {
    if (this.end + size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.end + size));
    grown.set(this.bytes.subarray(0, this.end));
    this.bytes = grown;
  }
}
