/** An insert between the caller's words and the log: validated and encoded once, before any shard sees it. */
import { VarveError } from './errors.js';
import { canonicalJson } from './format/canonical-json.js';
import { blake3 } from './format/hash.js';
import { checkCollection, checkKey, entityKey, isSystemCollection } from './format/keys.js';
import { CONTENT_HASH_BYTES, MAX_RECORDS_PER_BATCH, MAX_REFS_PER_RECORD } from './format/limits.js';
import { type InsertItem, parseRecordId } from './types.js';

const NO_BYTES = new Uint8Array(0);
const INDEX_REF = /^#(0|[1-9][0-9]{0,8})$/;

/** A ref as given: a record id, or an earlier item of the same batch. */
export type PreparedRef =
  | { readonly text: string; readonly shard: number; readonly seq: number }
  | { readonly text: string; readonly index: number };

/** What must hold of the entity's newest version: nothing, absent, present, or one of these ids. */
export type Expectation = undefined | null | '*' | readonly string[];

export interface PreparedItem {
  readonly collection: string;
  readonly key: string;
  /** Latin1 string of the entity's key bytes. */
  readonly entity: string;
  readonly collectionBytes: Uint8Array;
  readonly keyBytes: Uint8Array;
  readonly deleted: boolean;
  readonly body: Uint8Array;
  readonly refs: readonly PreparedRef[];
  readonly expect: Expectation;
}

export interface BatchLimits {
  readonly maxBodyBytes: number;
  readonly maxBatchBytes: number;
}

/** Throws INVALID, TOO_LARGE, SYSTEM_COLLECTION or BAD_REF, naming the item, before anything is queued. */
export function prepareBatch(items: readonly InsertItem[], limits: BatchLimits, system: boolean): PreparedItem[] {
  if (items.length === 0)
    throw new VarveError('INVALID', 'a batch needs at least one record', { path: 'records', expected: 'at least one record' });
  if (items.length > MAX_RECORDS_PER_BATCH) throw tooLarge('records in a batch', MAX_RECORDS_PER_BATCH, items.length);
  let bytes = 0;
  return items.map((item, index) => {
    const prepared = prepareItem(item, index, limits, system);
    bytes += prepared.body.length + prepared.keyBytes.length + prepared.collectionBytes.length;
    if (bytes > limits.maxBatchBytes) throw tooLarge('bytes of a batch', limits.maxBatchBytes, bytes);
    return prepared;
  });
}

function prepareItem(item: InsertItem, index: number, limits: BatchLimits, system: boolean): PreparedItem {
  const at = `records[${index}]`;
  checkCollection(item.collection, `${at}.collection`);
  if (!system && isSystemCollection(item.collection)) {
    throw new VarveError('SYSTEM_COLLECTION', `${at}.collection: '${item.collection}' belongs to the system and can only be read`, {
      collection: item.collection,
    });
  }
  checkKey(item.key, `${at}.key`);
  return {
    collection: item.collection,
    key: item.key,
    entity: entityKey(item.collection, item.key),
    collectionBytes: collectionBytes(item.collection),
    keyBytes: Buffer.from(item.key),
    deleted: item.deleted === true,
    body: bodyOf(item, at, limits),
    refs: refsOf(item.refs, index, at),
    expect: typeof item.expect === 'string' && item.expect !== '*' ? [item.expect] : (item.expect as Expectation),
  };
}

let lastCollection = '';
let lastCollectionBytes: Uint8Array = NO_BYTES;

/** Most batches are of one collection. */
function collectionBytes(collection: string): Uint8Array {
  if (collection !== lastCollection) {
    lastCollection = collection;
    lastCollectionBytes = Buffer.from(collection);
  }
  return lastCollectionBytes;
}

function bodyOf(item: InsertItem, at: string, limits: BatchLimits): Uint8Array {
  const given = (item.body === undefined ? 0 : 1) + (item.bodyBytes === undefined ? 0 : 1) + (item.deleted === undefined ? 0 : 1);
  if (given !== 1 || (item.deleted !== undefined && item.deleted !== true)) {
    throw new VarveError('INVALID', `${at}: exactly one of a body and "deleted": true is needed`, {
      path: at,
      expected: 'either a body or "deleted": true',
    });
  }
  if (item.deleted) return NO_BYTES;
  const body = item.bodyBytes ?? canonicalJson(item.body, { path: `${at}.body`, maxBytes: limits.maxBodyBytes });
  if (body.length > limits.maxBodyBytes) throw tooLarge('body', limits.maxBodyBytes, body.length);
  return body;
}

const NO_REFS: readonly PreparedRef[] = [];

function refsOf(refs: readonly string[] | undefined, index: number, at: string): readonly PreparedRef[] {
  if (refs === undefined || refs.length === 0) return NO_REFS;
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
export function contentHash(items: readonly PreparedItem[], time: string | undefined): Uint8Array {
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
      item.body.length,
    ]),
  ]);
  parts.push(Buffer.from(head));
  for (const item of items) parts.push(item.body);
  return blake3(...parts).subarray(0, CONTENT_HASH_BYTES);
}
