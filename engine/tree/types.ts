/** What the tree and its callers say to each other. */
import type { Node } from './node.js';

/** Bytes of a leaf entry's value: hash 32, kind 1, time 8, supersedes 6. See docs/FORMAT.md, "Tree". */
export const LEAF_VALUE_BYTES = 47;

/** A change to apply: runs of these are sorted by key, keys unique. `value` undefined removes the entry. */
export interface TreeChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** A sorted run read in place: no object an entry. */
export interface ChangeSource {
  /** The current change's key is `key[0, length)`; overwritten by `advance`. */
  readonly key: Uint8Array;
  readonly length: number;
  /** Its value from byte 0 on; undefined removes the entry. Overwritten by `advance`. */
  readonly value: Uint8Array | undefined;
  /** Where the entry stands that goes, for a source that knows: the key need not be searched for there, nor made. */
  readonly leaf?: Node | undefined;
  readonly leafIndex?: number;
  /** Moves to the next change, the first one at first; false where there is none. Keys must be strictly ascending. */
  advance(): boolean;
}

/** Names one version of a tree: enough to open it again. Only `hash` and `entries` are the same on every replica. */
export interface TreeRoot {
  readonly hash: Uint8Array;
  readonly entries: number;
  /** Levels above the leaves; 0 for a single leaf. -1 for the empty tree. */
  readonly height: number;
  /** Where the root node lies in this replica's tree files: local, never hashed. */
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

/** The seq's bytes at the end of a tree key: big-endian 2^48-1 - seq, so that newer versions come first. */
export const SEQ_BYTES = 6;
