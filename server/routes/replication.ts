/**
 * What nodes say to each other, over HTTP: every path goes to the peer service as it is, and its answer goes out as it comes, a stream as
 * fast as it is read and no faster. docs/PROTOCOL.md tells of the calls; their bytes are checked by whoever takes them.
 *
 * Invariants: bodies are capped and parsed strictly; a stream ends when its reader is gone, its token is revoked, or the server drains,
 * and nothing of it is made before there is room for it.
 */
import type { ServerResponse } from 'node:http';
import type { z } from 'zod';
import { parseStrict } from '../../engine/index.js';
import type { PeerAnswer } from '../../replication/index.js';
import { sendJson } from '../answers.js';
import { mediaType, withBody } from '../body.js';
import { exemptConnection } from '../doors.js';
import { database, type Endpoint, type Exchange, type Method, parseQuery, type Route } from '../exchange.js';
import { lasting } from '../figures.js';
import { replicationDescriptions } from '../operations/replication.js';
import { enterPeerStream } from '../overload.js';
import { peerServiceOf } from '../peers.js';
import { KINDS, Problem, type Slug } from '../problem.js';
import { pathOf } from '../request-log.js';

/** Reports of 65,535 shards, and questions for tree nodes, fit. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const PASSED_ON: readonly string[] = ['range'];

async function answerPeer(exchange: Exchange, known: z.ZodObject): Promise<void> {
  parseQuery(known, exchange);
  const { req, res, query, caller, context } = exchange;
  const service = peerServiceOf(database(exchange));
  const json = req.method === 'POST' ? await readJson(exchange) : undefined;
  const end = new AbortController();
  const hangUp = (): void => end.abort();
  const ends = [caller.signal, context.draining];
  for (const signal of ends) signal.addEventListener('abort', hangUp);
  res.once('close', hangUp);
  try {
    if (ends.some((signal) => signal.aborted)) hangUp();
    const answer = await service.handle({
      method: req.method === 'HEAD' ? 'GET' : (req.method ?? ''),
      path: pathOf(req),
      query: new URLSearchParams(Object.entries(query)),
      headers: Object.fromEntries(PASSED_ON.map((name) => [name, req.headers[name]?.toString()])),
      json,
      signal: end.signal,
    });
    if (answer.status >= 400) throw problemOf(answer);
    if (answer.stream === undefined) return sendJson(res, answer.status, answer.json, { ...answer.headers });
    await sendStream(exchange, res, answer, answer.stream);
  } finally {
    for (const signal of ends) signal.removeEventListener('abort', hangUp);
  }
}

async function sendStream({ req }: Exchange, res: ServerResponse, answer: PeerAnswer, stream: AsyncIterable<Uint8Array>): Promise<void> {
  lasting(res);
  enterPeerStream(res);
  const counted = exemptConnection(req.socket);
  res.writeHead(answer.status, { 'Cache-Control': 'no-cache', 'X-Content-Type-Options': 'nosniff', ...answer.headers });
  try {
    if (req.method === 'HEAD') return void res.end();
    res.flushHeaders();
    for await (const piece of stream) {
      if (res.destroyed) return;
      if (!res.write(piece)) await drained(res);
      if (res.destroyed) return;
    }
    res.end();
  } catch (error) {
    // Half of it is out: it is cut, so that nobody takes it for the whole.
    res.destroy();
    throw error;
  } finally {
    counted();
  }
}

async function readJson(exchange: Exchange): Promise<unknown> {
  const type = mediaType(exchange.req);
  if (type !== undefined && type.split(';')[0]!.trim() !== 'application/json')
    throw new Problem('unsupported-media-type', 'Peers speak JSON.', { supported: ['application/json'] });
  return withBody(exchange, 'request body', MAX_BODY_BYTES, (bytes) => (bytes.length === 0 ? undefined : parseStrict(bytes)));
}

/** The refusal as a problem. What peers read stands in it as it stood in the answer. */
function problemOf({ status, json, headers = {} }: PeerAnswer): Problem {
  const { error, detail, ...fields } = json as { error: string; detail?: string };
  const known = Object.hasOwn(KINDS, error) && KINDS[error as Slug].status === status;
  const slug = known ? (error as Slug) : (GENERAL[status] ?? 'unavailable');
  return new Problem(slug, detail ?? `The peer service says: ${error}.`, known ? fields : { error, ...fields }, {
    headers: headersOf(slug, json, headers),
  });
}

function headersOf(slug: Slug, json: unknown, headers: PeerAnswer['headers']): Record<string, string> {
  const range = slug === 'range-not-satisfiable' ? { 'Content-Range': `bytes */${(json as { bytes: number }).bytes}` } : {};
  return { ...headers, ...range };
}

/** Refusals that only peers meet. */
const GENERAL: Readonly<Record<number, Slug>> = {
  400: 'invalid',
  404: 'not-found',
  409: 'copies-differ',
  410: 'log-too-old',
  503: 'unavailable',
};

/** Resolves when the socket takes more, or never will. */
function drained(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off('drain', done).off('close', done);
      resolve();
    };
    res.on('drain', done).on('close', done);
    if (res.destroyed || !res.writableNeedDrain) done();
  });
}

const PATHS: Readonly<Record<string, Method>> = {
  '/state': 'GET',
  '/shards/:shard/state': 'GET',
  '/shards/:shard/log': 'GET',
  '/segments': 'GET',
  '/shards/:shard/segments/:name': 'GET',
  '/acks': 'POST',
  '/shards/:shard/promises': 'POST',
  '/shards/:shard/position': 'GET',
  '/shards/:shard/root': 'GET',
  '/shards/:shard/nodes': 'POST',
};

export const replicationRoutes: readonly Route[] = Object.entries(PATHS).map(([path, method]) => {
  const known = replicationDescriptions[`${method} /replication/v1${path}`]!.query;
  const endpoint: Endpoint = { role: 'replica', scope: 'server', handle: (exchange) => answerPeer(exchange, known) };
  return { path: `/replication/v1${path}`, endpoints: { [method]: endpoint } };
});
