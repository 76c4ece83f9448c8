/**
 * A shard as verification sees it: its tree held still for a comparison, and every byte of it read back. Types only.
 * `Database.verifiable(shard)` gives it; the engine knows nothing of the copies it is compared with.
 */
import type { Finding } from './log/types.js';
import type { HashHex, Seq, ShardId } from './types.js';

/** One version of a shard's tree. It stays readable, whatever is folded or compacted, until it is released. */
export interface HeldTree {
  readonly seq: Seq;
  readonly root: HashHex;
  readonly entries: number;
  /**
   * The hashed bytes of the node that this path of child numbers leads to, from the root (the empty path) on; undefined where it leads
   * nowhere. A view. Throws CORRUPT.
   */
  node(path: readonly number[]): Uint8Array | undefined;
  release(): void;
}

/** What a scrub may not outrun. Asked after every slice; throws to end it. */
export interface ScrubPace {
  spend(bytes: number): Promise<void>;
}

export interface ScrubReport {
  readonly findings: readonly Finding[];
  readonly bytes: number;
  /** Of the findings, some are of the tree: it wants to be rebuilt. */
  readonly treeDamaged: boolean;
}

export interface VerifiableShard {
  readonly id: ShardId;
  /** The tree of exactly what is live at `seq`, once that is visible. Throws PASSED with the tree's seq where it is beyond. */
  treeAt(seq: Seq): Promise<HeldTree>;
  /** The same kept for others, who ask for its nodes within the next minute. */
  lendTree(seq: Seq): Promise<HeldTree>;
  /** One that was lent, undefined once it is gone. */
  lentTree(seq: Seq): HeldTree | undefined;
  /** What segments stand for that hold damage, seqs missing or not: they want to be written anew. As far as it is known. */
  readonly damagedSegments: readonly { readonly fromSeq: number; readonly toSeq: number }[];
  /** Of the log, known by opening, reading and scrubs. */
  readonly findings: readonly Finding[];
  /** Reads back every byte of log, of what the tree reaches, and of the catalog. What is found in the log becomes the shard's own knowledge. */
  scrub(pace: ScrubPace, progress: (share: number) => void): Promise<ScrubReport>;
}
