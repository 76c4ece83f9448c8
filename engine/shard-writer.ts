/**
 * Turns prepared batches into durable records of one shard: preconditions, refs, idempotency, time, seqs, hashes.
 *
 * Law 11: what is answered from queued state waits for that state's commit. Everything from reading the newest
 * version to encoding into the gathering group happens in one turn, so two racing writers meet in order.
 */
import { contentHash, headEach, type PreparedBatch, type PreparedItem, type PreparedRef } from './batch.js';
import type { CommitQueue, Group } from './commit-queue.js';
import { EntityBytes } from './entity-bytes.js';
import { assert, isVarveError, messageOf, VarveError } from './errors.js';
import { MAX_IDEMPOTENCY_KEY_CHARS, SALT_BYTES } from './format/limits.js';
import { putImageRefs } from './format/record.js';
import { storedRecordHash } from './format/record-hash.js';
import { stampImages } from './format/record-stamp.js';
import { formatTime, parseTime } from './format/time.js';
import { type Idempotency, KIND_PUT, KIND_TOMBSTONE, type ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { InsertedBatch } from './record-view.js';
import { type Counts, countVersion } from './shard-counts.js';
import type { ShardIndex } from './shard-index.js';
import { type InsertOptions, type InsertResult, type RecordHeader, recordId, type ShardId } from './types.js';

const IDEMPOTENCY_MEMORY_MICROS = 24 * 3600 * 1e6;
const IDEMPOTENCY_KEY = new RegExp(`^[\\x21-\\x7e]{1,${MAX_IDEMPOTENCY_KEY_CHARS}}$`);

/** Of the record that is being looked at. */
const ENTITY = new EntityBytes();

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
  visibleSeq(): number;
  /** Whether a trim has dropped the record. */
  isDropped(seq: number): boolean;
  /** Everything up to `seq` is durable, and visible from now on; `counts` is what it adds to the collections. */
  committed(seq: number, counts: Counts | undefined): void;
}

export class ShardWriter {
  readonly #deps: ShardWriterDeps;
  readonly #inFlight = new Map<string, InFlight>();
  readonly #refWatchers = new Set<(seq: number) => void>();
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
  }

  get lastTime(): number {
    return this.#lastTime;
  }

  /** Newest time that something was stamped with or answered for: what the server stamps comes after it. */
  get spokenTime(): number {
    return Math.max(this.#lastTime, this.#answeredTime);
  }

  /** From now on no batch gets a time up to `time` from the server's clock. */
  answeredFor(time: number): void {
    this.#answeredTime = Math.max(this.#answeredTime, time);
  }

  /** Throws, or rejects, with why nothing was inserted. */
  insert(batch: PreparedBatch, options: InsertOptions): Promise<InsertResult> {
    const key = options.idempotencyKey;
    return key === undefined ? this.#commit(batch, options, undefined) : this.#insertOnce(batch, options, key);
  }

  async #insertOnce(batch: PreparedBatch, options: InsertOptions, key: string): Promise<InsertResult> {
    if (!IDEMPOTENCY_KEY.test(key)) {
      throw new VarveError('INVALID', 'the idempotency key must be 1–255 visible ASCII characters', {
        path: 'idempotencyKey',
        expected: '1–255 visible ASCII characters',
      });
    }
    const hash = contentHash(batch, options.time);
    for (let racing = this.#inFlight.get(key); racing !== undefined; racing = this.#inFlight.get(key)) {
      const replayed = await replayRacing(racing, key, hash);
      if (replayed !== undefined) return replayed;
      // The first was refused, and only successes are remembered: this one is on its own.
      if (this.#inFlight.get(key) === racing) this.#inFlight.delete(key);
    }
    const earlier = this.#earlier(key, hash);
    if (earlier !== undefined) return earlier;
    const result = this.#commit(batch, options, { key, contentHash: hash });
    const inFlight = { contentHash: hash, result };
    this.#inFlight.set(key, inFlight);
    try {
      return await result;
    } finally {
      if (this.#inFlight.get(key) === inFlight) this.#inFlight.delete(key);
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
        this.#deps.committed(seq, undefined);
        resolve(seq);
      };
      this.#deps.queue.added(group, { committed, failed: reject }, this.#lastTime);
    });
  }

  /** Every ref that is taken from now on is told. Returns how to end that. */
  watchRefs(told: (seq: number) => void): () => void {
    this.#refWatchers.add(told);
    return () => this.#refWatchers.delete(told);
  }

  #commit(batch: PreparedBatch, options: InsertOptions, idempotency: Idempotency | undefined): Promise<InsertResult> {
    const { shard, queue, platform } = this.#deps;
    const index = this.#deps.index();
    const group = queue.gathering();
    const { behindQueued, time } = this.#timeFor(options.time);
    if (behindQueued !== undefined) return refuse(behindQueued, queue.pending.at(-1));
    const before = this.#lastSeq;
    const { items, arena, isEach } = batch;
    assert(!arena.isFree, 'a batch is committed once');
    const inserted = new InsertedBatch(shard, items, before + 1, time, isEach);
    const { supersedes, hashes } = inserted;
    const counts: Counts = new Map();
    const salts = platform.randomBytes(items.length * SALT_BYTES);
    try {
      for (let i = 0; i < items.length; i++) {
        const item = items[i]!;
        const entity = ENTITY.takeNames(arena.bytes, item.keyAt - item.collectionBytes.length, item.collectionBytes.length, item.saltAt);
        const replaced = index.newestOf(entity);
        const wasAlive = replaced > 0 && index.newestKind === KIND_PUT;
        if (item.deleted || item.expect !== undefined) {
          // A batch that conflicts with itself: no id was given out for its own version, so the one before is named.
          const told = replaced > before ? (index.find(entity.text(), before)?.seq ?? 0) : replaced;
          const refusal = refusalOf(shard, item, wasAlive, replaced, told);
          if (refusal !== undefined) {
            index.rollBack(before);
            // Not awaited in here: by then others are queued above `before`, and must stay.
            return refuse(refusal, told > this.#deps.visibleSeq() ? queue.groupOf(told) : undefined);
          }
        }
        const seq = before + 1 + i;
        supersedes.push(replaced);
        if (item.refs.length > 0) {
          const refs = item.refs.map((ref) => this.#resolveRef(ref, before + 1));
          putImageRefs(arena.bytes, item.at, refs);
          inserted.setRefs(i, refs);
        }
        if (!item.deleted) for (let j = 0; j < SALT_BYTES; j++) arena.bytes[item.saltAt + j] = salts[i * SALT_BYTES + j]!;
        countVersion(counts, item.collection, !item.deleted, wasAlive);
        index.addBytes(entity, seq, isEach ? time + i : time, item.kind, replaced, undefined);
      }
      const firstSeq = before + 1;
      const placed = { firstSeq, time, count: items.length };
      stampImages(arena.bytes, items, { shard, firstSeq, time, isEach, supersedes, hashes }, group.builder.recordSeed);
      index.fillHashes(hashes);
      if (isEach) {
        headEach(batch, firstSeq, time);
        const batches = arena.bytes.subarray(0, arena.end);
        group.builder.addRaw({ firstSeq, lastSeq: before + items.length, count: items.length, batches });
      } else group.builder.addImages(arena.bytes, arena.end, idempotency === undefined ? placed : { ...placed, idempotency });
    } catch (error) {
      index.rollBack(before);
      throw error;
    }
    arena.giveBack();
    this.#lastSeq = before + items.length;
    this.#lastTime = isEach ? time + items.length - 1 : time;
    const lastSeq = this.#lastSeq;
    const { json } = options;
    let isOver = false;
    return new Promise((resolve, reject) => {
      const committed = () => {
        isOver = true;
        this.#deps.committed(lastSeq, counts);
        resolve(inserted.result());
      };
      queue.added(group, { committed, failed: reject }, time, isEach ? items.length : 1);
      // The group is on its way by the next turn, if not there. What fails here fails again for who asks.
      if (json !== undefined) {
        void platform.clock
          .yield()
          .then(() => isOver || inserted.prepareJson(...json))
          .catch(() => undefined);
      }
    });
  }

  /**
   * The batch's time: the client's, or the clock's raised past everything before and everything answered for. `behindQueued`: the
   * refusal of a time that only queued batches are ahead of, to be told once they are durable.
   */
  #timeFor(given: string | undefined): { readonly time: number; readonly behindQueued?: VarveError } {
    const now = this.#deps.platform.clock.nowMicros();
    if (given === undefined) return { time: Math.max(now, this.#lastTime + 1, this.#answeredTime + 1) };
    const time = parseTime(given, 'time');
    if (time > now) throw new VarveError('TIME_AHEAD', `the time ${given} lies in the future`, { now: formatTime(now) });
    const durableTime = this.#deps.log().lastTime;
    if (time <= durableTime) throw timeBehind(given, durableTime);
    return time <= this.#lastTime ? { time, behindQueued: timeBehind(given, this.#lastTime) } : { time };
  }

  #resolveRef(ref: PreparedRef, firstSeq: number): number {
    if ('index' in ref) return firstSeq + ref.index;
    if (ref.shard !== this.#deps.shard) throw badRef(ref.text, 'other-shard', 'it lies in another shard');
    if (ref.seq > this.#lastSeq) throw badRef(ref.text, 'unknown', 'no such record');
    // Queued records were never told to anybody, so a ref to one is a guess.
    if (ref.seq > this.#deps.log().durableSeq || this.#deps.log().read(ref.seq) === undefined)
      throw badRef(ref.text, 'unknown', 'no such record');
    if (this.#deps.isDropped(ref.seq)) throw badRef(ref.text, 'dropped', 'retention has dropped it');
    for (const told of this.#refWatchers) told(ref.seq);
    return ref.seq;
  }

  /** Where the disk does not tell whether there was a first answer, nothing is inserted, and that is what is said. */
  #earlier(key: string, hash: Uint8Array): InsertResult | undefined {
    try {
      return this.#replay(key, hash);
    } catch (error) {
      if (!isIoError(error)) throw error;
      const reason = messageOf(error);
      const { shard } = this.#deps;
      throw new VarveError('NOT_WRITTEN', `whether the idempotency key was used cannot be read: ${reason}`, { shard, reason }, error);
    }
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
      const item = { collection: text.decode(stored.collection), key: text.decode(stored.key), deleted: stored.kind === KIND_TOMBSTONE };
      const again = new InsertedBatch(this.#deps.shard, [item], seq, stored.time);
      again.supersedes.push(stored.supersedes);
      again.setRefs(0, stored.refs);
      again.hashes.set(storedRecordHash(this.#deps.shard, stored));
      records.push(again.record(0));
    }
    return { records, replayed: true };
  }
}

/** Waits for what the refusal rests on, so that it never tells of a write that did not survive. */
async function refuse(refusal: VarveError, group: Group | undefined): Promise<never> {
  if (group !== undefined) {
    await group.settled.catch((failure: VarveError) => {
      const reason = failure.message;
      throw new VarveError(
        'NOT_WRITTEN',
        `the write this one depends on failed: ${reason}`,
        { shard: 'shard' in failure.details ? failure.details.shard : 0, reason },
        failure,
      );
    });
  }
  throw refusal;
}

/** `newest`: seq of the entity's newest version, those of the same batch included; `told`: of the newest whose id may be named; 0: none. */
function refusalOf(shard: number, item: PreparedItem, alive: boolean, newest: number, told: number): VarveError | undefined {
  const { collection, key, expect } = item;
  const current = told === 0 ? null : recordId(shard, told);
  const conflict = (what: string) => new VarveError('CONFLICT', `${collection}/${key}: ${what}`, { collection, key, current });
  if (expect === null && alive) return conflict('it exists, and was expected not to');
  if (expect === '*' && !alive) return conflict('it does not exist, and was expected to');
  if (Array.isArray(expect)) {
    if (newest !== told) return conflict('an earlier item of the same batch supersedes what was expected');
    if (current === null || !expect.includes(current))
      return conflict(current === null ? 'it does not exist' : `its newest version is ${current}`);
  }
  if (item.deleted && !alive)
    return new VarveError('NOTHING_TO_DELETE', `${collection}/${key} does not exist: there is nothing to delete`, { collection, key });
  return undefined;
}

/** The first answer again; undefined where the first request was refused, so that there is none. */
async function replayRacing(racing: InFlight, key: string, hash: Uint8Array): Promise<InsertResult | undefined> {
  const same = Buffer.compare(racing.contentHash, hash) === 0;
  let first: InsertResult;
  try {
    first = await racing.result;
  } catch (error) {
    if (same && (isVarveError(error, 'NOT_WRITTEN') || isVarveError(error, 'OUTCOME_UNKNOWN'))) throw error;
    return undefined;
  }
  if (!same) throw mismatch(key);
  return { records: first.records, replayed: true };
}

function isIoError(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined;
}

function timeBehind(given: string, newestTime: number): VarveError {
  const newest = formatTime(newestTime);
  return new VarveError('TIME_BEHIND', `the time ${given} is not later than the shard's newest, ${newest}`, { newest });
}

function mismatch(key: string): VarveError {
  return new VarveError('IDEMPOTENCY_MISMATCH', 'this idempotency key was used before with other content', { key });
}

function badRef(ref: string, reason: 'unknown' | 'dropped' | 'later' | 'other-shard', why: string): VarveError {
  return new VarveError('BAD_REF', `ref '${ref}': ${why}`, { ref, reason });
}
