/**
 * Turns prepared batches into durable records of one shard: preconditions, refs, idempotency, time, seqs, hashes.
 *
 * Law 11: what is answered from queued state waits for that state's commit. Everything from reading the newest
 * version to encoding into the gathering group happens in one turn, so two racing writers meet in order.
 */
import { contentHash, type PreparedItem, type PreparedRef } from './batch.js';
import type { CommitQueue, Group } from './commit-queue.js';
import { VarveError } from './errors.js';
import { SALT_BYTES } from './format/limits.js';
import { bodyHash, recordHash, storedRecordHash, TOMBSTONE_BODY_HASH } from './format/record-hash.js';
import { formatTime, parseTime } from './format/time.js';
import { type Idempotency, KIND_PUT, KIND_TOMBSTONE, type NewRecord, type ShardLog } from './log/index.js';
import { InsertedVersion } from './record-view.js';
import type { ShardIndex } from './shard-index.js';
import type { Platform } from './platform/platform.js';
import { type InsertOptions, type InsertResult, MAX_SEQ, recordId, type RecordHeader, type ShardId } from './types.js';

const NO_SALT = new Uint8Array(0);
const IDEMPOTENCY_MEMORY_MICROS = 24 * 3600 * 1e6;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** A record on its way: what the index takes in once it is durable. */
export interface PendingRecord {
  readonly entity: string;
  readonly collection: string;
  readonly seq: number;
  readonly time: number;
  readonly kind: number;
  readonly supersedes: number;
  readonly hash: Uint8Array;
  /** Whether the entity was alive before; for the collection's counts. */
  readonly wasAlive: boolean;
}

interface Newest {
  readonly seq: number;
  readonly kind: number;
  /** Set while its group is on the way to the disk. */
  readonly group: Group | undefined;
}

interface InFlight {
  readonly contentHash: Uint8Array;
  readonly result: Promise<InsertResult>;
}

export interface ShardWriterDeps {
  readonly platform: Platform;
  readonly shard: ShardId;
  readonly queue: CommitQueue;
  log(): ShardLog;
  index(): ShardIndex;
  /** Takes durable records into the index and the counts; everything up to `throughSeq` is visible from now on. */
  apply(records: readonly PendingRecord[], throughSeq: number): void;
}

export class ShardWriter {
  readonly #deps: ShardWriterDeps;
  readonly #pending = new Map<string, Newest>();
  readonly #inFlight = new Map<string, InFlight>();
  #lastSeq = 0;
  #lastTime = 0;
  /** Newest T an as-of question was answered for: later batches get a later time (law 5). */
  #answeredTime = 0;

  constructor(deps: ShardWriterDeps) {
    this.#deps = deps;
  }

  /** Where to go on from: at open, and after the log was reopened. Nothing may be queued. */
  startFrom(lastSeq: number, lastTime: number): void {
    this.#lastSeq = lastSeq;
    this.#lastTime = lastTime;
    this.#pending.clear();
  }

  get lastTime(): number {
    return this.#lastTime;
  }

  /** From now on no batch gets a time up to `time` from the server's clock. */
  answeredFor(time: number): void {
    this.#answeredTime = Math.max(this.#answeredTime, time);
  }

  async insert(items: readonly PreparedItem[], options: InsertOptions): Promise<InsertResult> {
    const key = options.idempotencyKey;
    if (key === undefined) return this.#commit(items, options, undefined);
    if (!IDEMPOTENCY_KEY.test(key)) {
      throw new VarveError('INVALID', 'the idempotency key must be 1–255 visible ASCII characters', { path: 'idempotencyKey', expected: '1–255 visible ASCII characters' });
    }
    const hash = contentHash(items, options.time);
    const racing = this.#inFlight.get(key);
    if (racing !== undefined) return replayRacing(racing, key, hash);
    const earlier = this.#replay(key, hash);
    if (earlier !== undefined) return earlier;
    const result = this.#commit(items, options, { key, contentHash: hash });
    this.#inFlight.set(key, { contentHash: hash, result });
    try {
      return await result;
    } finally {
      this.#inFlight.delete(key);
    }
  }

  /** Queues an event; resolves once durable. `event` is made with the seq it will have. */
  insertEvent(event: Parameters<Group['builder']['addEvent']>[0]['event']): Promise<number> {
    const group = this.#deps.queue.gathering();
    const seq = this.#lastSeq + 1;
    group.builder.addEvent({ seq, time: this.#lastTime, event });
    this.#lastSeq = seq;
    return new Promise((resolve, reject) => {
      const committed = () => {
        this.#deps.apply([], seq);
        resolve(seq);
      };
      this.#deps.queue.added(group, { committed, failed: reject }, this.#lastTime);
    });
  }

  /** The entity's newest version, queued ones included. */
  newest(entity: string): Newest | undefined {
    const pending = this.#pending.get(entity);
    if (pending !== undefined) return pending;
    const entry = this.#deps.index().find(entity, MAX_SEQ);
    return entry === undefined ? undefined : { seq: entry.seq, kind: entry.kind, group: undefined };
  }

  async #commit(items: readonly PreparedItem[], options: InsertOptions, idempotency: Idempotency | undefined): Promise<InsertResult> {
    const group = this.#deps.queue.gathering();
    const time = this.#timeFor(options.time);
    const firstSeq = this.#lastSeq + 1;
    const staged = new Map<string, Newest>();
    const records: NewRecord[] = [];
    const pending: PendingRecord[] = [];
    const versions: RecordHeader[] = [];
    for (const [i, item] of items.entries()) {
      const before = staged.get(item.entity) ?? this.newest(item.entity);
      const refusal = refusalOf(this.#deps.shard, item, before);
      if (refusal !== undefined) return refuse(refusal, before?.group);
      const seq = firstSeq + i;
      const kind = item.deleted ? KIND_TOMBSTONE : KIND_PUT;
      const supersedes = before?.seq ?? 0;
      const refs = resolved(item.refs, (ref) => this.#resolveRef(ref, firstSeq));
      const salt = item.deleted ? NO_SALT : this.#deps.platform.randomBytes(SALT_BYTES);
      const fields = { seq, time, kind, supersedes, refs } as const;
      const hash = recordHash({ ...fields, shard: this.#deps.shard, collection: item.collectionBytes, key: item.keyBytes, bodyHash: item.deleted ? TOMBSTONE_BODY_HASH : bodyHash(salt, item.body) });
      records.push({ kind, supersedes, refs, collection: item.collectionBytes, key: item.keyBytes, body: item.body, salt });
      pending.push({ entity: item.entity, collection: item.collection, seq, time, kind, supersedes, hash, wasAlive: before !== undefined && before.kind === KIND_PUT });
      versions.push(new InsertedVersion({ ...fields, shard: this.#deps.shard, collection: item.collection, key: item.key, deleted: item.deleted, hash }));
      staged.set(item.entity, { seq, kind, group });
    }
    group.builder.addBatch({ firstSeq, time, records, ...(idempotency === undefined ? {} : { idempotency }) });
    this.#lastSeq = firstSeq + items.length - 1;
    this.#lastTime = time;
    for (const [entity, newest] of staged) this.#pending.set(entity, newest);
    return new Promise((resolve, reject) => {
      const committed = () => {
        this.#deps.apply(pending, firstSeq + pending.length - 1);
        for (const record of pending) if (this.#pending.get(record.entity)?.seq === record.seq) this.#pending.delete(record.entity);
        resolve({ records: versions, replayed: false });
      };
      this.#deps.queue.added(group, { committed, failed: reject }, time);
    });
  }

  /** The batch's time: the client's, or the clock's raised past everything before and everything answered for. */
  #timeFor(given: string | undefined): number {
    const now = this.#deps.platform.clock.nowMicros();
    if (given === undefined) return Math.max(now, this.#lastTime + 1, this.#answeredTime + 1);
    const time = parseTime(given, 'time');
    if (time > now) throw new VarveError('TIME_AHEAD', `the time ${given} lies in the future`, { now: formatTime(now) });
    if (time <= this.#lastTime) {
      const newest = formatTime(this.#lastTime);
      throw new VarveError('TIME_BEHIND', `the time ${given} is not later than the shard's newest, ${newest}`, { newest });
    }
    return time;
  }

  #resolveRef(ref: PreparedRef, firstSeq: number): number {
    if ('index' in ref) return firstSeq + ref.index;
    if (ref.shard !== this.#deps.shard) throw badRef(ref.text, 'other-shard', 'it lies in another shard');
    if (ref.seq > this.#lastSeq) throw badRef(ref.text, 'unknown', 'no such record');
    // Queued records were never told to anybody, so a ref to one is a guess.
    if (ref.seq > this.#deps.log().durableSeq || this.#deps.log().read(ref.seq) === undefined) throw badRef(ref.text, 'unknown', 'no such record');
    return ref.seq;
  }

  /** The first answer to this key again, from the log. */
  #replay(key: string, hash: Uint8Array): InsertResult | undefined {
    const since = Math.max(this.#deps.platform.clock.nowMicros(), this.#lastTime) - IDEMPOTENCY_MEMORY_MICROS;
    const found = this.#deps.log().findIdempotent(key, since);
    if (found === undefined) return undefined;
    if (Buffer.compare(found.contentHash, hash) !== 0) throw mismatch(key);
    const records: RecordHeader[] = [];
    for (let seq = found.firstSeq; seq <= found.lastSeq; seq++) {
      const stored = this.#deps.log().read(seq);
      if (stored === undefined) continue;
      const text = new TextDecoder();
      records.push(
        new InsertedVersion({
          shard: this.#deps.shard,
          seq,
          collection: text.decode(stored.collection),
          key: text.decode(stored.key),
          deleted: stored.kind === KIND_TOMBSTONE,
          time: stored.time,
          supersedes: stored.supersedes,
          refs: stored.refs,
          hash: storedRecordHash(this.#deps.shard, stored),
        }),
      );
    }
    return { records, replayed: true };
  }
}

const NO_REFS: readonly number[] = [];

function resolved(refs: readonly PreparedRef[], resolve: (ref: PreparedRef) => number): readonly number[] {
  return refs.length === 0 ? NO_REFS : refs.map(resolve);
}

/** Waits for what the refusal rests on, so that it never tells of a write that did not survive. */
async function refuse(refusal: VarveError, group: Group | undefined): Promise<never> {
  if (group !== undefined) {
    await group.settled.catch((failure: VarveError) => {
      const reason = failure.message;
      throw new VarveError('NOT_WRITTEN', `the write this one depends on failed: ${reason}`, { shard: 'shard' in failure.details ? failure.details.shard : 0, reason }, failure);
    });
  }
  throw refusal;
}

function refusalOf(shard: number, item: PreparedItem, before: Newest | undefined): VarveError | undefined {
  const { collection, key, expect } = item;
  const alive = before !== undefined && before.kind === KIND_PUT;
  const current = before === undefined ? null : recordId(shard, before.seq);
  const conflict = (what: string) => new VarveError('CONFLICT', `${collection}/${key}: ${what}`, { collection, key, current });
  if (expect === null && alive) return conflict('it exists, and was expected not to');
  if (expect === '*' && !alive) return conflict('it does not exist, and was expected to');
  if (Array.isArray(expect) && (current === null || !expect.includes(current))) {
    return conflict(current === null ? 'it does not exist' : `its newest version is ${current}`);
  }
  if (item.deleted && !alive) return new VarveError('NOTHING_TO_DELETE', `${collection}/${key} does not exist: there is nothing to delete`, { collection, key });
  return undefined;
}

async function replayRacing(racing: InFlight, key: string, hash: Uint8Array): Promise<InsertResult> {
  const first = await racing.result;
  if (Buffer.compare(racing.contentHash, hash) !== 0) throw mismatch(key);
  return { records: first.records, replayed: true };
}

function mismatch(key: string): VarveError {
  return new VarveError('IDEMPOTENCY_MISMATCH', 'this idempotency key was used before with other content', { key });
}

function badRef(ref: string, reason: 'unknown' | 'dropped' | 'later' | 'other-shard', why: string): VarveError {
  return new VarveError('BAD_REF', `ref '${ref}': ${why}`, { ref, reason });
}
