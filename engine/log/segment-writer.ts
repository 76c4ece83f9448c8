/**
 * Writes segments: makes new ones, and appends frames to the active one.
 *
 *   new:     <name>.seg.tmp: header + first frames -> sync -> rename -> sync the directory
 *   append:  one write of one whole frame -> length checked -> sync      now and then zeros behind it: see headroom.ts
 *
 * Invariants: a file under its proper name has a good header and whole first frames; a frame counts only after its sync. A crash
 * leaves a `.tmp` (deleted at open) or a tail that fails its checksum. A failed write or sync is never tried again here (law 9).
 */
import { encodeMark } from '../format/frame.js';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import type { BlockingWrites, File } from '../platform/platform.js';
import type { LogContext } from './context.js';
import { LogFailure, step, stepNow } from './failure.js';
import { Headroom, zerosOf } from './headroom.js';
import type { Segment } from './segment-state.js';

const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
/** Up to this a frame is copied into the page cache by this thread. */
const DIRECT_BYTES = 1024 * 1024;
const CANNOT_WRITE = 'the log cannot be written';
const CANNOT_SYNC = 'the log cannot be synced';

/** The segment being written, and the handle it is written through. */
export interface ActiveSegment {
  readonly segment: Segment;
  readonly file: File;
  readonly headroom: Headroom;
}

/**
 * Makes a segment that begins with `frames` (finished for offset SEGMENT_HEADER_BYTES on), replacing a file of the same name whole.
 * The caller admits the frames once this resolves. Until the rename nothing has reached the disk.
 */
export async function createSegment(
  context: LogContext,
  segment: Segment,
  epoch: number,
  frames: Uint8Array,
  said: Partial<Pick<SegmentHeader, 'compactedThrough' | 'attestedSeq'>> = {},
): Promise<ActiveSegment> {
  const { files, clock } = context.platform;
  const temporary = segment.path + TEMPORARY_SUFFIX;
  const header: SegmentHeader = {
    epoch,
    replacesFrom: 0,
    replacesTo: 0,
    compactedThrough: 0,
    attestedSeq: segment.base - 1,
    createdTime: Math.max(0, clock.nowMicros()),
    ...said,
  };
  await step('the log directory cannot be made', 'sync', 'no', () => context.ensureDirectory());
  const file = await step('a segment cannot be created', 'write', 'no', () => {
    if (files.exists(temporary)) files.remove(temporary);
    return files.open(temporary, 'create');
  });
  try {
    await writeWhole(file, encodeSegmentHeader(segment.place, header), 0, 'no');
    if (frames.length > 0) await writeWhole(file, frames, SEGMENT_HEADER_BYTES, 'no');
    await step('a new segment cannot be synced', 'sync', 'no', () => file.sync());
  } finally {
    file.close();
  }
  context.pool.drop(segment);
  await step('a new segment cannot be named', 'write', 'maybe', () => files.rename(temporary, segment.path));
  await step('the log directory cannot be synced', 'sync', 'maybe', () => files.syncDirectory(context.directory));
  segment.header = header;
  segment.epoch = epoch;
  const update = await step('a new segment cannot be opened', 'write', 'maybe', () => files.open(segment.path, 'update'));
  return { segment, file: update, headroom: new Headroom(context.options.segmentBytes) };
}

/** Appends a finished frame and makes it durable. The caller admits it. */
export async function appendFrame(active: ActiveSegment, frame: Uint8Array): Promise<void> {
  const { segment, file, headroom } = active;
  const end = segment.dataEnd + frame.length;
  const ahead = headroom.behind(segment.dataEnd, end);
  // Held up by the copy, and not by the way to another thread and back: whoever waits for the sync may do something of his own meanwhile.
  if (file.now !== undefined && frame.length <= DIRECT_BYTES) writeWholeNow(file.now, frame, segment.dataEnd);
  else await writeWhole(file, frame, segment.dataEnd, 'maybe');
  if (ahead > 0) {
    // What there is no room for is done without.
    const zeros = zerosOf(ahead);
    headroom.filled(end + (await step(CANNOT_WRITE, 'write', 'maybe', () => file.write(zeros, 0, ahead, end).catch(withoutRoom))));
  }
  await step(CANNOT_SYNC, 'sync', 'maybe', () => file.sync());
  headroom.appended(frame.length);
}

/** Whether `appendFrame` would write nothing but the frame. */
export function isPlainAppend({ segment, headroom }: ActiveSegment, bytes: number): boolean {
  return headroom.behind(segment.dataEnd, segment.dataEnd + bytes) === 0;
}

/** A plain append, before it returns. */
export function appendFrameNow(active: ActiveSegment, file: BlockingWrites, frame: Uint8Array): void {
  writeWholeNow(file, frame, active.segment.dataEnd);
  stepNow(CANNOT_SYNC, 'sync', 'maybe', () => file.sync());
  active.headroom.appended(frame.length);
}

/** Appends a mark and makes it durable. */
export async function appendMark(active: ActiveSegment, epoch: number, attestedSeq: number): Promise<void> {
  const { segment } = active;
  const mark = encodeMark(segment.place, segment.dataEnd, epoch, attestedSeq);
  await appendFrame(active, mark);
  segment.dataEnd += mark.length;
  segment.fileBytes = segment.dataEnd;
}

/** One write; a short one is a failure that leaves the frame provably incomplete, for its checksum comes last. */
async function writeWhole(file: File, bytes: Uint8Array, position: number, reachedDisk: 'no' | 'maybe'): Promise<void> {
  const written = await step(CANNOT_WRITE, 'write', reachedDisk, () => file.write(bytes, 0, bytes.length, position).catch(withoutRoom));
  checkWhole(written, bytes.length);
}

/** The same, before it returns; part of it may have reached the disk. */
function writeWholeNow(file: BlockingWrites, bytes: Uint8Array, position: number): void {
  const written = stepNow(CANNOT_WRITE, 'write', 'maybe', () => {
    try {
      return file.write(bytes, 0, bytes.length, position);
    } catch (error) {
      return withoutRoom(error);
    }
  });
  checkWhole(written, bytes.length);
}

/** Without room nothing was taken at all: the same as a short write of no bytes. */
function withoutRoom(error: unknown): number {
  if (NO_ROOM.has((error as NodeJS.ErrnoException).code ?? '')) return 0;
  throw error;
}

function checkWhole(written: number, wanted: number): void {
  if (written === wanted) return;
  throw new LogFailure(`only ${written} of ${wanted} bytes could be written: the disk is full?`, 'write', 'no');
}
