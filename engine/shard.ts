/**
 * One log, one index, one writer: a shard, as the rest of the engine asks it.
 *
 *   insert -> writer (checks, seqs, hashes) -> queue (groups) -> log (one write, one sync) -> index -> answer
 *   read   -> index (memtables, tree) -> log (one positional read)
 *
 * Invariants: `visibleSeq` never passes what is synced; the index holds exactly the records up to it. A failed
 * write stops the shard's writes, never its reads; it reopens its log and goes on (shard-parts.ts). Damage that the tree does
 * not cover is answered with DAMAGED wherever it could matter. A crash: see the log's recovery; the index is derived.
 */
import type { PreparedBatch } from './batch.js';
import type { LoggedCheckpoint } from './catalog.js';
import type { CommitQueue } from './commit-queue.js';
import type { RecordProof } from './database.js';
import { VarveError } from './errors.js';
import type { IndexEntry } from './format/leaf-value.js';
import type { IndexHealing } from './index-healing.js';
import { isTreeDamage } from './index-loading.js';
import type { BlockCache, Finding, ShardLog } from './log/index.js';
import { StoredVersion } from './record-view.js';
import type { ReplicaControl } from './replica/replica-shard.js';
import { Exactness } from './retention/exactness.js';
import type { ShardContents, ShardOptions } from './shard-contents.js';
import type { Counts } from './shard-counts.js';
import { ShardParts } from './shard-parts.js';
import { type ListedEntity, ShardReader } from './shard-reader.js';
import type { ShardUpkeep } from './shard-upkeep.js';
import type { ShardWriter } from './shard-writer.js';
import { ShardCounters } from './stats.js';
import type { NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { type InsertOptions, type InsertResult, recordId, type ShardId } from './types.js';

/** Names of system collections begin with `_`. */
const SYSTEM_FROM = '_';
const SYSTEM_UNTIL = '`';
const SYSTEM_FROM_BYTES = Uint8Array.of(SYSTEM_FROM.charCodeAt(0));
const SYSTEM_UNTIL_BYTES = Uint8Array.of(SYSTEM_UNTIL.charCodeAt(0));

export class Shard {
  readonly id: ShardId;
  /** What of this shard can still be told exactly. */
  readonly exactness = new Exactness();
  /** What replication does with it. */
  readonly replica: ReplicaControl;
  /** Trims, compaction and erasure. */
  readonly upkeep: ShardUpkeep;
  readonly counters = new ShardCounters();
  readonly #parts: ShardParts;
  readonly #contents: ShardContents;
  readonly #healing: IndexHealing;
  readonly #queue: CommitQueue;
  readonly #writer: ShardWriter;
  #reader!: ShardReader;
  /** Where no system entity was alive. */
  #noSystemAt = -1;

  private constructor(options: ShardOptions) {
    this.id = options.shard;
    const parts = new ShardParts(this, options);
    this.#parts = parts;
    this.#contents = parts.contents;
    this.#healing = parts.healing;
    this.#queue = parts.queue;
    this.#writer = parts.writer;
    this.upkeep = parts.upkeep;
    this.replica = parts.replica;
  }

  static async open(options: ShardOptions): Promise<Shard> {
    const shard = new Shard(options);
    const parts = shard.#parts;
    await parts.open();
    shard.#reader = new ShardReader(shard.id, shard.log, parts.contents.index, parts.upkeep.erasures, () => parts.checkOpen());
    return shard;
  }

  // ---- state

  get visibleSeq(): number {
    return this.#contents.visibleSeq;
  }

  get log(): ShardLog {
    return this.#contents.log;
  }

  get findings(): readonly Finding[] {
    return this.#contents.findings;
  }

  get lastTime(): number {
    return this.#writer.lastTime;
  }

  /** Newest time that a record has or a question was answered for (law 5). */
  get spokenTime(): number {
    return this.#writer.spokenTime;
  }

  /** The tree's newest state on disk: what a reopen starts from. */
  get tree(): { readonly seq: number; readonly root: TreeRoot } | undefined {
    return this.#contents.tree;
  }

  /** For verification. */
  get store(): TreeStore {
    return this.#contents.store;
  }

  /** Why writes are refused, or undefined. */
  get stopped(): string | undefined {
    return this.#parts.stopped;
  }

  /** Whether what it says now can be believed. */
  get tells(): boolean {
    return this.#contents.gap === undefined && this.#contents.refusal === undefined;
  }

  get damaged(): boolean {
    return this.#contents.gap !== undefined;
  }

  /** Why the last fold failed; it is tried again with the next one. */
  get foldFailure(): string | undefined {
    return this.#parts.folder.failure;
  }

  /** Records in memory, newer than the tree, and what they take. */
  get memory(): { readonly records: number; readonly bytes: number } {
    return { records: this.#contents.index.memoryCount, bytes: this.#contents.index.memoryBytes };
  }

  /** Shared by all shards of the database. */
  get caches(): { readonly nodes: NodeCache; readonly blocks: BlockCache } {
    const { nodeCache, blockCache } = this.#parts.options;
    return { nodes: nodeCache, blocks: blockCache };
  }

  // ---- writing

  /** See `Database.room`. */
  room(): Promise<void> | undefined {
    return this.#queue.room();
  }

  insert(batch: PreparedBatch, options: InsertOptions): Promise<InsertResult> {
    try {
      this.#parts.refuseWhereStopped();
      // A promise or two fewer, for each insert.
      if (options.idempotencyKey === undefined && this.#healing.whole) return this.#writer.insert(batch, options);
    } catch (error) {
      if (!isTreeDamage(error)) return Promise.reject(error);
    }
    return this.healing(() => this.#writer.insert(batch, options));
  }

  /** Resolves once everything queued by now has been committed or has failed. */
  async queuedSettled(): Promise<void> {
    await this.#healing.settled();
    await Promise.allSettled(this.#queue.pending.map((group) => group.settled));
  }

  // ---- reading

  /** The entity's newest version up to `seq`. */
  get(entity: string, seq: number): StoredVersion | undefined {
    return this.#reading(seq, () => this.#reader.newest(entity, seq));
  }

  /** Versions with seqs within [fromSeq, toSeq], at most `limit`: the newest ones newest first, or the oldest ones oldest first. */
  versions(entity: string, order: 'asc' | 'desc', fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#reading(toSeq, () =>
      order === 'asc' ? this.#reader.oldestFirst(entity, fromSeq, toSeq, limit) : this.#reader.newestFirst(entity, fromSeq, toSeq, limit),
    );
  }

  /** Entities alive at `seq`, from `from` on and before `until`, at most `limit`, in key order; bodies are read when asked for. */
  alive(from: string, until: string, seq: number, limit: number): ListedEntity[] {
    return this.#reading(seq, () => this.#reader.alive(from, until, seq, limit));
  }

  /** Whether any entity of a system collection is alive: in most shards none is, and opening need not ask for each. */
  get hasSystemEntities(): boolean {
    const seq = this.visibleSeq;
    if (this.#noSystemAt === seq) return false;
    const mayBe = this.#reading(seq, () => this.#contents.index.mayHold(SYSTEM_FROM_BYTES, SYSTEM_UNTIL_BYTES));
    if (mayBe && this.alive(SYSTEM_FROM, SYSTEM_UNTIL, seq, 1).length > 0) return true;
    this.#noSystemAt = seq;
    return false;
  }

  /** It was looked, and no entity of a system collection is alive. */
  get saysNothing(): boolean {
    return this.#noSystemAt === this.visibleSeq && this.tells;
  }

  /** The entity's newest version up to `seq`, as the index tells it. */
  entry(entity: string, seq: number): IndexEntry | undefined {
    return this.#reading(seq, () => this.#contents.index.find(entity, seq));
  }

  /** A read of what the shard's own system entities say, whether it may answer others or not. */
  readingOwn<T>(read: () => T): T {
    return this.#contents.unrefused(read);
  }

  /** Calls `wake` once more is visible, or the shard closes; returns how to call that off. */
  onceVisible(wake: () => void): () => void {
    return this.#parts.watchers.once(wake);
  }

  /** The record with this seq, or undefined where there is none (an event's seq, or one not given out). */
  record(seq: number): StoredVersion | undefined {
    this.#contents.checkServing();
    if (seq > this.#contents.visibleSeq) return undefined;
    const stored = this.log.read(seq);
    if (!this.exactness.isWhole && (stored === undefined ? this.upkeep.wasRecord(seq) : this.upkeep.isDropped(seq))) {
      const horizon = recordId(this.id, Math.max(...[...this.exactness.horizons.values()].map((each) => each.seq)));
      throw new VarveError('TRIMMED', `the record ${recordId(this.id, seq)} was dropped by retention`, { collection: '', horizon });
    }
    return stored === undefined ? undefined : new StoredVersion(this.id, stored, undefined, this.upkeep.erasures);
  }

  /** The end of that record's batch, or undefined where there is no such record. */
  endOfBatch(seq: number): number | undefined {
    return seq > this.#contents.visibleSeq ? undefined : this.log.readBatchEnd(seq);
  }

  /** The position of a time, once no group in flight can change it. The server's clock stamps later from now on. */
  async positionAt(time: number): Promise<number> {
    this.#contents.checkServing();
    this.#writer.answeredFor(time);
    const covered = this.#queue.pending.filter((group) => group.firstTime <= time);
    await Promise.allSettled(covered.map((group) => group.settled));
    if (this.#parts.recovery.unknownOutcome && time > this.log.lastTime) {
      const reason = 'the outcome of a failed write is not known yet';
      throw new VarveError('UNAVAILABLE', `shard ${this.id}: ${reason}`, { shard: this.id, reason });
    }
    if (this.exactness.isWhole) return Math.min(this.log.positionAt(time), this.#contents.visibleSeq);
    const { nextSeq } = this.log.positionsAround(time);
    return Math.min(this.exactness.positionAt(time, nextSeq - 1), this.#contents.visibleSeq);
  }

  /** Runs a read at `seq`, refusing where damage could change its answer and mending the tree where it is bad. */
  #reading<T>(seq: number, read: () => T): T {
    this.#contents.checkReadable(seq);
    return this.#healing.reading(read);
  }

  // ---- folding

  /** Folds, logs the checkpoint event and notes it in the catalog. Does nothing where nothing is newer. */
  checkpoint(): Promise<void> {
    return this.#parts.roots().checkpoint();
  }

  /** Everything visible is in the tree when this resolves, logged trims carried out. */
  fold(): Promise<void> {
    return this.#parts.roots().fold();
  }

  /** Root over everything visible now. */
  root(): Promise<{ seq: number; hash: Uint8Array; entries: number }> {
    return this.#parts.roots().root();
  }

  /** The record's proof under the newest root, which is made to hold it; undefined where there is no such record. Logs nothing. */
  async prove(seq: number): Promise<RecordProof | undefined> {
    this.#contents.checkWhole();
    return this.record(seq) === undefined ? undefined : this.#parts.roots().prove(seq);
  }

  /** The checkpoint that covers exactly up to `throughSeq`; undefined only where there is surely none. */
  checkpointAt(throughSeq: number): Promise<LoggedCheckpoint | undefined> {
    return this.#parts.roots().checkpointAt(throughSeq);
  }

  /** Entities alive and versions, per collection, of everything visible. */
  counts(): Promise<Counts> {
    return this.#parts.roots().counts();
  }

  // ---- healing, closing

  /** Runs `work` over a whole index; once more where it met a bad tree, over the one built anew. */
  healing<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#healing.healing(work);
  }

  /** Finishes what is queued, folds, marks and seals. */
  close(): Promise<void> {
    return this.#parts.close();
  }
}
