/**
 * What a segment's frames say, read from its body alone: used where there is no footer to trust.
 *
 *   | kept: frames up to the attested position, damage between them noted | tail: whole frames above it | torn bytes |
 *
 * Law 10: at or below the attested position a bad frame is damage, above it a torn tail. A bad stretch with whole frames
 * behind it that leave no seq out (a torn mark) cost nothing and is no damage when it lies in the tail.
 */
import { getU48, getU64 } from '../format/bytes.js';
import { FRAME_DATA, FRAME_FOOTER, type FrameHead } from '../format/frame.js';
import { PACKED_TAG, packedBlockLengthAt, unpackBlock } from '../format/packed-block.js';
import { type FrameImage, unpackFrame } from '../format/packed-frame.js';
import { decodeRecord, RECORD_SEQ_AT, RECORD_TAG, RECORD_TIME_AT, recordIsIntact, recordLengthAt } from '../format/record.js';
import { SEGMENT_HEADER_BYTES, seedAt } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import type { LogContext } from './context.js';
import { scanFrames } from './frame-scanner.js';
import { afterItem } from './item-walk.js';
import type { Segment } from './segment-state.js';

export interface FrameAt {
  readonly offset: number;
  readonly head: FrameHead;
}
interface BadRange {
  readonly from: number;
  readonly to: number;
}
type Item = FrameAt | BadRange;

/** A first look: what is where, and the highest position the body attests. */
export interface SegmentSurvey {
  readonly items: readonly Item[];
  readonly attestedSeq: number;
  readonly bytes: number;
  readonly hasFrames: boolean;
  readonly hasFooter: boolean;
}

/** Salvage looks at no more than this of one bad range at a time. */
const SALVAGE_BYTES = 256 * 1024 * 1024;

export function surveySegment(segment: Segment, file: File, end: number): SegmentSurvey {
  const items: Item[] = [];
  let attestedSeq = 0;
  let hasFooter = false;
  for (const scanned of scanFrames(file, segment.place, SEGMENT_HEADER_BYTES, end)) {
    if (scanned.kind === 'bad') {
      items.push({ from: scanned.from, to: scanned.to });
      hasFooter ||= looksLikeFooter(file, scanned.from);
      continue;
    }
    items.push({ offset: scanned.offset, head: scanned.head });
    attestedSeq = Math.max(attestedSeq, scanned.head.attestedSeq);
    hasFooter ||= scanned.head.kind === FRAME_FOOTER;
  }
  return { items, attestedSeq, bytes: end, hasFrames: items.some((item) => 'head' in item), hasFooter };
}

/**
 * Takes the frames up to `attestedSeq` into the segment, notes damage between them, and returns the whole frames above it that
 * follow without leaving out a seq. Frames at or beyond `limitSeq` belong to the next segment and are left alone.
 */
export function adoptFrames(
  context: LogContext,
  segment: Segment,
  file: File,
  survey: SegmentSurvey,
  attestedSeq: number,
  limitSeq: number,
): FrameAt[] {
  segment.forgetFrames();
  const through = Math.min(attestedSeq, limitSeq - 1);
  const tail: FrameAt[] = [];
  let bad: BadRange | undefined;
  let expected = segment.base;
  let epoch = 0;
  const damage = (toSeq: number, offset: number, what: string): void => {
    const missing = toSeq >= expected;
    segment.damaged = true;
    const fromSeq = missing ? expected : 0;
    context.report({ kind: 'damaged', file: segment.path, offset, fromSeq, toSeq: missing ? toSeq : 0, detail: what });
    if (bad !== undefined) segment.dataEnd = Math.max(segment.dataEnd, bad.to);
    if (!missing) return;
    segment.gaps.push({ fromSeq: expected, toSeq });
    if (bad !== undefined) salvage(segment, file, bad, expected, toSeq);
    expected = toSeq + 1;
  };
  for (const item of survey.items) {
    if ('from' in item) {
      bad = bad === undefined ? item : { from: bad.from, to: item.to };
      continue;
    }
    const { head, offset } = item;
    if (head.kind !== FRAME_DATA || head.firstSeq < expected || head.lastSeq >= limitSeq) continue;
    if (head.lastSeq > attestedSeq) {
      if (expected <= through) damage(through, bad?.from ?? offset, 'frames at or below the attested position are missing');
      if (head.firstSeq !== expected) break;
      tail.push(item);
      expected = head.lastSeq + 1;
      bad = undefined;
      continue;
    }
    if (bad !== undefined) damage(head.firstSeq - 1, bad.from, 'frames fail their checksum');
    else if (head.firstSeq > expected && head.epoch <= epoch) damage(head.firstSeq - 1, offset, 'frames are missing');
    bad = undefined;
    if (!admitFrom(segment, file, item)) {
      bad = { from: offset, to: offset + head.length };
      continue;
    }
    epoch = head.epoch;
    expected = head.lastSeq + 1;
  }
  if (expected <= through) damage(through, bad?.from ?? segment.dataEnd, 'frames at or below the attested position are missing');
  segment.lastSeq = Math.max(segment.lastSeq, Math.min(expected - 1, through));
  segment.fileBytes = survey.bytes;
  return tail;
}

/** Reads the frame again and takes it in. */
export function admitFrom(segment: Segment, file: File, frame: FrameAt): boolean {
  const image = readFrame(segment, file, frame);
  return image !== undefined && segment.admit(image.bytes, 0, frame.head, frame.offset, image.blocks);
}

/** The frame, which was sound when it was met; the image of a packed one. */
export function readFrame(segment: Segment, file: File, { head, offset }: FrameAt): FrameImage | undefined {
  const bytes = Buffer.allocUnsafeSlow(head.length);
  const frame = bytes.subarray(0, file.read(bytes, 0, bytes.length, offset));
  if (head.packedBytes === undefined) return { bytes: frame, blocks: [] };
  return frame.length < head.length ? undefined : unpackFrame(frame, 0, head, segment.place, offset);
}

/** Finds records inside a bad range whose own checksum passes, or their block's, and lets reads find them. */
function salvage(segment: Segment, file: File, bad: BadRange, fromSeq: number, toSeq: number): void {
  const bytes = Buffer.allocUnsafeSlow(Math.min(bad.to - bad.from, SALVAGE_BYTES));
  const length = file.read(bytes, 0, bytes.length, bad.from);
  if (segment.header?.packed === true || segment.packed) salvageBlocks(segment, bytes.subarray(0, length), bad.from, fromSeq, toSeq);
  else salvageRecords(segment, bytes, length, bad, fromSeq, toSeq);
}

/** `bytes` stand at `offset` in the file. */
function salvageBlocks(segment: Segment, bytes: Buffer, offset: number, fromSeq: number, toSeq: number): void {
  let next = fromSeq;
  for (let at = bytes.indexOf(PACKED_TAG); at >= 0; ) {
    const length = packedBlockLengthAt(bytes, at, bytes.length);
    const items = length === 0 ? undefined : unpackBlock(bytes, at, length, seedAt(segment.place, offset + at));
    const seqs = items === undefined ? [] : recordsIn(items);
    const [first, last] = [seqs[0], seqs.at(-1)];
    if (first !== undefined && last !== undefined && first.seq >= next && last.seq <= toSeq) {
      const times = seqs.map(({ time }) => time);
      segment.admitSalvagedBlock(first.seq, offset + at, times);
      next = last.seq + 1;
    }
    at = bytes.indexOf(PACKED_TAG, items === undefined ? at + 1 : at + length);
  }
}

function recordsIn(items: Buffer): { readonly seq: number; readonly time: number }[] {
  const found: { seq: number; time: number }[] = [];
  for (let at = 0; at < items.length; ) {
    if (items[at] !== RECORD_TAG) {
      const next = afterItem(items, at, items.length, 0, 0);
      if (next <= at) break;
      at = next;
      continue;
    }
    const length = recordLengthAt(items, at, items.length);
    if (length === 0) break;
    found.push({ seq: getU48(items, at + RECORD_SEQ_AT), time: getU64(items, at + RECORD_TIME_AT) });
    at += length;
  }
  return found;
}

function salvageRecords(segment: Segment, bytes: Buffer, length: number, bad: BadRange, fromSeq: number, toSeq: number): void {
  let next = fromSeq;
  for (let at = bytes.indexOf(RECORD_TAG); at >= 0 && at < length; ) {
    const size = recordLengthAt(bytes, at, length);
    const record = size > 0 && recordIsIntact(bytes, at, size, segment.place.recordSeed) ? decodeRecord(bytes, at, size) : undefined;
    if (record !== undefined && record.seq >= next && record.seq <= toSeq) {
      segment.admitSalvaged(record.seq, record.time, bad.from + at);
      next = record.seq + 1;
    }
    at = bytes.indexOf(RECORD_TAG, record === undefined ? at + 1 : at + size);
  }
}

function looksLikeFooter(file: File, offset: number): boolean {
  const head = Buffer.alloc(9);
  return file.read(head, 0, 9, offset) === 9 && head.readUInt32LE(0) === 0x465256f5 && head[8] === FRAME_FOOTER;
}
