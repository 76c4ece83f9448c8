/**
 * The few nouns of the public library, and the branded numbers inside. Shapes as users see them; see
 * docs/ARCHITECTURE.md for the words.
 */
import { VarveError } from './errors.js';
import type { Micros } from './platform/platform.js';

declare const brand: unique symbol;
type Brand<T, B> = T & { readonly [brand]: B };

/** 1…65535. */
export type ShardId = Brand<number, 'ShardId'>;
/** 1…2^48-1; 0 stands for "none" or "before the first". */
export type Seq = Brand<number, 'Seq'>;
/** 16 lowercase hex digits: 4 of shard, 12 of seq. */
export type RecordId = Brand<string, 'RecordId'>;
/** 64 lowercase hex digits. */
export type HashHex = Brand<string, 'HashHex'>;
/** RFC 3339 UTC with microseconds, `2026-11-21T08:00:00.000000Z`. */
export type Timestamp = Brand<string, 'Timestamp'>;

export const MAX_SEQ = 2 ** 48 - 1;
export const MAX_SHARD = 65535;

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

const ID = /^[0-9a-f]{16}$/;

const TWO_32 = 2 ** 32;
/** Two digits a byte: joining four of these is far quicker than turning a large number into text. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
let idShard = -1;
let idHigh = -1;
let idPrefix = '';

export function recordId(shard: number, seq: number): RecordId {
  const high = Math.floor(seq / TWO_32);
  if (high !== idHigh || shard !== idShard) {
    idPrefix = shard.toString(16).padStart(4, '0') + high.toString(16).padStart(4, '0');
    idHigh = high;
    idShard = shard;
  }
  const low = seq >>> 0;
  return (idPrefix + (HEX[low >>> 24]! + HEX[(low >>> 16) & 0xff]! + HEX[(low >>> 8) & 0xff]! + HEX[low & 0xff]!)) as RecordId;
}

/** Throws INVALID unless `text` is a well-formed id; says nothing about whether it was given out. */
export function parseRecordId(text: string, path = 'id'): { shard: ShardId; seq: Seq } {
  const shard = ID.test(text) ? Number.parseInt(text.slice(0, 4), 16) : 0;
  const seq = shard > 0 ? Number.parseInt(text.slice(4), 16) : 0;
  if (seq === 0) {
    throw new VarveError('INVALID', `${path}: '${text}' is not a record id`, {
      path,
      expected: '16 lowercase hex digits, shard and seq not zero',
    });
  }
  return { shard: shard as ShardId, seq: seq as Seq };
}

/** One immutable version of one entity. Its properties are computed when asked for (getters): read them, do not spread the object. */
export interface VersionRecord {
  readonly id: RecordId;
  readonly shard: ShardId;
  readonly seq: Seq;
  readonly time: Timestamp;
  readonly collection: string;
  readonly key: string;
  readonly supersedes: RecordId | null;
  readonly refs: readonly RecordId[];
  /** True for a tombstone; its body is undefined. */
  readonly deleted: boolean;
  readonly hash: HashHex;
  /** True where the body was erased for good; it is undefined then. */
  readonly erased: boolean;
  /** Canonical JSON as stored, or undefined for a tombstone. Treat as read-only. */
  readonly bodyBytes: Uint8Array | undefined;
  /** Parsed each time it is asked for. */
  readonly body: JsonValue | undefined;
}

/** What an insert answers: the record without its body. */
export type RecordHeader = Omit<VersionRecord, 'body' | 'bodyBytes'>;

/** One item of a batch. Exactly one of `body`, `bodyBytes`, `deleted`. */
export interface InsertItem {
  collection: string;
  key: string;
  body?: JsonValue;
  /** Canonical JSON made by `canonicalJson` or `canonicalFromText`; trusted to be so. */
  bodyBytes?: Uint8Array;
  deleted?: true;
  /** Record ids, or `#<index>` of an earlier item of the same batch. */
  refs?: readonly string[];
  /** The version this must supersede; null: the entity must not exist (alive); '*': it must exist; an array: any of them. */
  expect?: string | null | readonly string[];
}

export interface InsertOptions {
  /** The batch's own time (loading history): later than the shard's newest and not in the future. */
  time?: string;
  /** 1–255 visible ASCII characters, remembered a day per shard. */
  idempotencyKey?: string;
  /** What stands around the records in the JSON that will be asked for (`recordsJson`): it is made while the disk is at work. */
  json?: readonly [open: string, close: string];
}

export interface InsertResult {
  readonly records: readonly RecordHeader[];
  /** True where an idempotency key gave the first answer again. */
  readonly replayed: boolean;
}

/** What `insertEach` does in one shard. */
export interface InsertedPart {
  /** Which of the items; undefined: all. */
  readonly positions: readonly number[] | undefined;
  /** Their records, in the order of the items; seqs follow each other. Rejects where none of them was inserted. */
  readonly inserted: Promise<InsertResult>;
}

/** A time (RFC 3339) or a record id. */
export type Point = string;

export type { Micros };
