/**
 * Opens a log from what is on disk (law 10).
 *
 *   1 delete `*.tmp`, list segments, read headers and trailers
 *   2 survey what is not sealed; the attested position A is the highest any header, trailer, frame, mark or file name vouches for
 *   3 frames up to A are taken in; bad ones among them are damage: kept, reported, the file never shortened
 *   4 whole frames above A that follow without a hole are copied into a new segment, synced and named, before anything is served
 *   5 the file they came from is cut after A and sealed in the background
 *
 * Invariants: a file that another process wrote is never appended to (its last bytes may be in the page cache only, after a
 * sync that failed there). A crash at any point leaves either the old tail or the new segment, and the same content:
 * frames at or beyond the base of the next segment do not count.
 */
import { isVarveError } from '../errors.js';
import { decodeTrailer, TRAILER_BYTES } from '../format/footer.js';
import { decodeBatches, FRAME_DATA, finishFrame } from '../format/frame.js';
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, TEMPORARY_SUFFIX } from '../format/segment.js';
import { namesIn } from '../platform/paths.js';
import type { LogContext } from './context.js';
import { endOfWritten } from './headroom.js';
import { adoptFrames, type FrameAt, readFrame, type SegmentSurvey, surveySegment } from './segment-scan.js';
import { SegmentSet } from './segment-set.js';
import type { Segment } from './segment-state.js';
import { type ActiveSegment, createSegment } from './segment-writer.js';

export interface Recovered {
  readonly segments: SegmentSet;
  /** Set where frames were copied: appending goes on there. */
  readonly active: ActiveSegment | undefined;
  readonly durableSeq: number;
  /** What the disk itself vouches for. */
  readonly attestedSeq: number;
  readonly epoch: number;
  readonly lastTime: number;
  readonly toSeal: readonly Segment[];
}

/** `knownDurable`: what this process knows to be durable, 0 at a first open. */
export async function recover(context: LogContext, knownDurable: number): Promise<Recovered> {
  const listed = readSegments(context);
  const found = listed.length < 2 ? listed : newestGenerations(context, listed);
  for (const { sealed } of found) if (!sealed) return recoverOpen(context, found, knownDurable);
  const segments = new SegmentSet();
  let attestedSeq = 0;
  for (const segment of found) {
    attestedSeq = attestedIn(segment, attestedSeq);
    segments.add(segment);
  }
  return concluded(context, segments, attestedSeq, Math.max(attestedSeq, knownDurable), undefined, []);
}

/** A sealed segment's last seq; of an open one, so far, its base less 1. */
function attestedIn({ lastSeq, header }: Segment, before: number): number {
  return Math.max(before, lastSeq, header?.attestedSeq ?? 0);
}

/** Where nobody closed the log. */
async function recoverOpen(context: LogContext, found: readonly Segment[], knownDurable: number): Promise<Recovered> {
  const candidates: Segment[] = [];
  const surveys = new Map<Segment, SegmentSurvey>();
  let attestedSeq = 0;
  for (const segment of found) {
    if (!segment.sealed) {
      const file = context.pool.use(segment);
      const survey = surveySegment(segment, file, file.size());
      if (segment.header === undefined && !survey.hasFrames) {
        setAside(context, segment);
        continue;
      }
      surveys.set(segment, survey);
      attestedSeq = Math.max(attestedSeq, survey.attestedSeq);
      await context.platform.clock.yield();
    }
    candidates.push(segment);
    attestedSeq = attestedIn(segment, attestedSeq);
  }
  const through = Math.max(attestedSeq, knownDurable);
  const segments = new SegmentSet();
  const toSeal: Segment[] = [];
  let rescued: ActiveSegment | undefined;
  for (const [i, segment] of candidates.entries()) {
    const survey = surveys.get(segment);
    const next = candidates[i + 1];
    if (survey !== undefined) {
      const limit = next === undefined ? Number.POSITIVE_INFINITY : next.previousSeq + 1;
      const tail = adoptFrames(context, segment, context.pool.use(segment), survey, through, limit);
      reportTail(context, segment, survey, tail, next !== undefined);
      if (next === undefined && tail.length > 0) rescued = await rescue(context, segment, tail, through);
      if (segment.lastSeq < segment.base && (next === undefined || next.previousSeq < segment.base)) {
        // Nothing of it counts: the next segment takes its place, and its name unless a new epoch begins there.
        context.pool.drop(segment);
        if (next !== undefined) context.platform.files.remove(segment.path);
        continue;
      }
      if (!segment.damaged) toSeal.push(segment);
    }
    segments.add(segment);
  }
  if (rescued !== undefined) segments.add(rescued.segment);
  return concluded(context, segments, attestedSeq, through, rescued, toSeal);
}

function concluded(
  context: LogContext,
  segments: SegmentSet,
  attestedSeq: number,
  through: number,
  active: ActiveSegment | undefined,
  toSeal: readonly Segment[],
): Recovered {
  reportMissing(context, segments, through);
  let [epoch, lastTime] = [1, 0];
  for (const segment of segments.all) {
    epoch = Math.max(epoch, segment.epoch, segment.header?.epoch ?? 0);
    lastTime = Math.max(lastTime, segment.maxTime);
  }
  return {
    segments,
    active,
    durableSeq: Math.max(through, segments.last?.lastSeq ?? 0),
    attestedSeq,
    epoch,
    lastTime,
    toSeal: toSeal.filter((segment) => segments.all.includes(segment)),
  };
}

function readSegments(context: LogContext): Segment[] {
  const { files } = context.platform;
  const segments: Segment[] = [];
  for (const name of namesIn(files, context.directory) ?? []) {
    const path = `${context.directory}/${name}`;
    if (name.endsWith(TEMPORARY_SUFFIX)) {
      files.remove(path);
      continue;
    }
    const parsed = parseSegmentName(name);
    const segment = parsed === undefined ? undefined : context.segment(parsed.base, parsed.generation);
    if (segment !== undefined && readEnds(context, segment)) segments.push(segment);
    else
      context.report({
        kind: 'stray',
        file: path,
        offset: 0,
        fromSeq: 0,
        toSeq: 0,
        detail: parsed === undefined ? 'not a segment name' : 'the header names another place',
      });
  }
  return segments;
}

/** Header and trailer; false for a sound header of another place. */
function readEnds(context: LogContext, segment: Segment): boolean {
  const file = context.pool.use(segment);
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  try {
    segment.header = decodeSegmentHeader(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0)), segment.place, segment.path);
    if (segment.header === undefined) return false;
    segment.epoch = segment.header.epoch;
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT')) throw error;
    segment.damaged = true;
    context.report({ kind: 'damaged', file: segment.path, offset: 0, fromSeq: 0, toSeq: 0, detail: error.details.what });
  }
  const size = file.size();
  if (size < SEGMENT_HEADER_BYTES + TRAILER_BYTES) return true;
  const end = bytes.subarray(0, file.read(bytes, 0, TRAILER_BYTES, size - TRAILER_BYTES));
  const trailer = decodeTrailer(end, segment.place, size);
  if (trailer !== undefined) segment.adoptTrailer(trailer, size);
  return true;
}

/** Nothing in the file can be believed, not even that its name is right: it is kept under another, reported, and does not count. */
function setAside(context: LogContext, segment: Segment): void {
  context.pool.drop(segment);
  context.platform.files.rename(segment.path, `${segment.path}.damaged`);
}

/** In order of base; where generations cover the same seqs, the highest complete one. What that replaces is removed: a compaction was cut short after its swap. */
function newestGenerations(context: LogContext, segments: Segment[]): Segment[] {
  const compacted = segments.filter((segment) => segment.sealed && (segment.header?.replacesTo ?? 0) > 0);
  const replaced = (segment: Segment): boolean =>
    compacted.some(
      (by) =>
        by.place.generation > segment.place.generation && by.header!.replacesFrom <= segment.base && segment.base <= by.header!.replacesTo,
    );
  for (const segment of segments) {
    if (!replaced(segment)) continue;
    context.pool.drop(segment);
    context.platform.files.remove(segment.path);
  }
  const kept = segments.filter((segment) => !replaced(segment)).sort((a, b) => a.base - b.base || b.place.generation - a.place.generation);
  return kept.filter((segment, i) => {
    if (kept[i - 1]?.base !== segment.base) return true;
    context.report({
      kind: 'stray',
      file: segment.path,
      offset: 0,
      fromSeq: 0,
      toSeq: 0,
      detail: 'another generation of the same segment is in use',
    });
    return false;
  });
}

/** Copies whole frames above the attested position into a segment of their own and makes that durable. */
async function rescue(context: LogContext, from: Segment, tail: readonly FrameAt[], attestedSeq: number): Promise<ActiveSegment> {
  const target = context.segment(tail[0]!.head.firstSeq, 0);
  const source = context.pool.use(from);
  const copies: { frame: Buffer; at: number; head: FrameAt['head'] }[] = [];
  let offset = SEGMENT_HEADER_BYTES;
  for (const found of tail) {
    const frame = readFrame(from, source, found)?.bytes;
    // Unsound inside a good checksum: ends the tail like a bad frame.
    if (frame === undefined || decodeBatches(frame, 0, found.head, from.place) === undefined) break;
    // A packed one goes on as it was before.
    const { packedBytes: _, ...head } = { ...found.head, attestedSeq, length: frame.length };
    finishFrame(frame, head, target.place, offset);
    copies.push({ frame, at: offset, head });
    offset += frame.length;
  }
  const epoch = tail.reduce((highest, frame) => Math.max(highest, frame.head.epoch), 1);
  const active = await createSegment(context, target, epoch, Buffer.concat(copies.map((copy) => copy.frame)), {
    compactedThrough: from.header?.compactedThrough ?? 0,
    attestedSeq: target.base === from.base ? from.previousSeq : target.base - 1,
  });
  if (target.name === from.name) context.pool.drop(from);
  for (const copy of copies) target.admit(copy.frame, 0, copy.head, copy.at);
  return active;
}

function reportTail(context: LogContext, segment: Segment, survey: SegmentSurvey, tail: readonly FrameAt[], hasNext: boolean): void {
  const at = { file: segment.path, offset: segment.dataEnd, fromSeq: 0, toSeq: 0 };
  if (survey.hasFooter) {
    // What was rewritten got its name once it was whole: no crash cuts its footer.
    const kind = segment.place.generation > 0 ? 'footer-rebuilt' : 'torn-footer';
    context.report({ ...at, kind, detail: 'the segment was not sealed to its end; its index was read from the frames' });
    return;
  }
  if (hasNext || segment.damaged) return;
  const lastWhole = tail.at(-1)?.offset ?? 0;
  const torn = survey.items.find((item) => 'from' in item && item.from >= Math.max(lastWhole, segment.dataEnd));
  const cutShort =
    survey.items.filter((item) => 'head' in item && item.head.kind === FRAME_DATA && item.head.lastSeq > segment.lastSeq).length >
    tail.length;
  const tornBytes = torn !== undefined && 'from' in torn ? endOfWritten(context.pool.use(segment), torn.from, survey.bytes) - torn.from : 0;
  if (torn !== undefined && 'from' in torn && tornBytes > 0)
    context.report({
      ...at,
      kind: 'torn-tail',
      offset: torn.from,
      detail: `${tornBytes} bytes after the last whole frame were never acknowledged`,
    });
  else if (cutShort) context.report({ ...at, kind: 'torn-tail', detail: 'frames behind a torn one were never acknowledged' });
}

/** Holes between segments that no change of epoch explains. */
function reportMissing(context: LogContext, segments: SegmentSet, through: number): void {
  let expected = 1;
  for (const segment of segments.all) {
    if (segment.previousSeq >= expected) {
      const range = { fromSeq: expected, toSeq: segment.previousSeq };
      context.report({ kind: 'missing', file: segment.path, offset: 0, ...range, detail: 'the segment before this one is missing' });
    }
    expected = Math.max(expected, segment.lastSeq + 1);
  }
  if (expected <= through) {
    const range = { fromSeq: expected, toSeq: through };
    context.report({ kind: 'missing', file: context.directory, offset: 0, ...range, detail: 'the end of the log is missing' });
  }
}
