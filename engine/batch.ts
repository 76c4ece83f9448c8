/** An insert between the caller's words and the log: validated and encoded once, before any shard sees it. */
import { VarveError } from './errors.js';
import { BATCH_FIXED_BYTES, encodeBatchHead, setBatchBytes } from './format/batch.js';
import { ByteArena } from './format/byte-arena.js';
import { appendCanonicalJson } from './format/canonical-json.js';
import { blake3 } from './format/hash.js';
import { checkCollection, checkKey, isSystemCollection } from './format/keys.js';
import { CONTENT_HASH_BYTES, MAX_RECORDS_PER_BATCH, MAX_REFS_PER_RECORD, SALT_BYTES } from './format/limits.js';
import { beginRecordImage, endRecordImage, imageKeyAt } from './format/record.js';
import { KIND_PUT, KIND_TOMBSTONE, type RecordKind } from './log/types.js';
import { type InsertItem, parseRecordId } from './types.js';

const INDEX_REF = /^#(0|[1-9][0-9]{0,8})$/;

/** A ref as given: a record id, or an earlier item of the same batch. */
export type PreparedRef =
  | { readonly text: string; readonly shard: number; readonly seq: number }
  | { readonly text: string; readonly index: number };

/** What must hold of the entity's newest version: nothing, absent, present, or one of these ids. */
export type Expectation = undefined | null | '*' | readonly string[];

/** Its bytes are a record's image in the arena of its batch (format/record.ts). */
export interface PreparedItem {
  readonly collection: string;
  readonly key: string;
  readonly collectionBytes: Uint8Array;
  readonly kind: RecordKind;
  readonly deleted: boolean;
  readonly refs: readonly PreparedRef[];
  readonly expect: Expectation;
  /** Where the image begins, its key, what comes after the key (a put's salt), and where its body ends. */
  readonly at: number;
  readonly keyAt: number;
  readonly saltAt: number;
  readonly end: number;
}

export interface PreparedBatch {
  readonly items: readonly PreparedItem[];
  /** The images of all, one after the other. The shard that takes the batch gives it back. */
  readonly arena: ByteArena;
  /** Every item is a batch of its own: there is room for a batch's head before each image. */
  readonly isEach: boolean;
}

export interface BatchLimits {
  readonly maxBodyBytes: number;
  readonly maxBatchBytes: number;
}

/** Throws INVALID, TOO_LARGE, SYSTEM_COLLECTION or BAD_REF, naming the item, before anything is queued. */
export function prepareBatch(items: readonly InsertItem[], limits: BatchLimits, system: boolean): PreparedBatch {
  return prepare(items, limits, system, false);
}

/**
 * The same for items that are each a batch of their own, which only plain puts can be here: no refs, no conditions. Undefined for any
 * others, and for what `prepareBatch` would refuse.
 */
export function prepareEach(items: readonly InsertItem[], limits: BatchLimits): PreparedBatch | undefined {
  let batch: PreparedBatch;
  try {
    batch = prepare(items, limits, false, true);
  } catch {
    return undefined; // whoever inserts it alone hears why
  }
  if (batch.items.every(({ deleted, refs, expect }) => !deleted && refs.length === 0 && expect === undefined)) return batch;
  batch.arena.giveBack();
  return undefined;
}

/** Makes batches of the items of `prepareEach`, where they stand; times as `StampedBatch.isEach` says. */
export function headEach({ items, arena }: PreparedBatch, firstSeq: number, firstTime: number): void {
  for (let i = 0; i < items.length; i++) {
    const at = items[i]!.at - BATCH_FIXED_BYTES;
    const end = i + 1 < items.length ? items[i + 1]!.at - BATCH_FIXED_BYTES : arena.end;
    const seq = firstSeq + i;
    encodeBatchHead(arena.bytes, at, {
      count: 1,
      firstSeq: seq,
      lastSeq: seq,
      time: firstTime + i,
      isEvent: false,
      idempotency: undefined,
    });
    setBatchBytes(arena.bytes, at, end - at);
  }
}

function prepare(items: readonly InsertItem[], limits: BatchLimits, system: boolean, isEach: boolean): PreparedBatch {
  if (items.length === 0)
    throw new VarveError('INVALID', 'a batch needs at least one record', { path: 'records', expected: 'at least one record' });
  if (items.length > MAX_RECORDS_PER_BATCH) throw tooLarge('records in a batch', MAX_RECORDS_PER_BATCH, items.length);
  const arena = ByteArena.take();
  const prepared = new Array<PreparedItem>(items.length);
  let bytes = 0;
  try {
    for (let i = 0; i < items.length; i++) {
      if (isEach) {
        arena.reserve(BATCH_FIXED_BYTES);
        arena.end += BATCH_FIXED_BYTES;
      }
      const item = prepareItem(items[i]!, i, limits, system, arena);
      bytes += item.end - bodyAt(item) + item.saltAt - item.keyAt + item.collectionBytes.length;
      if (bytes > limits.maxBatchBytes) throw tooLarge('bytes of a batch', limits.maxBatchBytes, bytes);
      prepared[i] = item;
    }
  } catch (error) {
    arena.giveBack();
    throw error;
  }
  return { items: prepared, arena, isEach };
}

function prepareItem(item: InsertItem, index: number, limits: BatchLimits, system: boolean, arena: ByteArena): PreparedItem {
  // Read once: a getter may answer differently the second time.
  const { collection, key, refs: givenRefs, expect } = item;
  checkCollection(collection, index);
  if (!system && isSystemCollection(collection)) {
    throw new VarveError('SYSTEM_COLLECTION', `records[${index}].collection: '${collection}' belongs to the system and can only be read`, {
      collection,
    });
  }
  checkKey(key, index);
  const refs = givenRefs === undefined || givenRefs.length === 0 ? NO_REFS : refsOf(givenRefs, index);
  const deleted = isDelete(item, index);
  const kind = deleted ? KIND_TOMBSTONE : KIND_PUT;
  const bytes = collectionBytes(collection);
  const at = arena.end;
  const saltAt = beginRecordImage(arena, kind, refs.length, bytes, key);
  const keyAt = imageKeyAt(at, refs.length, bytes.length);
  // May run code of the caller's.
  if (!deleted) appendBody(arena, item, index, limits);
  const end = endRecordImage(arena, at);
  return {
    collection,
    key,
    collectionBytes: bytes,
    kind,
    deleted,
    refs,
    expect: typeof expect === 'string' && expect !== '*' ? [expect] : (expect as Expectation),
    at,
    keyAt,
    saltAt,
    end,
  };
}

let lastCollection = '';
let lastCollectionBytes: Uint8Array = new Uint8Array(0);

/** Most batches are of one collection. */
function collectionBytes(collection: string): Uint8Array {
  if (collection !== lastCollection) {
    lastCollection = collection;
    lastCollectionBytes = new TextEncoder().encode(collection);
  }
  return lastCollectionBytes;
}

function isDelete({ body, bodyBytes, deleted }: InsertItem, index: number): boolean {
  const given = (body === undefined ? 0 : 1) + (bodyBytes === undefined ? 0 : 1) + (deleted === undefined ? 0 : 1);
  if (given === 1 && (deleted === undefined || deleted === true)) return deleted === true;
  throw new VarveError('INVALID', `records[${index}]: exactly one of a body and "deleted": true is needed`, {
    path: `records[${index}]`,
    expected: 'either a body or "deleted": true',
  });
}

function appendBody(arena: ByteArena, { body, bodyBytes }: InsertItem, index: number, limits: BatchLimits): void {
  if (bodyBytes === undefined) return appendCanonicalJson(arena, body, limits.maxBodyBytes, index);
  if (bodyBytes.length > limits.maxBodyBytes) throw tooLarge('body', limits.maxBodyBytes, bodyBytes.length);
  arena.reserve(bodyBytes.length);
  arena.bytes.set(bodyBytes, arena.end);
  arena.end += bodyBytes.length;
}

const NO_REFS: readonly PreparedRef[] = [];

function refsOf(refs: readonly string[], index: number): readonly PreparedRef[] {
  const at = `records[${index}]`;
  if (refs.length > MAX_REFS_PER_RECORD) throw tooLarge('refs of a record', MAX_REFS_PER_RECORD, refs.length);
  return refs.map((text, i) => {
    const earlier = INDEX_REF.exec(text)?.[1];
    if (earlier === undefined) return { text, ...parseRecordId(text, `${at}.refs[${i}]`) };
    if (Number(earlier) >= index) {
      throw new VarveError('BAD_REF', `${at}.refs[${i}]: '${text}' does not name an earlier item of the batch`, {
        ref: text,
        reason: 'later',
      });
    }
    return { text, index: Number(earlier) };
  });
}

function tooLarge(what: string, limit: number, actual: number): VarveError {
  return new VarveError('TOO_LARGE', `${what}: ${actual} is over the limit of ${limit}`, { what, limit, actual });
}

/** 16 bytes that stand for the request's content: what an idempotency key is held to. */
export function contentHash({ items, arena }: PreparedBatch, time: string | undefined): Uint8Array {
  const parts: Uint8Array[] = [];
  const head = JSON.stringify([
    time ?? null,
    items.map((item) => [
      item.collection,
      item.key,
      item.deleted,
      item.refs.map((ref) => ref.text),
      item.expect ?? null,
      item.expect === null,
      item.end - bodyAt(item),
    ]),
  ]);
  parts.push(Buffer.from(head));
  for (const item of items) parts.push(arena.bytes.subarray(bodyAt(item), item.end));
  return blake3(...parts).subarray(0, CONTENT_HASH_BYTES);
}

/** A put's body comes after its salt. */
function bodyAt(item: PreparedItem): number {
  return item.deleted ? item.saltAt : item.saltAt + SALT_BYTES;
}
