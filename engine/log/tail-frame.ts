/**
 * Finds the last data frame of a sealed segment without its footer: a database closed in peace ends in a checkpoint that its tree does
 * not cover, a short frame with at most a mark behind it, and opening need not read an index of megabytes to find that one.
 *
 * Invariant: what it answers is a whole frame whose checksum covers its place; where it finds none the footer tells. Reads only.
 */
import { checkFrame, FRAME_DATA, frameLengthAt } from '../format/frame.js';
import type { File } from '../platform/platform.js';
import type { Segment } from './segment-state.js';

/** Room for a checkpoint's frame and a mark's. */
const TAIL_BYTES = 512;

/** Where the frame begins that stands for `seq` and what follows, up to the segment's end; -1 where it is not a short one at the end. */
export function tailFrameOf(segment: Segment, file: File, seq: number): number {
  const from = Math.ceil(Math.max(0, segment.dataEnd - TAIL_BYTES) / 8) * 8;
  const bytes = Buffer.allocUnsafe(segment.dataEnd - from);
  const length = file.read(bytes, 0, bytes.length, from);
  for (let at = 0; at + 8 <= length; at += 8) {
    const frameBytes = frameLengthAt(bytes, at, length);
    if (frameBytes === 0 || at + frameBytes > length) continue;
    const head = checkFrame(bytes, at, frameBytes, segment.place, from + at);
    if (head !== undefined && head.kind === FRAME_DATA && head.firstSeq <= seq && seq <= head.lastSeq) return from + at;
  }
  return -1;
}
