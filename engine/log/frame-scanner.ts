/**
 * Reads a segment's frames in order, each checked, with what is between them.
 *
 *   frame frame BAD frame mark …    after bad bytes the scan goes on at the next whole frame on a multiple of 8
 *
 * A packed frame is given as its image: its batches as they would stand without packing. One that passes its checksum and does not
 * unpack is bad all the same.
 *
 * Invariant: what it yields covers the range without holes. Buffers are fresh for every window, so views may be kept; unless the caller
 * gives memory that is to be used again.
 */
import { getU32 } from '../format/bytes.js';
import { checkFrame, type FrameHead, frameLengthAt } from '../format/frame.js';
import { type BlockPlace, unpackFrame } from '../format/packed-frame.js';
import type { SegmentPlace } from '../format/segment.js';
import type { File } from '../platform/platform.js';

const WINDOW_BYTES = 1024 * 1024;
const FIRST_IMAGE_BYTES = 128 * 1024;
const FRAME_TAG_WORD = 0x465256f5;

export interface ScannedFrame {
  readonly kind: 'frame';
  readonly offset: number;
  readonly head: FrameHead;
  /** The frame, or its image, stands at `bytes[at…]`. */
  readonly bytes: Buffer;
  readonly at: number;
  /** The frame as it is in the file: `head.length` bytes. */
  readonly stored: Buffer;
  /** Of a packed one. */
  readonly blocks: readonly BlockPlace[] | undefined;
}
export type Scanned = ScannedFrame | { readonly kind: 'bad'; readonly from: number; readonly to: number };

/** For who reads much, and is done with a frame before it asks for the next. One scan at a time. */
export class ScanMemory {
  #window: Buffer = Buffer.alloc(0);
  #image: Buffer = Buffer.alloc(0);

  takeWindow(bytes: number): Buffer {
    if (bytes > this.#window.length) this.#window = Buffer.allocUnsafeSlow(Math.max(bytes, WINDOW_BYTES));
    return this.#window;
  }

  takeImage(bytes: number): Buffer {
    if (bytes > this.#image.length) this.#image = Buffer.allocUnsafeSlow(Math.max(bytes, FIRST_IMAGE_BYTES));
    return this.#image;
  }
}

/** Scans `[from, to)`; `from` must be a multiple of 8. `memory`: what is yielded is good until the next. */
export function* scanFrames(
  file: File,
  place: SegmentPlace,
  from: number,
  to: number,
  memory?: ScanMemory,
): Generator<Scanned, void, undefined> {
  const takeImage = memory === undefined ? undefined : (bytes: number) => memory.takeImage(bytes);
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  let badFrom = -1;
  /** Position of `offset` in a window that holds `length` bytes from there; -1 where the file has no such bytes. */
  const hold = (offset: number, length: number): number => {
    if (offset + length > to) return -1;
    if (offset < windowStart || offset + length > windowStart + window.length) {
      const wanted = Math.min(Math.max(WINDOW_BYTES, length), to - offset);
      const fresh = memory?.takeWindow(wanted) ?? Buffer.allocUnsafeSlow(wanted);
      window = fresh.subarray(0, file.read(fresh, 0, wanted, offset));
      windowStart = offset;
      if (length > window.length) return -1;
    }
    return offset - windowStart;
  };
  for (let offset = from; offset < to; ) {
    let at = hold(offset, 8);
    if (at < 0) {
      if (badFrom < 0) badFrom = offset;
      break;
    }
    const length = frameLengthAt(window, at, window.length);
    at = length === 0 ? -1 : hold(offset, length);
    const head = at < 0 ? undefined : checkFrame(window, at, length, place, offset);
    const image = head?.packedBytes === undefined ? undefined : unpackFrame(window, at, head, place, offset, takeImage);
    if (head !== undefined && (head.packedBytes === undefined || image !== undefined)) {
      if (badFrom >= 0) yield { kind: 'bad', from: badFrom, to: offset };
      badFrom = -1;
      const stored = window.subarray(at, at + length);
      if (image === undefined) yield { kind: 'frame', offset, head, bytes: window, at, stored, blocks: undefined };
      else yield { kind: 'frame', offset, head, bytes: image.bytes, at: 0, stored, blocks: image.blocks };
      offset += length;
      continue;
    }
    if (badFrom < 0) badFrom = offset;
    offset += 8;
    // Most of a bad range holds no magic: step over it without the bookkeeping.
    for (let p = offset - windowStart; p >= 0 && p + 4 <= window.length && getU32(window, p) !== FRAME_TAG_WORD; p += 8) offset += 8;
  }
  if (badFrom >= 0) yield { kind: 'bad', from: badFrom, to };
}
