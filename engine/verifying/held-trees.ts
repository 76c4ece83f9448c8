/**
 * Versions of one shard's tree that are held still while they are compared, here or by a peer.
 *
 * Invariants: what is held keeps its nodes on the disk until it is released; what was lent to peers is released after a minute in which
 * nobody asked, and only a few are lent at a time. In memory only: after a crash nobody holds anything.
 */
import { VarveError } from '../errors.js';
import { hex } from '../format/hash.js';
import type { Clock } from '../platform/platform.js';
import type { Node } from '../tree/node.js';
import { EMPTY_ROOT_HASH, type TreeStore } from '../tree/tree-store.js';
import type { TreeRoot } from '../tree/types.js';
import type { HashHex, Seq, ShardId } from '../types.js';
import type { HeldTree } from '../verification.js';

export interface HeldTreesDeps {
  readonly shard: ShardId;
  readonly clock: Clock;
  store(): TreeStore;
  /** The newest root, undefined for the empty tree. */
  root(): TreeRoot | undefined;
  /** Folds exactly through `seq`. */
  rootAt(seq: number): Promise<{ readonly seq: number; readonly root: HashHex; readonly entries: number }>;
}

const LEND_MS = 60_000;
const MAX_LENT = 4;
/** A fold that begins between `rootAt` and the hold is met at most now and then. */
const MAX_TRIES = 8;

interface Lent {
  readonly tree: HeldTree;
  lastUsedMs: number;
}

export class HeldTrees {
  readonly #deps: HeldTreesDeps;
  /** By seq, the one used last at the end. */
  readonly #lent = new Map<number, Lent>();
  #cancelExpiry: (() => void) | undefined;

  constructor(deps: HeldTreesDeps) {
    this.#deps = deps;
  }

  async at(seq: number): Promise<HeldTree> {
    const { shard, store, root, rootAt } = this.#deps;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const found = await rootAt(seq);
      const newest = root();
      if (hex(newest?.hash ?? EMPTY_ROOT_HASH) === found.root) return holdTree(store(), newest, { ...found, seq: found.seq as Seq });
    }
    throw new VarveError('UNAVAILABLE', `shard ${shard}: its tree would not stand still`, { shard, reason: 'folds go on' });
  }

  async lend(seq: number): Promise<HeldTree> {
    const known = this.lent(seq);
    if (known !== undefined) return known;
    const tree = await this.at(seq);
    this.#lent.get(seq)?.tree.release();
    this.#lent.set(seq, { tree, lastUsedMs: this.#deps.clock.monotonicMs() });
    for (const [oldest, { tree: old }] of this.#lent) {
      if (this.#lent.size <= MAX_LENT) break;
      this.#lent.delete(oldest);
      old.release();
    }
    this.#expireLater();
    return tree;
  }

  lent(seq: number): HeldTree | undefined {
    const lent = this.#lent.get(seq);
    if (lent === undefined) return undefined;
    lent.lastUsedMs = this.#deps.clock.monotonicMs();
    this.#lent.delete(seq);
    this.#lent.set(seq, lent);
    return lent.tree;
  }

  close(): void {
    this.#cancelExpiry?.();
    for (const { tree } of this.#lent.values()) tree.release();
    this.#lent.clear();
  }

  #expireLater(): void {
    this.#cancelExpiry ??= this.#deps.clock.after(LEND_MS, () => {
      this.#cancelExpiry = undefined;
      const now = this.#deps.clock.monotonicMs();
      for (const [seq, { tree, lastUsedMs }] of this.#lent) {
        if (now - lastUsedMs < LEND_MS) continue;
        this.#lent.delete(seq);
        tree.release();
      }
      if (this.#lent.size > 0) this.#expireLater();
    });
  }
}

export function holdTree(
  store: TreeStore,
  root: TreeRoot | undefined,
  { seq, entries, root: hash }: Omit<HeldTree, 'node' | 'release'>,
): HeldTree {
  let release: (() => void) | undefined = store.hold();
  return {
    seq,
    entries,
    root: hash,
    node(path) {
      let node: Node | undefined = root === undefined ? undefined : store.reader.root(root);
      for (const index of path) {
        if (node === undefined || node.level === 0 || index >= node.count) return undefined;
        node = store.reader.child(node, index);
      }
      return node?.hashed();
    },
    release() {
      release?.();
      release = undefined;
    },
  };
}
