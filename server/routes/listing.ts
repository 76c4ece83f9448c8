/**
 * Entities alive at a point in time, in key order: as pages whose cursors keep that point, or all of them as a stream of lines.
 */
import { z } from 'zod';
import type { Database, ListOptions, VersionRecord, View } from '../../engine/index.js';
import { beginStream, JSON_TYPE, NDJSON_TYPE, pageBytes, recordBytes, send } from '../answers.js';
import { decodeCursor, encodeCursor, positions, type Question } from '../cursor.js';
import { database, type Exchange, param, parseQuery } from '../exchange.js';
import { LineWriter } from '../ndjson.js';
import { viewAt } from '../points.js';
import { invalid, Problem } from '../problem.js';
import { negotiate } from '../requests.js';
import { listQuery } from '../schemas.js';

/** Positions of the first page's point in time, and the last key given out. */
const listPlace = z.tuple([positions, z.string()]);

export async function listEntities(exchange: Exchange): Promise<void> {
  const type = negotiate(exchange.req, [JSON_TYPE, NDJSON_TYPE]);
  const asked = parseQuery(listQuery, exchange);
  const db = database(exchange);
  const collection = param(exchange, 'collection');
  if (type === NDJSON_TYPE) {
    if (asked.cursor !== undefined) throw invalid('cursor', 'no cursor: a stream holds everything');
    const view = await viewAt(exchange, asked.asOf, 'asOf');
    const limit = exchange.query.limit === undefined ? undefined : asked.limit;
    return streamEntities(exchange, view, collection, options(asked.prefix, asked.after, limit), asked.bodies);
  }

  const fixed: Question = { db: db.databaseId, route: 'list', collection };
  const given: Record<string, string> = {};
  for (const name of ['asOf', 'prefix', 'after', 'bodies'] as const)
    if (exchange.query[name] !== undefined) given[name] = String(asked[name]);
  let question: Question = { ...fixed, bodies: String(asked.bodies), ...given };
  let view: View;
  let after = asked.after;
  if (asked.cursor === undefined) {
    view = await viewAt(exchange, asked.asOf, 'asOf');
  } else {
    const decoded = decodeCursor(asked.cursor, fixed, given, listPlace);
    question = decoded.question;
    view = viewOf(db, decoded.place[0]);
    after = decoded.place[1];
  }

  const bodies = question.bodies !== 'false';
  const records: Buffer[] = [];
  let bytes = 0;
  let lastKey = '';
  let more = false;
  for await (const record of view.entities(collection, options(question.prefix, after, asked.limit + 1))) {
    more = records.length === asked.limit || bytes >= exchange.context.limits.maxPageBytes;
    if (more) break;
    const whole = bodies ? recordBytes(record) : keyAndId(record);
    bytes += whole.length;
    lastKey = record.key;
    records.push(whole);
  }
  const next = more ? `"${encodeCursor(question, [view.positions.map((position) => position ?? null), lastKey])}"` : 'null';
  send(exchange.res, 200, { 'Content-Type': JSON_TYPE }, pageBytes(records, `"next":${next}`));
}

/** The view a cursor names, unless it asks for what does not exist yet. */
function viewOf(db: Database, positions: readonly (number | null)[]): View {
  const newest = db.now().positions;
  const fits =
    positions.length === newest.length && positions.every((position, index) => position === null || position <= (newest[index] ?? 0));
  if (!fits) throw invalid('cursor', 'a cursor as an earlier page of the same question gave it');
  return db.at(positions.map((position) => position ?? undefined));
}

function options(prefix: string | undefined, after: string | undefined, limit: number | undefined): ListOptions {
  return {
    ...(prefix === undefined ? {} : { prefix }),
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit }),
  };
}

function keyAndId(record: VersionRecord, after = ''): Buffer {
  return Buffer.from(`{"id":"${record.id}","key":${JSON.stringify(record.key)}}${after}`);
}

/** The last line tells that it is whole; a stream that is cut short has none. */
async function streamEntities(
  { req, res, context }: Exchange,
  view: View,
  collection: string,
  options: ListOptions,
  bodies: boolean,
): Promise<void> {
  const entities = view.entities(collection, options)[Symbol.asyncIterator]();
  try {
    // The first one before the first byte: a refusal is then still an answer of its own.
    let step = await entities.next();
    beginStream(res);
    if (req.method === 'HEAD') return void res.end();
    const writer = new LineWriter(res, context.limits.answerBufferBytes);
    let count = 0;
    try {
      while (step.done !== true && !writer.closed) {
        if (context.draining.aborted) throw new Problem('draining', 'The server is shutting down.');
        count++;
        context.figures.lines.sent++;
        if (writer.push(bodies ? recordBytes(step.value, '\n') : keyAndId(step.value, '\n'))) await writer.ready();
        step = await entities.next();
      }
      writer.pushText(`{"done":true,"count":${count}}\n`);
    } catch (error) {
      // The broken connection and the missing last line tell it; any line more would be taken for an entity.
      context.logger.warn({ err: error }, 'a listing was cut short');
      return void res.destroy();
    }
    writer.end();
  } finally {
    await entities.return?.();
  }
}
