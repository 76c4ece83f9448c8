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
import type { Catalog, LoggedCheckpoint } from './catalog.js';
import { CheckpointChain } from './checkpoint-chain.js';
import { CommitQueue, type Group } from './commit-queue.js';
import type { RecordProof } from './database.js';
import { VarveError } from './errors.js';
import { entityKeyFromBytes } from './format/keys.js';
import type { IndexEntry } from './format/leaf-value.js';
import { IndexHealing } from './index-healing.js';
import { isTreeDamage, loadIndex, replayBatch } from './index-loading.js';
import { type BlockCache, type Finding, isGap, LogFailure, type SeqRange, ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { proveRecord } from './record-proof.js';
import { StoredVersion } from './record-view.js';
import { Exactness } from './retention/exactness.js';
import type { Counts, ShardCounts } from './shard-counts.js';
import { FOLD_RETRY_MS, ShardFolder } from './shard-folder.js';
import { ShardIndex } from './shard-index.js';
import { type ListedEntity, ShardReader } from './shard-reader.js';
import { ShardRecovery } from './shard-recovery.js';
import { ShardUpkeep } from './shard-upkeep.js';
import { ShardWriter } from './shard-writer.js';
import { ShardCounters } from './stats.js';
import { EMPTY_ROOT_HASH, type FoldHost, type NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { type InsertOptions, type InsertResult, recordId, type ShardId } from './types.js';
import { Watchers } from './watchers.js';

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

export function shardDirectory(shard: number): string {
  return `shards/${shard.toString(16).padStart(4, '0')}`;
}

export class Shard {
  readonly id: ShardId;
  /** What of this shard can still be told exactly. */
  readonly exactness = new Exactness();
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
  #log!: ShardLog;
  #store!: TreeStore;
  #index!: ShardIndex;
  #reader!: ShardReader;
  #visibleSeq = 0;
  /** Seqs behind the tree that could not be read: nothing from there on can be answered exactly. */
  #gap: SeqRange | undefined;
  #checkpointing: Promise<void> = Promise.resolve();
  #counts!: ShardCounts;
  #closing = false;

  private constructor(options: ShardOptions) {
    this.id = options.shard;
    this.#options = options;
    this.#queue = new CommitQueue({
      newBuilder: () => this.#log.beginGroup(),
      nextTurn: () => options.platform.clock.yield(),
      ready: () => this.#readyToCommit(),
      commit: (group) => this.#commitGroup(group),
      commitNow: (group) => this.#commitGroupNow(group),
      idle: () => this.#recovery.scheduleMark(),
    });
    this.#writer = new ShardWriter({
      platform: options.platform,
      shard: options.shard,
      queue: this.#queue,
      log: () => this.#log,
      index: () => this.#index,
      visibleSeq: () => this.#visibleSeq,
      committed: (seq, counts) => this.#committed(seq, counts),
      isDropped: (seq) => this.upkeep.isDropped(seq),
    });
    this.#folder = new ShardFolder({
      clock: options.platform.clock,
      memtableBytes: options.memtableBytes,
      checkpointRecords: options.checkpointRecords,
      index: () => this.#index,
      visibleSeq: () => this.#visibleSeq,
      checkpoint: () => this.checkpoint(),
      counters: this.counters,
    });
    this.#chain = new CheckpointChain({
      shard: options.shard,
      catalog: options.catalog,
      clock: options.platform.clock,
      log: () => this.#log,
    });
    this.#recovery = new ShardRecovery({
      shard: options.shard,
      clock: options.platform.clock,
      queue: this.#queue,
      log: () => this.#log,
      rollBack: () => this.#index.rollBack(this.#visibleSeq),
      reopen: () => this.#reopen(),
    });
    this.#healing = new IndexHealing({ shard: options.shard, rebuild: () => this.#rebuild() });
    this.upkeep = new ShardUpkeep({
      shard: this,
      clock: options.platform.clock,
      databaseId: options.databaseId,
      segmentBytes: options.segmentBytes,
      log: () => this.#log,
      index: () => this.#index,
      insertEvent: (event) => {
        this.#refuseWhereStopped();
        return this.#writer.insertEvent(event);
      },
      watchRefs: (told) => this.#writer.watchRefs(told),
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
    return this.#recovery.stopped;
  }

  get damaged(): boolean {
    return this.#gap !== undefined;
  }

  /** Why the last fold failed; it is tried again with the next one. */
  get foldFailure(): string | undefined {
    return this.#folder.failure;
  }

  /** Records in memory, newer than the tree, and what they take. */
  get memory(): { readonly records: number; readonly bytes: number } {
    return { records: this.#index.memoryCount, bytes: this.#index.memoryBytes };
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
    if (this.#gap !== undefined) throw this.#damage();
    const overflow = this.#folder.overflow;
    if (overflow !== undefined) throw new VarveError('OVERLOADED', `shard ${this.id}: ${overflow}`, { retryAfterMs: FOLD_RETRY_MS });
    const reason = this.#recovery.stopped;
    if (reason === undefined) return;
    throw new VarveError('NOT_WRITTEN', `shard ${this.id} takes no writes: ${reason}`, { shard: this.id, reason });
  }

  async #commitGroup(group: Group): Promise<void> {
    const began = this.#options.platform.clock.monotonicMs();
    try {
      await this.#log.append(group.builder);
      this.#committedGroup(group, began);
    } catch (error) {
      this.counters.commitFailures++;
      throw this.#recovery.stop(error);
    }
  }

  #commitGroupNow(group: Group): boolean {
    const began = this.#options.platform.clock.monotonicMs();
    try {
      const done = this.#log.appendNow(group.builder);
      if (done) this.#committedGroup(group, began);
      return done;
    } catch (error) {
      this.counters.commitFailures++;
      throw this.#recovery.stop(error);
    }
  }

  #committedGroup(group: Group, began: number): void {
    this.counters.groups.add(this.#options.platform.clock.monotonicMs() - began);
    this.counters.groupBatches += group.waiters.length;
  }

  /** Reads the log's end back from the disk; what survived of failed groups becomes part of the history. */
  async #reopen(): Promise<void> {
    await this.#healing.settled();
    const { recovered } = await this.#log.reopen(this.#visibleSeq);
    try {
      for (const batch of recovered)
        replayBatch({ shard: this.id, index: this.#index, chain: this.#chain, upkeep: this.upkeep }, this.#counts, batch);
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.#loadAnew();
    }
    this.#visibleSeq = Math.max(this.#visibleSeq, this.#log.durableSeq);
    this.#watchers.wake();
    this.#gap ??= this.#damageBehindTree();
    this.#writer.startFrom(this.#log.durableSeq, this.#log.lastTime);
  }

  /** Damage that reopening met counts as it does at open: where no tree covers it, the log cannot say again what it said. */
  #damageBehindTree(): SeqRange | undefined {
    if (this.#log.findings.length === 0) return undefined;
    for (const batch of this.#log.batches(this.#index.treeSeq + 1)) if (isGap(batch)) return batch.gap;
    return undefined;
  }

  #committed(seq: number, counts: Counts | undefined): void {
    this.#visibleSeq = seq;
    this.#watchers.wake();
    if (counts === undefined) return;
    this.#counts.addAll(counts);
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

  /** The entity's newest version up to `seq`, as the index tells it. */
  entry(entity: string, seq: number): IndexEntry | undefined {
    return this.#reading(seq, () => this.#index.find(entity, seq));
  }

  /** Calls `wake` once more is visible, or the shard closes; returns how to call that off. */
  onceVisible(wake: () => void): () => void {
    return this.#watchers.once(wake);
  }

  /** The record with this seq, or undefined where there is none (an event's seq, or one not given out). */
  record(seq: number): StoredVersion | undefined {
    if (seq > this.#visibleSeq) return undefined;
    const stored = this.#log.read(seq);
    if (!this.exactness.isWhole && (stored === undefined ? this.upkeep.wasRecord(seq) : this.upkeep.isDropped(seq))) {
      const horizon = recordId(this.id, Math.max(...[...this.exactness.horizons.values()].map((each) => each.seq)));
      throw new VarveError('TRIMMED', `the record ${recordId(this.id, seq)} was dropped by retention`, { collection: '', horizon });
    }
    return stored === undefined ? undefined : new StoredVersion(this.id, stored, undefined, this.upkeep.erasures);
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
    if (this.#recovery.unknownOutcome && time > this.#log.lastTime) {
      const reason = 'the outcome of a failed write is not known yet';
      throw new VarveError('UNAVAILABLE', `shard ${this.id}: ${reason}`, { shard: this.id, reason });
    }
    if (this.exactness.isWhole) return Math.min(this.#log.positionAt(time), this.#visibleSeq);
    const { nextSeq } = this.#log.positionsAround(time);
    return Math.min(this.exactness.positionAt(time, nextSeq - 1), this.#visibleSeq);
  }

  /** Runs a read at `seq`, refusing where damage could change its answer and mending the tree where it is bad. */
  #reading<T>(seq: number, read: () => T): T {
    if (this.#gap !== undefined && seq >= this.#gap.fromSeq) throw this.#damage();
    return this.#healing.reading(read);
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

  /** Everything visible is in the tree when this resolves, logged trims carried out. */
  fold(): Promise<void> {
    return this.healing(() => this.#folder.fold());
  }

  #dropped(versions: ReadonlyMap<string, number>): void {
    this.#counts.addAll(new Map([...versions].map(([collection, dropped]) => [collection, { alive: 0, versions: -dropped }])));
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

  /** The record's proof under the newest root, which is made to hold it; undefined where there is no such record. Logs nothing. */
  async prove(seq: number): Promise<RecordProof | undefined> {
    if (this.#gap !== undefined) throw this.#damage();
    const record = this.record(seq) === undefined ? undefined : this.#log.read(seq);
    if (record === undefined) return undefined;
    const entity = entityKeyFromBytes(record.collection, record.key);
    return this.healing(async () => {
      if (seq > this.#index.treeSeq) await this.#folder.fold();
      const tree = this.tree;
      return tree && proveRecord(this.id, record, entity, this.#store, tree, this.upkeep.erasures);
    });
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
    this.#index = new ShardIndex(platform, this.#store, (dropped) => this.#dropped(dropped));
    this.#reader = new ShardReader(shard, this.#log, this.#index, this.upkeep.erasures, () => {
      if (this.#closing) throw new VarveError('CLOSED', 'the database is closed', {});
    });
    try {
      // A tree of more than the log holds is of records that are gone: their seqs may come to name others.
      const [newest] = this.#store.roots(1);
      // One from before a trim that compaction has carried out names records that are gone too.
      const isUseless = newest !== undefined && (newest.seq > this.#log.durableSeq || newest.seq < this.#log.compactedThrough);
      if (isUseless) await this.#store.removeAll();
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
      upkeep: this.upkeep,
      foldIsDue: () => this.#folder.isDue,
    });
    this.#counts = loaded.counts;
    this.#gap = loaded.gap;
    this.#visibleSeq = this.#log.durableSeq;
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
    const queued = this.#index.takeQueued(this.#visibleSeq);
    try {
      await this.#loadAnew();
    } finally {
      this.#index.restoreQueued(queued);
    }
  }

  async #loadAnew(): Promise<void> {
    this.#healing.broken();
    await this.#store.removeAll();
    await this.#loadIndex();
    this.#healing.mended();
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
    await this.#queue.drained();
    await this.#recovery.marked();
    await this.#log.close();
    this.#store.close();
  }
}
