/**
 * Two ways of asking a server.
 *
 * Closed loop: so many requests are always in flight; the next is sent when one is answered. Tells what the server can do, and
 * flatters its latencies: while it stalls, nobody asks.
 *
 * Open loop: requests fall due at a constant rate, whatever the server does. A request's latency counts from the moment it was due,
 * not from when a connection was free for it, so a stall is felt by everyone who would have come meanwhile (no coordinated
 * omission). What is due and could not be sent before the end still counts, with the time it has waited.
 *
 * Latencies go to an HDR histogram (three digits) in nanoseconds.
 */
import { connect, type Socket } from 'node:net';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { round } from '../measure.js';
import { ResponseReader } from './wire.js';

export type LoadFigures = {
  readonly ops: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
  /** Answers that were no success. */
  readonly failed: number;
};

export type OpenFigures = LoadFigures & {
  readonly rate: number;
  /** Due and not answered when the generator gave up. */
  readonly unanswered: number;
  /** How late the generator itself was, p99. */
  readonly generatorP99Us: number;
};

type MakeRequest = () => Buffer;

const GRACE_MS = 3000;
const LONGEST_NS = 3_600_000_000_000;

class Connection {
  readonly socket: Socket;
  /** When each request in flight was due or sent, oldest first. */
  readonly #since: number[] = [];
  #head = 0;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  send(bytes: Buffer, since: number): void {
    this.#since.push(since);
    this.socket.write(bytes);
  }

  answered(): number {
    const since = this.#since[this.#head++] ?? Number.NaN;
    if (this.#head === this.#since.length) {
      this.#since.length = 0;
      this.#head = 0;
    }
    return since;
  }

  get inFlight(): readonly number[] {
    return this.#since.slice(this.#head);
  }
}

class Tally {
  readonly #histogram: RecordableHistogram = histogram();
  failed = 0;

  record(ms: number, ok = true): void {
    this.#histogram.record(nanoseconds(ms));
    if (!ok) this.failed++;
  }

  figures(wallMs: number): LoadFigures {
    const us = (share: number) => round(this.#histogram.percentile(share) / 1000);
    const { count, max } = this.#histogram;
    return {
      ops: count,
      perSecond: round((count / wallMs) * 1000),
      p50Us: us(50),
      p90Us: us(90),
      p99Us: us(99),
      p999Us: us(99.9),
      maxUs: round(count === 0 ? 0 : max / 1000),
      failed: this.failed,
    };
  }
}

function histogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LONGEST_NS, figures: 3 });
}

function nanoseconds(ms: number): number {
  return Math.min(LONGEST_NS, Math.max(1, Math.round(ms * 1e6)));
}

async function connectAll(port: number, count: number, onAnswer: (connection: Connection, status: number) => void): Promise<Connection[]> {
  return Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Connection>((resolve, reject) => {
          const socket = connect({ port, host: '127.0.0.1', noDelay: true });
          const connection = new Connection(socket);
          const reader = new ResponseReader((status) => onAnswer(connection, status));
          socket.on('data', (chunk) => reader.push(chunk));
          socket.once('error', reject);
          socket.once('connect', () => resolve(connection));
        }),
    ),
  );
}

function succeeded(status: number): boolean {
  return status >= 200 && status < 300;
}

export interface ClosedOptions {
  readonly port: number;
  readonly connections: number;
  /** Requests in flight on each. */
  readonly depth: number;
  readonly ms: number;
  readonly maxOps?: number;
}

export async function closedLoop(make: MakeRequest, options: ClosedOptions): Promise<LoadFigures> {
  const { port, connections, depth, ms, maxOps = Number.POSITIVE_INFINITY } = options;
  const tally = new Tally();
  let sent = 0;
  let open = 0;
  let end = Number.POSITIVE_INFINITY;
  let finished: (() => void) | undefined;
  const done = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const all = await connectAll(port, connections, (connection, status) => {
    const now = performance.now();
    tally.record(now - connection.answered(), succeeded(status));
    open--;
    if (now < end && sent < maxOps) send(connection, now);
    else if (open === 0) finished?.();
  });
  const send = (connection: Connection, now: number) => {
    sent++;
    open++;
    connection.send(make(), now);
  };
  const failure = failureOf(all);
  const started = performance.now();
  end = started + ms;
  for (let i = 0; i < depth; i++) for (const connection of all) if (sent < maxOps) send(connection, performance.now());
  await Promise.race([done, failure]);
  const wall = performance.now() - started;
  close(all);
  return tally.figures(wall);
}

export interface OpenOptions {
  readonly port: number;
  readonly connections: number;
  /** Requests a second. */
  readonly rate: number;
  readonly ms: number;
  /** How long answers are waited for after the last request fell due. */
  readonly graceMs?: number;
}

export async function openLoop(make: MakeRequest, { port, connections, rate, ms, graceMs = GRACE_MS }: OpenOptions): Promise<OpenFigures> {
  const tally = new Tally();
  const lag = histogram();
  const total = Math.max(1, Math.round((rate * ms) / 1000));
  const free: Connection[] = [];
  let sent = 0;
  let answered = 0;
  const all = await connectAll(port, connections, (connection, status) => {
    const now = performance.now();
    tally.record(now - connection.answered(), succeeded(status));
    answered++;
    // Somebody has waited for a connection: on with it.
    if (sent < total && dueAt(sent) <= now) connection.send(make(), dueAt(sent++));
    else free.push(connection);
  });
  free.push(...all);
  const failure = failureOf(all);
  const started = performance.now();
  const dueAt = (nth: number) => started + (nth * 1000) / rate;
  const giveUp = started + ms + graceMs;
  const run = new Promise<void>((resolve) => {
    // Turns of the loop, not timers: those are a millisecond coarse.
    const turn = () => {
      const now = performance.now();
      while (sent < total && free.length > 0 && dueAt(sent) <= now) {
        const due = dueAt(sent++);
        lag.record(nanoseconds(now - due));
        free.pop()!.send(make(), due);
      }
      if (answered === total || now > giveUp) resolve();
      else setImmediate(turn);
    };
    turn();
  });
  await Promise.race([run, failure]);
  const now = performance.now();
  const unanswered = total - answered;
  for (const connection of all) for (const due of connection.inFlight) tally.record(now - due);
  for (; sent < total; sent++) tally.record(now - dueAt(sent));
  close(all);
  const wall = Math.max(ms, now - started);
  return {
    ...tally.figures(wall),
    perSecond: round((answered / wall) * 1000),
    rate,
    unanswered,
    generatorP99Us: round(lag.percentile(99) / 1000),
  };
}

/** Rejects when a server closes a connection on us. */
function failureOf(all: readonly Connection[]): Promise<never> {
  const failure = new Promise<never>((_, reject) => {
    for (const { socket } of all) {
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the server closed a connection')));
    }
  });
  failure.catch(() => {});
  return failure;
}

function close(all: readonly Connection[]): void {
  for (const { socket } of all) socket.destroy();
}
