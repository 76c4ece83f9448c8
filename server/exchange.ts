/**
 * One request and its answer, as every handler sees them: node's own request and response (so that hot calls need not go through
 * Express), the decoded path parameters, the query, and the running server's context. Also what a route is.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { Database } from '../engine/index.js';
import type { Verifier } from '../replication/index.js';
import type { Caller, NeededRole, Scope } from './auth.js';
import type { ByteBudget } from './body.js';
import type { Copies } from './copies.js';
import type { RequestFigures } from './figures.js';
import type { Forwarder } from './forward.js';
import type { Limits } from './limits.js';
import type { Metrics } from './metrics.js';
import { Problem, type ProblemFields } from './problem.js';
import { NO_QUERY } from './requests.js';

export type Phase = 'recovering' | 'ready' | 'draining';

/** What is shared by all requests of one server. `phase` only moves forwards. */
export interface ServerContext {
  phase: Phase;
  db: Database | undefined;
  /** What other nodes hold; undefined where there are none and never will be. */
  copies: Copies | undefined;
  forwarder: Forwarder | undefined;
  verifier: Verifier | undefined;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly figures: RequestFigures;
  readonly metrics: Metrics;
  /** Memory for request bodies, over all connections. */
  readonly bodyMemory: ByteBudget;
  /** Aborted when the server begins to shut down: streams end themselves. */
  readonly draining: AbortSignal;
}

export type Query = Readonly<Record<string, string>>;

export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  /** Who asks. Whatever lasts longer than a moment ends with `caller.signal`; scope `handler` asks `requireCollection`. */
  readonly caller: Caller;
  readonly context: ServerContext;
}

export type Handler = (exchange: Exchange) => void | Promise<void>;
export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';
/** What a caller must be allowed to do. Every endpoint has one. */
export type Role = NeededRole;

export interface Endpoint {
  readonly role: Role;
  /** How it stands to collections, for callers limited to some. By default its path says: `path` with a `:collection`, else `server`. */
  readonly scope?: Scope;
  readonly handle: Handler;
}

export interface Route {
  /** In Express's notation. */
  readonly path: string;
  readonly endpoints: Readonly<Partial<Record<Method, Endpoint>>>;
}

/** The open database, or the 503 that says why there is none. */
export function database({ context }: Exchange): Database {
  if (context.db === undefined) throw new Problem('recovering', 'The database is being opened; /readyz tells when it is ready.');
  return context.db;
}

/** A path parameter that the route's own path guarantees. */
export function param(exchange: Exchange, name: string): string {
  const value = exchange.params[name];
  if (value === undefined) throw new Error(`assertion failed: the route has a parameter ${name}`);
  return value;
}

/** What each schema makes of no query at all: the hot calls have none, and ask a schema once. */
const defaults = new WeakMap<z.ZodType, unknown>();

/** The query as the schema understands it (read-only); unknown names and unusable values are problems that name them. */
export function parseQuery<S extends z.ZodType>(schema: S, { query }: Exchange): Readonly<z.output<S>> {
  if (query === NO_QUERY) {
    const known = defaults.get(schema);
    if (known !== undefined) return known as z.output<S>;
  }
  const result = schema.safeParse(query);
  if (!result.success) throw problemOfIssues(result.error.issues, 'unknown-parameter');
  if (query === NO_QUERY) defaults.set(schema, Object.freeze(result.data));
  return result.data;
}

/** Envelope `value` as the schema understands it. `at` prefixes the places it names. */
export function parseEnvelope<S extends z.ZodType>(schema: S, value: unknown, at = ''): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw problemOfIssues(result.error.issues, 'unknown-field', at);
}

function problemOfIssues(issues: readonly z.core.$ZodIssue[], unknownSlug: 'unknown-parameter' | 'unknown-field', at = ''): Problem {
  const unknown = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => place([...issue.path, key], at)) : [],
  );
  if (unknown.length > 0) {
    const what = unknownSlug === 'unknown-parameter' ? 'query parameter' : 'field';
    const fields: ProblemFields = unknownSlug === 'unknown-parameter' ? { parameters: unknown } : { fields: unknown };
    return new Problem(unknownSlug, `unknown ${what}${unknown.length > 1 ? 's' : ''}: ${unknown.join(', ')}`, fields);
  }
  const first = issues[0];
  const path = place(first?.path ?? [], at) || 'request';
  const expected = first?.message ?? 'something else';
  return new Problem('invalid', `${path}: ${expected}`, { path, expected });
}

/** `records[3].key` */
function place(path: readonly PropertyKey[], at: string): string {
  let text = at;
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : `${text === '' ? '' : '.'}${String(part)}`;
  return text;
}
