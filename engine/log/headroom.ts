/**
 * How far the active segment's file is filled with zeros ahead of its last frame. A frame that is written over them needs nothing but
 * its own bytes on the disk; one that makes the file longer waits for the file system's journal too, and for what others have in that.
 *
 *   | frames | the next frame | zeros |        behind a frame for which there are none left: about as many bytes as there are frames
 *
 * Large frames are appended as they are: they would only be written twice. Invariants: zeros are written only where the file has ended,
 * and become durable by the sync of the frame before them; sealing cuts them off. A crash leaves any of them, and recovery tells them
 * from a torn frame.
 */
import type { File } from '../platform/platform.js';

/** Frames up to this are written over zeros. */
const SMALL_BYTES = 64 * 1024;
/** Small ones in a row, before they count as the habit of this segment. */
const HABIT = 2;
/** Bounds of one filling, as parts of a whole segment. */
const LEAST_PART = 4096;
const MOST_PART = 64;
/** Room for this many frames like the one that asks, at least. */
const FRAMES = 4;
const PAGE_BYTES = 4096;
const SLICE_BYTES = 64 * 1024;

let zeros = new Uint8Array(0);

export class Headroom {
  readonly #segmentBytes: number;
  #end = 0;
  #smallOnes = 0;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
  }

  /** How many zeros are to be written behind a frame that will stand at `[from, to)`; 0 for none. */
  behind(from: number, to: number): number {
    const length = to - from;
    if (to <= this.#end || length > SMALL_BYTES || this.#smallOnes < HABIT) return 0;
    const most = Math.ceil(this.#segmentBytes / MOST_PART);
    const wanted = Math.max(FRAMES * length, Math.min(most, Math.max(from, Math.ceil(this.#segmentBytes / LEAST_PART))));
    let end = Math.min(to + wanted, this.#segmentBytes);
    if (wanted >= PAGE_BYTES) end -= end % PAGE_BYTES;
    return end - to < length ? 0 : end - to;
  }

  /** The file was filled up to here. */
  filled(end: number): void {
    this.#end = Math.max(this.#end, end);
  }

  appended(bytes: number): void {
    if (bytes <= SMALL_BYTES) this.#smallOnes++;
    else this.#smallOnes = 0;
  }
}

export function zerosOf(bytes: number): Uint8Array {
  if (zeros.length < bytes) zeros = new Uint8Array(bytes);
  return zeros;
}

/** Where the zeros begin that `[from, to)` ends in; `from` where it is nothing else. */
export function endOfWritten(file: File, from: number, to: number): number {
  const bytes = Buffer.allocUnsafe(Math.min(SLICE_BYTES, to - from));
  for (let end = to; end > from; ) {
    const start = Math.max(from, end - bytes.length);
    const length = file.read(bytes, 0, end - start, start);
    for (let i = length - 1; i >= 0; i--) if (bytes[i] !== 0) return start + i + 1;
    end = start;
  }
  return from;
}
