/**
 * Two ways of asking a server, for one slice of time. Connections are made before it begins.
 *
 * Closed loop: so many requests are always in flight; the next is sent when one is answered. Tells what the server can do, and
 * flatters its latencies: while it stalls, nobody asks. Requests that fall due by one chunk of answers leave in one write.
 *
 * Open loop: requests fall due at a constant rate, whatever the server does. A request's latency counts from the moment it was due,
 * not from when a connection was free for it, so a stall is felt by everyone who would have come meanwhile (no coordinated
 * omission). What is due and could not be sent before the end still counts, with the time it has waited.
 *
 * Both add to a tally and answer what it then says.
 */
import { connect, type Socket } from 'node:net';
import { type LoadFigures, type OpenFigures, OpenTally, Tally } from './tally.js';
import { ResponseReader } from './wire.js';

type MakeRequest = () => Buffer;

const GRACE_MS = 3000;

export class Connection<S extends { write(bytes: Buffer): unknown } = Socket> {
  readonly socket: S;
  /** When each request in flight was due or sent, oldest first. */
  readonly #since: number[] = [];
  #head = 0;
  readonly #unsent: Buffer[] = [];

  constructor(socket: S) {
    this.socket = socket;
  }

  /** Leaves with the next `flush`. */
  send(bytes: Buffer, since: number): void {
    this.#since.push(since);
    this.#unsent.push(bytes);
  }

  flush(): void {
    const [first] = this.#unsent;
    if (first === undefined) return;
    this.socket.write(this.#unsent.length === 1 ? first : Buffer.concat(this.#unsent));
    this.#unsent.length = 0;
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

async function connectAll(port: number, count: number, onAnswer: (connection: Connection, status: number) => void): Promise<Connection[]> {
  return Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Connection>((resolve, reject) => {
          const socket = connect({ port, host: '127.0.0.1', noDelay: true });
          const connection = new Connection(socket);
          const reader = new ResponseReader((status) => onAnswer(connection, status));
          socket.on('data', (chunk) => {
            reader.push(chunk);
            connection.flush();
          });
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

export async function closedLoop(make: MakeRequest, options: ClosedOptions, tally = new Tally()): Promise<LoadFigures> {
  const { port, connections, depth, ms, maxOps = Number.POSITIVE_INFINITY } = options;
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
  for (const connection of all) {
    for (let i = 0; i < depth && sent < maxOps; i++) send(connection, performance.now());
    connection.flush();
  }
  await Promise.race([done, failure]);
  tally.took(performance.now() - started);
  close(all);
  return tally.figures();
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

export async function openLoop(make: MakeRequest, options: OpenOptions, tally = new OpenTally(options.rate)): Promise<OpenFigures> {
  const { port, connections, rate, ms, graceMs = GRACE_MS } = options;
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
        tally.late(now - due);
        const connection = free.pop()!;
        connection.send(make(), due);
        connection.flush();
      }
      if (answered === total || now > giveUp) resolve();
      else setImmediate(turn);
    };
    turn();
  });
  await Promise.race([run, failure]);
  const now = performance.now();
  tally.unanswered += total - answered;
  for (const connection of all) for (const due of connection.inFlight) tally.record(now - due);
  for (; sent < total; sent++) tally.record(now - dueAt(sent));
  close(all);
  tally.took(Math.max(ms, now - started));
  return tally.figures();
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
