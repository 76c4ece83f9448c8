/**
 * Entities that differ between two points in time: as pages whose cursors keep both points, or all of them as a stream of lines.
 */
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Database, Difference, Differences, DiffOptions, View } from '../../engine/index.js';
import { beginStream, JSON_TYPE, NDJSON_TYPE, sendJson } from '../answers.js';
import { decodeCursor, encodeCursor, positions, type Question, seq } from '../cursor.js';
import { database, type Exchange, parseQuery, type Route } from '../exchange.js';
import { LineWriter } from '../ndjson.js';
import { enterStream } from '../overload.js';
import { viewAt } from '../points.js';
import { invalid, Problem } from '../problem.js';
import { negotiate } from '../requests.js';
import { type DiffAnswer, diffQuery } from '../schemas.js';

/** Both points' positions, and the place in the log up to which everything has been told. */
const diffPlace = z.tuple([positions, positions, z.number().int().min(1).max(65_535), seq]);
/** Differences looked for at a time. */
const STEP = 256;
/** Others are let in after so much work. */
const SLICE_MS = 8;

interface Asked {
  readonly from: View;
  readonly to: View;
  readonly options: DiffOptions;
  readonly question: Question;
}

async function getDiff(exchange: Exchange): Promise<void> {
  const type = negotiate(exchange.req, [JSON_TYPE, NDJSON_TYPE]);
  const { limit, cursor } = parseQuery(diffQuery, exchange);
  const db = database(exchange);
  if (type === NDJSON_TYPE) {
    if (cursor !== undefined) throw invalid('cursor', 'no cursor: a stream holds everything');
    const { from, to, options } = await readQuestion(exchange, db);
    return streamDiff(exchange, db.diff(from, to, options), exchange.query.limit === undefined ? undefined : limit);
  }
  const { from, to, options, question } = await readQuestion(exchange, db);
  const diff = db.diff(from, to, options);
  const differences: Difference[] = [];
  const pause = pacer();
  while (diff.place !== undefined && differences.length < limit && !isGone(exchange.res)) {
    differences.push(...diff.next(limit - differences.length));
    await pause();
  }
  const { place } = diff;
  const next = place === undefined ? null : encodeCursor(question, [plain(from), plain(to), place.shard, place.seq]);
  sendJson(exchange.res, 200, { differences, next } satisfies DiffAnswer);
}

async function readQuestion(exchange: Exchange, db: Database): Promise<Asked> {
  const asked = parseQuery(diffQuery, exchange);
  const fixed: Question = { db: db.databaseId, route: 'diff' };
  const given: Record<string, string> = {};
  for (const name of ['from', 'to', 'collection'] as const) if (asked[name] !== undefined) given[name] = asked[name];
  if (asked.cursor === undefined) {
    if (asked.from === undefined) throw invalid('from', 'an RFC 3339 time, or the id of a record');
    const from = await viewAt(exchange, asked.from, 'from');
    const to = await viewAt(exchange, asked.to, 'to');
    return { from, to, options: inCollection(asked.collection), question: { ...fixed, ...given } };
  }
  const { question, place } = decodeCursor(asked.cursor, fixed, given, diffPlace);
  const [from, to, shard, at] = place;
  const newest = db.now().positions;
  const fits = [from, to].every(
    (point) => point.length === newest.length && point.every((position, i) => position === null || position <= (newest[i] ?? 0)),
  );
  if (!fits || shard > newest.length || at > (newest[shard - 1] ?? 0))
    throw invalid('cursor', 'a cursor as an earlier page of the same question gave it');
  const options = { ...inCollection(question.collection), after: { shard, seq: at } };
  return { from: viewOf(db, from), to: viewOf(db, to), options, question };
}

function inCollection(collection: string | undefined): DiffOptions {
  return collection === undefined ? {} : { collection };
}

function viewOf(db: Database, point: readonly (number | null)[]): View {
  return db.at(point.map((position) => position ?? undefined));
}

function plain(view: View): (number | null)[] {
  return view.positions.map((position) => position ?? null);
}

/** The last line tells that it is whole; a stream that is cut short has none. */
async function streamDiff({ req, res, context }: Exchange, diff: Differences, limit: number | undefined): Promise<void> {
  const most = limit ?? Number.POSITIVE_INFINITY;
  // The first ones before the first byte: a refusal is then still an answer of its own.
  let found = diff.next(Math.min(STEP, most));
  enterStream(res);
  beginStream(res);
  if (req.method === 'HEAD') return void res.end();
  const writer = new LineWriter(res, context.limits.answerBufferBytes);
  const pause = pacer();
  let count = 0;
  try {
    for (;;) {
      for (const difference of found) {
        count++;
        if (writer.pushText(`${JSON.stringify(difference)}\n`)) {
          diff.rest();
          await writer.ready();
        }
      }
      if (diff.place === undefined || count >= most || writer.closed) break;
      if (context.draining.aborted) throw new Problem('draining', 'The server is shutting down.');
      await pause();
      found = diff.next(Math.min(STEP, most - count));
    }
    writer.pushText(`{"done":true,"count":${count}}\n`);
  } catch (error) {
    context.logger.warn({ err: error }, 'a difference was cut short');
    return void res.destroy();
  }
  writer.end();
}

/** Lets others in once a slice of work is done. */
function pacer(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE_MS) return;
    await setImmediate();
    since = performance.now();
  };
}

function isGone(res: ServerResponse): boolean {
  return res.destroyed || res.closed;
}

export const diffRoutes: readonly Route[] = [{ path: '/v1/diff', endpoints: { GET: { role: 'read', scope: 'query', handle: getDiff } } }];
