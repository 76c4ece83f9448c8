/**
 * Compacts the tree files of one shard: what the newest root reaches is copied into new files, pass after pass while folds go on, and put
 * in the place of the old ones. Folds only append, so that without this the files hold every node there ever was.
 *
 *   measure -> worth it? -> copy the newest root -> folded meanwhile? -> copy what that added -> … -> change over, between two folds
 *
 * Invariants: root hashes do not change, places do. Between two folds nothing is copied but what a last pass has left, so that writers are
 * not held up. Cancelled or failed, the old files stand and the new ones go. A tree thrown away meanwhile ends it: the new one holds nothing dead.
 */
import type { Platform } from '../platform/platform.js';
import { placeOf, type TreeCopyResult, type TreeCopyTask } from '../tree/tree-copy.js';
import { reachableBytes } from '../tree/tree-size.js';
import type { TreeStore } from '../tree/tree-store.js';
import type { TreeRoot } from '../tree/types.js';
import { Pace } from './pace.js';

export interface CompactedTree {
  readonly platform: Platform;
  readonly store: TreeStore;
  /** The newest root and what it covers; undefined while there is none. */
  tree(): { readonly root: TreeRoot; readonly seq: number } | undefined;
  /** Runs `work` while no fold is under way, over a whole tree. */
  betweenFolds<T>(work: () => Promise<T>): Promise<T>;
  /** Whatever reads a root from before has read it when this resolves. */
  settled(): Promise<void>;
  /** The same tree lies here now. */
  moved(root: TreeRoot): void;
}

export interface TreeSize {
  readonly bytes: number;
  readonly deadBytes: number;
}

/** Copies on a thread where that is worth it. */
export interface CopyHost {
  copy(task: TreeCopyTask, bytes: number, pace: Pace): Promise<TreeCopyResult>;
}

/** What one copy did: bytes of the files. */
export interface CompactedTreeFiles {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly nodes: number;
}

export interface TreeThresholds {
  readonly deadShare: number;
  readonly deadBytes: number;
  readonly force: boolean;
}

/** Less than this is not worth a copy. */
export const LEAST_DEAD_BYTES = 1024 * 1024;
/** Asked for: less than this part is not. */
const LEAST_SHARE = 1 / 16;
/** After so many passes folds wait for the last one. */
const MOST_PASSES = 4;
/** They do so at once where one copies more than this part of what the one before did. */
const LEAST_PROGRESS = 1 / 2;

export function isTreeWorthCompacting({ bytes, deadBytes }: TreeSize, thresholds: TreeThresholds): boolean {
  if (thresholds.force) return deadBytes > bytes * LEAST_SHARE;
  return deadBytes >= thresholds.deadBytes || (deadBytes >= LEAST_DEAD_BYTES && deadBytes >= bytes * thresholds.deadShare);
}

/** Undefined where there is no tree. Throws CORRUPT for a bad one. */
export async function measureTree({ platform, store, tree }: CompactedTree): Promise<TreeSize | undefined> {
  const root = tree()?.root;
  if (root === undefined) return undefined;
  const letGo = store.hold();
  try {
    const { life, bytes } = store;
    const steps = reachableBytes(store.reader, root);
    while (store.life === life) {
      const step = steps.next();
      if (step.done === true) return { bytes, deadBytes: Math.max(0, bytes - step.value) };
      await platform.clock.yield();
    }
    return undefined;
  } finally {
    letGo();
  }
}

/** Undefined where nothing was worth it. Throws Cancelled, CORRUPT for a bad tree, and what the disk says. */
export async function compactTree(
  tree: CompactedTree,
  host: CopyHost,
  pace: Pace,
  thresholds: TreeThresholds,
): Promise<CompactedTreeFiles | undefined> {
  const size = await measureTree(tree);
  if (size === undefined || !isTreeWorthCompacting(size, thresholds)) return undefined;
  await tree.settled();
  const copy = new TreeCompaction(tree, host);
  try {
    const bytes = size.bytes - size.deadBytes;
    for (let pass = 1, isLast = false, before = Number.POSITIVE_INFINITY; ; pass++) {
      const root = await tree.betweenFolds(() => copy.finish(isLast, bytes));
      if (root === undefined) break;
      const nodes = await copy.pass(root, bytes, pace);
      // Where folds make as much anew as a pass copies, passes lead nowhere.
      isLast = pass === MOST_PASSES || nodes > before * LEAST_PROGRESS;
      before = nodes;
    }
  } catch (error) {
    await copy.discard();
    // The tree was bad elsewhere and is built anew: its files hold nothing dead.
    if (copy.isVoid) return undefined;
    throw error;
  }
  await tree.store.removeSuperseded();
  return { bytesBefore: size.bytes, bytesAfter: tree.store.bytes, nodes: copy.nodes };
}

class TreeCompaction {
  nodes = 0;
  readonly #tree: CompactedTree;
  readonly #host: CopyHost;
  readonly #life: number;
  /** Given out, made or not. */
  readonly #numbers: number[] = [];
  readonly #files: number[] = [];
  readonly #places = new Map<number, number>();
  #reserved: { readonly from: number; readonly count: number } | undefined;

  constructor(tree: CompactedTree, host: CopyHost) {
    this.#tree = tree;
    this.#host = host;
    this.#life = tree.store.life;
  }

  get isVoid(): boolean {
    return this.#life !== this.#tree.store.life;
  }

  /** Between two folds. Changes over where all is copied, or `mustEnd`; else answers the root that the next pass is to copy. */
  async finish(mustEnd: boolean, bytes: number): Promise<TreeRoot | undefined> {
    const { store, platform } = this.#tree;
    const { root, seq } = this.#newest();
    let moved = this.#whereIs(root);
    if (moved === undefined || this.#reserved === undefined) {
      this.#reserved = store.reserveCopy();
      for (let i = 0; i < this.#reserved.count; i++) this.#numbers.push(this.#reserved.from + i);
    }
    if (moved === undefined) {
      if (!mustEnd) return root;
      // Folds wait for it: neither held back nor paused.
      await this.pass(root, bytes, new Pace(platform.clock));
      moved = this.#whereIs(root);
      this.#newest();
      if (moved === undefined) throw new Error('a pass has not copied the root it was made for');
    }
    const here = moved;
    await store.changeOver(this.#numbers[0]!, this.#files, here, seq, () => this.#tree.moved(here));
    return undefined;
  }

  /** Answers how many nodes it copied. */
  async pass(root: TreeRoot, bytes: number, pace: Pace): Promise<number> {
    const { copied, files, nodes } = await this.#host.copy(this.#task(root), bytes, pace);
    for (let i = 0; i < copied.length; i += 2) this.#places.set(copied[i]!, copied[i + 1]!);
    this.#files.push(...files);
    this.nodes += nodes;
    return nodes;
  }

  async discard(): Promise<void> {
    await this.#tree.store.discardCopy(this.#numbers);
  }

  #newest(): { readonly root: TreeRoot; readonly seq: number } {
    const tree = this.#tree.tree();
    if (tree === undefined || this.isVoid) throw new Error('the tree was removed while it was being copied');
    return tree;
  }

  #task(root: TreeRoot): TreeCopyTask {
    const known = new Float64Array(2 * this.#places.size);
    let at = 0;
    for (const [from, to] of this.#places) {
      known[at++] = from;
      known[at++] = to;
    }
    return this.#tree.store.copyTask(root, this.#numbers[0]!, this.#reserved!, known);
  }

  /** Where a pass has put this root. */
  #whereIs(root: TreeRoot): TreeRoot | undefined {
    if (root.height < 0) return root;
    const place = this.#places.get(placeOf(root.file, root.offset));
    return place === undefined ? undefined : { ...root, file: Math.floor(place / 2 ** 32), offset: place % 2 ** 32 };
  }
}
