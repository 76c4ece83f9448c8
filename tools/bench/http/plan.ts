/**
 * What servers are asked over HTTP, and in which turns. What a sync or a core gives changes from one quarter of an hour to the next, so
 * each workload is cut into short slices, and every server is asked one slice before any is asked the next: ratios compare the
 * same seconds. Whoever went first goes last in the next turn.
 *
 *     GET, 1 connection:  varve node express · node express varve · express varve node      GET, 64 in flight:  …
 *                         (untimed: warm up)
 */
import { RATES } from './result.js';

export type Shape =
  | { readonly kind: 'closed'; readonly asks: 'get' | 'put'; readonly connections: number; readonly depth: number }
  | { readonly kind: 'open'; readonly asks: 'get' | 'put'; readonly rate: number }
  /** One request in flight on each connection; a slice has so many at most. */
  | { readonly kind: 'bulk'; readonly connections: number; readonly requests: number }
  | { readonly kind: 'stream' };

export interface Step {
  readonly workload: string;
  readonly shape: Shape;
  /** Timed ones; one more before them is not. */
  readonly slices: number;
  readonly sliceMs: number;
}

const SLICE_MS = 500;
/** Queues of a server that cannot keep up need time to grow. */
const OPEN_SLICE_MS = 1000;
/** Tails need many requests. */
const OPEN_CAPS = 4 / 3;
const CLIENTS = 64;
const ONE = { connections: 1, depth: 1 };
/** As many in flight as the clients: pipelined, so that sockets are not what is measured. */
const PIPELINED = { connections: 16, depth: 4 };
const EACH_ITS_OWN = { connections: CLIENTS, depth: 1 };

/** Loops that go on for `capMs`, all slices together. Bulk by many clients comes last: it leaves most behind in a server's memory. */
export function plan(capMs: number): Step[] {
  const step = (workload: string, shape: Shape, ms = capMs, sliceMs = SLICE_MS): Step => {
    const slices = Math.max(1, Math.round(ms / sliceMs));
    return { workload, shape, slices, sliceMs: ms / slices };
  };
  const asking = (asks: 'get' | 'put', name: string): Step[] => [
    step(`http${name}1`, { kind: 'closed', asks, ...ONE }),
    step(`http${name}64`, { kind: 'closed', asks, ...PIPELINED }),
    step(`http${name}64Clients`, { kind: 'closed', asks, ...EACH_ITS_OWN }),
  ];
  const coming = (asks: 'get' | 'put', name: string): Step[] =>
    RATES[asks].map((rate) => step(`http${name}At${rate}`, { kind: 'open', asks, rate }, OPEN_CAPS * capMs, OPEN_SLICE_MS));
  return [
    step('httpBulk', { kind: 'bulk', connections: 1, requests: 60 }),
    step('httpStream', { kind: 'stream' }),
    ...asking('get', 'Get'),
    ...asking('put', 'Put'),
    ...coming('get', 'Get'),
    ...coming('put', 'Put'),
    // Longer slices than others': what is in flight when time is up is waited for.
    step('httpBulk64Clients', { kind: 'bulk', connections: CLIENTS, requests: 2 * CLIENTS }, (capMs * 2) / 3),
  ];
}

/** Everybody, another first each turn. */
export function inTurn<T>(all: readonly T[], turn: number): T[] {
  const first = all.length === 0 ? 0 : turn % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}
