/** Records as users see them, over bytes as they are stored: strings and JSON are made when asked for. */
import { HASH_BYTES, hex } from './format/hash.js';
import { splitEntityKey } from './format/keys.js';
import { storedRecordHash } from './format/record-hash.js';
import { formatTime } from './format/time.js';
import { insertedJson } from './inserted-json.js';
import { KIND_TOMBSTONE, type ReadRecord } from './log/types.js';
import type { Erasures } from './retention/erasures.js';
import {
  type HashHex,
  type InsertResult,
  type JsonValue,
  type RecordHeader,
  type RecordId,
  recordId,
  type Seq,
  type ShardId,
  type Timestamp,
  type VersionRecord,
} from './types.js';
import type { ListedEntry } from './version-ranges.js';

/** The names of an entity, made once for all of its versions, when first asked for. */
export class EntityNames {
  readonly #entity: string;
  #names: { readonly collection: string; readonly key: string } | undefined;

  /** Key bytes, one char a byte. */
  constructor(entity: string) {
    this.#entity = entity;
  }

  get collection(): string {
    return this.#split().collection;
  }

  get key(): string {
    return this.#split().key;
  }

  #split(): { readonly collection: string; readonly key: string } {
    this.#names ??= splitEntityKey(this.#entity);
    return this.#names;
  }
}

/** A record read back from the log. */
export class StoredVersion implements VersionRecord {
  readonly shard: ShardId;
  readonly #stored: ReadRecord;
  readonly #indexed: { readonly hash: Uint8Array } | undefined;
  readonly #erasures: Erasures;
  readonly #names: EntityNames | undefined;

  /**
   * `indexed`: what the index tells of it, the hash among it; without it the hash is computed when asked for. `erasures`: those of
   * its shard; a body they cover is not told, whether or not it is still in a file. `names`: where others share them.
   */
  constructor(
    shard: ShardId,
    stored: ReadRecord,
    indexed: { readonly hash: Uint8Array } | undefined,
    erasures: Erasures,
    names: EntityNames | undefined = undefined,
  ) {
    this.shard = shard;
    this.#stored = stored;
    this.#indexed = indexed;
    this.#erasures = erasures;
    this.#names = names;
  }

  get id(): RecordId {
    return recordId(this.shard, this.#stored.seq);
  }

  get seq(): Seq {
    return this.#stored.seq as Seq;
  }

  get time(): Timestamp {
    return formatTime(this.#stored.time) as Timestamp;
  }

  get collection(): string {
    return this.#names?.collection ?? this.#stored.collectionText;
  }

  get key(): string {
    return this.#names?.key ?? this.#stored.keyText;
  }

  get supersedes(): RecordId | null {
    return this.#stored.supersedes === 0 ? null : recordId(this.shard, this.#stored.supersedes);
  }

  get refs(): readonly RecordId[] {
    return this.#stored.refs.map((seq) => recordId(this.shard, seq));
  }

  get deleted(): boolean {
    return this.#stored.kind === KIND_TOMBSTONE;
  }

  get hash(): HashHex {
    return hex(this.#indexed?.hash ?? this.#computedHash());
  }

  #computedHash(): Uint8Array {
    const { known, seq } = this.#stored;
    const kept = known?.of(seq);
    if (kept !== undefined) return kept;
    const hash = storedRecordHash(this.shard, this.#stored);
    known?.keep(seq, hash);
    return hash;
  }

  get bodyBytes(): Uint8Array | undefined {
    return this.deleted || this.erased ? undefined : this.#stored.body;
  }

  get erased(): boolean {
    return !this.deleted && (this.#stored.bodyHash !== undefined || this.#erasures.coversRecord(this.#stored));
  }

  get body(): JsonValue | undefined {
    return this.deleted || this.erased ? undefined : this.#stored.bodyValue;
  }

  toJSON(): object {
    return { ...headerFields(this), ...(this.deleted || this.erased ? {} : { body: this.body }) };
  }
}

/**
 * A version as the index names it, for listings: refs and body are read from the log when first asked for, so that who
 * wants keys and ids alone reads nothing else. That read throws CORRUPT where the bytes are bad.
 */
export class ListedVersion implements VersionRecord {
  readonly shard: ShardId;
  readonly #entry: ListedEntry;
  readonly #keyAt: number;
  readonly #read: (entry: ListedEntry) => StoredVersion;
  #stored: StoredVersion | undefined;

  /** `keyAt`: where the key begins in the entity's names. */
  constructor(shard: ShardId, entry: ListedEntry, keyAt: number, read: (entry: ListedEntry) => StoredVersion) {
    this.shard = shard;
    this.#entry = entry;
    this.#keyAt = keyAt;
    this.#read = read;
  }

  get id(): RecordId {
    return recordId(this.shard, this.#entry.seq);
  }

  get collection(): string {
    return this.#entry.entity.slice(0, this.#keyAt - 1);
  }

  get key(): string {
    return this.#entry.text(this.#keyAt);
  }

  /** Key bytes of its entity, one char a byte: listings are in their order. */
  get entity(): string {
    return this.#entry.entity;
  }

  get seq(): Seq {
    return this.#entry.seq as Seq;
  }

  get time(): Timestamp {
    return formatTime(this.#entry.time) as Timestamp;
  }

  get supersedes(): RecordId | null {
    return this.#entry.supersedes === 0 ? null : recordId(this.shard, this.#entry.supersedes);
  }

  get deleted(): boolean {
    return this.#entry.kind === KIND_TOMBSTONE;
  }

  get hash(): HashHex {
    return hex(this.#entry.hash);
  }

  get refs(): readonly RecordId[] {
    return this.#load().refs;
  }

  get bodyBytes(): Uint8Array | undefined {
    return this.#load().bodyBytes;
  }

  get body(): JsonValue | undefined {
    return this.#load().body;
  }

  get erased(): boolean {
    return this.#load().erased;
  }

  toJSON(): object {
    return this.#load().toJSON();
  }

  #load(): StoredVersion {
    this.#stored ??= this.#read(this.#entry);
    return this.#stored;
  }
}

/** What an item of a batch says of its record. */
interface InsertedItem {
  readonly collection: string;
  readonly key: string;
  readonly deleted: boolean;
  /** The key as it stands in JSON without escapes, between its quotes: a view of a request that nothing else reads by now. */
  readonly keySource?: Uint8Array;
  readonly keyFrom?: number;
  readonly keyTo?: number;
}

const NO_REFS: readonly number[] = [];
const NO_IDS: readonly RecordId[] = Object.freeze([]);

/** The records of one batch, in columns: most callers look at few of them, or at none. */
export class InsertedBatch {
  readonly shard: ShardId;
  readonly items: readonly InsertedItem[];
  readonly firstSeq: number;
  readonly time: number;
  /** They are a batch each, their times a microsecond apart from `time` on. */
  readonly isEach: boolean;
  /** Filled by the writer, an entry and a hash a record. */
  readonly supersedes: number[] = [];
  readonly hashes: Uint8Array;
  #refs: Map<number, readonly number[]> | undefined;
  #timeText: Timestamp | undefined;
  #hashTexts: HashHex | undefined;
  #json: { readonly open: string; readonly close: string; readonly bytes: Buffer } | undefined;

  constructor(shard: ShardId, items: readonly InsertedItem[], firstSeq: number, time: number, isEach = false) {
    this.isEach = isEach;
    this.shard = shard;
    this.items = items;
    this.firstSeq = firstSeq;
    this.time = time;
    this.hashes = new Uint8Array(items.length * HASH_BYTES);
  }

  setRefs(i: number, refs: readonly number[]): void {
    this.#refs ??= new Map();
    this.#refs.set(i, refs);
  }

  refsOf(i: number): readonly number[] {
    return this.#refs?.get(i) ?? NO_REFS;
  }

  timeText(i: number): Timestamp {
    if (this.isEach) return formatTime(this.time + i) as Timestamp;
    this.#timeText ??= formatTime(this.time) as Timestamp;
    return this.#timeText;
  }

  hashText(i: number): HashHex {
    this.#hashTexts ??= hex(this.hashes);
    return this.#hashTexts.slice(i * 2 * HASH_BYTES, (i + 1) * 2 * HASH_BYTES) as HashHex;
  }

  record(i: number): RecordHeader {
    return new InsertedVersion(this, i);
  }

  /** Makes what `json` will be asked for. */
  prepareJson(open: string, close: string): void {
    this.#json = { open, close, bytes: insertedJson(this, open, close) };
  }

  /** Whoever gets the bytes may keep them. */
  json(open: string, close: string): Buffer {
    const made = this.#json;
    this.#json = undefined;
    return made !== undefined && made.open === open && made.close === close ? made.bytes : insertedJson(this, open, close);
  }

  result(): InsertResult {
    return new FirstAnswer(this);
  }
}

/** Of a batch that was inserted just now. */
class FirstAnswer implements InsertResult {
  readonly replayed = false;
  readonly #batch: InsertedBatch;
  #records: readonly RecordHeader[] | undefined;

  constructor(batch: InsertedBatch) {
    this.#batch = batch;
  }

  /** Made when asked for: most who load have no use for them. */
  get records(): readonly RecordHeader[] {
    this.#records ??= this.#batch.items.map((_, i) => this.#batch.record(i));
    return this.#records;
  }

  json(open: string, close: string): Buffer {
    return this.#batch.json(open, close);
  }
}

/** The records of an insert as JSON, commas between them, between `open` and `close` (ASCII). */
export function recordsJson(result: InsertResult, open: string, close: string): Buffer {
  if (result instanceof FirstAnswer) return result.json(open, close);
  return Buffer.from(`${open}${result.records.map((record) => JSON.stringify(headerFields(record))).join(',')}${close}`);
}

/** A record just inserted: what its insert answers. */
class InsertedVersion implements RecordHeader {
  readonly erased = false;
  readonly #batch: InsertedBatch;
  readonly #i: number;

  constructor(batch: InsertedBatch, i: number) {
    this.#batch = batch;
    this.#i = i;
  }

  get shard(): ShardId {
    return this.#batch.shard;
  }

  get seq(): Seq {
    return (this.#batch.firstSeq + this.#i) as Seq;
  }

  get collection(): string {
    return this.#item.collection;
  }

  get key(): string {
    return this.#item.key;
  }

  get deleted(): boolean {
    return this.#item.deleted;
  }

  get id(): RecordId {
    return recordId(this.shard, this.seq);
  }

  get time(): Timestamp {
    return this.#batch.timeText(this.#i);
  }

  get supersedes(): RecordId | null {
    const seq = this.#batch.supersedes[this.#i] as number;
    return seq === 0 ? null : recordId(this.shard, seq);
  }

  get refs(): readonly RecordId[] {
    const refs = this.#batch.refsOf(this.#i);
    return refs.length === 0 ? NO_IDS : refs.map((seq) => recordId(this.shard, seq));
  }

  get hash(): HashHex {
    return this.#batch.hashText(this.#i);
  }

  toJSON(): object {
    return headerFields(this);
  }

  get #item(): InsertedItem {
    return this.#batch.items[this.#i] as InsertedItem;
  }
}

/** The fields of the contract, in its order. */
function headerFields(record: RecordHeader): object {
  const { id, shard, seq, time, collection, key, supersedes, refs, deleted, hash } = record;
  return { id, shard, seq, time, collection, key, supersedes, refs, deleted, hash };
}
