/**
 * What one shard does for the space of its tree: measures its files, compacts them, makes them anew where a fold takes most of the tree out.
 *
 *   fold that drops most -> files made anew, the superseded ones removed      else: worth it? -> compaction/compact-tree.ts
 *
 * Invariants: root hashes do not change, places do; whoever reads a root from before has read it when files go. A tree found damaged
 * meanwhile is built anew from the log. Nothing here outlives the process: a crash leaves the old files or the new ones, as the store says.
 */
import type { CompactHost } from './compaction/compact-host.js';
import type { CompactOptions } from './compaction/compact-shard.js';
import {
  type CompactedTree,
  type CompactedTreeFiles,
  compactTree,
  isTreeWorthCompacting,
  LEAST_DEAD_BYTES,
  measureTree,
  type TreeSize,
} from './compaction/compact-tree.js';
import type { Pace } from './compaction/pace.js';
import { isTreeDamage } from './index-loading.js';
import type { Platform } from './platform/platform.js';
import type { Shard } from './shard.js';
import type { ShardIndex } from './shard-index.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';

export interface TreeUpkeepDeps {
  readonly shard: Shard;
  readonly platform: Platform;
  index(): ShardIndex;
  tree(): TreeStore;
  betweenFolds<T>(work: () => Promise<T>): Promise<T>;
}

export class TreeUpkeep {
  readonly #deps: TreeUpkeepDeps;
  #measured: { readonly root: TreeRoot; readonly size: TreeSize } | undefined;

  constructor(deps: TreeUpkeepDeps) {
    this.#deps = deps;
  }

  /** Whether enough of the tree files is dead. Reads inner nodes, once for each state of the tree. */
  async isWorthCompacting(thresholds: Pick<CompactOptions, 'deadShare' | 'deadBytes'>): Promise<boolean> {
    const root = this.#deps.index().root;
    if (root === undefined || this.#deps.tree().bytes < LEAST_DEAD_BYTES) return false;
    if (this.#measured?.root !== root) {
      const size = await this.#deps.shard.healing(() => measureTree(this.#compactedTree()));
      if (size === undefined) return false;
      this.#measured = { root, size };
    }
    return isTreeWorthCompacting(this.#measured.size, { ...thresholds, force: false });
  }

  /** Folds, and tells what became of the tree's files where that made it anew. */
  async foldAnew(): Promise<CompactedTreeFiles | undefined> {
    const { shard, tree } = this.#deps;
    const index = this.#deps.index();
    const store = tree();
    let made: CompactedTreeFiles | undefined;
    if (!index.dropsMost) {
      await shard.fold();
      return undefined;
    }
    // Counting what the tree held at open reads the root of then.
    await shard.counts();
    index.onMoved = (bytesBefore, nodes) => (made = { bytesBefore, bytesAfter: store.bytes, nodes });
    try {
      await shard.fold();
    } finally {
      index.onMoved = undefined;
    }
    if (made !== undefined) await store.removeSuperseded();
    return made;
  }

  /** Undefined where nothing was worth it, or the tree was bad. */
  async compact(host: CompactHost, pace: Pace, options: CompactOptions): Promise<CompactedTreeFiles | undefined> {
    let damage: unknown;
    try {
      return await compactTree(this.#compactedTree(), host, pace, options);
    } catch (error) {
      if (!isTreeDamage(error)) throw error;
      damage = error;
    }
    // The tree is built anew, and holds nothing dead then.
    await this.#deps.shard.healing(() => {
      const met = damage;
      damage = undefined;
      if (met !== undefined) throw met;
    });
    return undefined;
  }

  #compactedTree(): CompactedTree {
    const { shard, platform, tree, index, betweenFolds } = this.#deps;
    return {
      platform,
      store: tree(),
      tree: () => shard.tree,
      betweenFolds,
      // Counting what the tree held at open reads the root of then.
      settled: async () => void (await shard.counts()),
      moved: (root) => index().moved(root),
    };
  }
}
