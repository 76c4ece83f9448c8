/**
 * Slices joined: how many small ones become few. Their bytes are never changed.
 */
import type { LogSlice } from '../engine/copying.js';

/** Whether one message may stand for both, one after the other. */
export function joins(before: LogSlice, next: LogSlice): boolean {
  return before.epoch === next.epoch && before.compactedThrough === next.compactedThrough && next.firstSeq === before.lastSeq + 1;
}

/** One slice of several that join. */
export function joined(slices: readonly LogSlice[]): LogSlice {
  const first = slices[0]!;
  if (slices.length === 1) return first;
  return { ...first, lastSeq: slices[slices.length - 1]!.lastSeq, batches: Buffer.concat(slices.map((slice) => slice.batches)) };
}
