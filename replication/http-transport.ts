/**
 * Calls to peers over HTTP: sockets, time limits, and what keeps a bad peer from being anybody's problem but its own.
 *
 *   request -> bulkhead -> retry (what may be made twice) -> circuit breaker -> one attempt
 *
 * Invariants: the time of a call is that of all its attempts together; each peer has its own sockets, bulkhead, breaker and counts, and they are shared by nothing; an answer that is no stream is read
 * whole, under a cap and within its time, before it is given out; a stream is pulled, and hanging up ends its socket. Nothing here is durable.
 */
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import {
  BrokenCircuitError,
  BulkheadRejectedError,
  bulkhead,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  noJitterGenerator,
  retry,
} from 'cockatiel';
import type { Clock } from '../engine/copying.js';
import { PeerError, type PeerRequest, type PeerResponse, type Transport } from './transport.js';

export interface HttpTransportOptions {
  readonly clock: Clock;
  /** Shown to every peer. Asked for at each call, so that it may be changed. */
  readonly token?: () => string | undefined;
  /** PEM. */
  readonly tls?: { readonly ca?: string | Buffer; readonly cert?: string | Buffer; readonly key?: string | Buffer };
  /** Answers that are no streams. Default 16 MiB. */
  readonly maxAnswerBytes?: number;
  /** Failures in a row that open the breaker. Default 5. */
  readonly breakAfter?: number;
  /** How long it stays open at most, after a peer was silent for long; at first a tenth of that. Default 1000. */
  readonly openMs?: number;
  /** Attempts beyond the first. Default 2. */
  readonly retries?: number;
}

export interface PeerHealth {
  readonly url: string;
  readonly breaker: 'closed' | 'half-open' | 'open';
  readonly calls: number;
  readonly failures: number;
  readonly underWay: number;
  readonly lastError: string | undefined;
}

export interface HttpTransport extends Transport {
  /** Of every peer that was ever called. */
  peers(): PeerHealth[];
  /** Ends every call and socket. */
  close(): void;
}

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Calls under way to one peer, and waiting; streams are no longer counted once they have begun. */
const UNDER_WAY = 64;
const WAITING = 4_096;
const STATES: Readonly<Record<CircuitState, PeerHealth['breaker']>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Open]: 'open',
  [CircuitState.Isolated]: 'open',
};

export function httpTransport(options: HttpTransportOptions): HttpTransport {
  const peers = new Map<string, Peer>();
  return {
    request(url, request) {
      let peer = peers.get(url);
      if (peer === undefined) {
        peer = new Peer(url, options);
        peers.set(url, peer);
      }
      return peer.request(request);
    },
    heardFrom: (url) => peers.get(url)?.revive(),
    peers: () => [...peers.values()].map((peer) => peer.health),
    close() {
      for (const peer of peers.values()) peer.close();
    },
  };
}

class Peer {
  readonly #url: string;
  readonly #base: URL;
  readonly #options: HttpTransportOptions;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #bulkhead = bulkhead(UNDER_WAY, WAITING);
  readonly #retry;
  readonly #breaker;
  readonly #live = new Set<ClientRequest>();
  /** Whose time is up: no other attempt has any left. */
  readonly #late = new WeakSet<PeerError>();
  #closed = false;
  #calls = 0;
  #failures = 0;
  #lastError: string | undefined;

  constructor(url: string, options: HttpTransportOptions) {
    this.#url = url;
    this.#base = new URL(url);
    this.#options = options;
    // Without a cap: there are as many as calls under way, which have one, and streams, one a shard, behind which no call must wait.
    const sockets = { keepAlive: true, maxFreeSockets: 8 };
    this.#agent = this.#base.protocol === 'https:' ? new HttpsAgent({ ...sockets, ...options.tls }) : new HttpAgent(sockets);
    const failed = handleWhen((error) => error instanceof PeerError && error.retryable);
    const hasTime = handleWhen((error) => error instanceof PeerError && error.retryable && !this.#late.has(error));
    this.#retry = retry(hasTime, {
      maxAttempts: options.retries ?? 2,
      backoff: new ExponentialBackoff({ initialDelay: 50, maxDelay: 2_000 }),
    });
    const openMs = options.openMs ?? 1_000;
    this.#breaker = circuitBreaker(failed, {
      // Not for long: what is refused meanwhile may be what a peer that has just come back is needed for.
      halfOpenAfter: new ExponentialBackoff({ generator: noJitterGenerator, initialDelay: openMs / 10, maxDelay: openMs }),
      breaker: new ConsecutiveBreaker(options.breakAfter ?? 5),
    });
  }

  get health(): PeerHealth {
    return {
      url: this.#url,
      breaker: STATES[this.#breaker.state],
      calls: this.#calls,
      failures: this.#failures,
      underWay: UNDER_WAY - this.#bulkhead.executionSlots,
      lastError: this.#lastError,
    };
  }

  async request(request: PeerRequest): Promise<PeerResponse> {
    if (this.#closed) throw new PeerError(this.#url, 'closed', false);
    this.#calls++;
    const untilMs = this.#options.clock.monotonicMs() + (request.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const attempt = (): Promise<PeerResponse> => this.#breaker.execute(() => this.#attempt(request, untilMs), request.signal);
    // What may be made twice without harm: reads, and not streams, whose readers have a patience of their own.
    const again = request.method === 'GET' && request.stream !== true;
    try {
      return await this.#bulkhead.execute(() => (again ? this.#retry.execute(attempt, request.signal) : attempt()), request.signal);
    } catch (error) {
      throw this.#failureOf(error);
    }
  }

  /** It has called here: whatever made calls to it fail is over, or is found out at the next one. */
  revive(): void {
    if (this.#breaker.state === CircuitState.Open) this.#breaker.isolate().dispose();
  }

  close(): void {
    this.#closed = true;
    for (const call of [...this.#live]) call.destroy();
    this.#agent.destroy();
  }

  #failureOf(error: unknown): PeerError {
    if (error instanceof PeerError) return error;
    if (error instanceof BrokenCircuitError) return new PeerError(this.#url, `left alone for a while after: ${this.#lastError}`, true);
    if (error instanceof BulkheadRejectedError) return new PeerError(this.#url, 'too many calls to it wait', true);
    return new PeerError(this.#url, error instanceof Error ? error.message : String(error), false, { cause: error });
  }

  async #attempt(request: PeerRequest, untilMs: number): Promise<PeerResponse> {
    const { clock, maxAnswerBytes = DEFAULT_MAX_ANSWER_BYTES } = this.#options;
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const call = this.#begin(request);
    let late = false;
    const cancel = clock.after(Math.max(1, untilMs - clock.monotonicMs()), () => {
      late = true;
      call.destroy();
    });
    try {
      const response = await headersOf(call);
      const headers = headersFrom(response);
      const status = response.statusCode ?? 0;
      if (request.stream === true && status < 300) return { status, headers, body: this.#streamed(response) };
      const bytes = await wholeOf(response, maxAnswerBytes, this.#url);
      return { status, headers, body: once(bytes) };
    } catch (error) {
      const gone = request.signal?.aborted === true || this.#closed;
      const why = late ? `no answer within ${timeoutMs} ms` : error instanceof Error ? error.message || String(error) : String(error);
      call.destroy();
      if (error instanceof PeerError) throw this.#noted(error);
      if (gone) throw new PeerError(this.#url, 'the call was given up', false);
      const failure = this.#noted(new PeerError(this.#url, why, true, { cause: error }));
      if (late) this.#late.add(failure);
      throw failure;
    } finally {
      cancel();
    }
  }

  #begin(request: PeerRequest): ClientRequest {
    const { token, tls } = this.#options;
    const body = request.json === undefined ? undefined : Buffer.from(JSON.stringify(request.json));
    const secret = token?.();
    const headers: Record<string, string | number> = {
      ...request.headers,
      ...(secret === undefined ? {} : { Authorization: `Bearer ${secret}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': body.length }),
    };
    const target = new URL(request.path, this.#base);
    const signal = request.signal === undefined ? {} : { signal: request.signal };
    const shared = { method: request.method, headers, agent: this.#agent, ...signal };
    const call = target.protocol === 'https:' ? requestHttps(target, { ...shared, ...tls }) : requestHttp(target, shared);
    // What comes after the headers is told by the body.
    call.on('error', () => {});
    this.#live.add(call);
    call.once('close', () => this.#live.delete(call));
    call.end(body);
    return call;
  }

  async *#streamed(response: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of response) yield chunk as Buffer;
    } catch (error) {
      throw new PeerError(this.#url, `the stream broke off: ${error instanceof Error ? error.message : String(error)}`, true, {
        cause: error,
      });
    } finally {
      response.destroy();
    }
  }

  #noted(error: PeerError): PeerError {
    this.#failures++;
    this.#lastError = error.message;
    return error;
  }
}

function headersOf(call: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    call.once('response', resolve);
    call.once('error', reject);
    call.once('close', () => reject(new Error('the connection was closed')));
  });
}

function headersFrom(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

async function wholeOf(response: IncomingMessage, maxBytes: number, url: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response) {
    bytes += (part as Buffer).length;
    if (bytes > maxBytes) throw new PeerError(url, `its answer is over ${maxBytes} bytes`, false);
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (bytes.length > 0) yield bytes;
}
