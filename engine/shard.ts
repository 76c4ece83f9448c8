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
import type { PreparedItem } from './batch.js';
import type { Catalog, LoggedCheckpoint } from './catalog.js';
import { CheckpointChain } from './checkpoint-chain.js';
import { CommitQueue, type Group, GroupFailure } from './commit-queue.js';
import { messageOf, VarveError } from './errors.js';
import { isTreeDamage, loadIndex, replayBatch } from './index-loading.js';
import { type BlockCache, type Finding, LogFailure, type SeqRange, ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { StoredVersion } from './record-view.js';
import { Exactness } from './retention/exactness.js';
import type { Counts, ShardCounts } from './shard-counts.js';
import { FOLD_RETRY_MS, ShardFolder } from './shard-folder.js';
import { ShardIndex } from './shard-index.js';
import { type ListedEntity, ShardReader } from './shard-reader.js';
import { ShardWriter } from './shard-writer.js';
import { EMPTY_ROOT_HASH, type FoldHost, type NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import type { InsertOptions, InsertResult, ShardId } from './types.js';

export interface ShardOptions {
  readonly platform: Platform;
  readonly shard: ShardId;
  readonly databaseId: Uint8Array;
  readonly catalog: Catalog;
  readonly nodeCache: NodeCache;
  /** Where large folds are done. */
  readonly foldHost: FoldHost;
  readonly blockCache: BlockCache;
  readonly segmentBytes: number;
  readonly memtableBytes: number;
  readonly checkpointRecords: number;
}

const IDLE_MARK_MS = 250;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5000;

export function shardDirectory(shard: number): string {
  return `shards/${shard.toString(16).padStart(4, '0')}`;
}

export class Shard {
  readonly id: ShardId;
  /** What of this shard can still be told exactly. */
  readonly exactness = new Exactness();
  readonly #options: ShardOptions;
  readonly #queue: CommitQueue;
  readonly #writer: ShardWriter;
  readonly #folder: ShardFolder;
  readonly #chain: CheckpointChain;
  #log!: ShardLog;
  #store!: TreeStore;
  #index!: ShardIndex;
  #reader!: ShardReader;
  #visibleSeq = 0;
  #stopped: string | undefined;
  #unknownOutcome = false;
  /** Seqs behind the tree that could not be read: nothing from there on can be answered exactly. */
  #gap: SeqRange | undefined;
  #marking: Promise<void> | undefined;
  #rebuilding: Promise<void> | undefined;
  #reopening: Promise<void> | undefined;
  /** False while the index is being rebuilt, and after that failed: nothing may be answered from it. */
  #indexIsWhole = true;
  #checkpointing: Promise<void> = Promise.resolve();
  #counts!: ShardCounts;
  #cancelMark: () => void = () => undefined;
  #cancelRetry: () => void = () => undefined;
  #closing = false;

  private constructor(options: ShardOptions) {
    this.id = options.shard;
    this.#options = options;
    this.#queue = new CommitQueue({
      newBuilder: () => this.#log.beginGroup(),
      ready: () => this.#readyToCommit(),
      commit: (group) => this.#commitGroup(group),
      idle: () => this.#scheduleMark(),
    });
    this.#writer = new ShardWriter({
      platform: options.platform,
      shard: options.shard,
      queue: this.#queue,
      log: () => this.#log,
      index: () => this.#index,
      visibleSeq: () => this.#visibleSeq,
      committed: (seq, counts) => this.#committed(seq, counts),
    });
    this.#folder = new ShardFolder({
      clock: options.platform.clock,
      memtableBytes: options.memtableBytes,
      checkpointRecords: options.checkpointRecords,
      index: () => this.#index,
      visibleSeq: () => this.#visibleSeq,
      checkpoint: () => this.checkpoint(),
    });
    this.#chain = new CheckpointChain({
      shard: options.shard,
      catalog: options.catalog,
      clock: options.platform.clock,
      log: () => this.#log,
    });
  }

  static async open(options: ShardOptions): Promise<Shard> {
    const shard = new Shard(options);
    await shard.#open();
    return shard;
  }

  // ---- state

  get visibleSeq(): number {
    return this.#visibleSeq;
  }

  get log(): ShardLog {
    return this.#log;
  }

  get findings(): readonly Finding[] {
    return [...this.#log.findings, ...this.#store.findings];
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
    const root = this.#index.root;
    return root === undefined ? undefined : { seq: this.#index.treeSeq, root };
  }

  /** Why writes are refused, or undefined. */
  get stopped(): string | undefined {
    if (this.#gap !== undefined) return `seqs ${this.#gap.fromSeq} to ${this.#gap.toSeq} of the log are damaged`;
    return this.#stopped;
  }

  get damaged(): boolean {
    return this.#gap !== undefined;
  }

  /** Why the last fold failed; it is tried again with the next one. */
  get foldFailure(): string | undefined {
    return this.#folder.failure;
  }

  // ---- writing

  async insert(items: readonly PreparedItem[], options: InsertOptions): Promise<InsertResult> {
    this.#refuseWhereStopped();
    return this.healing(() => this.#writer.insert(items, options));
  }

  /** Resolves once everything queued by now has been committed or has failed. */
  async queuedSettled(): Promise<void> {
    await this.#rebuilding?.catch(() => undefined);
    await Promise.allSettled(this.#queue.pending.map((group) => group.settled));
  }

  #refuseWhereStopped(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closing', {});
    if (this.#gap !== undefined) throw this.#damage();
    const overflow = this.#folder.overflow;
    if (overflow !== undefined) throw new VarveError('OVERLOADED', `shard ${this.id}: ${overflow}`, { retryAfterMs: FOLD_RETRY_MS });
    if (this.#stopped === undefined) return;
    throw new VarveError('NOT_WRITTEN', `shard ${this.id} takes no writes: ${this.#stopped}`, { shard: this.id, reason: this.#stopped });
  }

  async #commitGroup(group: Group): Promise<void> {
    try {
      await this.#log.append(group.builder);
    } catch (error) {
      throw this.#stop(error);
    }
  }

  /** A write failed: says what to tell whom, and sets recovery going. */
  #stop(error: unknown): GroupFailure {
    const shard = this.id;
    const failure = error instanceof LogFailure ? error : undefined;
    const reason = `${failure?.stage ?? 'write'} failed: ${messageOf(failure?.cause ?? error)}`;
    const untouched = failure?.reachedDisk === 'no';
    this.#stopped = reason;
    this.#unknownOutcome ||= !untouched;
    this.#index.rollBack(this.#visibleSeq);
    this.#retryReopen(FIRST_RETRY_MS);
    const notWritten = new VarveError('NOT_WRITTEN', `nothing was written: ${reason}`, { shard, reason }, error);
    const unknown = new VarveError('OUTCOME_UNKNOWN', `the write may or may not survive: ${reason}`, { shard, reason }, error);
    return new GroupFailure(untouched ? notWritten : unknown, notWritten);
  }

  #retryReopen(delayMs: number): void {
    if (this.#closing) return;
    this.#cancelRetry = this.#options.platform.clock.after(delayMs, () => {
      this.#reopening = this.#reopen().finally(() => {
        this.#reopening = undefined;
      });
      this.#reopening.catch((error: unknown) => {
        this.#stopped = `recovery failed: ${messageOf(error)}`;
        this.#retryReopen(Math.min(delayMs * 2, LAST_RETRY_MS));
      });
    });
  }

  /** Reads the log's end back from the disk; what survived of failed groups becomes part of the history. */
  async #reopen(): Promise<void> {
    await this.#rebuilding?.catch(() => undefined);
    const { recovered } = await this.#log.reopen(this.#visibleSeq);
    try {
      for (const batch of recovered) replayBatch({ shard: this.id, index: this.#index, chain: this.#chain }, this.#counts, batch);
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.#loadAnew();
    }
    this.#visibleSeq = Math.max(this.#visibleSeq, this.#log.durableSeq);
    this.#writer.startFrom(this.#log.durableSeq, this.#log.lastTime);
    this.#stopped = undefined;
    this.#unknownOutcome = false;
    this.#queue.reset();
  }

  #committed(seq: number, counts: Counts | undefined): void {
    this.#visibleSeq = seq;
    if (counts === undefined) return;
    this.#counts.addAll(counts);
    this.#folder.startIfDue();
  }

  #scheduleMark(): void {
    this.#cancelMark();
    if (this.#closing || this.#log.attestedSeq >= this.#log.durableSeq) return;
    this.#cancelMark = this.#options.platform.clock.after(IDLE_MARK_MS, () => {
      if (this.#queue.busy || this.#stopped !== undefined || this.#closing) return;
      this.#marking = this.#log.mark().catch((error: unknown) => {
        const failure = this.#stop(error);
        this.#queue.break(failure.behind);
      });
    });
  }

  /** A mark under way goes first; a fold that lags far behind is waited for. */
  async #readyToCommit(): Promise<void> {
    await this.#folder.backPressure();
    while (this.#marking !== undefined || this.#rebuilding !== undefined) {
      await this.#marking;
      this.#marking = undefined;
      await this.#rebuilding?.catch(() => undefined);
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

  /** The record with this seq, or undefined where there is none (an event's seq, or one not given out). */
  record(seq: number): StoredVersion | undefined {
    if (seq > this.#visibleSeq) return undefined;
    const stored = this.#log.read(seq);
    return stored === undefined ? undefined : new StoredVersion(this.id, stored, undefined);
  }

  /** The end of that record's batch, or undefined where there is no such record. */
  endOfBatch(seq: number): number | undefined {
    return seq > this.#visibleSeq ? undefined : this.#log.readBatchEnd(seq);
  }

  /** The position of a time, once no group in flight can change it. The server's clock stamps later from now on. */
  async positionAt(time: number): Promise<number> {
    this.#writer.answeredFor(time);
    const covered = this.#queue.pending.filter((group) => group.firstTime <= time);
    await Promise.allSettled(covered.map((group) => group.settled));
    if (this.#unknownOutcome && time > this.#log.lastTime) {
      const reason = 'the outcome of a failed write is not known yet';
      throw new VarveError('UNAVAILABLE', `shard ${this.id}: ${reason}`, { shard: this.id, reason });
    }
    return Math.min(this.#log.positionAt(time), this.#visibleSeq);
  }

  /** Runs a read at `seq`, refusing where damage could change its answer and mending the tree where it is bad. */
  #reading<T>(seq: number, read: () => T): T {
    if (this.#gap !== undefined && seq >= this.#gap.fromSeq) throw this.#damage();
    if (!this.#indexIsWhole) {
      this.#startRebuild();
      throw this.#rebuildingError();
    }
    try {
      return read();
    } catch (error) {
      this.#healAfter(error);
      throw error;
    }
  }

  #damage(): VarveError {
    return this.#damageOf(this.#gap ?? { fromSeq: 0, toSeq: 0 });
  }

  #damageOf({ fromSeq, toSeq }: SeqRange): VarveError {
    const details = { shard: this.id, fromSeq, toSeq };
    return new VarveError(
      'DAMAGED',
      `shard ${this.id}: seqs ${fromSeq} to ${toSeq} of its log are damaged, and what they say is not known`,
      details,
    );
  }

  // ---- folding

  /** Folds, logs the checkpoint event and notes it in the catalog. Does nothing where nothing is newer. */
  checkpoint(): Promise<void> {
    // One at a time: each names the one before it.
    const turn = this.#checkpointing.catch(() => undefined).then(() => this.#checkpoint());
    this.#checkpointing = turn;
    return turn;
  }

  async #checkpoint(): Promise<void> {
    if (this.stopped !== undefined) return;
    await this.healing(() => this.#folder.fold());
    const root = this.#index.root;
    const throughSeq = this.#index.treeSeq;
    const last = await this.#chain.newest();
    if (root === undefined || this.stopped !== undefined || last?.throughSeq === throughSeq) return;
    const event = this.#chain.next(last, root, throughSeq);
    this.#chain.logged({ ...event, seq: await this.#writer.insertEvent(event) }, last);
    await this.#saveCounts();
  }

  /** Root over everything visible now. */
  async root(): Promise<{ seq: number; hash: Uint8Array; entries: number }> {
    if (this.#gap !== undefined) throw this.#damage();
    const seq = this.#visibleSeq;
    await this.healing(() => this.#folder.fold());
    const root = this.#index.root;
    // More may have become visible and been folded meanwhile; then the root is that of the later seq.
    return { seq: Math.max(seq, this.#index.treeSeq), hash: root?.hash ?? EMPTY_ROOT_HASH, entries: root?.entries ?? 0 };
  }

  /** The checkpoint that covers exactly up to `throughSeq`; undefined only where there is surely none. */
  async checkpointAt(throughSeq: number): Promise<LoggedCheckpoint | undefined> {
    const found = (await this.#chain.all()).find((event) => event.throughSeq === throughSeq);
    if (found === undefined && this.#chain.gap !== undefined) throw this.#damageOf(this.#chain.gap);
    return found;
  }

  /** Entities alive and versions, per collection, of everything visible. */
  async counts(): Promise<Counts> {
    if (this.#gap !== undefined) throw this.#damage();
    return this.#counts.total();
  }

  async #saveCounts(): Promise<void> {
    const counts = await this.#counts.total();
    // Counts go with the tree they describe; where more has become visible meanwhile, the next checkpoint saves them.
    if (this.#index.memoryCount === 0) this.#options.catalog.saveCounts(this.id, this.#index.treeSeq, counts);
  }

  // ---- opening, healing, closing

  async #open(): Promise<void> {
    const { platform, shard, databaseId, segmentBytes, nodeCache, blockCache, foldHost } = this.#options;
    const directory = shardDirectory(shard);
    this.#log = await ShardLog.open({
      platform,
      directory: `${directory}/log`,
      shard,
      databaseId,
      segmentBytes,
      cache: blockCache,
    }).catch((error: unknown) => {
      if (!(error instanceof LogFailure)) throw error;
      const reason = `recovery failed: ${error.message}`;
      throw new VarveError('NOT_WRITTEN', `shard ${shard} cannot be opened: ${reason}`, { shard, reason }, error);
    });
    this.#store = await TreeStore.open({ platform, directory: `${directory}/tree`, shard, databaseId, cache: nodeCache, host: foldHost });
    this.#index = new ShardIndex(platform, this.#store);
    this.#reader = new ShardReader(shard, this.#log, this.#index, () => {
      if (this.#closing) throw new VarveError('CLOSED', 'the database is closed', {});
    });
    try {
      // A tree of more than the log holds is of records that are gone: their seqs may come to name others.
      const [newest] = this.#store.roots(1);
      if (newest !== undefined && newest.seq > this.#log.durableSeq) await this.#store.removeAll();
      await this.#loadIndex();
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.#loadAnew();
    }
    this.#writer.startFrom(this.#log.durableSeq, this.#log.lastTime);
  }

  async #loadIndex(): Promise<void> {
    const { platform, catalog } = this.#options;
    const loaded = await loadIndex({
      shard: this.id,
      treeDirectory: `${shardDirectory(this.id)}/tree`,
      clock: platform.clock,
      catalog,
      log: this.#log,
      store: this.#store,
      index: this.#index,
      chain: this.#chain,
      foldIsDue: () => this.#folder.isDue,
    });
    this.#counts = loaded.counts;
    this.#gap = loaded.gap;
    this.#visibleSeq = this.#log.durableSeq;
  }

  #rebuildingError(): VarveError {
    const reason = 'its tree was damaged and is being rebuilt from the log';
    return new VarveError('UNAVAILABLE', `shard ${this.id}: ${reason}`, { shard: this.id, reason });
  }

  /** A bad tree is rebuilt from the log (law 2); anything else is not for us to mend. */
  #healAfter(error: unknown): void {
    if (isTreeDamage(error)) this.#startRebuild();
  }

  #startRebuild(): void {
    this.#indexIsWhole = false;
    this.#rebuilding ??= this.#rebuild().finally(() => {
      this.#rebuilding = undefined;
    });
    this.#rebuilding.catch(() => undefined);
  }

  /** Runs `work` over a whole index; once more where it met a bad tree, over the one built anew. */
  async healing<T>(work: () => T | Promise<T>): Promise<T> {
    if (!this.#indexIsWhole) this.#startRebuild();
    if (this.#rebuilding !== undefined) await this.#rebuilding;
    try {
      return await work();
    } catch (error) {
      this.#healAfter(error);
      if (this.#rebuilding === undefined) throw error;
      await this.#rebuilding;
      return work();
    }
  }

  /** Groups wait meanwhile: what is in the log is what there is. */
  async #rebuild(): Promise<void> {
    await this.#reopening?.catch(() => undefined);
    await this.#folder.settled();
    await this.#queue.inFlightSettled();
    const queued = this.#index.takeQueued(this.#visibleSeq);
    try {
      await this.#loadAnew();
    } finally {
      this.#index.restoreQueued(queued);
    }
  }

  async #loadAnew(): Promise<void> {
    this.#indexIsWhole = false;
    await this.#store.removeAll();
    await this.#loadIndex();
    this.#indexIsWhole = true;
  }

  /** Finishes what is queued, folds, marks and seals. */
  async close(): Promise<void> {
    await this.#queue.drained();
    await this.#rebuilding?.catch(() => undefined);
    await this.#folder.idle();
    await this.checkpoint().catch(() => undefined);
    this.#closing = true;
    this.#cancelMark();
    this.#cancelRetry();
    await this.#queue.drained();
    await this.#marking;
    await this.#log.close();
    this.#store.close();
  }
}
