/**
 * What a server counts about its requests: plain numbers in typed arrays, added to on the way of a request and read when /metrics is
 * asked. No label is looked up and no object made per request.
 *
 * Invariants: a request is counted once, when its answer has left or its connection is gone; labels come from the table of routes and
 * from short lists, never from what a client sent. In memory only; a crash begins at zero, as counters may.
 */
import type { ServerResponse } from 'node:http';
import type { Route } from './exchange.js';
import { hasLeft } from './outbox.js';

/** Seconds. */
export const BUCKETS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
export const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'other'] as const;
export const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'cut'] as const;
const CUT = CLASSES.indexOf('cut');
const SLOTS = BUCKETS.length + 1;

/** Of one route; one more for what no route matched. */
export class RouteFigures {
  /** By method and class of status. */
  readonly answers = new Float64Array(METHODS.length * CLASSES.length);
  /** By method and bucket, not cumulative; the last one is beyond all. */
  readonly durations = new Float64Array(METHODS.length * SLOTS);
  readonly seconds = new Float64Array(METHODS.length);

  constructor(readonly path: string) {}

  bucket(method: number, slot: number): number {
    return this.durations[method * SLOTS + slot]!;
  }
}

const ROUTE = Symbol('route');
const STARTED = Symbol('started');
const LASTING = Symbol('lasting');
type Counted = ServerResponse & { [ROUTE]?: Route; [STARTED]?: number; [LASTING]?: true };

export class RequestFigures {
  readonly #byRoute = new Map<Route | undefined, RouteFigures>([[undefined, new RouteFigures('unmatched')]]);
  /** NDJSON lines: inserts taken, inserts refused, entities and changes sent. */
  readonly lines = { inserted: 0, failed: 0, sent: 0 };
  /** Feeds open now. */
  feeds = 0;

  get routes(): Iterable<RouteFigures> {
    return this.#byRoute.values();
  }

  /** When a request has come in. */
  begin(res: ServerResponse): void {
    (res as Counted)[STARTED] = performance.now();
  }

  /** When a request is over; gives back how long it took, in milliseconds. */
  end(res: ServerResponse): number {
    const counted = res as Counted;
    const route = counted[ROUTE];
    let figures = this.#byRoute.get(route);
    if (figures === undefined) {
      figures = new RouteFigures(route!.path);
      this.#byRoute.set(route, figures);
    }
    const method = methodIndex(res.req.method);
    const answered = hasLeft(res);
    const statusClass = answered ? Math.min(5, Math.floor(res.statusCode / 100)) - 1 : CUT;
    figures.answers[method * CLASSES.length + statusClass]!++;
    const ms = performance.now() - (counted[STARTED] ?? 0);
    // How long a feed stays open says nothing about how quick the server is.
    if (answered && counted[LASTING] === undefined) {
      const seconds = ms / 1000;
      figures.seconds[method]! += seconds;
      figures.durations[method * SLOTS + slotOf(seconds)]!++;
    }
    return ms;
  }
}

/** When it is known which route a request takes. */
export function routed(res: ServerResponse, route: Route): void {
  (res as Counted)[ROUTE] = route;
}

export function routeOf(res: ServerResponse): Route | undefined {
  return (res as Counted)[ROUTE];
}

/** An answer that lasts as long as its reader likes: a feed, a stream. */
export function lasting(res: ServerResponse): void {
  (res as Counted)[LASTING] = true;
}

function methodIndex(method: string | undefined): number {
  if (method === 'GET') return 0;
  if (method === 'PUT') return 2;
  const index = METHODS.indexOf(method as (typeof METHODS)[number]);
  return index < 0 ? METHODS.length - 1 : index;
}

function slotOf(seconds: number): number {
  let slot = 0;
  while (slot < BUCKETS.length && seconds > BUCKETS[slot]!) slot++;
  return slot;
}
