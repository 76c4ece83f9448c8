/**
 * The feed: what became durable, in order per shard, as it becomes so.
 *
 *   NDJSON   {record…, "cursor":c}      {"cursor":c} at first, and while nothing happens      {"done":true,…} at the end of what was asked
 *   SSE      id: c + data: {record…}    id: c, or a comment                                  event: done
 *
 * Each reader pulls from the log at its own pace: what it costs is one stretch of records, and what its socket has not taken. Shutting
 * down says when to come back and ends; a refusal after the first byte (a trim that overtook a slow reader, damage) cuts the connection,
 * and whoever comes back with its cursor is told why.
 */
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { Changes, Database, VersionRecord } from '../../engine/index.js';
import { beginStream, NDJSON_TYPE, recordBytes } from '../answers.js';
import { database, type Exchange, parseQuery, type Route } from '../exchange.js';
import { FeedCursor, MAX_FEED_SHARDS, startOf } from '../feed-cursor.js';
import { LineWriter } from '../ndjson.js';
import { enterStream } from '../overload.js';
import { invalid, Problem } from '../problem.js';
import { negotiate } from '../requests.js';
import { changesQuery } from '../schemas.js';

const SSE_TYPE = 'text/event-stream';
/** Records read at a time. */
const STEP = 64;
/** When to come back after a shutdown. */
const RETRY_MS = 2000;

/** How lines are told. */
interface Form {
  readonly type: string;
  record(record: VersionRecord, cursor: string): readonly Uint8Array[];
  heartbeat(cursor: string, moved: boolean): string;
  done(cursor: string, count: number, more: boolean): string;
  closing(cursor: string): string;
}

const NDJSON: Form = {
  type: NDJSON_TYPE,
  record(record, cursor) {
    const whole = recordBytes(record);
    return [whole.subarray(0, -1), Buffer.from(`,"cursor":"${cursor}"}\n`)];
  },
  heartbeat: (cursor) => `{"cursor":"${cursor}"}\n`,
  done: (cursor, count, more) => `{"done":true,"count":${count},"more":${more},"cursor":"${cursor}"}\n`,
  closing: (cursor) => `{"closing":true,"retryAfterMs":${RETRY_MS},"cursor":"${cursor}"}\n`,
};

const SSE: Form = {
  type: SSE_TYPE,
  record: (record, cursor) => [Buffer.from(`id: ${cursor}\ndata: `), recordBytes(record, '\n\n')],
  // An id without data moves the place to resume from, and no event is seen.
  heartbeat: (cursor, moved) => (moved ? `id: ${cursor}\n\n` : ':\n\n'),
  done: (cursor, count, more) => `id: ${cursor}\nevent: done\ndata: {"count":${count},"more":${more}}\n\n`,
  closing: (cursor) => `id: ${cursor}\nretry: ${RETRY_MS}\nevent: closing\ndata: {"retryAfterMs":${RETRY_MS}}\n\n`,
};

async function getChanges(exchange: Exchange): Promise<void> {
  const { req, res, context } = exchange;
  const form = negotiate(req, [NDJSON_TYPE, SSE_TYPE]) === SSE_TYPE ? SSE : NDJSON;
  const { shard, collection, after: asked, live, limit, partial } = parseQuery(changesQuery, exchange);
  const db = database(exchange);
  // A browser that reconnects asks the same again, and says here how far it had come.
  const lastEventId = req.headers['last-event-id'];
  const start = feedStart(db, lastEventId === undefined ? asked : String(lastEventId), shard);
  const changes = db.changes({
    after: start,
    partial,
    ...(live ? {} : { until: db.now().positions }),
    ...(shard === undefined ? {} : { shard }),
    ...(collection === undefined ? {} : { collection }),
  });
  // The first ones before the first byte: a refusal is then still an answer of its own.
  const first = changes.next(Math.min(STEP, limit));
  enterStream(res);
  beginStream(res, { 'Content-Type': form.type });
  if (req.method === 'HEAD') return void res.end();
  const cursor = new FeedCursor(db.databaseId, shard, start);
  const writer = new LineWriter(res, context.limits.answerBufferBytes);
  // Whoever began now, or waits, has a place to come back to before anything happens.
  if (live) writer.pushText(form.heartbeat(String(cursor), true));
  await new Feed(exchange, changes, form, cursor, writer, limit).run(first);
}

function feedStart(db: Database, after: string | undefined, shard: number | undefined): number[] {
  if (shard === undefined && db.shardCount > MAX_FEED_SHARDS) {
    const detail = `A feed of more than ${MAX_FEED_SHARDS} shards is read one shard at a time: name it in the parameter shard.`;
    throw new Problem('cross-shard', detail, { shardCount: db.shardCount, limit: MAX_FEED_SHARDS });
  }
  if (shard !== undefined && shard > db.shardCount) throw invalid('shard', `1 to ${db.shardCount}`);
  return startOf(db, after, shard);
}

class Feed {
  readonly #exchange: Exchange;
  readonly #changes: Changes;
  readonly #form: Form;
  readonly #cursor: FeedCursor;
  readonly #writer: LineWriter;
  readonly #limit: number;
  readonly #stop = new AbortController();
  #count = 0;
  #quiet = true;
  #toldCursor: string;

  constructor(exchange: Exchange, changes: Changes, form: Form, cursor: FeedCursor, writer: LineWriter, limit: number) {
    this.#exchange = exchange;
    this.#changes = changes;
    this.#form = form;
    this.#cursor = cursor;
    this.#writer = writer;
    this.#limit = limit;
    this.#toldCursor = String(cursor);
  }

  async run(first: VersionRecord[]): Promise<void> {
    const { res, caller, context } = this.#exchange;
    const stop = () => this.#stop.abort();
    const signals = [context.draining, caller.signal];
    for (const signal of signals) signal.addEventListener('abort', stop);
    res.on('close', stop);
    if (signals.some((signal) => signal.aborted)) stop();
    context.figures.feeds++;
    const beating = setInterval(() => this.#beat(res), context.limits.heartbeatMs);
    try {
      await this.#tell(first);
      if (caller.signal.aborted) res.destroy();
      else this.#writer.end();
    } catch (error) {
      context.logger.warn({ err: error }, 'a feed was cut short');
      res.destroy();
    } finally {
      clearInterval(beating);
      context.figures.feeds--;
      for (const signal of signals) signal.removeEventListener('abort', stop);
    }
  }

  async #tell(first: VersionRecord[]): Promise<void> {
    const { signal } = this.#stop;
    let records = first;
    while (!signal.aborted) {
      for (const record of records) {
        if (signal.aborted) break;
        await this.#tellOne(record);
      }
      if (signal.aborted) break;
      this.#cursor.moveTo(this.#changes.positions);
      if (this.#changes.done || this.#count >= this.#limit) {
        this.#writer.pushText(this.#form.done(String(this.#cursor), this.#count, !this.#changes.atEnd));
        return;
      }
      if (this.#changes.atEnd) await this.#changes.wait(signal);
      // Many feeds that are far behind take turns with everybody else.
      else await setImmediate();
      if (!signal.aborted) records = this.#changes.next(Math.min(STEP, this.#limit - this.#count));
    }
    this.#writer.pushText(this.#form.closing(String(this.#cursor)));
  }

  async #tellOne(record: VersionRecord): Promise<void> {
    this.#cursor.advance(record.shard, record.seq);
    this.#toldCursor = String(this.#cursor);
    this.#quiet = false;
    this.#count++;
    let full = false;
    for (const part of this.#form.record(record, this.#toldCursor)) full = this.#writer.push(part);
    if (!full) return;
    this.#changes.rest();
    await this.#writer.ready();
  }

  /** Silence would be taken for a dead server. */
  #beat(res: ServerResponse): void {
    if (this.#quiet && !res.writableNeedDrain && !this.#stop.signal.aborted) {
      const cursor = String(this.#cursor);
      this.#writer.pushText(this.#form.heartbeat(cursor, cursor !== this.#toldCursor));
      this.#toldCursor = cursor;
    }
    this.#quiet = true;
  }
}

export const changesRoutes: readonly Route[] = [
  { path: '/v1/changes', endpoints: { GET: { role: 'read', scope: 'query', handle: getChanges } } },
];
