/**
 * What a shard has on the disk and in memory: log, tree, index, and how far they are visible; and how they come from the disk.
 *
 *   open -> log (recovery) -> tree -> index (tree, then replay)     reopen -> the log's end once more     loadAnew -> without a tree
 *
 * Invariants: `visibleSeq` never passes what is synced; the index holds exactly the records up to it, and what is queued. `gap` is set
 * where damage is not covered by the tree. A crash: see the log's recovery; the index is derived.
 */
import type { Catalog } from './catalog.js';
import type { CheckpointChain } from './checkpoint-chain.js';
import { messageOf, VarveError } from './errors.js';
import { countEntries, isTreeDamage, loadIndex, replayBatch } from './index-loading.js';
import { type BlockCache, type Finding, isGap, LogFailure, type SeqRange, ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { ShardCounts } from './shard-counts.js';
import { ShardIndex } from './shard-index.js';
import type { ShardUpkeep } from './shard-upkeep.js';
import { EMPTY_ROOT_HASH, type FoldHost, type NodeCache, TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import type { ShardId } from './types.js';

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
  readonly newestBytes: number;
  readonly checkpointRecords: number;
  /** 32 hex digits: this copy. */
  readonly nodeId: string;
  /** Takes no writes until told what it is. */
  readonly hold: boolean;
}

export function shardDirectory(shard: number): string {
  return `shards/${shard.toString(16).padStart(4, '0')}`;
}

export interface ShardContentsDeps {
  readonly options: ShardOptions;
  readonly chain: CheckpointChain;
  readonly upkeep: Pick<ShardUpkeep, 'met'>;
  /** Whether the memtable has grown enough to be folded while the log is replayed. */
  foldIsDue(): boolean;
  /** Between these two nothing is answered from the index. */
  indexBroken(): void;
  indexMended(): void;
}

export class ShardContents {
  readonly #deps: ShardContentsDeps;
  log!: ShardLog;
  store!: TreeStore;
  index!: ShardIndex;
  counts!: ShardCounts;
  /** They were taken from versions some of which were gone: to be counted anew once everything is in the tree. */
  countsInDoubt = false;
  visibleSeq = 0;
  /** Why nothing is answered although the log is sound, or undefined. */
  refusal: VarveError | undefined;
  /** A seq whose root the next loading anew stops to look at, and what it found. */
  rootWanted: number | undefined;
  rootFound: Uint8Array | undefined;
  #gap: SeqRange | undefined;

  constructor(deps: ShardContentsDeps) {
    this.#deps = deps;
  }

  async open(): Promise<void> {
    const { platform, shard, databaseId, segmentBytes, nodeCache, blockCache, foldHost } = this.#deps.options;
    const directory = shardDirectory(shard);
    this.store = await TreeStore.open({
      platform,
      directory: `${directory}/tree`,
      shard,
      databaseId,
      cache: nodeCache,
      host: foldHost,
      syncsLater: true,
    });
    try {
      this.log = await ShardLog.open({ platform, directory: `${directory}/log`, shard, databaseId, segmentBytes, cache: blockCache });
    } catch (error) {
      this.store.close();
      if (!(error instanceof LogFailure)) throw error;
      const reason = `recovery failed: ${error.message}`;
      throw new VarveError('NOT_WRITTEN', `shard ${shard} cannot be opened: ${reason}`, { shard, reason }, error);
    }
    this.index = new ShardIndex(platform, this.store, (dropped) => this.#dropped(dropped), this.#deps.options.newestBytes);
    try {
      // A tree of more than the log holds is of records that are gone: their seqs may come to name others.
      const [newest] = this.store.roots(1);
      // One from before a trim that compaction has carried out names records that are gone too.
      const isUseless = newest !== undefined && (newest.seq > this.log.durableSeq || newest.seq < this.log.compactedThrough);
      if (isUseless) await this.store.removeAll();
      await this.#load();
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.loadAnew();
    }
  }

  /** Reads the log's end back from the disk; what survived of failed groups becomes part of the history. */
  async reopenLog(): Promise<void> {
    const { options, chain, upkeep } = this.#deps;
    const { recovered } = await this.log.reopen(this.visibleSeq);
    try {
      for (const batch of recovered) replayBatch({ shard: options.shard, index: this.index, chain, upkeep }, this.counts, batch);
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      await this.loadAnew();
    }
    this.visibleSeq = Math.max(this.visibleSeq, this.log.durableSeq);
    this.#gap ??= this.#damageBehindTree();
  }

  /** The index from the log alone. */
  async loadAnew(): Promise<void> {
    this.#deps.indexBroken();
    await this.store.removeAll();
    await this.#load();
    this.#deps.indexMended();
  }

  /** The index, after the log ends where it did not before. */
  async loadAgain(): Promise<void> {
    this.#deps.indexBroken();
    const [newest] = this.store.roots(1);
    if (newest !== undefined && newest.seq > this.log.durableSeq) await this.store.removeAll();
    await this.#load();
    this.#deps.indexMended();
  }

  /** A read that decides nothing but what may be answered: whatever `refusal` says. */
  unrefused<T>(read: () => T): T {
    const { refusal } = this;
    this.refusal = undefined;
    try {
      return read();
    } finally {
      this.refusal = refusal;
    }
  }

  get findings(): readonly Finding[] {
    return [...this.log.findings, ...this.store.findings];
  }

  /** The tree's newest state on disk: what a reopen starts from. */
  get tree(): { readonly seq: number; readonly root: TreeRoot } | undefined {
    const root = this.index.root;
    return root === undefined ? undefined : { seq: this.index.treeSeq, root };
  }

  /** Counts what there is, if all of it is in the tree. */
  recount(): void {
    const { index } = this;
    const { root } = index;
    if (index.memoryCount > 0 || index.hasDrops) return;
    const { clock } = this.#deps.options.platform;
    this.counts = new ShardCounts(async () => (root === undefined ? new Map() : countEntries({ clock, index }, root)));
    this.countsInDoubt = false;
  }

  /** Seqs behind the tree that could not be read: nothing from there on can be answered exactly. */
  get gap(): SeqRange | undefined {
    return this.#gap;
  }

  /** Throws BEHIND or DIVERGED where this copy may not answer. */
  checkServing(): void {
    if (this.refusal !== undefined) throw this.refusal;
  }

  /** Throws DAMAGED where damage could change an answer at `seq`. */
  checkReadable(seq: number): void {
    this.checkServing();
    if (this.#gap !== undefined && seq >= this.#gap.fromSeq) throw this.damage(this.#gap);
  }

  /** Throws DAMAGED where anything behind the tree is damaged. */
  checkWhole(): void {
    this.checkServing();
    if (this.#gap !== undefined) throw this.damage(this.#gap);
  }

  damage({ fromSeq, toSeq }: SeqRange): VarveError {
    const { shard } = this.#deps.options;
    return new VarveError('DAMAGED', `shard ${shard}: seqs ${fromSeq} to ${toSeq} of its log are damaged, and what they say is not known`, {
      shard,
      fromSeq,
      toSeq,
    });
  }

  async #load(): Promise<void> {
    const { options, chain, upkeep } = this.#deps;
    const loaded = await loadIndex({
      shard: options.shard,
      treeDirectory: `${shardDirectory(options.shard)}/tree`,
      clock: options.platform.clock,
      catalog: options.catalog,
      log: this.log,
      store: this.store,
      index: this.index,
      chain,
      upkeep,
      counting: (counts) => {
        this.counts = counts;
      },
      foldIsDue: () => this.#deps.foldIsDue(),
      rootWanted: this.rootWanted,
      rootFound: (root) => {
        this.rootFound = root?.hash ?? EMPTY_ROOT_HASH;
      },
    });
    this.#gap = loaded.gap;
    this.countsInDoubt = loaded.sawPart;
    await this.#payDrops();
    this.visibleSeq = this.log.durableSeq;
  }

  /**
   * Where compaction has carried a trim out in some segments, the log alone says less than was so before it (a tombstone is gone, what it
   * ended is there), and more than is so after it: the tree has to be rid of the rest before anything is answered.
   */
  async #payDrops(): Promise<void> {
    if (!this.index.owesDrops(this.log.compactedThrough)) return;
    try {
      await this.index.fold(this.log.durableSeq);
    } catch (error) {
      if (isTreeDamage(error)) throw error;
      const { shard } = this.#deps.options;
      const reason = `what a trim dropped cannot be taken out of the tree: ${messageOf(error)}`;
      throw new VarveError('NOT_WRITTEN', `shard ${shard}: ${reason}`, { shard, reason }, error);
    }
  }

  /** Damage that reopening met counts as it does at open: where no tree covers it, the log cannot say again what it said. */
  #damageBehindTree(): SeqRange | undefined {
    if (this.log.findings.length === 0) return undefined;
    for (const batch of this.log.batches(this.index.treeSeq + 1)) if (isGap(batch)) return batch.gap;
    return undefined;
  }

  #dropped(versions: ReadonlyMap<string, number>): void {
    this.counts.addAll(new Map([...versions].map(([collection, dropped]) => [collection, { alive: 0, versions: -dropped }])));
  }
}
