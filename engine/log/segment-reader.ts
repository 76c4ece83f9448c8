/**
 * Point reads in one segment: block table -> block in memory -> place of the record in it. Where no block is to be had, sparse
 * index -> one positional read -> walk to the item -> its own checksum.
 *
 *   entry ├ record record END pad crc FRAME batch record … ┤ next entry      the walk skips by lengths, whole frames at a time
 *
 * In a packed segment: packed table -> packed block, from memory or with one read -> place of the record in it, or a walk to it.
 *
 * Neither way trusts anything: a block's or the record's own checksum must have passed, and the seq must be the right one. Where
 * nothing is found, the frames around are verified before "no such record" is said; bad bytes become CORRUPT, never an absence.
 */
import { align8, corrupt, getU32, getU48 } from '../format/bytes.js';
import { BLOCK_BYTES } from '../format/footer.js';
import { decodeBatches, FRAME_DATA } from '../format/frame.js';
import { decodeRecord, RECORD_BATCH_END_AT, RECORD_SEQ_AT, RECORD_TAG, recordIsIntact, recordLengthAt } from '../format/record.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import { type BlockCache, PLACE_CHECKED, PLACE_OFFSET } from './block-cache.js';
import type { FilePool } from './file-pool.js';
import { scanFrames } from './frame-scanner.js';
import { walkToSeq } from './item-walk.js';
import { loadPackedBlock } from './packed-reader.js';
import type { PackedTable } from './packed-table.js';
import type { Segment } from './segment-state.js';
import type { KnownHashes, ReadRecord } from './types.js';

/**
 * Reads are synchronous. Short ones go to memory that is used again and again, and what was looked for is copied to the free end of a
 * slab: what is given out is never overwritten, and little memory is fresh. Larger reads get a buffer of their own.
 */
const SCRATCH_BYTES = 8 * 1024;
const scratch: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
const SLAB_BYTES = 32 * 1024;
let slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;
const MAX_READ_BYTES = 512 * 1024 * 1024;

/** Where the last walk found its record. */
const found = { bytes: scratch, at: 0, length: 0, known: undefined as KnownHashes | undefined };

/** What reads of one log share. */
export interface ReadContext {
  readonly pool: FilePool;
  readonly cache: BlockCache;
}

/** The record, undefined where the segment holds none with this seq; throws CORRUPT. `loadIndex` is called where `segment.index` is needed. */
export function readRecord(
  segment: Segment,
  context: ReadContext,
  seq: number,
  loadIndex: (segment: Segment) => void,
): ReadRecord | undefined {
  if (locateInBlock(segment, context, seq) || locateByIndex(segment, context, seq, loadIndex)) {
    const record = decodeRecord(found.bytes, found.at, found.length);
    if (record !== undefined) {
      record.known = found.known;
      return record;
    }
  }
  loadIndex(segment);
  return readVerified(segment, context.pool.use(segment), seq);
}

/** Last seq of the record's batch, as cheaply as can be. */
export function readBatchEnd(
  segment: Segment,
  context: ReadContext,
  seq: number,
  loadIndex: (segment: Segment) => void,
): number | undefined {
  if (locateInBlock(segment, context, seq) || locateByIndex(segment, context, seq, loadIndex))
    return seq + getU32(found.bytes, found.at + RECORD_BATCH_END_AT);
  loadIndex(segment);
  return readVerified(segment, context.pool.use(segment), seq)?.batchEndSeq;
}

/** Fills `found` with a record over which a checksum has passed: its block's or its own. False: not to be had this way. */
function locateInBlock(segment: Segment, { pool, cache }: ReadContext, seq: number): boolean {
  if (segment.packedTable !== undefined) return locateInPackedBlock(segment, segment.packedTable, { pool, cache }, seq);
  const number = segment.blockTable?.find(seq) ?? -1;
  if (number < 0) return false;
  const block = cache.peek(segment, number) ?? cache.load(segment, pool.use(segment), number);
  const place = block === undefined ? 0 : block.placeOf(seq);
  if (block === undefined || place === 0) return false;
  const at = (place & PLACE_OFFSET) - 1;
  const length = getU32(block.bytes, at + 4);
  if (at + length > block.extent) return readAcrossBlocks(segment, pool, number * BLOCK_BYTES + at, length);
  if ((place & PLACE_CHECKED) === 0) {
    if (recordLengthAt(block.bytes, at, block.extent) === 0) return false;
    if (!recordIsIntact(block.bytes, at, length, segment.place.recordSeed)) return false;
    block.setPlace(seq, place | PLACE_CHECKED);
  }
  found.bytes = block.bytes;
  found.at = at;
  found.length = length;
  found.known = block.known;
  return true;
}

/** The same in a packed segment. The block's checksum covers its records: what it unpacks to may be kept or not. */
function locateInPackedBlock(segment: Segment, table: PackedTable, { pool, cache }: ReadContext, seq: number): boolean {
  const number = table.find(seq);
  if (number < 0) return false;
  const block = cache.peek(segment, number) ?? loadPackedBlock(segment, table, pool.use(segment), cache, number);
  if (block === undefined) return false;
  const place = block.placeOf(seq);
  const at = place === 0 ? walkToSeq(block.bytes, 0, block.length, 0, seq) : (place & PLACE_OFFSET) - 1;
  const length = at < 0 ? 0 : recordLengthAt(block.bytes, at, block.length);
  if (length === 0) return false;
  found.bytes = block.bytes;
  found.at = at;
  found.length = length;
  found.known = block.known;
  return true;
}

/** A record that ends in another block than it begins in: read by itself. */
function readAcrossBlocks(segment: Segment, pool: FilePool, offset: number, length: number): boolean {
  if (length > segment.dataEnd - offset || length > MAX_READ_BYTES) return false;
  const { buffer, from, to } = readFromFile(pool.use(segment), offset, length);
  return foundIntact(segment, buffer, from, to);
}

/** The same by way of the sparse index. */
function locateByIndex(segment: Segment, { pool }: ReadContext, seq: number, loadIndex: (segment: Segment) => void): boolean {
  if (segment.packed) return false;
  if (segment.index === undefined) loadIndex(segment);
  const entry = segment.index!.floorSeq(seq);
  if (entry < 0) return false;
  const start = segment.index!.offsetAt(entry);
  const { buffer, from, to } = readWindow(segment, pool.use(segment), entry, start);
  const at = walkToSeq(buffer, from, to, start - from, seq);
  return at >= 0 && foundIntact(segment, buffer, at, to);
}

function foundIntact(segment: Segment, bytes: Buffer, at: number, end: number): boolean {
  const length = recordLengthAt(bytes, at, end);
  if (length === 0 || !recordIsIntact(bytes, at, length, segment.place.recordSeed)) return false;
  if (bytes === scratch) keep(at, length);
  else {
    found.bytes = bytes;
    found.at = at;
  }
  found.length = length;
  found.known = undefined;
  return true;
}

/** Copies what was found out of the scratch. */
function keep(at: number, length: number): void {
  if (slabUsed + length > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  scratch.copy(slab, slabUsed, at, at + length);
  found.bytes = slab;
  found.at = slabUsed;
  slabUsed += length;
}

/** `buffer[from, to)` holds what was read. */
const windowRead = { buffer: scratch, from: 0, to: 0 };

/** The bytes from this entry to the next; what it returns lasts until the next read. */
export function readWindow(segment: Segment, file: File, entry: number, start: number): typeof windowRead {
  const index = segment.index!;
  const end = entry + 1 < index.count ? index.offsetAt(entry + 1) : segment.dataEnd;
  const wanted = end - start;
  if (wanted <= 0 || wanted > MAX_READ_BYTES) throw corrupt(segment.path, start, 'the index points outside the segment');
  return readFromFile(file, start, wanted);
}

function readFromFile(file: File, start: number, wanted: number): typeof windowRead {
  windowRead.buffer = wanted > SCRATCH_BYTES ? Buffer.allocUnsafeSlow(wanted) : scratch;
  windowRead.from = 0;
  windowRead.to = windowRead.from + file.read(windowRead.buffer, windowRead.from, wanted, start);
  return windowRead;
}

/** Verifies the frame that stands for `seq`: its record, undefined where it holds none, CORRUPT where it is bad. */
function readVerified(segment: Segment, file: File, seq: number): ReadRecord | undefined {
  const entry = segment.index!.floorSeq(seq);
  const from = entry < 0 ? SEGMENT_HEADER_BYTES : align8(segment.index!.frameOffsetAt(entry));
  for (const scanned of scanFrames(file, segment.place, from, segment.dataEnd)) {
    if (scanned.kind === 'bad') {
      const saved = searchRecord(segment, file, scanned.from, scanned.to, seq);
      if (saved !== undefined) return saved;
      throw corrupt(segment.path, scanned.from, `record ${seq} cannot be read: the frame fails its checksum`);
    }
    const { head, bytes, at, offset } = scanned;
    if (head.kind !== FRAME_DATA || head.lastSeq < seq) continue;
    if (head.firstSeq > seq) throw corrupt(segment.path, offset, `record ${seq} cannot be read: its frame is missing`);
    const batches = decodeBatches(bytes, at, head, segment.place);
    if (batches === undefined) throw corrupt(segment.path, offset, `record ${seq} cannot be read: the frame is unsound`);
    return batches.flatMap((batch) => batch.records).find((record) => record.seq === seq);
  }
  throw corrupt(segment.path, segment.dataEnd, `record ${seq} cannot be read: its frame is missing`);
}

/** Looks for one record in a bad range by its own checksum. */
function searchRecord(segment: Segment, file: File, from: number, to: number, seq: number): ReadRecord | undefined {
  const bytes = Buffer.allocUnsafeSlow(Math.min(to - from, MAX_READ_BYTES));
  const end = file.read(bytes, 0, bytes.length, from);
  for (let at = bytes.indexOf(RECORD_TAG); at >= 0 && at < end; at = bytes.indexOf(RECORD_TAG, at + 1)) {
    const length = recordLengthAt(bytes, at, end);
    if (length === 0 || getU48(bytes, at + RECORD_SEQ_AT) !== seq) continue;
    if (recordIsIntact(bytes, at, length, segment.place.recordSeed)) return decodeRecord(bytes, at, length);
  }
  return undefined;
}
