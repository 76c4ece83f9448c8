/**
 * A segment file in words: header, frames, batches, records and events, footer, trailer, and bad stretches between.
 * Checksums are seeded with where a segment belongs: its header says so, or else its name and node.json.
 */
import { isVarveError } from './errors.js';
import { decodeBatchHead } from './format/batch.js';
import { getU16, getU32, getU48 } from './format/bytes.js';
import { decodeEvent, eventLengthAt } from './format/event.js';
import { decodeFooter, decodeTrailer, IDEMPOTENCY_ENTRY_BYTES, TRAILER_BYTES } from './format/footer.js';
import { FRAME_DATA, FRAME_FOOTER, FRAME_HEAD_BYTES, type FrameHead } from './format/frame.js';
import { hex } from './format/hash.js';
import { decodeRecord, recordIsIntact, recordLengthAt } from './format/record.js';
import { storedRecordHash } from './format/record-hash.js';
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, type SegmentPlace, segmentPlace } from './format/segment.js';
import { countOfRuns } from './format/seq-runs.js';
import { formatTime } from './format/time.js';
import type { InspectItem, InspectOptions } from './inspect.js';
import { type ScannedFrame, scanFrames } from './log/frame-scanner.js';
import { endOfWritten } from './log/headroom.js';
import { SparseIndex } from './log/sparse-index.js';
import { KIND_PUT, type StoredRecord } from './log/types.js';
import type { File, Platform } from './platform/platform.js';
import { type JsonValue, recordId } from './types.js';

export function* inspectSegment(platform: Platform, name: string, options: InspectOptions): Generator<InspectItem> {
  const file = platform.files.open(name, 'read');
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const header = bytes.subarray(0, file.read(bytes, 0, bytes.length, 0));
    const place = segmentPlaceOf(header, name);
    yield inspectHeader(header, place, name);
    yield* inspectBody(file, place, options);
  } finally {
    file.close();
  }
}

/** What the header says of itself, checked or not: all there is where the file was moved. */
export function segmentPlaceOf(header: Buffer, name: string): SegmentPlace {
  const named = parseSegmentName(name.replace(/\.tmp$/, ''));
  const whole = header.length === SEGMENT_HEADER_BYTES;
  const databaseId = whole ? Uint8Array.from(header.subarray(16, 32)) : new Uint8Array(16);
  const base = named?.base ?? (whole ? getU48(header, 32) : 1);
  const generation = named?.generation ?? (whole ? getU16(header, 38) : 0);
  return segmentPlace(databaseId, whole ? getU32(header, 12) : 1, base, generation);
}

function inspectHeader(bytes: Buffer, place: SegmentPlace, name: string): InspectItem {
  const item = { what: 'segment header', offset: 0, length: bytes.length, depth: 0 };
  const where = {
    database: Buffer.from(place.databaseId).toString('hex'),
    shard: place.shard,
    base: place.base,
    generation: place.generation,
  };
  try {
    const header = decodeSegmentHeader(bytes, place, name);
    if (header === undefined) return { ...item, fields: where, bad: 'the header names another place than the file name' };
    const { createdTime, ...rest } = header;
    return { ...item, fields: { ...where, ...rest, created: formatTime(createdTime) } };
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'INCOMPATIBLE')) throw error;
    return { ...item, fields: where, bad: error.message };
  }
}

function* inspectBody(file: File, place: SegmentPlace, options: InspectOptions): Generator<InspectItem> {
  const size = file.size();
  const end = Buffer.alloc(TRAILER_BYTES);
  const trailer =
    size < SEGMENT_HEADER_BYTES + TRAILER_BYTES
      ? undefined
      : decodeTrailer(end.subarray(0, file.read(end, 0, TRAILER_BYTES, size - TRAILER_BYTES)), place, size);
  for (const scanned of scanFrames(file, place, SEGMENT_HEADER_BYTES, trailer === undefined ? size : size - TRAILER_BYTES)) {
    if (scanned.kind === 'bad') {
      const item = { offset: scanned.from, length: scanned.to - scanned.from, depth: 0, fields: {} };
      // An open segment may end in room for frames to come.
      const isRoom = scanned.to === size && endOfWritten(file, scanned.from, size) === scanned.from;
      yield isRoom ? { ...item, what: 'zeros' } : { ...item, what: 'bytes', bad: 'no frame here passes its checksum' };
      continue;
    }
    const { head, bytes, at, offset } = scanned;
    if (head.kind === FRAME_FOOTER) {
      const footer = trailer === undefined ? undefined : decodeFooter(bytes.subarray(at, at + head.length), place, trailer);
      const item = { what: 'footer', offset, length: head.length, depth: 0 };
      if (footer === undefined) yield { ...item, fields: {}, bad: 'the footer does not fit a trailer' };
      else {
        const fields = {
          indexEntries: new SparseIndex(footer.index).count,
          idempotencyKeys: footer.idempotency.length / IDEMPOTENCY_ENTRY_BYTES,
          blake3: hex(footer.contentHash),
        };
        yield { ...item, fields };
      }
      continue;
    }
    yield frameItem(head, offset);
    if (head.kind === FRAME_DATA && options.brief !== true) yield* inspectFrame(scanned, place, options);
  }
  if (trailer !== undefined) {
    const { minTime, maxTime, ...rest } = trailer;
    yield {
      what: 'trailer',
      offset: size - TRAILER_BYTES,
      length: TRAILER_BYTES,
      depth: 0,
      fields: { ...rest, minTime: formatTime(minTime), maxTime: formatTime(maxTime) },
    };
  }
}

function frameItem(head: FrameHead, offset: number): InspectItem {
  const { length, epoch, firstSeq, lastSeq, attestedSeq, batchCount, payloadBytes, packedBytes } = head;
  const item = { offset, length, depth: 0 };
  if (head.kind !== FRAME_DATA) return { ...item, what: 'mark', fields: { epoch, attestedSeq } };
  const fields = { epoch, firstSeq, lastSeq, attestedSeq, batches: batchCount };
  return { ...item, what: 'frame', fields: packedBytes === undefined ? fields : { ...fields, packedBytes, unpackedBytes: payloadBytes } };
}

/** Items of a packed frame are told at the offset of the block that they are in, with their unpacked lengths. */
function* inspectFrame(
  { bytes, at, head, offset, blocks }: ScannedFrame,
  place: SegmentPlace,
  options: InspectOptions,
): Generator<InspectItem> {
  const offsetOf = (p: number): number => {
    if (blocks === undefined) return offset + p - at;
    return blocks.findLast((block) => block.at <= p - at)?.offset ?? offset;
  };
  const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
  for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
    const batch = decodeBatchHead(bytes, p, end);
    if (batch === undefined) {
      yield { what: 'batch', offset: offsetOf(p), length: end - p, depth: 1, fields: {}, bad: 'the batch is unsound' };
      return;
    }
    const { firstSeq, lastSeq, count, idempotency } = batch;
    const fields = {
      firstSeq,
      lastSeq,
      time: formatTime(batch.time),
      ...(idempotency === undefined ? {} : { idempotencyKey: idempotency.key }),
    };
    yield {
      what: 'batch',
      offset: offsetOf(p),
      length: batch.totalBytes,
      depth: 1,
      fields: batch.isEvent ? fields : { ...fields, records: count },
    };
    const batchEnd = p + batch.totalBytes;
    for (p += batch.headBytes; p < batchEnd; ) {
      const length = batch.isEvent ? eventLengthAt(bytes, p, batchEnd) : recordLengthAt(bytes, p, batchEnd);
      if (length === 0) break;
      const item = { offset: offsetOf(p), length, depth: 2 };
      yield batch.isEvent
        ? { ...item, ...eventItem(bytes, p, length, place) }
        : { ...item, ...recordItem(bytes, p, length, place, options) };
      p += length;
    }
    p = batchEnd;
  }
}

type Described = Pick<InspectItem, 'what' | 'fields' | 'bad'>;

function recordItem(bytes: Buffer, at: number, length: number, place: SegmentPlace, options: InspectOptions): Described {
  const record = decodeRecord(bytes, at, length);
  if (record === undefined) return { what: 'record', fields: {}, bad: 'the record is unsound' };
  const what = record.kind === KIND_PUT ? 'record' : 'tombstone';
  const fields = recordFields(record, place, options);
  return recordIsIntact(bytes, at, length, place.recordSeed) ? { what, fields } : { what, fields, bad: 'the record fails its checksum' };
}

function recordFields(record: StoredRecord, place: SegmentPlace, options: InspectOptions): Record<string, JsonValue> {
  const { seq, supersedes, refs } = record;
  const fields: Record<string, JsonValue> = { id: recordId(place.shard, seq), collection: text(record.collection), key: text(record.key) };
  if (supersedes > 0) fields['supersedes'] = recordId(place.shard, supersedes);
  if (refs.length > 0) fields['refs'] = refs.map((ref) => recordId(place.shard, ref));
  if (record.bodyHash !== undefined) fields['erasedBody'] = Buffer.from(record.bodyHash).toString('hex');
  else if (record.kind === KIND_PUT) fields['bodyBytes'] = record.body.length;
  fields['hash'] = hex(storedRecordHash(place.shard, record));
  if (options.bodies === true && record.body.length > 0) fields['body'] = text(record.body);
  return fields;
}

function eventItem(bytes: Buffer, at: number, length: number, place: SegmentPlace): Described {
  const found = decodeEvent(bytes, at, length, place.recordSeed);
  if (found === undefined) return { what: 'event', fields: {}, bad: 'the event fails its checksum' };
  const { seq, event } = found;
  switch (event.type) {
    case 'checkpoint': {
      const { throughSeq, root, entries, previous } = event;
      return { what: 'checkpoint', fields: { seq, throughSeq, root: hex(root), entries, previous: hex(previous) } };
    }
    case 'trim':
      return { what: 'trim', fields: { seq, drops: countOfRuns(event.runs), runs: event.runs.length } };
    case 'erasure':
      return { what: 'erasure', fields: { seq, collection: text(event.collection), key: text(event.key), reason: text(event.reason) } };
    case 'epoch': {
      const { epoch, endsAt, node, url, reason } = event;
      return { what: 'epoch', fields: { seq, epoch, endsAt, node: hex(node), url: text(url), reason: text(reason) } };
    }
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}
