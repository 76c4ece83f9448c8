/**
 * Takes what another node sent into this shard: checked, into a group, durable, into the index, visible.
 *
 *   slice -> checks (nothing believed) -> index, above what is visible -> group, beside others that wait -> one sync -> visible
 *
 * Invariants: a slice is taken whole or not at all; slices go in the order they came. Hashes are made of the bytes, never taken over.
 * Nothing is logged here. A crash, or a failed write, leaves a prefix of the slices; the index is rolled back with what failed.
 */
import type { CheckpointChain } from '../checkpoint-chain.js';
import type { CommitQueue, Group } from '../commit-queue.js';
import { VarveError } from '../errors.js';
import { entityKeyFromBytes } from '../format/keys.js';
import { storedRecordHash } from '../format/record-hash.js';
import type { IndexHealing } from '../index-healing.js';
import { KIND_PUT, type LogEvent, type SegmentOrigin, type StoredBatch } from '../log/index.js';
import type { EpochSpan, LogSlice } from '../replica.js';
import type { ShardContents } from '../shard-contents.js';
import { type Counts, countVersion } from '../shard-counts.js';
import type { ShardId } from '../types.js';
import { epochsOf } from './epochs.js';
import { checkSlice, countBatches, type LogPlace, unsound } from './slice-check.js';
import { type SystemRecord, systemRecord } from './system-following.js';

export interface ApplierDeps {
  readonly shard: ShardId;
  readonly contents: ShardContents;
  readonly queue: CommitQueue;
  readonly chain: CheckpointChain;
  readonly healing: IndexHealing;
  /** Throws where nothing can be taken now. */
  checkMayApply(epoch: number): void;
  /** An event is about to be visible. */
  met(event: LogEvent, seq: number): void;
  /** Records of system collections are about to be visible. */
  metSystem(records: readonly SystemRecord[]): void;
  /** Durable and in the index: visible from now on. */
  committed(seq: number, counts: Counts): void;
}

/** What a slice does once it is durable. */
interface Effects {
  readonly events: { readonly event: LogEvent; readonly seq: number }[];
  readonly system: SystemRecord[];
  readonly counts: Counts;
}

export class Applier {
  readonly #deps: ApplierDeps;
  #place: LogPlace = { seq: 0, time: 0, epoch: 1, epochFirstSeq: 1 };
  /** Of epochs that are queued: the log does not tell of them yet. */
  #compactedThrough = 0;

  constructor(deps: ApplierDeps) {
    this.#deps = deps;
  }

  /** Goes on from where the log ends; nothing may be queued. */
  startFromLog(): void {
    const { log } = this.#deps.contents;
    this.#place = { seq: log.durableSeq, time: log.lastTime, epoch: log.epoch, epochFirstSeq: epochsOf(log).at(-1)!.firstSeq };
    this.#compactedThrough = log.compactedThrough;
  }

  /** The newest trim that something taken so far, queued or durable, lacks the records of. */
  get compactedThrough(): number {
    return this.#compactedThrough;
  }

  /** Resolves once durable and visible. Throws UNSOUND, what `checkMayApply` throws, or what the log throws. */
  apply(slice: LogSlice, sourceEpoch = slice.epoch): Promise<void> {
    const { shard, contents, queue, healing, checkMayApply } = this.#deps;
    checkMayApply(Math.max(slice.epoch, sourceEpoch));
    if (!healing.whole) {
      const reason = 'its tree is being rebuilt';
      throw new VarveError('UNAVAILABLE', `shard ${shard}: ${reason}`, { shard, reason });
    }
    const { log } = contents;
    const before = this.#place;
    const checked = checkSlice(slice, before, {
      shard,
      segmentPlace: log.context.place(1, 0),
      spans: () => spansTo(epochsOf(log), before),
    });
    const { epoch, firstSeq, lastSeq, compactedThrough, batches } = slice;
    const origin: SegmentOrigin = { epoch, compactedThrough, ...(checked.endsAt === undefined ? {} : { endsAt: checked.endsAt }) };
    const group = queue.gathering((other) => mayJoin(other, origin));
    const effects = this.#index(checked.batches, before.seq);
    try {
      group.builder.addRaw({ firstSeq, lastSeq, count: countBatches(batches) ?? 0, batches });
      group.builder.origin ??= origin;
    } catch (error) {
      contents.index.rollBack(before.seq);
      throw error;
    }
    const epochFirstSeq = epoch === before.epoch ? before.epochFirstSeq : firstSeq;
    this.#place = { seq: lastSeq, time: checked.lastTime, epoch, epochFirstSeq };
    this.#compactedThrough = Math.max(this.#compactedThrough, compactedThrough);
    return new Promise((resolve, reject) => {
      const committed = () => {
        this.#committed(effects, lastSeq);
        resolve();
      };
      queue.added(group, { committed, failed: reject }, checked.batches[0]?.time ?? before.time);
    });
  }

  /** Adds the records; throws UNSOUND, and adds none, where one follows another than it says. */
  #index(batches: readonly StoredBatch[], before: number): Effects {
    const { shard, contents } = this.#deps;
    const { index } = contents;
    const effects: Effects = { events: [], system: [], counts: new Map() };
    for (const { event, firstSeq, records } of batches) {
      if (event !== undefined) effects.events.push({ event: kept(event), seq: firstSeq });
      for (const record of records) {
        const { seq, time, kind, supersedes, collectionText: collection } = record;
        const entity = entityKeyFromBytes(record.collection, record.key);
        const newest = index.newest(entity);
        if (newest !== undefined && newest.seq > supersedes) {
          index.rollBack(before);
          throw unsound(shard, `record ${seq} supersedes ${supersedes}, and ${newest.seq} came after that`);
        }
        index.add(entity, seq, time, kind, supersedes, storedRecordHash(shard, record));
        countVersion(effects.counts, collection, kind === KIND_PUT, newest?.kind === KIND_PUT);
        if (collection.charCodeAt(0) !== UNDERSCORE) continue;
        const system = systemRecord(record);
        if (system === undefined) {
          index.rollBack(before);
          throw unsound(shard, `record ${seq} of ${collection} says nothing that can be`);
        }
        effects.system.push(system);
      }
    }
    return effects;
  }

  #committed({ events, system, counts }: Effects, lastSeq: number): void {
    const { contents, chain, met, metSystem, committed } = this.#deps;
    for (const { event, seq } of events) {
      if (event.type === 'checkpoint') chain.logged({ ...event, seq }, chain.known);
      else if (event.type === 'trim') contents.index.drop(seq, event.runs);
      met(event, seq);
    }
    if (system.length > 0) metSystem(system);
    committed(lastSeq, counts);
  }
}

/** With what is queued behind the log. */
function spansTo(logged: readonly EpochSpan[], { epoch, epochFirstSeq, seq }: LogPlace): EpochSpan[] {
  return [...logged.filter((span) => span.epoch < epoch), { epoch, firstSeq: epochFirstSeq, lastSeq: seq }];
}

const UNDERSCORE = 0x5f;

function mayJoin({ builder: { origin } }: Group, { epoch, compactedThrough, endsAt }: SegmentOrigin): boolean {
  return endsAt === undefined && origin?.epoch === epoch && origin.compactedThrough === compactedThrough;
}

/** Byte fields are views of what came: these are copied. */
function kept(event: LogEvent): LogEvent {
  const fields = Object.entries(event).map(([name, value]) => [name, value instanceof Uint8Array ? Uint8Array.from(value) : value]);
  return Object.fromEntries(fields) as LogEvent;
}
