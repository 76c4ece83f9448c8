/**
 * Where a time falls in one segment: the last batch up to it, and the first record after it.
 *
 *   appended   index entry -> one read -> walk over records and events, none of which may be missing
 *   packed     index entry -> the one packed block that tells
 *   otherwise  whole frames from the index entry's on: seqs may be missing anywhere, so their checksums have to tell
 *
 * Invariant: where bytes are bad it is CORRUPT, never a guess.
 */
import { BATCH_TAG, decodeBatchHead } from '../format/batch.js';
import { align8, corrupt, getU32, getU48, getU64 } from '../format/bytes.js';
import { decodeEvent, EVENT_TAG, eventLengthAt } from '../format/event.js';
import { decodeBatches, FRAME_DATA } from '../format/frame.js';
import { RECORD_BATCH_END_AT, RECORD_SEQ_AT, RECORD_TAG, RECORD_TIME_AT, recordIsIntact, recordLengthAt } from '../format/record.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import { scanFrames } from './frame-scanner.js';
import { afterItem } from './item-walk.js';
import { loadPackedBlock } from './packed-reader.js';
import { type ReadContext, readWindow } from './segment-reader.js';
import type { Segment } from './segment-state.js';

/** What a search by time tells: the end of the last batch up to it, and the seq of the first record after it in this segment (0: none). */
export interface TimePosition {
  readonly seq: number;
  readonly nextSeq: number;
}

/** Searches a segment whose first record's time is up to `time`; `segment.index` is loaded. Throws CORRUPT. */
export function positionInSegment(segment: Segment, context: ReadContext, time: number): TimePosition {
  const index = segment.index!;
  const file = context.pool.use(segment);
  const entry = index.floorTime(time);
  if (segment.place.generation > 0 || segment.packed) {
    // Compacted: seqs may be missing anywhere, the first ones too, so whole frames have to tell.
    if (entry < 0) return { seq: segment.base - 1, nextSeq: index.count > 0 ? index.seqAt(0) : 0 };
    const found = segment.packed ? positionInBlock(segment, context, entry, time) : undefined;
    return found ?? positionVerified(segment, file, align8(index.frameOffsetAt(entry)), time);
  }
  if (entry < 0) throw corrupt(segment.path, SEGMENT_HEADER_BYTES, 'the index begins later than the segment');
  const start = index.offsetAt(entry);
  const nextEntrySeq = entry + 1 < index.count ? index.seqAt(entry + 1) : 0;
  const { buffer: bytes, from, to: end } = readWindow(segment, file, entry, start);
  let seq = 0;
  // Heads of batches and frames are not checked on this walk, so no seq may be passed over: records and events, which carry
  // checksums of their own, must follow each other without a hole. Where one is missing, whole frames have to tell.
  let expected = index.seqAt(entry);
  let at = from;
  while (at < end) {
    const tag = bytes[at];
    if (tag === RECORD_TAG) {
      const length = recordLengthAt(bytes, at, end);
      if (length === 0 || !recordIsIntact(bytes, at, length, segment.place.recordSeed)) break;
      if (getU48(bytes, at + RECORD_SEQ_AT) !== expected) break;
      if (getU64(bytes, at + RECORD_TIME_AT) > time) return { seq, nextSeq: expected };
      seq = expected + getU32(bytes, at + RECORD_BATCH_END_AT);
      expected++;
      at += length;
      continue;
    }
    if (tag === EVENT_TAG) {
      const length = eventLengthAt(bytes, at, end);
      if (length === 0 || decodeEvent(bytes, at, length, segment.place.recordSeed)?.seq !== expected) break;
      expected++;
      at += length;
      continue;
    }
    // Step into every batch and frame: the search is by time, not by seq.
    const next = tag === BATCH_TAG ? afterBatchHead(bytes, at, end) : afterItem(bytes, at, end, start - from, 0);
    if (next <= at) break;
    at = next;
  }
  const reachesNext = at >= end && seq > 0 && expected === (nextEntrySeq === 0 ? segment.lastSeq + 1 : nextEntrySeq);
  return reachesNext ? { seq, nextSeq: nextEntrySeq } : positionVerified(segment, file, align8(index.frameOffsetAt(entry)), time);
}

/**
 * The same in a packed segment, from the one block that tells: of the entry's, the last whose first record is not too late. Undefined
 * where the block cannot be believed.
 */
function positionInBlock(segment: Segment, { pool, cache }: ReadContext, entry: number, time: number): TimePosition | undefined {
  const index = segment.index!;
  const table = segment.packedTable;
  const number = table?.find(index.seqAt(entry)) ?? -1;
  if (table === undefined || number < 0) return undefined;
  const block = cache.peek(segment, number) ?? loadPackedBlock(segment, table, pool.use(segment), cache, number);
  if (block === undefined) return undefined;
  let seq = 0;
  for (let at = 0; at < block.length; ) {
    if (block.bytes[at] !== RECORD_TAG) {
      const next = afterItem(block.bytes, at, block.length, 0, 0);
      if (next <= at) return undefined;
      at = next;
      continue;
    }
    const length = recordLengthAt(block.bytes, at, block.length);
    if (length === 0) return undefined;
    const here = getU48(block.bytes, at + RECORD_SEQ_AT);
    if (getU64(block.bytes, at + RECORD_TIME_AT) > time) return { seq, nextSeq: here };
    seq = here + getU32(block.bytes, at + RECORD_BATCH_END_AT);
    at += length;
  }
  return seq === 0 ? undefined : { seq, nextSeq: entry + 1 < index.count ? index.seqAt(entry + 1) : 0 };
}

function afterBatchHead(bytes: Buffer, at: number, end: number): number {
  const head = decodeBatchHead(bytes, at, Math.max(end, at + getU32(bytes, at + 4)));
  return head === undefined ? -1 : at + head.headBytes;
}

/** The same over verified frames, where the quick walk met something it could not pass. */
function positionVerified(segment: Segment, file: File, from: number, time: number): TimePosition {
  let seq = 0;
  for (const scanned of scanFrames(file, segment.place, from, segment.dataEnd)) {
    if (scanned.kind === 'bad') throw corrupt(segment.path, scanned.from, 'a time cannot be resolved: a frame fails its checksum');
    if (scanned.head.kind !== FRAME_DATA) continue;
    const batches = decodeBatches(scanned.bytes, scanned.at, scanned.head, segment.place);
    if (batches === undefined) throw corrupt(segment.path, scanned.offset, 'a time cannot be resolved: a frame is unsound');
    for (const batch of batches) {
      if (batch.records.length === 0) continue;
      if (batch.time > time) return { seq, nextSeq: batch.firstSeq };
      seq = batch.lastSeq;
    }
  }
  return { seq, nextSeq: 0 };
}
