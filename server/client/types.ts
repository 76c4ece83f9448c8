/** What the server says and takes, as a client sees it. The contract is the HTTP API's; nothing here is shared with the server's code. */

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** One version of one entity, without its body. */
export interface VarveRecordHeader {
  /** 16 hex digits. */
  readonly id: string;
  readonly shard: number;
  readonly seq: number;
  /** RFC 3339 in UTC with microseconds. */
  readonly time: string;
  readonly collection: string;
  readonly key: string;
  readonly supersedes: string | null;
  readonly refs: readonly string[];
  /** True for a tombstone, which has no body. */
  readonly deleted: boolean;
  /** 64 hex digits. */
  readonly hash: string;
}

export interface VarveRecord<T = JsonValue> extends VarveRecordHeader {
  /** Absent in a tombstone, and once erased. */
  readonly body?: T;
}

/** A record of the feed. */
export interface Change<T = JsonValue> extends VarveRecord<T> {
  /** Where to go on after this one. */
  readonly cursor: string;
}

export interface Difference {
  readonly collection: string;
  readonly key: string;
  /** Id of the version alive at that point, or null. */
  readonly from: string | null;
  readonly to: string | null;
}

/** See `verifyProof`. */
export interface Proof<T = JsonValue> {
  readonly record: VarveRecord<T>;
  /** 32 hex digits; instead of it, where there is no body, the body hash. */
  readonly salt?: string;
  readonly bodyHash?: string;
  /** The hashed bytes of the nodes from leaf to root, in base64. */
  readonly path: readonly string[];
  /** What the root covers: everything up to this seq of the record's shard. */
  readonly seq: number;
  readonly root: string;
}

export interface CollectionInfo {
  readonly name: string;
  readonly placement: string;
  readonly entities: number;
  readonly versions: number;
}

export interface ShardInfo {
  readonly shard: number;
  readonly role: 'owner' | 'follower' | 'fenced';
  readonly state: 'open' | 'read-only' | 'damaged';
  readonly epoch: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly durableSeq: number;
  readonly checkpoint: { readonly seq: number; readonly root: string } | null;
  readonly liveBytes: number;
  readonly deadBytes: number;
  /** As the newest epoch names it; null in the first one. */
  readonly owner: { readonly node: string; readonly url: string } | null;
  /** What a majority of the replica set has made durable. */
  readonly quorumSeq: number;
  /** Of a follower. */
  readonly lagSeconds: number;
  readonly followers: readonly ShardFollower[];
}

export interface ShardFollower {
  readonly url: string;
  readonly ackedSeq: number;
  readonly lagSeconds: number;
  readonly breaker: 'closed' | 'half-open' | 'open';
  readonly lastError: string | null;
}

export interface RootInfo {
  readonly shard: number;
  readonly seq: number;
  readonly root: string;
  readonly entries: number;
}

export type Retention =
  | { readonly keep: 'all' }
  /** ISO 8601: weeks, days, hours, minutes, seconds. */
  | { readonly keep: 'for'; readonly duration: string }
  | { readonly keep: 'last'; readonly versions: number };

export interface Snapshot {
  readonly name: string;
  readonly asOf: string;
  /** Per shard the last record it sees. */
  readonly positions: readonly (string | null)[];
}

export interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
  /** Nothing of it goes on until it is resumed. */
  readonly paused: boolean;
  /** 0 to 1. */
  readonly progress: number;
  readonly request: JsonValue;
  readonly created: string;
  readonly started: string | null;
  readonly ended: string | null;
  readonly result: JsonValue;
  readonly error: string | null;
}

/** RFC 6902. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: JsonValue }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly from: string; readonly path: string };

export interface HistoryPage<T = JsonValue> {
  readonly records: readonly VarveRecord<T>[];
  readonly next: string | null;
  /** False where older versions were trimmed. */
  readonly complete: boolean;
}

export interface Page<R> {
  readonly records: readonly R[];
  readonly next: string | null;
}

// --- what calls take

export interface CallOptions {
  /** Ends the call, its retries and its iterator; the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends CallOptions {
  /** Made by the client where it is left out, so that the write can be sent again; `false`: none, and no retries. */
  readonly idempotencyKey?: string | false;
  /** `quorum`: durable on a majority of the shard's replicas. */
  readonly acks?: 'local' | 'quorum';
}

export interface PutOptions extends WriteOptions {
  /** The version it must supersede, any of several, or `*` for any at all; null: the entity must not exist. */
  readonly expect?: string | readonly string[] | null;
  readonly refs?: readonly string[];
  /** The version's own time (loading history). */
  readonly time?: string;
}

/** One item of a batch: a body, or `deleted`. */
export interface Item {
  readonly collection: string;
  readonly key: string;
  readonly body?: JsonValue;
  readonly deleted?: true;
  /** Ids, or `#<index>` of an earlier item of the same batch. */
  readonly refs?: readonly string[];
  readonly expect?: string | null;
}

/** One of many: a batch of its own. */
export interface LineItem extends Item {
  readonly time?: string;
  readonly idempotencyKey?: string;
}

export interface BatchOptions extends WriteOptions {
  readonly time?: string;
}

export interface HistoryOptions extends CallOptions {
  readonly order?: 'asc' | 'desc';
  readonly from?: string;
  readonly to?: string;
  /** Records asked for at a time, 1 to 1000. */
  readonly pageSize?: number;
}

export interface ListOptions extends CallOptions {
  readonly asOf?: string;
  readonly prefix?: string;
  readonly after?: string;
  readonly pageSize?: number;
}

export interface DiffOptions extends CallOptions {
  /** A time or a record id. */
  readonly from: string;
  /** Now where it is left out. */
  readonly to?: string;
  readonly collection?: string;
  readonly pageSize?: number;
}

export interface ChangesOptions extends CallOptions {
  /** A cursor, a record's id, or `now`; without it from the beginning. */
  readonly after?: string;
  readonly shard?: number;
  readonly collection?: string;
  /** False: end at what is the newest when it begins. */
  readonly live?: boolean;
  /** Where what follows was trimmed, what is left of it instead of the problem `trimmed`. */
  readonly partial?: boolean;
}
