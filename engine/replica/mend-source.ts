/**
 * What a copy offers in place of seqs that cannot be read here: bytes from a stranger, checked as a stream's are before anything is held
 * against our own tree.
 *
 * Invariants: lengths, order, every record's own checksum, names, and that the seqs which were asked for are covered without a hole.
 * Anything else is UNSOUND, with the reason. Pure.
 */
import { VarveError } from '../errors.js';
import { decodeBatches, FRAME_DATA, FRAME_HEAD_BYTES } from '../format/frame.js';
import { entityKeyFromBytes } from '../format/keys.js';
import { storedRecordHash } from '../format/record-hash.js';
import type { SegmentPlace } from '../format/segment.js';
import type { LogEvent, StoredBatch } from '../log/types.js';
import type { LogSlice } from '../replica.js';
import type { ShardId } from '../types.js';
import { countBatches, problemOfRecord } from './slice-check.js';
import { cut } from './source.js';

export interface OfferedRecord {
  readonly seq: number;
  readonly time: number;
  readonly kind: number;
  readonly supersedes: number;
  readonly entity: string;
  readonly hash: Uint8Array;
}

export interface Offer {
  /** Cut to what was asked for. */
  readonly slices: readonly LogSlice[];
  readonly batches: readonly StoredBatch[];
  readonly records: readonly OfferedRecord[];
  readonly events: readonly { readonly seq: number; readonly event: LogEvent }[];
}

export function readOffer(shard: ShardId, place: SegmentPlace, fromSeq: number, toSeq: number, slices: readonly LogSlice[]): Offer {
  const refuse = (what: string): never => {
    throw new VarveError('UNSOUND', `shard ${shard}: what was offered for seqs ${fromSeq} to ${toSeq} is not sound: ${what}`, {
      shard,
      what,
    });
  };
  const taken: LogSlice[] = [];
  const batches: StoredBatch[] = [];
  let expected = fromSeq;
  let epoch = 0;
  let time = 0;
  for (const slice of slices) {
    if (slice.lastSeq < fromSeq || slice.firstSeq > toSeq) continue;
    const part = cut(slice, fromSeq, toSeq);
    if (part === undefined) return refuse('a batch is unsound');
    if (part.firstSeq < expected || part.lastSeq > toSeq) return refuse('its batches do not fit in between');
    // A new epoch begins far behind the one before: that hole holds nothing.
    if (part.firstSeq > expected && (epoch === 0 || part.epoch <= epoch))
      return refuse(`seqs ${expected} to ${part.firstSeq - 1} are left out`);
    if (part.epoch < epoch) return refuse('its epochs fall');
    for (const batch of decoded(part, place) ?? refuse('a record or batch fails its checksum')) {
      if (batch.records.length > 0 && batch.time <= time) return refuse('times fall');
      if (batch.records.length > 0) time = batch.time;
      for (const record of batch.records) {
        const problem = problemOfRecord(record);
        if (problem !== undefined) return refuse(`record ${record.seq}: ${problem}`);
      }
      batches.push(batch);
    }
    taken.push(part);
    epoch = part.epoch;
    expected = part.lastSeq + 1;
  }
  if (expected <= toSeq) return refuse(`seqs ${expected} to ${toSeq} are left out`);
  const records = batches.flatMap((batch) =>
    batch.records.map((record) => {
      const { seq, kind, supersedes, collection, key } = record;
      return {
        seq,
        time: record.time,
        kind,
        supersedes,
        entity: entityKeyFromBytes(collection, key),
        hash: storedRecordHash(shard, record),
      };
    }),
  );
  const events = batches.flatMap(({ event, firstSeq: seq }) => (event === undefined ? [] : [{ seq, event }]));
  return { slices: taken, batches, records, events };
}

/** Every record's own checksum too. Undefined where anything is unsound. */
function decoded({ batches: bytes, epoch, firstSeq, lastSeq }: LogSlice, place: SegmentPlace): StoredBatch[] | undefined {
  const batchCount = countBatches(bytes);
  if (batchCount === undefined) return undefined;
  const head = { kind: FRAME_DATA, length: 0, epoch, firstSeq, lastSeq, attestedSeq: 0, batchCount, payloadBytes: bytes.length };
  return decodeBatches(bytes, -FRAME_HEAD_BYTES, head, place, true);
}
