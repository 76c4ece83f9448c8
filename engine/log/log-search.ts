/**
 * Questions to a log that go by time or by idempotency key: which segment may know, then its index.
 *
 * Invariant: where damage could hide the answer it is CORRUPT, never a guess. Nothing is written here; a crash does nothing.
 */
import { VarveError } from '../errors.js';
import type { Micros } from '../platform/platform.js';
import type { LogContext } from './context.js';
import type { IdempotentAnswer } from './idempotency.js';
import type { SegmentSet } from './segment-set.js';
import type { Segment } from './segment-state.js';
import { positionInSegment } from './time-search.js';

export interface SearchSource {
  readonly context: LogContext;
  readonly segmentSet: SegmentSet;
  readonly durableSeq: number;
  loadFooter(segment: Segment): void;
}

/** Last seq of the newest record batch with a time up to `time`, 0 where there is none; and, where wanted, the seq of the first record after it. */
export function positionAt(source: SearchSource, time: Micros, wantsNext: boolean): { readonly seq: number; readonly nextSeq: number } {
  const { context } = source;
  const all = source.segmentSet.all;
  let at = all.length - 1;
  while (at >= 0 && (all[at]!.records === 0 || all[at]!.minTime > time)) at--;
  const segment = all[at];
  let seq = 0;
  let nextSeq = 0;
  if (segment !== undefined) {
    source.loadFooter(segment);
    if (time >= segment.maxTime && endsWithRecord(segment)) seq = segment.lastSeq;
    else ({ seq, nextSeq } = positionInSegment(segment, context, time));
  }
  if (nextSeq === 0 && (wantsNext || context.findings.length > 0)) nextSeq = firstRecordFrom(source, at + 1);
  if (context.findings.length > 0) checkNoGapBetween(context, seq, nextSeq);
  return { seq, nextSeq };
}

/** The answer this key got since `notBefore`, the newest where there are several. */
export function findIdempotent(source: SearchSource, key: string, notBefore: Micros): IdempotentAnswer | undefined {
  const all = source.segmentSet.all;
  // A segment was written to until the next one was made.
  let writtenUntil = Number.POSITIVE_INFINITY;
  for (let i = all.length - 1; i >= 0; i--) {
    const segment = all[i]!;
    const until = writtenUntil;
    const since = segment.header?.createdTime ?? 0;
    writtenUntil = segment.header?.createdTime ?? until;
    if (segment.records === 0) continue;
    if (Math.max(segment.maxTime, until) < notBefore) return undefined;
    source.loadFooter(segment);
    const answer = segment.idempotency?.find(key);
    // A time before its own segment's is a client's, and tells nothing of when the batch came: the segment does.
    if (answer !== undefined) return (answer.time < since ? until : answer.time) >= notBefore ? answer : undefined;
  }
  return undefined;
}

/** Throws CORRUPT where seqs strictly between the two cannot be read. */
export function checkNoGapBetween({ findings }: LogContext, seq: number, nextSeq: number): void {
  for (const { kind, file, offset, fromSeq, toSeq, detail } of findings) {
    if ((kind !== 'damaged' && kind !== 'missing') || fromSeq === 0 || toSeq <= seq || fromSeq >= nextSeq) continue;
    throw new VarveError('CORRUPT', `seqs ${fromSeq} to ${toSeq} cannot be read: ${detail}`, { file, offset, what: detail });
  }
}

/** Seq of the first record in the segments from this one on; just beyond the log where there is none. */
function firstRecordFrom(source: SearchSource, at: number): number {
  const segment = source.segmentSet.all.slice(at).find((other) => other.records > 0);
  if (segment === undefined) return source.durableSeq + 1;
  source.loadFooter(segment);
  return segment.index!.seqAt(0);
}

/** Whether the last thing in the segment is a record, so that its last seq is a batch's end. */
function endsWithRecord(segment: Segment): boolean {
  return segment.events === 0 && segment.gaps.length === 0;
}
