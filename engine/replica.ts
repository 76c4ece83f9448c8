/**
 * A shard as replication sees it: what a source reads, what a follower applies, how ownership changes hands, what is mended.
 * `Database.replica(shard)` gives it. The engine knows nothing of peers: whoever calls this has checked who may.
 *
 * Invariants: what `apply` took is durable and checked as if it came from a stranger (law 9); a role, a promise and a rewind are durable
 * before they are told; nothing is ever applied beside the writer of the shard (one role at a time).
 */
import type { Micros } from './platform/platform.js';
import type { HashHex, ShardId } from './types.js';

export type ShardRole = 'owner' | 'follower' | 'fenced';

/** One epoch of a log. */
export interface EpochSpan {
  readonly epoch: number;
  readonly firstSeq: number;
  /** The last seq of it that this log has; where a later epoch follows, where it ended. */
  readonly lastSeq: number;
}

/** Batches as they stand in frames, without a frame around them. */
export interface LogSlice {
  readonly epoch: number;
  /** What they stand for: seqs in between that no batch has were dropped, or belong to no epoch. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** As the header of their segment says. */
  readonly compactedThrough: number;
  /** Batches one after the other (docs/FORMAT.md), uncompressed. A view: copy to keep. */
  readonly batches: Uint8Array;
}

/** Who owns a shard, as the newest epoch event tells it; undefined in epoch 1, which has none. */
export interface ShardOwner {
  readonly node: string;
  readonly url: string;
}

export interface ReplicaPromise {
  /** Nothing of an epoch below this is taken any more; 0: none given. */
  readonly epoch: number;
  /** Node id it was given to. */
  readonly candidate: string;
  /** Whether this copy ever held all that its source had: before that it gives no promises. */
  readonly caughtUp: boolean;
}

/** A checkpoint event that a follower met, compared with its own tree. */
export interface RootCheck {
  readonly seq: number;
  readonly expected: HashHex;
  readonly found: HashHex;
}

export interface SetAside {
  /** Relative to the data directory. */
  readonly file: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly records: number;
}

export interface MendReport {
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly records: number;
  /** Bodies left out, for an erasure covers them. */
  readonly erased: number;
  readonly file: string;
}

/** What a mending would change of what our own tree has; `hash` undefined: that version would go. */
export interface OfferedChange {
  readonly seq: number;
  readonly hash: HashHex | undefined;
}

export interface ReplicaShard {
  readonly id: ShardId;
  readonly role: ShardRole;
  /** Of the log: its newest segment's. */
  readonly epoch: number;
  readonly owner: ShardOwner | undefined;
  readonly promised: ReplicaPromise;
  readonly firstSeq: number;
  readonly durableSeq: number;
  readonly visibleSeq: number;
  readonly compactedThrough: number;
  /** Oldest first. */
  epochs(): readonly EpochSpan[];
  /** Why reads are refused here although the log is sound (a compacted source is not passed yet, roots differ), or undefined. */
  readonly unreadable: string | undefined;

  // ---- source

  /** From the first slice that reaches `fromSeq` on, up to what is durable at the call; throws CORRUPT where it cannot be read. */
  slices(fromSeq: number, toSeq?: number): Generator<LogSlice, void, undefined>;
  /** Told of each group right after it is durable, also of those applied; the batches are valid during the call only. Returns how to end it. */
  watchGroups(told: (slice: LogSlice) => void): () => void;

  // ---- follower

  /** Ends writes here: what is queued commits first. Reads go on. */
  follow(owner?: ShardOwner): Promise<void>;
  /** Checks, appends, syncs, applies, makes visible. Throws UNSOUND (INVALID bytes, order, checksum), or what the log throws; then nothing of it was taken. `sourceEpoch`: the newest of the source's log, which this is history of. */
  apply(slice: LogSlice, sourceEpoch?: number): Promise<void>;
  /** Told of each checkpoint event applied, once the tree was folded through its seq; a difference makes the shard unreadable before it is told. */
  onRootCheck(told: (check: RootCheck) => void): void;
  /** Throws the tree away and builds it from the log; readable again where the last check's root is met. */
  rebuildTree(): Promise<RootCheck | undefined>;
  /** What replicas agree to be safe: trims and erasures above it are not carried out in files. */
  setQuorumSeq(seq: number): void;
  /** Through which event all erasures are carried out in this copy's files. */
  readonly erasedThrough: number;

  // ---- ownership

  /** Durable when it resolves; false where an equal or newer one was given to another. An owner stops writing first. */
  promise(epoch: number, candidate: string): Promise<boolean>;
  /** This copy has a say from now on, and takes nothing of an epoch below `floor`. */
  noteCaughtUp(floor?: number): Promise<void>;
  /** Stops writes until `lead` or `beginEpoch`, telling why. */
  fence(reason: string): Promise<void>;
  /** Takes writes in the epoch of the log. Throws where a promise for a newer one was given. */
  lead(): Promise<void>;
  /** Writes the epoch event, 2^32 seqs later, and takes writes. */
  beginEpoch(epoch: number, owner: ShardOwner, reason: string): Promise<void>;
  /** Takes everything beyond `seq` out of the log, into a file; undefined where there was nothing. Not while owner. */
  rewind(seq: number): Promise<SetAside | undefined>;
  /** The disk failed in the middle of a rewind: nothing is taken or answered until `rewind`, to whatever seq, has finished that one. */
  readonly isRewindCutShort: boolean;

  // ---- verification and repair

  /** Root of exactly the live set at `seq`, once that is visible. Throws PASSED with the tree's seq where the tree is beyond it. Logs nothing. */
  rootAt(seq: number): Promise<{ readonly seq: number; readonly root: HashHex; readonly entries: number }>;
  /** Ranges that cannot be read, by what is known so far (opening, reading, scrubs). */
  readonly gaps: readonly { readonly fromSeq: number; readonly toSeq: number }[];
  /**
   * Takes slices that cover the range in place of what cannot be read, where every record is proven by our own tree, or `prove` says yes to the root of
   * the tree that results, and to what it changes. Without slices: writes the files of the range anew from what is readable in them.
   */
  mend(
    fromSeq: number,
    toSeq: number,
    slices: readonly LogSlice[],
    prove: (seq: number, root: HashHex, changes: readonly OfferedChange[]) => Promise<boolean>,
  ): Promise<MendReport>;
}

/** For messages: a slice and what a source says beside it. */
export interface SourceClock {
  readonly durableSeq: number;
  readonly time: Micros;
}
