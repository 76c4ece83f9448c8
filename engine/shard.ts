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
import { CommitQueue, type Group, GroupFailure } from './commit-queue.js';
import { isVarveError, VarveError } from './errors.js';
import { hashCheckpoint } from './format/checkpoint-hash.js';
import { entityKeyFromBytes, splitEntityKey } from './format/keys.js';
import { storedRecordHash } from './format/record-hash.js';
import { type BlockCache, type CheckpointEvent, type Finding, isGap, KIND_PUT, LogFailure, ShardLog, type StoredBatch, type StoredRecord } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { ListedVersion, StoredVersion } from './record-view.js';
import { ShardIndex } from './shard-index.js';
import { type Counts, ShardCounts, TreeCounter } from './shard-counts.js';
import { ShardFolder } from './shard-folder.js';
import { ShardWriter } from './shard-writer.js';
import { EMPTY_ROOT_HASH, type NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { type InsertOptions, type InsertResult, MAX_SEQ, type ShardId } from './types.js';

export interface ShardOptions {
  readonly platform: Platform;
  readonly shard: ShardId;
  readonly databaseId: Uint8Array;
  readonly catalog: Catalog;
  readonly nodeCache: NodeCache;
  readonly blockCache: BlockCache;
  readonly segmentBytes: number;
  readonly memtableBytes: number;
  readonly checkpointRecords: number;
}

const IDLE_MARK_MS = 250;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5000;
/** Records replayed or counted before others get a turn. */
const REPLAY_SLICE = 2000;
/** About three records of usual size: what a point read takes from the disk. */
const INDEX_INTERVAL_BYTES = 1024;
const NO_HASH = new Uint8Array(32);

/** An entity of a listing: its key bytes (latin1), for merging shards in order, and its version. */
export interface ListedEntity {
  readonly entity: string;
  readonly version: ListedVersion;
}

export function shardDirectory(shard: number): string {
  return `shards/${shard.toString(16).padStart(4, '0')}`;
}

export class Shard {
  readonly id: ShardId;
  readonly #options: ShardOptions;
  readonly #queue: CommitQueue;
  readonly #writer: ShardWriter;
  readonly #folder: ShardFolder;
  #log!: ShardLog;
  #store!: TreeStore;
  #index!: ShardIndex;
  #visibleSeq = 0;
  /** The newest checkpoint event of the log; `null`: none yet; undefined: not known without looking. */
  #lastCheckpoint: LoggedCheckpoint | null | undefined;
  #stopped: string | undefined;
  #unknownOutcome = false;
  #gap: { readonly fromSeq: number; readonly toSeq: number } | undefined;
  /** Where the log could not be read when checkpoints were last looked for in it. */
  #checkpointGap: { readonly fromSeq: number; readonly toSeq: number } | undefined;
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

  /** Whether the entity has any version, queued ones included. */
  exists(entity: string): boolean {
    return this.#writer.newest(entity) !== undefined;
  }

  #refuseWhereStopped(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closing', {});
    if (this.#gap !== undefined) throw this.#damage();
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
      for (const batch of recovered) this.#replayBatch(batch);
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
    return this.#reading(seq, () => {
      const entry = this.#index.find(entity, seq);
      return entry === undefined ? undefined : this.#versionOf(entry.seq, entry.hash);
    });
  }

  /** Versions newest first, seqs within [fromSeq, toSeq], at most `limit`. */
  versions(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#reading(toSeq, () => take(this.#index.versions(entity, fromSeq, toSeq), limit).map((entry) => this.#versionOf(entry.seq, entry.hash)));
  }

  /** The oldest `limit` of those, oldest first. */
  oldestVersions(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#reading(toSeq, () => take(this.#index.versionsAscending(entity, fromSeq, toSeq), limit).map((entry) => this.#versionOf(entry.seq, entry.hash)));
  }

  /** Entities alive at `seq`, from `from` on and before `until`, at most `limit`, in key order; bodies are read when asked for. */
  alive(from: string, until: string, seq: number, limit: number): ListedEntity[] {
    return this.#reading(seq, () => {
      const found: ListedEntity[] = [];
      if (limit <= 0) return found;
      for (const { entity, entry } of this.#index.entities(from, seq)) {
        if (entity >= until) break;
        if (entry.kind !== KIND_PUT) continue;
        found.push({ entity, version: new ListedVersion(this.id, entity, entry, this.#readListed) });
        if (found.length === limit) break;
      }
      return found;
    });
  }

  readonly #readListed = (seq: number): StoredVersion => {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closed', {});
    return this.#versionOf(seq, undefined);
  };

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

  #versionOf(seq: number, hash: Uint8Array | undefined): StoredVersion {
    const stored = this.#log.read(seq);
    if (stored === undefined) {
      const what = `the index names seq ${seq}, which the log does not hold`;
      throw new VarveError('CORRUPT', `shard ${this.id}: ${what}`, { file: shardDirectory(this.id), offset: 0, what });
    }
    return new StoredVersion(this.id, stored, hash);
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

  #damageOf({ fromSeq, toSeq }: { readonly fromSeq: number; readonly toSeq: number }): VarveError {
    const details = { shard: this.id, fromSeq, toSeq };
    return new VarveError('DAMAGED', `shard ${this.id}: seqs ${fromSeq} to ${toSeq} of its log are damaged, and what they say is not known`, details);
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
    const last = await this.#newestCheckpoint();
    if (root === undefined || this.stopped !== undefined || last?.throughSeq === throughSeq) return;
    const previous = last === undefined ? NO_HASH : hashCheckpoint(last);
    const event: CheckpointEvent = { type: 'checkpoint', throughSeq, root: root.hash, entries: root.entries, previous };
    const logged = { ...event, seq: await this.#writer.insertEvent(event) };
    this.#lastCheckpoint = logged;
    this.#options.catalog.addCheckpoint(this.id, logged, last?.seq ?? 0);
    await this.#saveCounts();
  }

  async #newestCheckpoint(): Promise<LoggedCheckpoint | undefined> {
    if (this.#lastCheckpoint === undefined) this.#lastCheckpoint = (await this.#loggedCheckpoints()).at(-1) ?? null;
    return this.#lastCheckpoint ?? undefined;
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

  /** Past checkpoints, oldest first: from the catalog, or from the log where the catalog does not know them all. */
  async checkpoints(): Promise<readonly LoggedCheckpoint[]> {
    const last = await this.#newestCheckpoint();
    return this.#options.catalog.checkpoints(this.id, last?.seq ?? 0) ?? this.#loggedCheckpoints();
  }

  /** The checkpoint that covers exactly up to `throughSeq`; undefined only where there is surely none. */
  async checkpointAt(throughSeq: number): Promise<LoggedCheckpoint | undefined> {
    const found = (await this.checkpoints()).find((event) => event.throughSeq === throughSeq);
    if (found === undefined && this.#checkpointGap !== undefined) throw this.#damageOf(this.#checkpointGap);
    return found;
  }

  async #loggedCheckpoints(): Promise<LoggedCheckpoint[]> {
    const found: LoggedCheckpoint[] = [];
    this.#checkpointGap = undefined;
    for (const batch of this.#log.batches(1)) {
      if (isGap(batch)) this.#checkpointGap ??= batch.gap;
      else if (batch.event?.type === 'checkpoint') found.push({ ...batch.event, seq: batch.firstSeq });
    }
    if (this.#checkpointGap === undefined) this.#options.catalog.replaceCheckpoints(this.id, found);
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
    const { platform, shard, databaseId, segmentBytes, nodeCache, blockCache } = this.#options;
    const directory = shardDirectory(shard);
    this.#log = await ShardLog.open({
      platform,
      directory: `${directory}/log`,
      shard,
      databaseId,
      segmentBytes,
      indexIntervalBytes: INDEX_INTERVAL_BYTES,
      cache: blockCache,
    }).catch((error: unknown) => {
      if (!(error instanceof LogFailure)) throw error;
      const reason = `recovery failed: ${error.message}`;
      throw new VarveError('NOT_WRITTEN', `shard ${shard} cannot be opened: ${reason}`, { shard, reason }, error);
    });
    this.#store = await TreeStore.open({ platform, directory: `${directory}/tree`, shard, databaseId, cache: nodeCache });
    this.#index = new ShardIndex(platform, this.#store);
    try {
      // A tree of more than the log holds is of records that are gone: their seqs may come to name others.
      if (this.#store.roots().some(({ seq }) => seq > this.#log.durableSeq)) await this.#store.removeAll();
      await this.#loadIndex();
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.#loadAnew();
    }
    this.#writer.startFrom(this.#log.durableSeq, this.#log.lastTime);
  }

  /** Newest usable tree, then the log after it. */
  async #loadIndex(): Promise<void> {
    const usable = this.#store.roots().find((candidate) => candidate.seq <= this.#log.durableSeq);
    this.#index.startFrom(usable?.root, usable?.seq ?? 0);
    this.#counts = new ShardCounts(() => this.#countsAtOpen(usable?.root, usable?.seq ?? 0));
    // The event of the tree's own checkpoint, if there is one, comes after what the tree covers: the replay meets it.
    this.#lastCheckpoint = usable === undefined ? null : undefined;
    await this.#replayFrom((usable?.seq ?? 0) + 1);
    this.#visibleSeq = this.#log.durableSeq;
    const logged = this.#lastCheckpoint as LoggedCheckpoint | null | undefined; // set by the replay
    if (usable !== undefined && logged?.throughSeq === usable.seq && Buffer.compare(logged.root, usable.root.hash) !== 0) {
      const what = `the tree through seq ${usable.seq} has another root than the log says`;
      throw new VarveError('CORRUPT', `shard ${this.id}: ${what}`, { file: `${shardDirectory(this.id)}/tree/`, offset: 0, what });
    }
  }

  async #replayFrom(fromSeq: number): Promise<void> {
    let replayed = 0;
    let canFold = true;
    for (const batch of this.#log.batches(fromSeq)) {
      if (isGap(batch)) {
        this.#gap ??= batch.gap;
        continue;
      }
      this.#replayBatch(batch);
      replayed += batch.records.length;
      if (replayed >= REPLAY_SLICE) {
        replayed = 0;
        await this.#options.platform.clock.yield();
      }
      if (!canFold || this.#gap !== undefined || !this.#folder.isDue) continue;
      await this.#index.fold(batch.lastSeq).catch((error: unknown) => {
        if (isTreeDamage(error)) throw error;
        canFold = false; // a disk that takes no tree: the memtable holds it all meanwhile
      });
    }
  }

  #replayBatch(batch: StoredBatch): void {
    if (batch.event?.type === 'checkpoint') this.#lastCheckpoint = { ...batch.event, seq: batch.firstSeq };
    for (const record of batch.records) if (record.seq > this.#index.treeSeq) this.#replayRecord(record);
  }

  #replayRecord(stored: StoredRecord): void {
    const entity = entityKeyFromBytes(stored.collection, stored.key);
    const before = this.#index.find(entity, MAX_SEQ);
    const { seq, time, kind, supersedes } = stored;
    this.#index.add(entity, seq, time, kind, supersedes, storedRecordHash(this.id, stored));
    this.#counts.add(splitEntityKey(entity).collection, kind === KIND_PUT, before?.kind === KIND_PUT);
  }

  /** What the tree at open holds: as the catalog remembers it, or counted. */
  async #countsAtOpen(root: TreeRoot | undefined, seq: number): Promise<Counts> {
    const remembered = root === undefined ? new Map() : this.#options.catalog.counts(this.id, seq);
    if (remembered !== undefined) return remembered;
    const counter = new TreeCounter();
    let seen = 0;
    for (const { entity, entry } of this.#index.treeEntries(root)) {
      counter.add(entity, splitEntityKey(entity).collection, entry.kind === KIND_PUT);
      if (++seen % REPLAY_SLICE === 0) await this.#options.platform.clock.yield();
    }
    return counter.counts;
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

function isTreeDamage(error: unknown): boolean {
  return isVarveError(error, 'CORRUPT') && error.details.file.includes('/tree/');
}

function take<T>(from: Iterable<T>, limit: number): T[] {
  const taken: T[] = [];
  if (limit <= 0) return taken;
  for (const item of from) {
    taken.push(item);
    if (taken.length === limit) break;
  }
  return taken;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
