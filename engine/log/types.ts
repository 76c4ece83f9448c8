/** What a shard and its log say to each other. Seqs are plain numbers here: hot paths carry no objects they can avoid. */
import type { SeqRun } from '../format/seq-runs.js';
import type { Micros } from '../platform/platform.js';
import type { JsonValue } from '../types.js';

export const KIND_PUT = 1;
export const KIND_TOMBSTONE = 2;
export type RecordKind = typeof KIND_PUT | typeof KIND_TOMBSTONE;

/** A record as it stands in a segment. Byte fields are views into the buffer that was read: copy to keep. */
export interface StoredRecord {
  readonly kind: RecordKind;
  readonly seq: number;
  readonly time: Micros;
  /** Last seq of the record's batch: "as of this id" means as of there. */
  readonly batchEndSeq: number;
  /** 0 for an entity's first version. */
  readonly supersedes: number;
  readonly refs: readonly number[];
  readonly collection: Uint8Array;
  readonly key: Uint8Array;
  /** Empty for a tombstone. */
  readonly body: Uint8Array;
  /** 16 bytes; empty for a tombstone, and once erased. */
  readonly salt: Uint8Array;
  /** Set once erased: the body hash kept in place of salt and body. */
  readonly bodyHash: Uint8Array | undefined;
}

/** A record as it was read back. */
export interface ReadRecord extends StoredRecord {
  /** As text, made without a view between. */
  readonly collectionText: string;
  readonly keyText: string;
  readonly bodyText: string;
  /** What the text stands for, made anew each time. */
  readonly bodyValue: JsonValue;
  /** Where it was read from memory that stays: what was computed of the records there. */
  known: KnownHashes | undefined;
  /** Whether it is of this entity, named by its key bytes, one char a byte. */
  isOf(entity: string): boolean;
}

/** Record hashes of a run of seqs. */
export interface KnownHashes {
  /** 32 bytes, not to be changed; undefined where nobody has kept it. */
  of(seq: number): Uint8Array | undefined;
  keep(seq: number, hash: Uint8Array): void;
}

/** A record to append. */
export interface NewRecord {
  kind: RecordKind;
  supersedes: number;
  refs: readonly number[];
  collection: Uint8Array;
  key: Uint8Array;
  body: Uint8Array;
  salt: Uint8Array;
}

export interface CheckpointEvent {
  readonly type: 'checkpoint';
  /** What the tree covers: every record with a seq up to this. */
  readonly throughSeq: number;
  readonly root: Uint8Array;
  readonly entries: number;
  /** Hash of the previous checkpoint, 32 zero bytes for the first. */
  readonly previous: Uint8Array;
}
/** Versions that retention drops, one slice of them: from here on they are no part of the live set (law 7). */
export interface TrimEvent {
  readonly type: 'trim';
  readonly runs: readonly SeqRun[];
}

/** The bodies of all versions of this entity before the event are to go, everywhere; UTF-8. */
export interface ErasureEvent {
  readonly type: 'erasure';
  readonly collection: Uint8Array;
  readonly key: Uint8Array;
  readonly reason: Uint8Array;
}

/** Another owner begins: the first batch of its epoch. */
export interface EpochEvent {
  readonly type: 'epoch';
  readonly epoch: number;
  /** Last seq of the epoch before it that counts. */
  readonly endsAt: number;
  /** Of the new owner: 16 bytes, and where it is found, UTF-8. */
  readonly node: Uint8Array;
  readonly url: Uint8Array;
  readonly reason: Uint8Array;
}

export type LogEvent = CheckpointEvent | TrimEvent | ErasureEvent | EpochEvent;

export interface Idempotency {
  readonly key: string;
  /** 16 bytes of BLAKE3 over the request's content. */
  readonly contentHash: Uint8Array;
}

/** One batch as replay meets it: records that committed together, or a single event. */
export interface StoredBatch {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly time: Micros;
  readonly idempotency: Idempotency | undefined;
  readonly records: readonly ReadRecord[];
  readonly event: LogEvent | undefined;
}

/** Something opening or reading found; kept, reported, never silently dropped. */
export interface Finding {
  readonly kind: /** Unacknowledged bytes after the last whole frame were set aside at open (not damage). */
    | 'torn-tail'
    /** Sealing was cut short; the footer was derived again from the body (not damage). */
    | 'torn-footer'
    /** The footer of a sealed segment was bad and was derived again from the body. */
    | 'footer-rebuilt'
    /** Frames at or below the attested position fail their checksum. */
    | 'damaged'
    /** Files that do not belong, or a segment missing from the chain. */
    | 'missing'
    | 'stray';
  readonly file: string;
  readonly offset: number;
  /** Seqs concerned, 0/0 where unknown or none. */
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly detail: string;
}
