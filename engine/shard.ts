/**
 * One log, one index, one writer: a shard.
 *
 *   insert -> writer (checks, seqs, hashes) -> queue (groups) -> log (one write, one sync) -> index -> answer
 *   read   -> index (memtables, tree) -> log (one positional read)
 *
 * Invariants: `visibleSeq` never passes what is synced; the index holds exactly the records up to it. A failed
 * write stops the shard's writes, never its reads; it reopens its log and goes on. Damage that the tree does not
 * cover is answered with DAMAGED wherever it could matter. A crash: see the log's recovery; the index is derived.
 */
import type { PreparedBatch } from './batch.js';
import type { LoggedCheckpoint } from './catalog.js';
import { CheckpointChain } from './checkpoint-chain.js';
import { CommitQueue } from './commit-queue.js';
import type { RecordProof } from './database.js';
import { VarveError } from './errors.js';
import type { IndexEntry } from './format/leaf-value.js';
import { GroupCommit } from './group-commit.js';
import { IndexHealing } from './index-healing.js';
import { isTreeDamage } from './index-loading.js';
import { lazily } from './lazily.js';
import type { BlockCache, Finding, ShardLog } from './log/index.js';
import { StoredVersion } from './record-view.js';
import { ReplicaControl } from './replica/replica-shard.js';
import { Exactness } from './retention/exactness.js';
import { ShardContents, type ShardOptions, shardDirectory } from './shard-contents.js';
import type { Counts } from './shard-counts.js';
import { FOLD_RETRY_MS, ShardFolder } from './shard-folder.js';
import { type ListedEntity, ShardReader } from './shard-reader.js';
import { ShardRecovery } from './shard-recovery.js';
import { ShardRoots } from './shard-roots.js';
import { ShardUpkeep } from './shard-upkeep.js';
import { ShardWriter } from './shard-writer.js';
import { readSpokenTime, writeSpokenTime } from './spoken-time.js';
import { ShardCounters } from './stats.js';
import type { NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { type InsertOptions, type InsertResult, recordId, type ShardId } from './types.js';
import { Watchers } from './watchers.js';

/** The owner's own folds begin when one is due and may let memory grow to twice that; its checkpoint event comes behind them. */
const FOLLOWER_PATIENCE = 3;
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
  readonly #watchers = new Watchers();
  readonly #options: ShardOptions;
  readonly #queue: CommitQueue;
  readonly #writer: ShardWriter;
  readonly #folder: ShardFolder;
  readonly #chain: CheckpointChain;
  readonly #recovery: ShardRecovery;
  readonly #healing: IndexHealing;
  readonly #contents: ShardContents;
  readonly #roots: () => ShardRoots;
  #reader!: ShardReader;
  #closing = false;
  /** What was answered for by who was at home before. */
  #spokenBefore = 0;
  /** Where no system entity was alive. */
  #noSystemAt = -1;

  private constructor(options: ShardOptions) {
    this.id = options.shard;
    this.#options = options;
    const { clock } = options.platform;
    const commit = new GroupCommit({ clock, counters: this.counters, log: () => this.log, recovery: () => this.#recovery });
    this.#queue = new CommitQueue({
      newBuilder: () => this.log.beginGroup(),
      nextTurn: () => clock.yield(),
      ready: () => this.#readyToCommit(),
      commit: (group) => commit.commit(group),
      commitNow: (group) => commit.commitNow(group),
      idle: () => this.#recovery.scheduleMark(),
    });
    this.#writer = new ShardWriter({
      platform: options.platform,
      shard: options.shard,
      queue: this.#queue,
      log: () => this.log,
      index: () => this.#contents.index,
      visibleSeq: () => this.#contents.visibleSeq,
      committed: (seq, counts) => this.#committed(seq, counts),
      isDropped: (seq) => this.upkeep.isGoing(seq),
    });
    this.#folder = new ShardFolder({
      clock,
      memtableBytes: options.memtableBytes,
      checkpointRecords: options.checkpointRecords,
      index: () => this.#contents.index,
      visibleSeq: () => this.#contents.visibleSeq,
      checkpoint: () => this.checkpoint(),
      patience: () => (this.replica.takesWrites ? 1 : FOLLOWER_PATIENCE),
      counters: this.counters,
    });
    this.#chain = new CheckpointChain({
      shard: options.shard,
      catalog: options.catalog,
      clock,
      log: () => this.log,
    });
    this.#contents = new ShardContents({
      options,
      chain: this.#chain,
      upkeep: { met: (event, seq) => this.upkeep.met(event, seq) },
      foldIsDue: () => this.#folder.isDue,
      indexBroken: () => this.#healing.broken(),
      indexMended: () => this.#healing.mended(),
    });
    this.#recovery = new ShardRecovery({
      shard: options.shard,
      clock,
      queue: this.#queue,
      log: () => this.log,
      rollBack: () => this.#contents.index.rollBack(this.#contents.visibleSeq),
      reopen: () => this.#reopen(),
    });
    this.#healing = new IndexHealing({ shard: options.shard, rebuild: () => this.#rebuild() });
    this.upkeep = new ShardUpkeep({
      shard: this,
      platform: options.platform,
      databaseId: options.databaseId,
      catalog: options.catalog,
      hold: options.hold,
      segmentBytes: options.segmentBytes,
      log: () => this.log,
      index: () => this.#contents.index,
      tree: () => this.#contents.store,
      betweenFolds: (work) => this.healing(() => this.#folder.betweenFolds(work)),
      insertEvent: (event) => {
        this.#refuseWhereStopped();
        return this.#writer.insertEvent(event);
      },
      watchRefs: (told) => this.#writer.watchRefs(told),
    });
    this.#roots = lazily(
      () =>
        new ShardRoots({
          shard: options.shard,
          catalog: options.catalog,
          contents: this.#contents,
          chain: this.#chain,
          folder: this.#folder,
          healing: this.#healing,
          erasures: this.upkeep.erasures,
          mayLog: () => this.replica.takesWrites,
          stopped: () => this.stopped,
          insertEvent: (event) => this.#writer.insertEvent(event),
        }),
    );
    this.replica = new ReplicaControl({
      shard: this,
      options,
      contents: this.#contents,
      queue: this.#queue,
      writer: this.#writer,
      folder: this.#folder,
      chain: this.#chain,
      healing: this.#healing,
      recovery: this.#recovery,
      committed: (seq, counts) => this.#committed(seq, counts),
    });
  }

  static async open(options: ShardOptions): Promise<Shard> {
    const shard = new Shard(options);
    await shard.#open();
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
    const { gap } = this.#contents;
    return gap === undefined ? this.#recovery.stopped : `seqs ${gap.fromSeq} to ${gap.toSeq} of the log are damaged`;
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
    return this.#folder.failure;
  }

  /** Records in memory, newer than the tree, and what they take. */
  get memory(): { readonly records: number; readonly bytes: number } {
    return { records: this.#contents.index.memoryCount, bytes: this.#contents.index.memoryBytes };
  }

  /** Shared by all shards of the database. */
  get caches(): { readonly nodes: NodeCache; readonly blocks: BlockCache } {
    return { nodes: this.#options.nodeCache, blocks: this.#options.blockCache };
  }

  // ---- writing

  /** See `Database.room`. */
  room(): Promise<void> | undefined {
    return this.#queue.room();
  }

  insert(batch: PreparedBatch, options: InsertOptions): Promise<InsertResult> {
    try {
      this.#refuseWhereStopped();
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

  #refuseWhereStopped(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closing', {});
    this.#contents.checkWhole();
    const overflow = this.#folder.overflow;
    if (overflow !== undefined) throw new VarveError('OVERLOADED', `shard ${this.id}: ${overflow}`, { retryAfterMs: FOLD_RETRY_MS });
    const reason = this.#recovery.stopped;
    if (reason === undefined) return this.replica.checkTakesWrites();
    throw new VarveError('NOT_WRITTEN', `shard ${this.id} takes no writes: ${reason}`, { shard: this.id, reason });
  }

  async #reopen(): Promise<void> {
    await this.#healing.settled();
    await this.#contents.reopenLog();
    this.#watchers.wake();
    this.#writer.startFrom(this.log.durableSeq, this.log.lastTime);
    this.replica.reopened();
  }

  #committed(seq: number, counts: Counts | undefined): void {
    this.#contents.visibleSeq = seq;
    this.#watchers.wake();
    if (counts === undefined) return;
    this.#contents.counts.addAll(counts);
    this.#folder.startIfDue();
  }

  /** A mark under way goes first; a fold that lags far behind is waited for. */
  #readyToCommit(): Promise<void> | undefined {
    const held = this.#folder.backPressure();
    return held === undefined && !this.#recovery.marking && !this.#healing.rebuilding ? undefined : this.#untilReady(held);
  }

  async #untilReady(held: Promise<void> | undefined): Promise<void> {
    await held;
    while (this.#recovery.marking || this.#healing.rebuilding) {
      await this.#recovery.marked();
      await this.#healing.settled();
    }
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
    return this.#watchers.once(wake);
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
    if (this.#recovery.unknownOutcome && time > this.log.lastTime) {
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
    return this.#roots().checkpoint();
  }

  /** Everything visible is in the tree when this resolves, logged trims carried out. */
  fold(): Promise<void> {
    return this.#roots().fold();
  }

  /** Root over everything visible now. */
  root(): Promise<{ seq: number; hash: Uint8Array; entries: number }> {
    return this.#roots().root();
  }

  /** The record's proof under the newest root, which is made to hold it; undefined where there is no such record. Logs nothing. */
  async prove(seq: number): Promise<RecordProof | undefined> {
    this.#contents.checkWhole();
    return this.record(seq) === undefined ? undefined : this.#roots().prove(seq);
  }

  /** The checkpoint that covers exactly up to `throughSeq`; undefined only where there is surely none. */
  checkpointAt(throughSeq: number): Promise<LoggedCheckpoint | undefined> {
    return this.#roots().checkpointAt(throughSeq);
  }

  /** Entities alive and versions, per collection, of everything visible. */
  counts(): Promise<Counts> {
    return this.#roots().counts();
  }

  // ---- opening, healing, closing

  async #open(): Promise<void> {
    await this.replica.beforeOpening();
    await this.#contents.open();
    this.replica.opened();
    this.#reader = new ShardReader(this.id, this.log, this.#contents.index, this.upkeep.erasures, () => {
      if (this.#closing) throw new VarveError('CLOSED', 'the database is closed', {});
    });
    this.#writer.startFrom(this.log.durableSeq, this.log.lastTime);
    this.#spokenBefore = readSpokenTime(this.#options.platform, shardDirectory(this.id));
    this.#writer.answeredFor(this.#spokenBefore);
  }

  /** Runs `work` over a whole index; once more where it met a bad tree, over the one built anew. */
  healing<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#healing.healing(work);
  }

  /** Groups wait meanwhile: what is in the log is what there is. */
  async #rebuild(): Promise<void> {
    await this.#recovery.settled();
    await this.#folder.settled();
    await this.#queue.inFlightSettled();
    const queued = this.#contents.index.takeQueued(this.#contents.visibleSeq);
    try {
      await this.#contents.loadAnew();
    } finally {
      this.#contents.index.restoreQueued(queued);
    }
  }

  /** Finishes what is queued, folds, marks and seals. */
  async close(): Promise<void> {
    await this.#queue.drained();
    await this.#healing.settled();
    await this.#folder.idle();
    await this.checkpoint().catch(() => undefined);
    this.#closing = true;
    this.#watchers.wake();
    this.#recovery.end();
    this.#folder.end();
    await this.#folder.idle();
    await this.#contents.index.end();
    await this.#queue.drained();
    await this.#recovery.marked();
    await this.log.close();
    this.#contents.store.close();
    await this.#keepSpokenTime();
  }

  /** Where the disk takes it. */
  async #keepSpokenTime(): Promise<void> {
    const { spokenTime } = this;
    if (spokenTime <= Math.max(this.lastTime, this.#spokenBefore)) return;
    await writeSpokenTime(this.#options.platform, shardDirectory(this.id), spokenTime).catch(() => undefined);
  }
}
