/**
 * The face of an embedded database, as `open` returns it. Reads are synchronous on a view; writes are
 * promises that resolve once durable.
 */
import type { InsertImages } from './insert-images.js';
import type { Keep } from './keep.js';
import type { LogFile } from './log-files.js';
import type { ReplicaShard, ShardRole } from './replica.js';
import type { DatabaseStats } from './stats.js';
import type {
  HashHex,
  InsertedPart,
  InsertItem,
  InsertOptions,
  InsertResult,
  JsonValue,
  Point,
  RecordHeader,
  RecordId,
  Seq,
  ShardId,
  Timestamp,
  VersionRecord,
} from './types.js';
import type { UpkeepOptions } from './upkeep.js';
import type { VerifiableShard } from './verification.js';

export interface OpenOptions {
  /** Fixed at creation; opening with another number is INCOMPATIBLE. Default: what the directory has, else 1. */
  shards?: number;
  /** A segment is sealed once it reaches this. Default 64 MiB. */
  segmentBytes?: number;
  /** Decoded tree nodes kept in memory, all shards together. Default 64 MiB. */
  nodeCacheBytes?: number;
  /** Blocks of log files kept in memory, all shards together. Default 128 MiB; 0: none. */
  blockCacheBytes?: number;
  /** Memory for records newer than the last checkpoint, all shards together; half of it is folded at a time. Default 256 MiB. */
  memtableBytes?: number;
  /** Memory for where the newest version of each entity is, all shards together: some 22 bytes an entity. Default 256 MiB. */
  newestBytes?: number;
  /** Fold once memory holds this many records and 1/8 of what the tree holds. Default 131,072. */
  checkpointRecords?: number;
  /** Largest body. Default 1 MiB. */
  maxBodyBytes?: number;
  /** Largest batch, bodies and keys together. Default 32 MiB. */
  maxBatchBytes?: number;
  /** When and how space is given back. */
  upkeep?: UpkeepOptions;
  /** `hold`: shards take no writes until `ReplicaShard.lead` or `follow`. Default: whoever the log tells of no other owner is it. */
  replication?: { readonly hold?: boolean };
  /** Open although the directory is on a network file system. */
  allowNetworkFileSystem?: boolean;
}

export interface CollectionInfo {
  readonly name: string;
  /** `key` or `group:<name>`. */
  readonly placement: string;
  /** Entities alive now. */
  readonly entities: number;
  readonly versions: number;
}

export interface ShardInfo {
  readonly shard: ShardId;
  readonly role: ShardRole;
  /** `open`: reads and writes; `read-only`: writes refused for `reason`; `damaged`: some answers are refused. */
  readonly state: 'open' | 'read-only' | 'damaged';
  readonly reason: string | undefined;
  readonly epoch: number;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
  readonly durableSeq: Seq;
  readonly checkpoint: { readonly seq: Seq; readonly root: HashHex } | null;
  readonly liveBytes: number;
  readonly deadBytes: number;
}

export interface RootInfo {
  readonly shard: ShardId;
  readonly seq: Seq;
  readonly root: HashHex;
  readonly entries: number;
}

export interface HistoryOptions {
  /** Newest first (`desc`, the default) or oldest first. */
  order?: 'asc' | 'desc';
  /** Only versions with a seq in this range, both inclusive. */
  fromSeq?: number;
  toSeq?: number;
  /** Default 100. */
  limit?: number;
}

export interface HistoryPage {
  readonly records: readonly VersionRecord[];
  /** Seq to go on from (as `toSeq` descending, `fromSeq` ascending), or undefined at the end. */
  readonly nextSeq: number | undefined;
  /** False when older versions were trimmed. */
  readonly complete: boolean;
}

export interface ListOptions {
  /** Only keys that begin with this. */
  prefix?: string;
  /** Only keys after this one (exclusive). */
  after?: string;
  /** Default 100. */
  limit?: number;
}

export interface ChangesOptions {
  /** Per shard, in order from shard 1, the seq to begin after: 0, and what is left out, for its beginning. */
  readonly after?: readonly number[];
  /** Per shard the seq to end with; without one it is followed for ever. */
  readonly until?: readonly (number | undefined)[];
  /** Only this shard. */
  readonly shard?: number;
  /** Only this collection; system collections are told only where they are asked for. */
  readonly collection?: string;
  /** Where what follows was trimmed, tell what is left of it instead of TRIMMED. */
  readonly partial?: boolean;
}

/** Records in the order of each shard's log, to be pulled: a reader that does not ask costs next to nothing. Needs no closing. */
export interface Changes {
  /** Per shard the seq up to which everything has been told, from shard 1 on: where to begin `after` to go on. Valid until the next call. */
  readonly positions: readonly number[];
  /** Whether there is nothing more for now. */
  readonly atEnd: boolean;
  /** Whether there will never be more: `until` is reached everywhere. */
  readonly done: boolean;
  /**
   * Records of one shard that are visible by now, at most `max` (default 256) and a bounded number of bytes; empty where there are none,
   * and where a long stretch held none of the wanted ones (`atEnd` is false then). Throws TRIMMED, DAMAGED, CLOSED.
   */
  next(max?: number): VersionRecord[];
  /** Resolves once there may be more, or the signal is aborted. */
  wait(signal?: AbortSignal): Promise<void>;
  /** Lets go of what was read ahead. */
  rest(): void;
}

export interface DiffOptions {
  /** Only this collection; system collections are told only where they are asked for. */
  readonly collection?: string;
  /** A `place` to go on from. */
  readonly after?: { readonly shard: number; readonly seq: number };
}

/** One entity that is another at one point than at the other: the id of the version alive there, or null. */
export interface Difference {
  readonly collection: string;
  readonly key: string;
  readonly from: RecordId | null;
  readonly to: RecordId | null;
}

/** Differences of two points, each entity once, to be pulled. */
export interface Differences {
  /** Where to go on after what has been told; undefined at the end. */
  readonly place: { readonly shard: number; readonly seq: number } | undefined;
  /** The differences of the next stretch of log, at most `max` (default 256): often none while there are more. Throws TRIMMED, DAMAGED, CLOSED. */
  next(max?: number): Difference[];
  /** Lets go of what was read ahead. */
  rest(): void;
}

/** That a record is in the tree of a root hash; checked without a database (`varve/client`: `verifyProof`). */
export interface RecordProof {
  readonly record: VersionRecord;
  /** Hex: what the body was hashed with. Instead of it, for a tombstone or an erased body, the body hash. */
  readonly salt?: string;
  readonly bodyHash?: string;
  /** The hashed bytes of the nodes from the leaf to the root. */
  readonly path: readonly Uint8Array[];
  /** What the root covers: everything up to this seq of the record's shard. */
  readonly seq: Seq;
  readonly root: HashHex;
}

/** The database at one point in time. Cheap, never goes stale, needs no closing. */
export interface View {
  /** Per shard the last seq this view sees, in shard order from shard 1; 0 for "nothing"; undefined for a shard the point does not reach. */
  readonly positions: readonly (number | undefined)[];
  /** The entity's version then: a tombstone if it was deleted, undefined if it never existed (then). */
  get(collection: string, key: string): VersionRecord | undefined;
  history(collection: string, key: string, options?: HistoryOptions): HistoryPage;
  /** Entities alive then, in key order (bytes of UTF-8). Synchronous: keep `limit` small; `entities` yields to others. */
  list(collection: string, options?: ListOptions): VersionRecord[];
  /** The same without end, letting other work run every so many entities. `limit` undefined: all. */
  entities(collection: string, options?: ListOptions): AsyncIterableIterator<VersionRecord>;
}

export interface Database extends Keep {
  /** 32 hex digits, the same on every replica. */
  readonly databaseId: string;
  readonly nodeId: string;
  readonly shardCount: number;
  /**
   * Undefined while every shard takes inserts; otherwise resolves when one that was full may take them again. Whoever can hold back
   * (a stream) waits here, in a loop, where others would hear OVERLOADED.
   */
  room(): Promise<void> | undefined;
  /** Inserts one batch: all or nothing, in one shard (CROSS_SHARD otherwise). Resolves once durable. Images are spent by it. */
  insert(items: readonly InsertItem[] | InsertImages, options?: InsertOptions): Promise<InsertResult>;
  /**
   * Inserts every item as a batch of its own, as so many calls of `insert` would in this order, with one promise a shard: for those who
   * have many. Plain puts only. Undefined, and nothing is done, where one is anything else or would be refused: insert them one by one.
   */
  insertEach(items: readonly InsertItem[] | InsertImages): readonly InsertedPart[] | undefined;
  put(
    collection: string,
    key: string,
    body: JsonValue,
    options?: InsertOptions & Pick<InsertItem, 'refs' | 'expect'>,
  ): Promise<RecordHeader>;
  /** NOTHING_TO_DELETE where the entity is not alive. */
  delete(collection: string, key: string, options?: InsertOptions & Pick<InsertItem, 'refs' | 'expect'>): Promise<RecordHeader>;
  /** Everything durable by now. */
  now(): View;
  /** Waits for groups in flight that the point covers. TIME_AHEAD for a time later than now; INVALID for an id not given out. */
  asOf(point: Point): Promise<View>;
  /** The view of these positions (from `View.positions`): how a cursor keeps its point in time. */
  at(positions: readonly (number | undefined)[]): View;
  /** One record, or undefined for an id not given out. */
  record(id: RecordId | string): VersionRecord | undefined;
  /** A record's proof under the newest root (may fold, logs nothing); undefined for an id not given out. */
  proof(id: RecordId | string): Promise<RecordProof | undefined>;
  /** What became durable, in order per shard. */
  changes(options?: ChangesOptions): Changes;
  /** Entities that differ between two points in time; `from` may be the later one. CROSS_SHARD where a point does not reach all that is asked. */
  diff(from: View, to: View, options?: DiffOptions): Differences;
  /** Which shard this entity lives in. */
  shardOf(collection: string, key: string): ShardId;
  /** System collections included; undefined where it neither has records nor properties. */
  collections(): Promise<CollectionInfo[]>;
  collection(name: string): Promise<CollectionInfo | undefined>;
  /** PLACEMENT_FIXED once it has records, unless it is the same. */
  setPlacement(collection: string, placement: string): Promise<CollectionInfo>;
  shards(): ShardInfo[];
  /** A shard as verification sees it. INVALID where there is none. */
  verifiable(shard: number): VerifiableShard;
  /** A shard as replication sees it. */
  replica(shard: number): ReplicaShard;
  /** What has been counted since it was opened, for metrics. */
  stats(): DatabaseStats;
  /** Root of the newest durable seq (may fold, logs nothing), or of a past checkpoint; undefined for a seq that is none. */
  root(shard: number, seq?: number): Promise<RootInfo | undefined>;
  /** Folds what is in memory into the tree and logs a checkpoint. */
  checkpoint(shard?: number): Promise<void>;
  /** The files of every shard's log and how much of each is durable: one consistent state, to be copied at leisure. */
  logFiles(): LogFile[];
  /** Up to `length` bytes of one of them from `offset`; undefined where there is no such file any more. */
  readLogFile(shard: number, name: string, offset: number, length: number): Uint8Array | undefined;
  /** Newest record time of one shard, or over all shards; undefined while empty. */
  newestTime(shard?: number): Timestamp | undefined;
  /** Finishes what is queued, folds, marks, syncs, closes. */
  close(): Promise<void>;
}
