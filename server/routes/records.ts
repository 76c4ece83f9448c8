/**
 * Inserts of many: one batch as JSON, or a stream of lines, each a batch of its own.
 */
import {
  type Database,
  giveBackJson,
  InsertImages,
  type InsertItem,
  type InsertOptions,
  type InsertResult,
  type JsonValue,
  parseStrict,
  recordsJson,
} from '../../engine/index.js';
import { JSON_TYPE, NDJSON_TYPE, sendOnce } from '../answers.js';
import { requireCollection } from '../auth.js';
import { readBody, requireMediaType } from '../body.js';
import { type Elsewhere, elsewhere, elsewhereWhole, FIRST_SHARD, passOn, untilSafe } from '../copies.js';
import { database, type Exchange, parseEnvelope, parseQuery, type Route } from '../exchange.js';
import { type InsertLines, insertStream } from '../insert-stream.js';
import { readFirstLine } from '../ndjson.js';
import { enterStream } from '../overload.js';
import { readPlainBatch, readPlainLine, readPlainLines } from '../plain-inserts.js';
import { readInsertOptions, refuseHeaders } from '../requests.js';
import { type BatchItem, batchEnvelope, insertQuery, type LineEnvelope, lineEnvelope } from '../schemas.js';

const ITEM_HEADERS = ['If-Match', 'If-None-Match', 'Varve-Refs', 'Varve-Time'];
/** A body may be nested this deep; its envelope adds to it: `{"body": …` for a line, `{"records":[{"body": …` for a batch. */
const BODY_DEPTH = 64;
const LINE_OPTIONS = { maxDepth: BODY_DEPTH + 1 };
const NEWLINE = 0x0a;
const BATCH_DEPTH = BODY_DEPTH + 3;
const AROUND_RECORDS = ['{"records":[', ']}'] as const;

async function postRecords(exchange: Exchange): Promise<void> {
  const { acks } = parseQuery(insertQuery, exchange);
  const type = requireMediaType(exchange.req, [JSON_TYPE, NDJSON_TYPE]);
  if (type === JSON_TYPE) return postBatch(exchange, acks);
  const db = database(exchange);
  refuseHeaders(exchange.req, [...ITEM_HEADERS, 'Idempotency-Key'], 'each line says it for itself');
  const all = elsewhereWhole(exchange, db);
  if (all !== undefined) return passStream(exchange, all);
  const head = isSplit(exchange) ? await readFirstLine(exchange.req, exchange.context.limits.maxLineBytes) : undefined;
  const other = head === undefined ? undefined : elsewhere(exchange, () => shardOfLine(db, head));
  if (other !== undefined) return passStream(exchange, other, head);
  // A quorum is waited for line by line.
  const insert = acks === 'quorum' ? insertLineSafely : insertLine;
  const run = acks === 'quorum' ? undefined : plainLines(exchange, db);
  await insertStream(exchange, { one: (bytes) => insert(exchange, db, bytes), run }, head);
}

function passStream(exchange: Exchange, other: Elsewhere, head?: Buffer): Promise<void> {
  enterStream(exchange.res);
  return passOn(exchange, other, head, true);
}

/** Whether other nodes own some of the shards. */
function isSplit({ context }: Exchange): boolean {
  return context.copies !== undefined && !context.copies.allHere;
}

/** Where the first line goes, all do. A line that says nothing of it is refused wherever it comes. */
function shardOfLine(db: Database, head: Buffer): number {
  const end = head.indexOf(NEWLINE);
  try {
    const line = parseStrict(end < 0 ? head : head.subarray(0, end), LINE_OPTIONS);
    const { collection, key } = (line ?? {}) as Partial<BatchItem>;
    return db.shardOf(String(collection), String(key));
  } catch {
    return FIRST_SHARD;
  }
}

async function insertLineSafely(exchange: Exchange, db: Database, bytes: Buffer): Promise<InsertResult> {
  const result = await insertLine(exchange, db, bytes);
  await untilSafe(exchange, 'quorum', result.records);
  return result;
}

function plainLines({ caller, context }: Exchange, db: Database): InsertLines['run'] {
  const { maxBodyBytes } = context.limits;
  return (lines, from, maxLines, maxBytes) => {
    const run = readPlainLines(lines, from, { maxLines, maxBytes, maxBodyBytes, mayUse: (collection) => caller.mayUse(collection) });
    try {
      const { images, bytes } = run;
      const lines = images.items.length;
      return lines === 0 ? undefined : { lines, bytes, parts: db.insertEach(images) };
    } finally {
      run.release();
    }
  };
}

function insertLine(exchange: Exchange, db: Database, bytes: Buffer): Promise<InsertResult> {
  const plain = readPlainLine(bytes, exchange.context.limits.maxBodyBytes);
  if (plain !== undefined) {
    try {
      const { images, idempotencyKey } = plain;
      requireCollection(exchange.caller, images.items[0]!.collection);
      return db.insert(images, idempotencyKey === undefined ? {} : { idempotencyKey });
    } finally {
      plain.release();
    }
  }
  const { time, idempotencyKey, ...item } = parseEnvelope(lineEnvelope, parseStrict(bytes, LINE_OPTIONS)) as LineEnvelope;
  requireCollection(exchange.caller, item.collection);
  return db.insert([insertItem(item)], {
    ...(time === undefined ? {} : { time }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  });
}

async function postBatch(exchange: Exchange, acks: 'local' | 'quorum'): Promise<void> {
  const db = database(exchange);
  const all = elsewhereWhole(exchange, db);
  if (all !== undefined) return passOn(exchange, all);
  refuseHeaders(exchange.req, ITEM_HEADERS, 'the body says it: "time", and "refs" and "expect" of each record');
  const options: InsertOptions = { ...readInsertOptions(exchange.req), json: AROUND_RECORDS };
  const { maxBatchBytes, maxBodyBytes } = exchange.context.limits;
  const insert = (bytes: Buffer): Promise<InsertResult | undefined> => {
    const plain = readPlainBatch(bytes, maxBodyBytes);
    if (plain !== undefined) {
      try {
        return insertBatch(exchange, db, bytes, plain.images, options);
      } finally {
        plain.release();
      }
    }
    const { time, records } = parseEnvelope(batchEnvelope, parseStrict(bytes, { maxDepth: BATCH_DEPTH }));
    return insertBatch(exchange, db, bytes, records.map(insertItem), { ...options, ...(time === undefined ? {} : { time }) });
  };
  const held = await readBody(exchange, 'batch', maxBatchBytes);
  try {
    const result = await insert(held.bytes);
    if (result === undefined) return; // passed on, and answered
    if (acks === 'quorum') await untilSafe(exchange, acks, result.records);
    const headers = { 'Content-Type': JSON_TYPE, ...(result.replayed ? { 'Idempotent-Replay': 'true' } : {}) };
    sendOnce(exchange.res, 201, headers, recordsJson(result, ...AROUND_RECORDS), giveBackJson);
    // What was inserted looks at the body's keys until it is answered; with a key, whoever sends that again meanwhile is answered from it.
    if (options.idempotencyKey === undefined) held.recycle();
  } finally {
    held.release();
  }
}

/** Undefined once it was passed on, and answered. What it needs of the items' bodies it has when it returns. */
function insertBatch(
  exchange: Exchange,
  db: Database,
  bytes: Buffer,
  items: readonly InsertItem[] | InsertImages,
  options: InsertOptions,
): Promise<InsertResult | undefined> {
  let last: string | undefined;
  const named = items instanceof InsertImages ? items.items : items;
  for (const { collection } of named) {
    if (collection !== last) requireCollection(exchange.caller, collection);
    last = collection;
  }
  const [first] = named;
  const other = elsewhere(exchange, () => db.shardOf(first!.collection, first!.key));
  return other === undefined ? db.insert(items, options) : passOn(exchange, other, bytes).then(() => undefined);
}

function insertItem({ collection, key, body, deleted, refs, expect }: BatchItem): InsertItem {
  return {
    collection,
    key,
    ...(deleted === true ? { deleted } : { body: body as JsonValue }),
    ...(refs === undefined ? {} : { refs }),
    ...(expect === undefined ? {} : { expect }),
  };
}

export const recordsRoute: Route = { path: '/v1/records', endpoints: { POST: { role: 'write', scope: 'handler', handle: postRecords } } };

export const recordRoutes: readonly Route[] = [recordsRoute];
