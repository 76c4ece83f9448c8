/**
 * Inserts of many: one batch as JSON, or a stream of lines, each a batch of its own.
 */
import { type InsertItem, type JsonValue, parseStrict } from '../../engine/index.js';
import { headerJson, JSON_TYPE, NDJSON_TYPE, send } from '../answers.js';
import { requireCollection } from '../auth.js';
import { requireMediaType, withBody } from '../body.js';
import { database, type Exchange, parseEnvelope, parseQuery, type Route } from '../exchange.js';
import { insertStream } from '../insert-stream.js';
import { readInsertOptions, refuseHeaders } from '../requests.js';
import { type BatchItem, batchEnvelope, insertQuery, type LineEnvelope, lineEnvelope } from '../schemas.js';

const ITEM_HEADERS = ['If-Match', 'If-None-Match', 'Varve-Refs', 'Varve-Time'];
/** A body may be nested this deep; its envelope adds to it: `{"body": …` for a line, `{"records":[{"body": …` for a batch. */
const BODY_DEPTH = 64;
const LINE_OPTIONS = { maxDepth: BODY_DEPTH + 1 };
const BATCH_DEPTH = BODY_DEPTH + 3;

async function postRecords(exchange: Exchange): Promise<void> {
  parseQuery(insertQuery, exchange);
  const type = requireMediaType(exchange.req, [JSON_TYPE, NDJSON_TYPE]);
  if (type === JSON_TYPE) return postBatch(exchange);
  const db = database(exchange);
  refuseHeaders(exchange.req, [...ITEM_HEADERS, 'Idempotency-Key'], 'each line says it for itself');
  await insertStream(exchange, (bytes) => {
    const line = parseStrict(bytes, LINE_OPTIONS);
    if (isPlainLine(line)) {
      requireCollection(exchange.caller, line.collection);
      return db.insert([line]);
    }
    const { time, idempotencyKey, ...item } = parseEnvelope(lineEnvelope, line) as LineEnvelope;
    requireCollection(exchange.caller, item.collection);
    return db.insert([insertItem(item)], {
      ...(time === undefined ? {} : { time }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
  });
}

/** A collection, a key and a body and nothing else: most lines of a load, which are as the schema would have them. */
function isPlainLine(line: JsonValue): line is { collection: string; key: string; body: JsonValue } {
  if (line === null || typeof line !== 'object' || Array.isArray(line)) return false;
  let fields = 0;
  for (const name in line) {
    if (name !== 'collection' && name !== 'key' && name !== 'body') return false;
    fields++;
  }
  return fields === 3 && typeof line.collection === 'string' && typeof line.key === 'string';
}

async function postBatch(exchange: Exchange): Promise<void> {
  const db = database(exchange);
  refuseHeaders(exchange.req, ITEM_HEADERS, 'the body says it: "time", and "refs" and "expect" of each record');
  const options = readInsertOptions(exchange.req);
  const { records, replayed } = await withBody(exchange, 'batch', exchange.context.limits.maxBatchBytes, (bytes) => {
    const { time, records } = parseEnvelope(batchEnvelope, parseStrict(bytes, { maxDepth: BATCH_DEPTH }));
    for (const item of records) requireCollection(exchange.caller, item.collection);
    return db.insert(records.map(insertItem), { ...options, ...(time === undefined ? {} : { time }) });
  });
  const body = `{"records":[${records.map(headerJson).join(',')}]}`;
  send(exchange.res, 201, { 'Content-Type': JSON_TYPE, ...(replayed ? { 'Idempotent-Replay': 'true' } : {}) }, body);
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
