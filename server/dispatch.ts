/**
 * From a matched route to its handler: the caller's rights, methods (405 with Allow, HEAD as GET, OPTIONS), the query string, and one place where every
 * thrown thing becomes a problem.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { send, sendProblem } from './answers.js';
import { authorize, callerOf, type Scope, scopeOfPath } from './auth.js';
import type { Endpoint, Exchange, Method, Route, ServerContext } from './exchange.js';
import { routed } from './figures.js';
import { untilMinIds } from './freshness.js';
import { Problem, problemOf } from './problem.js';
import { noteProblem, requestIdOf } from './request-log.js';
import { readQuery } from './requests.js';

/** How an endpoint stands to collections, found out once. */
const scopes = new WeakMap<Endpoint, Scope>();

function scopeOf(route: Route, endpoint: Endpoint): Scope {
  let scope = scopes.get(endpoint);
  if (scope === undefined) {
    scope = endpoint.scope ?? scopeOfPath(route.path);
    scopes.set(endpoint, scope);
  }
  return scope;
}

/** Never throws; whatever the handler throws or rejects with is answered. A handler that needs no promise costs none. */
export function dispatch(
  route: Route,
  req: IncomingMessage,
  res: ServerResponse,
  params: Exchange['params'],
  context: ServerContext,
): void {
  routed(res, route);
  try {
    const method = req.method === 'HEAD' ? 'GET' : req.method;
    const endpoint = Object.hasOwn(route.endpoints, method ?? '') ? route.endpoints[method as Method] : undefined;
    if (endpoint === undefined) {
      const allow = allowed(route);
      if (method === 'OPTIONS') return send(res, 204, { Allow: allow });
      throw new Problem('method-not-allowed', `Allowed here: ${allow}.`, { allow: allow.split(', ') }, { headers: { Allow: allow } });
    }
    const caller = callerOf(req);
    const query = readQuery(req.url ?? '/');
    authorize(caller, endpoint.role, scopeOf(route, endpoint), params, query);
    const exchange = { req, res, params, query, caller, context };
    const handled =
      req.headers['varve-min-id'] === undefined || endpoint.role !== 'read'
        ? endpoint.handle(exchange)
        : untilMinIds(exchange).then(() => endpoint.handle(exchange));
    if (handled instanceof Promise) handled.catch((error: unknown) => answerError(error, req, res));
  } catch (error) {
    answerError(error, req, res);
  }
}

function allowed(route: Route): string {
  const methods = Object.keys(route.endpoints);
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
}

/** Answers with the problem that `error` is, and leaves it to the request's line in the log. */
export function answerError(error: unknown, req: IncomingMessage, res: ServerResponse): void {
  const problem = problemOf(error);
  noteProblem(res, problem);
  sendProblem(req, res, problem, requestIdOf(res));
}
