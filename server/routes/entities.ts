/**
 * One entity: insert a version, end it, its version at a point in time, its history.
 */

import { z } from 'zod';
import {
  canonicalFromBytes,
  type Database,
  type InsertItem,
  type InsertResult,
  type VersionRecord,
  type View,
} from '../../engine/index.js';
import { type Headers, JSON_TYPE, pageBytes, recordBytes, send, sendHeader, sendRecord } from '../answers.js';
import { requireCollection } from '../auth.js';
import { readBody, requireMediaType } from '../body.js';
import { elsewhere, passOn, untilSafe } from '../copies.js';
import { decodeCursor, encodeCursor, type Question, seq } from '../cursor.js';
import { database, type Exchange, param, parseQuery, type Route } from '../exchange.js';
import { Incoming } from '../incoming.js';
import { acceptedDatetime, mementoHeaders } from '../memento.js';
import { positionBefore, positionIn, viewAt } from '../points.js';
import { invalid, Problem } from '../problem.js';
import { isNotModified, readExpect, readInsertOptions, readRefs } from '../requests.js';
import { entityQuery, historyQuery, insertQuery, noQuery } from '../schemas.js';
import { endOfTurn } from '../turns.js';
import { entityDiffRoutes } from './entity-diff.js';
import { entityOf, requireBody, requireUnerased, VARY } from './entity-versions.js';
import { listEntities } from './listing.js';

/** More refs than this do not fit into a header that every client takes. */
const MAX_HEADER_REFS = 256;
/** Versions read at a time, so that a page of large bodies can end early. */
const HISTORY_STEP = 64;

const JSON_ALONE = [JSON_TYPE];

const etag = (id: string) => `"${id}"`;
const entityPath = ({ collection, key }: VersionRecord) => `/v1/collections/${collection}/entities/${encodeURIComponent(key)}`;

// --- insert

async function putEntity(exchange: Exchange): Promise<void> {
  const { acks } = parseQuery(insertQuery, exchange);
  requireMediaType(exchange.req, JSON_ALONE, true);
  const db = database(exchange);
  const other = elsewhere(exchange, () => entityShard(exchange, db));
  if (other !== undefined) return passOn(exchange, other);
  const item = conditions(exchange);
  const options = readInsertOptions(exchange.req);
  const held = await readBody(exchange, 'body', exchange.context.limits.maxBodyBytes);
  try {
    await endOfTurn();
    item.bodyBytes = canonicalFromBytes(held.bytes);
    const result = await db.insert([item], options);
    if (acks === 'quorum') await untilSafe(exchange, acks, result.records);
    answerInsert(exchange, 201, result);
  } finally {
    held.release();
  }
}

async function deleteEntity(exchange: Exchange): Promise<void> {
  const { acks } = parseQuery(insertQuery, exchange);
  const db = database(exchange);
  const other = elsewhere(exchange, () => entityShard(exchange, db));
  if (other !== undefined) return passOn(exchange, other);
  const item: InsertItem = { ...conditions(exchange), deleted: true };
  const options = readInsertOptions(exchange.req);
  await endOfTurn();
  const result = await db.insert([item], options);
  if (acks === 'quorum') await untilSafe(exchange, acks, result.records);
  answerInsert(exchange, 200, result);
}

function entityShard(exchange: Exchange, db: Database): number {
  return db.shardOf(param(exchange, 'collection'), param(exchange, 'key'));
}

/** The entity, and what headers say of the version to insert. */
function conditions(exchange: Exchange): InsertItem {
  const item: InsertItem = { collection: param(exchange, 'collection'), key: param(exchange, 'key') };
  const expect = readExpect(exchange.req);
  if (expect !== undefined) item.expect = expect;
  const refs = readRefs(exchange.req);
  if (refs !== undefined) item.refs = refs;
  return item;
}

function answerInsert({ res }: Exchange, status: 200 | 201, { records, replayed }: InsertResult): void {
  const record = records[0]!;
  const { id } = record;
  const headers: Headers = { 'Content-Type': JSON_TYPE, ETag: etag(id), Location: `/v1/records/${id}` };
  if (replayed) headers['Idempotent-Replay'] = 'true';
  sendHeader(res, status, headers, record);
}

// --- select

/** The newest version is read and answered in one go; a moment of the past has to be resolved first. */
function getEntity(exchange: Exchange): void | Promise<void> {
  const { asOf: asked, view: form } = parseQuery(entityQuery, exchange);
  const datetime = acceptedDatetime(exchange.req);
  if (asked !== undefined && datetime !== undefined) throw invalid('asOf', 'asOf or Accept-Datetime, not both');
  const db = database(exchange);
  const asOf = asked ?? datetime;
  if (asOf === undefined) return answerEntity(exchange, db.now(), form, false);
  return viewAt(exchange, asOf, datetime === undefined ? 'asOf' : 'Accept-Datetime').then((view) =>
    answerEntity(exchange, view, form, true),
  );
}

function answerEntity(exchange: Exchange, view: View, form: 'record' | 'body', asOf: boolean): void {
  answerRecord(exchange, entityOf(exchange, view, asOf), form, asOf);
}

function answerRecord({ req, res }: Exchange, record: VersionRecord, form: 'record' | 'body', asOf: boolean): void {
  requireBody(record);
  if (req instanceof Incoming) req.endsUnheard();
  const { id } = record;
  const headers: Headers = { ETag: etag(id), ...VARY };
  if (asOf) Object.assign(headers, mementoHeaders(record, entityPath(record)));
  if (isNotModified(req, id)) return send(res, 304, headers);
  headers['Content-Type'] = JSON_TYPE;
  if (form === 'record') return sendRecord(res, headers, record);
  send(res, 200, { ...headers, ...describe(record) }, record.bodyBytes);
}

/** The envelope as headers, beside a bare body. */
function describe(record: VersionRecord): Headers {
  const { id, shard, seq, time, supersedes, refs, hash } = record;
  return {
    'Varve-Id': id,
    'Varve-Shard': shard,
    'Varve-Seq': seq,
    'Varve-Time': time,
    'Varve-Hash': hash,
    'Content-Location': `/v1/records/${id}`,
    ...(supersedes === null ? {} : { 'Varve-Supersedes': supersedes }),
    ...(refs.length === 0 || refs.length > MAX_HEADER_REFS ? {} : { 'Varve-Refs': refs.join(', ') }),
  };
}

function getRecord(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  const id = param(exchange, 'id');
  const record = database(exchange).record(id);
  if (record === undefined) throw new Problem('not-found', `There is no record ${id}.`, { id });
  requireCollection(exchange.caller, record.collection);
  requireUnerased(record);
  const headers: Headers = { ETag: etag(record.id) };
  if (isNotModified(exchange.req, record.id)) return send(exchange.res, 304, headers);
  send(exchange.res, 200, { ...headers, 'Content-Type': JSON_TYPE }, recordBytes(record));
}

// --- history

/** What is left of the range of seqs. */
const historyPlace = z.tuple([seq, seq]);

async function getHistory(exchange: Exchange): Promise<void> {
  const asked = parseQuery(historyQuery, exchange);
  const db = database(exchange);
  const collection = param(exchange, 'collection');
  const key = param(exchange, 'key');
  const shard = db.shardOf(collection, key);
  const fixed: Question = { db: db.databaseId, route: 'history', collection, key };
  const given: Record<string, string> = {};
  for (const name of ['order', 'from', 'to'] as const) if (exchange.query[name] !== undefined) given[name] = asked[name]!;

  let question: Question = { ...fixed, order: asked.order, ...given };
  let view = db.now();
  let fromSeq = 1;
  let toSeq: number;
  if (asked.cursor === undefined) {
    if (asked.to !== undefined) view = await viewAt(exchange, asked.to, 'to');
    toSeq = positionIn(view, shard);
    if (asked.from !== undefined) fromSeq = (await positionBefore(exchange, asked.from, shard, 'from')) + 1;
  } else {
    const decoded = decodeCursor(asked.cursor, fixed, given, historyPlace);
    question = decoded.question;
    [fromSeq, toSeq] = decoded.place;
  }

  const descending = question.order !== 'asc';
  const records: Buffer[] = [];
  let bytes = 0;
  let complete = true;
  let more = fromSeq <= toSeq;
  while (more && records.length < asked.limit && bytes < exchange.context.limits.maxPageBytes) {
    const limit = Math.min(HISTORY_STEP, asked.limit - records.length);
    const page = view.history(collection, key, { order: descending ? 'desc' : 'asc', fromSeq, toSeq, limit });
    for (const record of page.records) {
      const whole = recordBytes(record);
      bytes += whole.length;
      records.push(whole);
    }
    complete &&= page.complete;
    more = page.nextSeq !== undefined;
    if (page.nextSeq !== undefined && descending) toSeq = page.nextSeq;
    else if (page.nextSeq !== undefined) fromSeq = page.nextSeq;
  }
  if (records.length === 0 && asked.cursor === undefined && db.now().get(collection, key) === undefined) {
    throw new Problem('not-found', `${collection} has never had an entity of this key.`, { collection, key });
  }
  const next = more ? `"${encodeCursor(question, [fromSeq, toSeq])}"` : 'null';
  send(exchange.res, 200, { 'Content-Type': JSON_TYPE }, pageBytes(records, `"next":${next},"complete":${complete}`));
}

const ENTITY = '/v1/collections/:collection/entities/:key';

export const entityRoute: Route = {
  path: ENTITY,
  endpoints: {
    GET: { role: 'read', handle: getEntity },
    PUT: { role: 'write', handle: putEntity },
    DELETE: { role: 'write', handle: deleteEntity },
  },
};

export const entityRoutes: readonly Route[] = [
  { path: '/v1/collections/:collection/entities', endpoints: { GET: { role: 'read', handle: listEntities } } },
  entityRoute,
  { path: `${ENTITY}/history`, endpoints: { GET: { role: 'read', handle: getHistory } } },
  ...entityDiffRoutes,
  { path: '/v1/records/:id', endpoints: { GET: { role: 'read', scope: 'handler', handle: getRecord } } },
];
