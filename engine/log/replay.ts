/**
 * Replays batches in order, over all segments, frame by frame, with every frame's checksum verified.
 *
 * A plain generator: the caller pauses by not asking for more. Positions are kept as seqs, so that a segment sealed, replaced
 * or reopened meanwhile is found again. What cannot be read is yielded as a gap in its place, never skipped in silence.
 */
import { align8 } from '../format/bytes.js';
import { decodeBatches, FRAME_DATA } from '../format/frame.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { LogContext } from './context.js';
import { scanFrames } from './frame-scanner.js';
import type { SegmentSet } from './segment-set.js';
import type { Segment, SeqRange } from './segment-state.js';
import { tailFrameOf } from './tail-frame.js';
import type { StoredBatch } from './types.js';

/** Seqs that cannot be replayed. */
export interface LogGap {
  readonly gap: SeqRange;
}

export function isGap(item: StoredBatch | LogGap): item is LogGap {
  return 'gap' in item;
}

export interface ReplaySource {
  readonly context: LogContext;
  readonly segmentSet: SegmentSet;
  /** Changes when the segments were read from disk again. */
  readonly incarnation: number;
  loadFooter(segment: Segment): void;
}

/** Batches with a last seq from `fromSeq` on and a first seq up to `toSeq`. */
export function* replay(source: ReplaySource, fromSeq: number, toSeq: number): Generator<StoredBatch | LogGap, void, undefined> {
  let expected = Math.max(1, fromSeq);
  while (expected <= toSeq) {
    const segment = segmentFrom(source.segmentSet, expected);
    if (segment === undefined) break;
    // A new epoch begins far behind the one before: that hole holds nothing.
    const missingTo = Math.min(segment.previousSeq, toSeq);
    if (expected <= missingTo) yield gap(expected, missingTo);
    if (segment.base > toSeq) return;
    expected = Math.max(expected, segment.base);
    const incarnation = source.incarnation;
    for (const frame of framesFrom(source, segment, expected, Math.min(toSeq, segment.lastSeq))) {
      const batches = decodeBatches(frame.bytes, frame.at, frame.head, segment.place);
      if (batches === undefined) {
        const to = Math.min(frame.head.lastSeq, toSeq);
        report(source, segment, frame.offset, expected, to, 'a frame is unsound');
        if (expected <= to) yield gap(expected, to);
        expected = to + 1;
        continue;
      }
      if (frame.head.firstSeq > expected) {
        report(source, segment, frame.offset, expected, frame.head.firstSeq - 1, 'frames before this one cannot be read');
        yield gap(expected, frame.head.firstSeq - 1);
        expected = frame.head.firstSeq;
      }
      for (const batch of batches) {
        if (batch.lastSeq < expected) continue;
        if (batch.firstSeq > toSeq) return;
        expected = batch.lastSeq + 1;
        yield batch;
      }
      expected = Math.max(expected, frame.head.lastSeq + 1);
      if (source.incarnation !== incarnation) break;
    }
    if (source.incarnation !== incarnation) continue;
    const end = Math.min(segment.lastSeq, toSeq);
    if (expected > end) continue;
    report(source, segment, segment.dataEnd, expected, end, 'the last frames cannot be read');
    yield gap(expected, end);
    expected = end + 1;
  }
  if (expected <= toSeq) yield gap(expected, toSeq);
}

function gap(fromSeq: number, toSeq: number): LogGap {
  return { gap: { fromSeq, toSeq } };
}

/** The segment that stands for `seq`, or the first one after it. */
export function segmentFrom(segments: SegmentSet, seq: number): Segment | undefined {
  const at = segments.indexFor(seq);
  const here = segments.all[at];
  return here !== undefined && here.lastSeq >= seq ? here : segments.all[at + 1];
}

/** Sound data frames from the one that reaches `fromSeq` on; bad ones are left out. */
export function* framesFrom(source: ReplaySource, segment: Segment, fromSeq: number, toSeq: number) {
  let start = SEGMENT_HEADER_BYTES;
  if (fromSeq > segment.base) {
    const tail = segment.index === undefined && segment.sealed ? tailFrameOf(segment, source.context.pool.use(segment), fromSeq) : -1;
    if (tail < 0) source.loadFooter(segment);
    const entry = tail < 0 ? segment.index!.floorSeq(fromSeq) : -1;
    if (tail >= 0) start = tail;
    else if (entry >= 0) start = align8(segment.index!.frameOffsetAt(entry));
  }
  for (const scanned of scanFrames(source.context.pool.use(segment), segment.place, start, segment.dataEnd)) {
    if (scanned.kind === 'bad' || scanned.head.kind !== FRAME_DATA || scanned.head.lastSeq < fromSeq) continue;
    if (scanned.head.firstSeq > toSeq) return;
    yield scanned;
  }
}

function report(source: ReplaySource, segment: Segment, offset: number, fromSeq: number, toSeq: number, detail: string): void {
  const known = segment.gaps.some((range) => range.fromSeq <= fromSeq && toSeq <= range.toSeq);
  if (!known) source.context.report({ kind: 'damaged', file: segment.path, offset, fromSeq, toSeq, detail });
}
