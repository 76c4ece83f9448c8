/**
 * What is kept, and giving back the rest: retention of a collection, snapshots by name, compactions and erasures as jobs.
 */
import { type JobInfo, type JsonValue, parseStrict, recordId, type Snapshot } from '../../engine/index.js';
import { beginStream, send, sendJson } from '../answers.js';
import { requireMediaType, withBody } from '../body.js';
import { elsewhere, elsewhereWhole, FIRST_SHARD, passOn } from '../copies.js';
import { database, type Exchange, param, parseEnvelope, parseQuery, type Route } from '../exchange.js';
import {
  compactionEnvelope,
  erasureEnvelope,
  jobEnvelope,
  retentionEnvelope,
  type SnapshotAnswer,
  snapshotEnvelope,
} from '../keep-schemas.js';
import { enterStream } from '../overload.js';
import { Problem } from '../problem.js';
import { negotiate } from '../requests.js';
import { noQuery } from '../schemas.js';

const ENVELOPE_BYTES = 64 * 1024;
const SSE_TYPE = 'text/event-stream';

// --- retention

function getRetention(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, database(exchange).retention(param(exchange, 'collection')));
}

async function putRetention(exchange: Exchange): Promise<void> {
  const other = elsewhere(exchange, () => FIRST_SHARD);
  if (other !== undefined) return passOn(exchange, other);
  const value = await envelope(exchange, 'retention', (body) => parseEnvelope(retentionEnvelope, body));
  sendJson(exchange.res, 200, await database(exchange).setRetention(param(exchange, 'collection'), value as JsonValue));
}

// --- snapshots

function snapshotAnswer({ name, asOf, positions }: Snapshot): SnapshotAnswer {
  return { name, asOf, positions: positions.map((seq, i) => (seq === undefined || seq === 0 ? null : recordId(i + 1, seq))) };
}

function listSnapshots(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, { snapshots: database(exchange).snapshots().map(snapshotAnswer) });
}

function getSnapshot(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  const name = param(exchange, 'name');
  const snapshot = database(exchange).snapshot(name);
  if (snapshot === undefined) throw noSnapshot(name);
  sendJson(exchange.res, 200, snapshotAnswer(snapshot));
}

async function putSnapshot(exchange: Exchange): Promise<void> {
  const other = elsewhere(exchange, () => FIRST_SHARD);
  if (other !== undefined) return passOn(exchange, other);
  const db = database(exchange);
  const name = param(exchange, 'name');
  const { asOf } = await envelope(exchange, 'snapshot', (body) => parseEnvelope(snapshotEnvelope, body));
  const isNew = db.snapshot(name) === undefined;
  const snapshot = await db.createSnapshot(name, asOf);
  sendJson(
    exchange.res,
    isNew ? 201 : 200,
    snapshotAnswer(snapshot),
    isNew ? { Location: `/v1/snapshots/${encodeURIComponent(name)}` } : {},
  );
}

async function deleteSnapshot(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const other = elsewhere(exchange, () => FIRST_SHARD);
  if (other !== undefined) return passOn(exchange, other);
  const name = param(exchange, 'name');
  if (!(await database(exchange).deleteSnapshot(name))) throw noSnapshot(name);
  send(exchange.res, 204, {});
}

function noSnapshot(name: string): Problem {
  return new Problem('not-found', 'There is no snapshot of that name.', { name });
}

// --- jobs

async function postCompaction(exchange: Exchange): Promise<void> {
  const asked = await envelope(exchange, 'compaction', (body) => parseEnvelope(compactionEnvelope, body));
  const { shard, collection, force } = asked;
  accepted(
    exchange,
    database(exchange).compact({
      ...(shard === undefined ? {} : { shard }),
      ...(collection === undefined ? {} : { collection }),
      ...(force === undefined ? {} : { force }),
    }),
  );
}

async function postErasure(exchange: Exchange): Promise<void> {
  const db = database(exchange);
  const all = elsewhereWhole(exchange, db);
  if (all !== undefined) return passOn(exchange, all);
  parseQuery(noQuery, exchange);
  requireMediaType(exchange.req, ['application/json'], true);
  const job = await withBody(exchange, 'erasure', ENVELOPE_BYTES, async (bytes) => {
    const asked = parseEnvelope(erasureEnvelope, parseStrict(bytes));
    const other = elsewhere(exchange, () => db.shardOf(asked.collection, asked.key));
    return other === undefined ? db.erase(asked) : passOn(exchange, other, bytes);
  });
  if (job !== undefined) accepted(exchange, job); // else passed on, and answered
}

export function accepted(exchange: Exchange, job: JobInfo): void {
  sendJson(exchange.res, 202, job, { Location: `/v1/jobs/${job.id}` });
}

function listJobs(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, { jobs: database(exchange).jobs() });
}

function getJob(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  const job = theJob(exchange);
  if (negotiate(exchange.req, ['application/json', SSE_TYPE]) === SSE_TYPE) followJob(exchange, job);
  else sendJson(exchange.res, 200, job);
}

async function putJob(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  theJob(exchange);
  const { paused } = await envelope(exchange, 'job', (body) => parseEnvelope(jobEnvelope, body));
  sendJson(exchange.res, 200, database(exchange).pauseJob(param(exchange, 'id'), paused) ?? theJob(exchange));
}

function deleteJob(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  theJob(exchange);
  sendJson(exchange.res, 200, database(exchange).cancelJob(param(exchange, 'id')));
}

function theJob(exchange: Exchange): JobInfo {
  const job = database(exchange).job(param(exchange, 'id'));
  if (job === undefined) throw new Problem('not-found', 'There is no such job; the server remembers those since it started.');
  return job;
}

/** Each change of the job as an event, until it has ended, and a comment now and then while nothing changes. Changes that a slow reader has not taken yet are passed over. */
function followJob(exchange: Exchange, job: JobInfo): void {
  const { res, context, caller } = exchange;
  enterStream(res);
  beginStream(res, { 'Content-Type': SSE_TYPE });
  let waiting: JobInfo | undefined;
  const beating = setInterval(() => res.write(':\n\n'), context.limits.heartbeatMs);
  const leave = (): void => {
    clearInterval(beating);
    stop();
  };
  const end = (): void => {
    leave();
    res.end();
  };
  const tell = (now: JobInfo): void => {
    const isEnd = now.ended !== null;
    if (!isEnd && res.writableNeedDrain) {
      waiting = now;
      return;
    }
    waiting = undefined;
    res.write(`event: ${isEnd ? 'end' : 'progress'}\ndata: ${JSON.stringify(now)}\n\n`);
    if (isEnd) end();
  };
  const stop = database(exchange).watchJob(job.id, tell);
  res.on('drain', () => waiting !== undefined && tell(waiting));
  res.on('close', leave);
  for (const signal of [context.draining, caller.signal]) signal?.addEventListener('abort', end, { once: true });
  tell(job);
}

export function envelope<T>(exchange: Exchange, what: string, parse: (value: JsonValue) => T): Promise<T> {
  parseQuery(noQuery, exchange);
  requireMediaType(exchange.req, ['application/json'], true);
  return withBody(exchange, what, ENVELOPE_BYTES, (bytes) => parse(parseStrict(bytes)));
}

export const keepRoutes: readonly Route[] = [
  {
    path: '/v1/collections/:collection/retention',
    endpoints: { GET: { role: 'read', handle: getRetention }, PUT: { role: 'admin', handle: putRetention } },
  },
  { path: '/v1/snapshots', endpoints: { GET: { role: 'read', handle: listSnapshots } } },
  {
    path: '/v1/snapshots/:name',
    endpoints: {
      GET: { role: 'read', handle: getSnapshot },
      PUT: { role: 'admin', handle: putSnapshot },
      DELETE: { role: 'admin', handle: deleteSnapshot },
    },
  },
  { path: '/v1/compactions', endpoints: { POST: { role: 'admin', handle: postCompaction } } },
  { path: '/v1/erasures', endpoints: { POST: { role: 'admin', handle: postErasure } } },
  { path: '/v1/jobs', endpoints: { GET: { role: 'admin', handle: listJobs } } },
  {
    path: '/v1/jobs/:id',
    endpoints: {
      GET: { role: 'admin', handle: getJob },
      PUT: { role: 'admin', handle: putJob },
      DELETE: { role: 'admin', handle: deleteJob },
    },
  },
];
