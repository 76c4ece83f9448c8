/**
 * Whether a slice from another node is what it should be (law 9): nothing of it is believed before all of it has been looked at.
 *
 * Order: numbers, continuity, structure and every checksum, then what records and events may say. Pure: a crash does nothing.
 */
import { VarveError } from '../errors.js';
import { decodeBatchHead } from '../format/batch.js';
import { decodeBatches, FRAME_DATA, FRAME_HEAD_BYTES, frameBytes, MAX_FRAME_BYTES } from '../format/frame.js';
import { checkCollection, checkKey } from '../format/keys.js';
import type { SegmentPlace } from '../format/segment.js';
import { countOfRuns } from '../format/seq-runs.js';
import { KIND_PUT, type LogEvent, type ReadRecord, type StoredBatch } from '../log/index.js';
import type { EpochSpan, LogSlice } from '../replica.js';
import { MAX_SEQ, type ShardId } from '../types.js';

/** Where a log stands: what the next slice must follow. */
export interface LogPlace {
  readonly seq: number;
  /** Of the newest record. */
  readonly time: number;
  readonly epoch: number;
  /** Where that begins. */
  readonly epochFirstSeq: number;
}

export interface CheckContext {
  readonly shard: ShardId;
  /** For the record seed. */
  readonly segmentPlace: SegmentPlace;
  /** Of what is there, queued batches included: no trim drops anything beside them. */
  spans(): readonly EpochSpan[];
}

export interface CheckedSlice {
  readonly batches: readonly StoredBatch[];
  /** Set where it begins an epoch: where the one before ended. */
  readonly endsAt: number | undefined;
  readonly lastTime: number;
}

/** Far beyond what one trim event says. */
const MOST_DROPPED = 2 ** 28;
const NOT_ASCII = /[^\x20-\x7e]/;

/** Throws UNSOUND. */
export function checkSlice(slice: LogSlice, place: LogPlace, context: CheckContext): CheckedSlice {
  const refuse = (what: string): never => {
    throw unsound(context.shard, what);
  };
  const { epoch, firstSeq, lastSeq, compactedThrough, batches: bytes } = slice;
  for (const each of [epoch, firstSeq, lastSeq, compactedThrough]) if (!Number.isSafeInteger(each)) refuse('its numbers are none');
  if (!(bytes instanceof Uint8Array) || frameBytes(bytes.length) > MAX_FRAME_BYTES) refuse('it has no bytes, or too many');
  if (epoch < 1 || epoch > 0xffffffff || firstSeq < 1 || lastSeq < firstSeq || lastSeq > MAX_SEQ || compactedThrough < 0)
    refuse('its numbers cannot be');
  if (compactedThrough > MAX_SEQ) refuse('its numbers cannot be');
  if (epoch < place.epoch) refuse(`it is of epoch ${epoch}, and the log of ${place.epoch}`);
  if (epoch === place.epoch && firstSeq !== place.seq + 1) refuse(`it begins at ${firstSeq}, and the log ends at ${place.seq}`);
  const batches = decode(slice, context.segmentPlace) ?? refuse('its batches are unsound, or fail their checksums');
  const endsAt = epoch === place.epoch ? undefined : beginning(batches[0], slice);
  if (epoch !== place.epoch && endsAt !== place.seq) refuse(`epoch ${epoch} does not begin where the log ends, at ${place.seq}`);
  let { time } = place;
  for (const [i, batch] of batches.entries()) {
    if (batch.event !== undefined) {
      if (batch.event.type === 'epoch' && (i > 0 || endsAt === undefined)) refuse('an epoch begins inside of another');
      const why = problemOfEvent(batch.event, slice, context);
      if (why !== undefined) refuse(why);
      continue;
    }
    if (batch.time <= time && batch.records.length > 0) refuse(`the time of seq ${batch.firstSeq} is not later than the one before`);
    if (batch.records.length > 0) time = batch.time;
    for (const record of batch.records) {
      const why = problemOfRecord(record);
      if (why !== undefined) refuse(`record ${record.seq}: ${why}`);
    }
  }
  return { batches, endsAt, lastTime: time };
}

export function unsound(shard: number, what: string): VarveError {
  return new VarveError('UNSOUND', `shard ${shard}: what was sent is refused: ${what}`, { shard, what });
}

/** As a frame's payload, with every record's own checksum. */
function decode({ batches: bytes, firstSeq, lastSeq, epoch }: LogSlice, place: SegmentPlace): StoredBatch[] | undefined {
  const batchCount = countBatches(bytes);
  if (batchCount === undefined) return undefined;
  const head = { kind: FRAME_DATA, length: 0, epoch, firstSeq, lastSeq, attestedSeq: 0, batchCount, payloadBytes: bytes.length };
  return decodeBatches(bytes, -FRAME_HEAD_BYTES, head, place, true);
}

export function countBatches(bytes: Uint8Array): number | undefined {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    const batch = decodeBatchHead(bytes, at, bytes.length);
    if (batch === undefined) return undefined;
    at += batch.totalBytes;
  }
  return count;
}

/** Where the epoch before ended, if the batch begins one and the slice begins with it. */
function beginning(batch: StoredBatch | undefined, { epoch, firstSeq }: LogSlice): number | undefined {
  const event = batch?.event;
  return event?.type === 'epoch' && event.epoch === epoch && batch?.firstSeq === firstSeq ? event.endsAt : undefined;
}

export function problemOfRecord(record: ReadRecord): string | undefined {
  const { kind, salt, bodyHash } = record;
  if (kind === KIND_PUT && salt.length === 0 && bodyHash === undefined) return 'a body without salt';
  const { keyText } = record;
  try {
    checkCollection(record.collectionText);
    checkKey(keyText);
  } catch {
    return 'its names cannot be';
  }
  const { key } = record;
  // Bytes that are no UTF-8 would read as other ones.
  if (NOT_ASCII.test(keyText) && !Buffer.from(keyText).equals(key)) return 'its key is not UTF-8';
  return undefined;
}

function problemOfEvent(event: LogEvent, slice: LogSlice, { spans }: CheckContext): string | undefined {
  if (event.type === 'trim') {
    const known = spans().map((span) => (span.epoch === slice.epoch ? { ...span, lastSeq: slice.lastSeq } : span));
    if (known.at(-1)?.epoch !== slice.epoch) known.push(slice);
    // Seqs are marked one by one: a run over what never was may be endless.
    if (countOfRuns(event.runs) > MOST_DROPPED) return 'a trim drops more than one can';
    for (const { fromSeq, toSeq } of event.runs)
      if (!known.some(({ firstSeq, lastSeq }) => firstSeq <= fromSeq && toSeq <= lastSeq)) return 'a trim drops what never was';
  }
  if (event.type === 'erasure') {
    try {
      checkCollection(Buffer.from(event.collection).toString('latin1'));
      checkKey(Buffer.from(event.key).toString());
    } catch {
      return 'an erasure of what cannot be';
    }
  }
  return undefined;
}
