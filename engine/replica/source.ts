/**
 * What others copy from a log: its batches, in slices, from the disk or as they become durable.
 *
 * Invariants: only what is durable; every frame's checksum has passed; a slice covers what its frame stands for, without a hole to
 * the slice before, except where an epoch begins. Cut where the question cuts, between batches. Reads only: a crash does nothing.
 */
import { decodeBatchHead } from '../format/batch.js';
import { corrupt } from '../format/bytes.js';
import { FRAME_HEAD_BYTES } from '../format/frame.js';
import type { ShardLog } from '../log/index.js';
import { framesFrom, segmentFrom } from '../log/replay.js';
import type { LogSlice } from '../replica.js';

/** More than this is sent in several slices, unless one batch is larger. */
const SLICE_BYTES = 256 * 1024;

/** Throws CORRUPT where seqs from `fromSeq` to `toSeq` cannot be read. */
export function* slicesOf(log: ShardLog, fromSeq: number, toSeq = log.durableSeq): Generator<LogSlice, void, undefined> {
  const end = Math.min(toSeq, log.durableSeq);
  let expected = Math.max(1, fromSeq);
  while (expected <= end) {
    const segment = segmentFrom(log.segmentSet, expected);
    const { directory } = log.context;
    if (segment === undefined || expected <= Math.min(segment.previousSeq, end))
      throw corrupt(segment?.path ?? directory, 0, `seqs from ${expected} on are missing`);
    if (segment.base > end) return;
    expected = Math.max(expected, segment.base);
    const { incarnation } = log;
    if (segment.header === undefined) throw corrupt(segment.path, 0, 'its header cannot be read');
    const { compactedThrough } = segment.header;
    for (const { bytes, at, head, offset } of framesFrom(log, segment, expected, Math.min(end, segment.lastSeq))) {
      if (head.firstSeq > expected) throw corrupt(segment.path, offset, `seqs ${expected} to ${head.firstSeq - 1} cannot be read`);
      const from = at + FRAME_HEAD_BYTES;
      const whole = { epoch: head.epoch, firstSeq: head.firstSeq, lastSeq: head.lastSeq, compactedThrough };
      const slice = cut({ ...whole, batches: bytes.subarray(from, from + head.payloadBytes) }, expected, end);
      if (slice === undefined) throw corrupt(segment.path, offset, 'a frame is unsound');
      yield* parts(slice);
      expected = slice.lastSeq + 1;
      if (log.incarnation !== incarnation || expected > end) break;
    }
    if (log.incarnation === incarnation && expected <= Math.min(segment.lastSeq, end))
      throw corrupt(segment.path, segment.dataEnd, `seqs from ${expected} on cannot be read`);
  }
}

/** A large one in several: whoever takes it does nothing else meanwhile. */
function* parts(slice: LogSlice): Generator<LogSlice, void, undefined> {
  const { batches, lastSeq } = slice;
  let { firstSeq } = slice;
  let start = 0;
  let covered = firstSeq - 1;
  for (let at = 0; at < batches.length && batches.length - start > SLICE_BYTES; ) {
    const batch = decodeBatchHead(batches, at, batches.length);
    if (batch === undefined) break;
    if (at > start && at + batch.totalBytes - start > SLICE_BYTES) {
      yield { ...slice, firstSeq, lastSeq: covered, batches: batches.subarray(start, at) };
      firstSeq = covered + 1;
      start = at;
    }
    covered = batch.lastSeq;
    at += batch.totalBytes;
  }
  yield { ...slice, firstSeq, lastSeq, batches: batches.subarray(start) };
}

/** What of a slice lies within [fromSeq, toSeq], batches whole; undefined where it is unsound. */
export function cut(slice: LogSlice, fromSeq: number, toSeq: number): LogSlice | undefined {
  const { batches } = slice;
  let { firstSeq, lastSeq } = slice;
  if (firstSeq >= fromSeq && lastSeq <= toSeq) return slice;
  firstSeq = Math.max(firstSeq, fromSeq);
  lastSeq = Math.min(lastSeq, toSeq);
  let start = 0;
  let end = 0;
  for (let at = 0; at < batches.length; ) {
    const batch = decodeBatchHead(batches, at, batches.length);
    if (batch === undefined) return undefined;
    if (batch.firstSeq > toSeq) break;
    at += batch.totalBytes;
    if (batch.lastSeq < fromSeq) {
      start = end = at;
      continue;
    }
    end = at;
    firstSeq = Math.min(firstSeq, batch.firstSeq);
    lastSeq = Math.max(lastSeq, batch.lastSeq);
  }
  return { ...slice, firstSeq, lastSeq, batches: batches.subarray(start, end) };
}

/** Whoever wants the groups of a log as they become durable, each as a slice. The log is asked for them only while somebody does. */
export class GroupWatchers {
  readonly #log: ShardLog;
  readonly #watchers = new Set<(slice: LogSlice) => void>();

  constructor(log: ShardLog) {
    this.#log = log;
  }

  /** Returns how to end it. */
  watch(told: (slice: LogSlice) => void): () => void {
    const watcher = (slice: LogSlice) => told(slice);
    this.#watchers.add(watcher);
    this.#log.onGroup = (frame, { epoch, firstSeq, lastSeq, payloadBytes }, { header }) => {
      const batches = frame.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + payloadBytes);
      const slice = { epoch, firstSeq, lastSeq, compactedThrough: header?.compactedThrough ?? 0, batches };
      for (const each of this.#watchers) each(slice);
    };
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#log.onGroup = undefined;
    };
  }
}
