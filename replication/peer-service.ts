/**
 * What a node answers to its peers, whatever carries it: one table of handlers by method and path below `/replication/v1`.
 *
 * Invariants: every answer says whose it is (Varve-Node, Varve-Database); path, query and body are checked before anything is looked up;
 * what a handler throws becomes an answer that names no file. Refusals are `{"error": code, "detail", …}`.
 */
import { isVarveError } from '../engine/index.js';
import { numberOf } from './checks.js';
import type { PeerAnswer, PeerCall, PeerService } from './transport.js';

export const PEER_PREFIX = '/replication/v1';

export interface PeerParams {
  /** From the path, one of this database; 0 where the path has none. */
  readonly shard: number;
  readonly name: string;
}

export type PeerHandler = (call: PeerCall, params: PeerParams) => PeerAnswer | Promise<PeerAnswer>;

/** By method and path: `GET /shards/:shard/log`. `:shard` and `:name` stand for one part each. */
export type PeerHandlers = Readonly<Record<string, PeerHandler>>;

export interface PeerIdentity {
  readonly databaseId: string;
  readonly nodeId: string;
  readonly shardCount: number;
}

/** A refusal, to be thrown or answered. */
export class PeerRefusal extends Error {
  override readonly name = 'PeerRefusal';
  constructor(
    readonly status: number,
    /** What the caller switches on. */
    readonly code: string,
    message: string,
    readonly fields: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

interface Entry {
  readonly method: string;
  readonly parts: readonly string[];
  readonly handle: PeerHandler;
}

export function createPeerService(identity: PeerIdentity, handlers: PeerHandlers): PeerService {
  const entries = Object.entries(handlers).map(([key, handle]): Entry => {
    const [method = '', path = ''] = key.split(' ');
    return { method, parts: path.split('/'), handle };
  });
  const own = { 'Varve-Node': identity.nodeId, 'Varve-Database': identity.databaseId };
  return {
    async handle(call) {
      const answer = await answerOf(call, entries, identity).catch(refusalOf);
      return { ...answer, headers: { ...answer.headers, ...own } };
    },
  };
}

async function answerOf(call: PeerCall, entries: readonly Entry[], identity: PeerIdentity): Promise<PeerAnswer> {
  const parts = call.path.startsWith(`${PEER_PREFIX}/`) ? call.path.slice(PEER_PREFIX.length).split('/') : [];
  let found = false;
  for (const entry of entries) {
    const params = match(entry.parts, parts);
    if (params === undefined) continue;
    found = true;
    if (entry.method !== call.method) continue;
    return entry.handle(call, { shard: shardOf(params, identity), name: params['name'] ?? '' });
  }
  if (found) throw new PeerRefusal(405, 'method-not-allowed', 'The method is not allowed here.');
  throw new PeerRefusal(404, 'not-found', 'There is nothing at this path.');
}

function match(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, part] of pattern.entries()) {
    if (part.startsWith(':')) params[part.slice(1)] = parts[i]!;
    else if (part !== parts[i]) return undefined;
  }
  return params;
}

function shardOf(params: Readonly<Record<string, string>>, identity: PeerIdentity): number {
  const text = params['shard'];
  if (text === undefined) return 0;
  const shard = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  if (shard < 1 || shard > identity.shardCount) throw new PeerRefusal(404, 'not-found', 'There is no such shard.');
  return shard;
}

function refusalOf(error: unknown): PeerAnswer {
  if (error instanceof PeerRefusal) {
    return { status: error.status, json: { error: error.code, detail: error.message, ...error.fields } };
  }
  if (isVarveError(error, 'CLOSED')) return { status: 503, json: { error: 'draining', detail: 'The database is closing.' } };
  if (isVarveError(error, 'UNAVAILABLE')) return { status: 503, json: { error: 'unavailable', detail: 'The shard is recovering.' } };
  throw error;
}

/** A parameter of the query that must be a whole number; `fallback` where it is absent. */
export function queryNumber(call: PeerCall, name: string, fallback?: number): number {
  const text = call.query.get(name);
  const number = text === null ? fallback : numberOf(text);
  if (number !== undefined && call.query.getAll(name).length <= 1) return number;
  throw new PeerRefusal(400, 'invalid', `${name}: a whole number`, { path: name, expected: 'a whole number' });
}

/** Refuses parameters that this call has not. */
export function knownQuery(call: PeerCall, names: readonly string[]): void {
  for (const name of call.query.keys()) {
    if (!names.includes(name)) throw new PeerRefusal(400, 'unknown-parameter', `unknown query parameter: ${name}`, { parameters: [name] });
  }
}
