/**
 * One line of log a request, for those that are worth one, and the id that line and the answer share.
 *
 *   off        only what went wrong inside (500)
 *   problems   every problem (the default)
 *   all        every request
 *   a number   every problem, and one in so many of the others
 *
 * Invariants: the line holds the route, the path without its query, the public id of the token; never a token, a body, or a key of
 * idempotency. Whoever gets an id in an answer can find a line by it, unless the log was off or its level higher.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { callerOf } from './auth.js';
import { routeOf } from './figures.js';
import type { Logger } from './logging.js';
import { hasLeft } from './outbox.js';
import type { Problem } from './problem.js';

export const REQUEST_ID = 'Varve-Request-Id';
export type RequestLogging = 'off' | 'problems' | 'all' | number;

const ID = Symbol('request id');
const PROBLEM = Symbol('problem');
const SENT_BEFORE = Symbol('sent before');
const LOGGED = Symbol('logged');
type Noted = ServerResponse & { [ID]?: string; [PROBLEM]?: Problem; [SENT_BEFORE]?: number; [LOGGED]?: true };

/** Ids of one process do not meet those of another, or of the same one started again. */
const PREFIX = randomBytes(4).toString('hex');
let requests = 0;

/** The id of a request; it has one from when it is first asked for. */
export function requestIdOf(res: ServerResponse): string {
  return ((res as Noted)[ID] ??= `${PREFIX}-${(++requests).toString(36)}`);
}

/** What a request ended in, for its line. */
export function noteProblem(res: ServerResponse, problem: Problem): void {
  (res as Noted)[PROBLEM] = problem;
}

export class RequestLog {
  readonly #logger: Logger;
  readonly #logging: RequestLogging;
  #untilSample = 1;

  constructor(logger: Logger, logging: RequestLogging = 'problems') {
    this.#logger = logger;
    this.#logging = logging;
  }

  /** Decides at once whether the request has a line whatever becomes of it: its answer then carries the id. */
  begin(res: ServerResponse): void {
    if (typeof this.#logging === 'string' ? this.#logging !== 'all' : --this.#untilSample > 0) return;
    if (typeof this.#logging === 'number') this.#untilSample = this.#logging;
    if (!this.#logger.isLevelEnabled('info')) return;
    const noted = res as Noted;
    noted[LOGGED] = true;
    noted[SENT_BEFORE] = res.socket?.bytesWritten ?? 0;
    res.setHeader(REQUEST_ID, requestIdOf(res));
  }

  /** When the request is over. */
  end(res: ServerResponse, ms: number): void {
    const noted = res as Noted;
    const problem = noted[PROBLEM];
    if (noted[LOGGED] === undefined && problem === undefined) return;
    const inside = problem !== undefined && (problem.slug === 'internal' || problem.slug === 'corrupt');
    if (this.#logging === 'off' && !inside) return;
    const level = inside ? 'error' : problem !== undefined && problem.status >= 500 ? 'warn' : 'info';
    if (!this.#logger.isLevelEnabled(level)) return;
    this.#logger[level](
      lineOf(res, ms, problem),
      problem === undefined ? 'request' : problem.status >= 500 ? 'request failed' : 'request refused',
    );
  }
}

function lineOf(res: ServerResponse, ms: number, problem: Problem | undefined): object {
  const { req } = res;
  const sentBefore = (res as Noted)[SENT_BEFORE];
  const caller = callerIdOf(req);
  return {
    id: requestIdOf(res),
    method: req.method,
    route: routeOf(res)?.path ?? 'unmatched',
    path: pathOf(req),
    status: res.statusCode,
    ms: Math.round(ms * 10) / 10,
    ...(sentBefore === undefined || res.req.socket.destroyed ? {} : { bytes: res.req.socket.bytesWritten - sentBefore }),
    ...(caller === undefined ? {} : { caller }),
    ...(hasLeft(res) ? {} : { cut: true }),
    ...(problem === undefined ? {} : { slug: problem.slug }),
    ...(problem === undefined || problem.status < 500 ? {} : { err: problem.cause ?? problem }),
  };
}

function callerIdOf(req: IncomingMessage): string | undefined {
  try {
    return callerOf(req).id;
  } catch {
    return undefined; // refused before anyone asked who it was
  }
}

/** Without the query, and short: it is a stranger's text. */
export function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?', 1)[0]!.slice(0, 200);
}
