/**
 * Reads everything back and checks it: headers, trailers, footers, every frame, every record's own checksum and structure, and
 * the BLAKE3 of sealed segments. A generator that pauses after every step, so that it never holds others up.
 */
import { isVarveError, messageOf } from '../errors.js';
import { equalBytes } from '../format/bytes.js';
import { decodeFooter, decodeTrailer, TRAILER_BYTES } from '../format/footer.js';
import { decodeBatches, FRAME_DATA } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { LogContext } from './context.js';
import { scanFrames } from './frame-scanner.js';
import type { Segment } from './segment-state.js';
import type { Finding } from './types.js';

export interface ScrubProgress {
  readonly file: string;
  /** Bytes of the log checked so far, of `totalBytes`. */
  readonly bytes: number;
  readonly totalBytes: number;
}

/** Bytes checked between two pauses. */
const SLICE_BYTES = 256 * 1024;

export function* scrubSegments(context: LogContext, segments: readonly Segment[]): Generator<ScrubProgress, Finding[], undefined> {
  const findings: Finding[] = [];
  const totalBytes = segments.reduce((sum, segment) => sum + segment.fileBytes, 0);
  let done = 0;
  for (const segment of segments) {
    const size = segment.fileBytes;
    const found = (offset: number, detail: string, fromSeq = 0, toSeq = 0): void => {
      findings.push({ kind: 'damaged', file: segment.path, offset, fromSeq, toSeq, detail });
    };
    try {
      for (const checked of scrubSegment(context, segment, found)) yield { file: segment.path, bytes: done + checked, totalBytes };
    } catch (error) {
      found(0, `cannot be read: ${messageOf(error)}`);
    }
    done += size;
    yield { file: segment.path, bytes: done, totalBytes };
  }
  return findings;
}

type Found = (offset: number, detail: string, fromSeq?: number, toSeq?: number) => void;

function* scrubSegment(context: LogContext, segment: Segment, found: Found): Generator<number, void, undefined> {
  // As it stands now: it may be written on, and sealed, while this goes on.
  const { trailer, place, path, dataEnd, lastSeq } = segment;
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  try {
    const count = context.pool.use(segment).read(header, 0, header.length, 0);
    if (decodeSegmentHeader(header.subarray(0, count), place, path) === undefined) found(0, 'the header names another place');
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'INCOMPATIBLE')) throw error;
    found(0, error.message);
  }
  const hash = trailer === undefined ? undefined : new Blake3Stream().update(header);
  try {
    let expected = segment.base;
    let pause = SLICE_BYTES;
    for (const scanned of scanFrames(context.pool.use(segment), place, SEGMENT_HEADER_BYTES, dataEnd)) {
      const end = scanned.kind === 'bad' ? scanned.to : scanned.offset + scanned.head.length;
      if (scanned.kind === 'bad') {
        found(scanned.from, 'bytes fail their checksum');
        hashRange(context, segment, hash, scanned.from, scanned.to);
      } else {
        const { bytes, at, head, offset, stored } = scanned;
        hash?.update(stored);
        if (head.kind === FRAME_DATA) {
          if (head.firstSeq !== expected) found(offset, 'seqs are missing', expected, head.firstSeq - 1);
          if (decodeBatches(bytes, at, head, place, true) === undefined) found(offset, 'a frame is unsound', head.firstSeq, head.lastSeq);
          expected = head.lastSeq + 1;
        }
      }
      if (end > pause) {
        pause = end + SLICE_BYTES;
        yield end;
      }
    }
    if (expected <= lastSeq) found(dataEnd, 'seqs are missing', expected, lastSeq);
    if (trailer === undefined) return;
    const bytes = Buffer.allocUnsafeSlow(trailer.footerBytes + TRAILER_BYTES);
    const count = context.pool.use(segment).read(bytes, 0, bytes.length, trailer.footerOffset);
    if (count < bytes.length || decodeTrailer(bytes.subarray(trailer.footerBytes), place, segment.fileBytes) === undefined)
      found(trailer.footerOffset + trailer.footerBytes, 'the trailer is bad');
    const footer = decodeFooter(bytes.subarray(0, Math.min(count, trailer.footerBytes)), place, trailer);
    if (footer === undefined) found(trailer.footerOffset, 'the footer is bad');
    else if (!equalBytes(footer.contentHash, hash!.digest())) found(0, 'the segment is not what its BLAKE3 says');
  } finally {
    hash?.free();
  }
}

function hashRange(context: LogContext, segment: Segment, hash: Blake3Stream | undefined, from: number, to: number): void {
  if (hash === undefined) return;
  const slice = Buffer.allocUnsafeSlow(SLICE_BYTES);
  for (let offset = from; offset < to; ) {
    const count = context.pool.use(segment).read(slice, 0, Math.min(slice.length, to - offset), offset);
    if (count === 0) return;
    hash.update(slice.subarray(0, count));
    offset += count;
  }
}
