/**
 * What a shard is made of, and what its parts tell and wait for: committing, folding, a write that failed, a tree that is bad, closing.
 *
 *   queue -> ready? (no mark, no rebuild, memory not full) -> commit -> visible, watchers woken, fold if due
 *   write failed -> recovery -> log read again -> go on          tree bad -> healing -> nothing in flight -> index anew
 *
 * Invariants: `visibleSeq` rises only by what is durable and in the index. While the log is read again or the index is rebuilt no group
 * is in flight. Closing folds, marks and seals, in this order. A crash: see the log's recovery; the index is derived.
 */
import { CheckpointChain } from './checkpoint-chain.js';
import { CommitQueue } from './commit-queue.js';
import { VarveError } from './errors.js';
import { GroupCommit } from './group-commit.js';
import { IndexHealing } from './index-healing.js';
import { lazily } from './lazily.js';
import { ReplicaControl, type ReplicaParts } from './replica/replica-shard.js';
import type { Shard } from './shard.js';
import { ShardContents, type ShardOptions, shardDirectory } from './shard-contents.js';
import type { Counts } from './shard-counts.js';
import { FOLD_RETRY_MS, ShardFolder } from './shard-folder.js';
import { ShardRecovery } from './shard-recovery.js';
import { ShardRoots } from './shard-roots.js';
import { ShardUpkeep } from './shard-upkeep.js';
import { ShardWriter } from './shard-writer.js';
import { readSpokenTime, writeSpokenTime } from './spoken-time.js';
import { Watchers } from './watchers.js';

/** The owner's own folds begin when one is due and may let memory grow to twice that; its checkpoint event comes behind them. */
const FOLLOWER_PATIENCE = 3;

export class ShardParts implements ReplicaParts {
  readonly shard: Shard;
  readonly options: ShardOptions;
  readonly queue: CommitQueue;
  readonly writer: ShardWriter;
  readonly folder: ShardFolder;
  readonly chain: CheckpointChain;
  readonly contents: ShardContents;
  readonly recovery: ShardRecovery;
  readonly healing: IndexHealing;
  readonly upkeep: ShardUpkeep;
  readonly roots: () => ShardRoots;
  readonly replica: ReplicaControl;
  readonly watchers = new Watchers();
  #closing = false;
  /** What was answered for by who was at home before. */
  #spokenBefore = 0;

  /** The shard is only handed on: nothing is asked of it here. */
  constructor(shard: Shard, options: ShardOptions) {
    this.shard = shard;
    this.options = options;
    const { clock } = options.platform;
    const { counters } = shard;
    const log = () => this.contents.log;
    const commit = new GroupCommit({ clock, counters, log, recovery: () => this.recovery });
    this.queue = new CommitQueue({
      newBuilder: () => this.contents.log.beginGroup(),
      nextTurn: () => clock.yield(),
      ready: () => this.#readyToCommit(),
      commit: (group) => commit.commit(group),
      commitNow: (group) => commit.commitNow(group),
      idle: () => this.recovery.scheduleMark(),
    });
    this.writer = new ShardWriter({
      platform: options.platform,
      shard: options.shard,
      queue: this.queue,
      log,
      index: () => this.contents.index,
      visibleSeq: () => this.contents.visibleSeq,
      committed: this.committed,
      isDropped: (seq) => this.upkeep.isGoing(seq),
    });
    this.folder = new ShardFolder({
      clock,
      memtableBytes: options.memtableBytes,
      checkpointRecords: options.checkpointRecords,
      index: () => this.contents.index,
      visibleSeq: () => this.contents.visibleSeq,
      checkpoint: () => this.roots().checkpoint(),
      patience: () => (this.replica.takesWrites ? 1 : FOLLOWER_PATIENCE),
      counters,
    });
    this.chain = new CheckpointChain({ shard: options.shard, catalog: options.catalog, clock, log });
    this.contents = new ShardContents({
      options,
      chain: this.chain,
      upkeep: { met: (event, seq) => this.upkeep.met(event, seq) },
      foldIsDue: () => this.folder.isDue,
      indexBroken: () => this.healing.broken(),
      indexMended: () => this.healing.mended(),
    });
    this.recovery = new ShardRecovery({
      shard: options.shard,
      clock,
      queue: this.queue,
      log,
      rollBack: () => this.contents.index.rollBack(this.contents.visibleSeq),
      reopen: () => this.#reopen(),
    });
    this.healing = new IndexHealing({ shard: options.shard, rebuild: () => this.#rebuild() });
    this.upkeep = new ShardUpkeep({
      shard,
      platform: options.platform,
      databaseId: options.databaseId,
      catalog: options.catalog,
      hold: options.hold,
      segmentBytes: options.segmentBytes,
      log,
      index: () => this.contents.index,
      tree: () => this.contents.store,
      betweenFolds: (work) => this.healing.healing(() => this.folder.betweenFolds(work)),
      insertEvent: (event) => {
        this.refuseWhereStopped();
        return this.writer.insertEvent(event);
      },
      watchRefs: (told) => this.writer.watchRefs(told),
    });
    this.roots = lazily(
      () =>
        new ShardRoots({
          shard: options.shard,
          catalog: options.catalog,
          contents: this.contents,
          chain: this.chain,
          folder: this.folder,
          healing: this.healing,
          erasures: this.upkeep.erasures,
          mayLog: () => this.replica.takesWrites,
          stopped: () => this.stopped,
          insertEvent: (event) => this.writer.insertEvent(event),
        }),
    );
    this.replica = new ReplicaControl(this);
  }

  // ---- life

  async open(): Promise<void> {
    await this.replica.beforeOpening();
    await this.contents.open();
    this.replica.opened();
    const { log } = this.contents;
    this.writer.startFrom(log.durableSeq, log.lastTime);
    this.#spokenBefore = readSpokenTime(this.options.platform, shardDirectory(this.options.shard));
    this.writer.answeredFor(this.#spokenBefore);
  }

  /** Throws CLOSED once the log is about to be. */
  checkOpen(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closed', {});
  }

  /** Finishes what is queued, folds, marks and seals. */
  async close(): Promise<void> {
    await this.queue.drained();
    await this.healing.settled();
    await this.folder.idle();
    await this.roots()
      .checkpoint()
      .catch(() => undefined);
    this.#closing = true;
    this.watchers.wake();
    this.recovery.end();
    this.folder.end();
    await this.folder.idle();
    await this.contents.index.end();
    await this.queue.drained();
    await this.recovery.marked();
    await this.contents.log.close();
    this.contents.store.close();
    await this.#keepSpokenTime();
  }

  /** Where the disk takes it. */
  async #keepSpokenTime(): Promise<void> {
    const { spokenTime, lastTime } = this.writer;
    if (spokenTime <= Math.max(lastTime, this.#spokenBefore)) return;
    await writeSpokenTime(this.options.platform, shardDirectory(this.options.shard), spokenTime).catch(() => undefined);
  }

  // ---- writes

  /** Why writes are refused, or undefined. */
  get stopped(): string | undefined {
    const { gap } = this.contents;
    return gap === undefined ? this.recovery.stopped : `seqs ${gap.fromSeq} to ${gap.toSeq} of the log are damaged`;
  }

  refuseWhereStopped(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closing', {});
    this.contents.checkWhole();
    const { shard } = this.options;
    const overflow = this.folder.overflow;
    if (overflow !== undefined) throw new VarveError('OVERLOADED', `shard ${shard}: ${overflow}`, { retryAfterMs: FOLD_RETRY_MS });
    const reason = this.recovery.stopped;
    if (reason === undefined) return this.replica.checkTakesWrites();
    throw new VarveError('NOT_WRITTEN', `shard ${shard} takes no writes: ${reason}`, { shard, reason });
  }

  /** Durable and in the index: visible from now on. `counts`: what that adds, undefined for an event. */
  readonly committed = (seq: number, counts: Counts | undefined): void => {
    this.contents.visibleSeq = seq;
    this.watchers.wake();
    if (counts === undefined) return;
    this.contents.counts.addAll(counts);
    this.folder.startIfDue();
  };

  /** A mark under way goes first; a fold that lags far behind is waited for. */
  #readyToCommit(): Promise<void> | undefined {
    const held = this.folder.backPressure();
    return held === undefined && !this.recovery.marking && !this.healing.rebuilding ? undefined : this.#untilReady(held);
  }

  async #untilReady(held: Promise<void> | undefined): Promise<void> {
    await held;
    while (this.recovery.marking || this.healing.rebuilding) {
      await this.recovery.marked();
      await this.healing.settled();
    }
  }

  // ---- failure

  /** After a write failed: what survived of it is read back. */
  async #reopen(): Promise<void> {
    await this.healing.settled();
    await this.contents.reopenLog();
    this.watchers.wake();
    const { log } = this.contents;
    this.writer.startFrom(log.durableSeq, log.lastTime);
    this.replica.reopened();
  }

  /** Groups wait meanwhile: what is in the log is what there is. */
  async #rebuild(): Promise<void> {
    await this.recovery.settled();
    await this.folder.settled();
    await this.queue.inFlightSettled();
    const queued = this.contents.index.takeQueued(this.contents.visibleSeq);
    try {
      await this.contents.loadAnew();
    } finally {
      this.contents.index.restoreQueued(queued);
    }
  }
}
