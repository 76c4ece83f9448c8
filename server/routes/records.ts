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
const LINE_DEPTH = BODY_DEPTH + 1;
const BATCH_DEPTH = BODY_DEPTH + 3;

async function postRecords(exchange: Exchange): Promise<void> {
  parseQuery(insertQuery, exchange);
  const type = requireMediaType(exchange.req, [JSON_TYPE, NDJSON_TYPE]);
  if (type === JSON_TYPE) return postBatch(exchange);
  const db = database(exchange);
  refuseHeaders(exchange.req, [...ITEM_HEADERS, 'Idempotency-Key'], 'each line says it for itself');
  await insertStream(exchange, async (bytes) => {
    const { time, idempotencyKey, ...item } = parseEnvelope(lineEnvelope, parseStrict(bytes, { maxDepth: LINE_DEPTH })) as LineEnvelope;
    requireCollection(exchange.caller, item.collection);
    const { records, replayed } = await db.insert([insertItem(item)], {
      ...(time === undefined ? {} : { time }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
    return { id: records[0]!.id, replayed };
  });
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
