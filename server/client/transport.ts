/**
 * Requests over fetch: one at a time, with a timeout each, retried where that is safe; and answers of many lines, read as they come.
 *
 * Invariants: a request is sent again only where the caller says it may be (a read, or a write with an idempotency key), and only after
 * silence or a problem that time may mend. What has been waiting longer than its timeout is cut off. A caller's abort ends everything at
 * once with the caller's reason.
 */
import { isTransient, VarveConnectionError, VarveProblem } from './problem.js';

export interface ClientOptions {
  /** `http://127.0.0.1:7411`; a path is kept, for a server behind a proxy. */
  readonly url: string;
  readonly token?: string;
  /** Instead of the runtime's own. */
  readonly fetch?: typeof globalThis.fetch;
  /** For a whole answer, or for silence in one that goes on. Default 30 s. */
  readonly timeoutMs?: number;
  /** How often a request that may be is sent again. Default 5. */
  readonly retries?: number;
  /** Pauses between them double from the first to the most, half of each left to chance. Default 100 ms and 10 s. */
  readonly backoffMs?: { readonly first?: number; readonly most?: number };
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether it may be sent again. */
  readonly again: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: unknown;
}

export const NDJSON = 'application/x-ndjson';
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRIES = 5;

export class Transport {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #fetch: typeof globalThis.fetch;
  readonly #timeoutMs: number;
  readonly #firstMs: number;
  readonly #mostMs: number;
  readonly retries: number;

  constructor(options: ClientOptions) {
    const url = new URL(options.url);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError(`'${options.url}' is not an http URL`);
    this.#base = url.origin + url.pathname.replace(/\/+$/, '');
    this.#headers = options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` };
    // A browser's fetch wants to be called as the window's.
    const own = options.fetch;
    this.#fetch = own === undefined ? (input, init) => globalThis.fetch(input, init) : (input, init) => own(input, init);
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#firstMs = options.backoffMs?.first ?? 100;
    this.#mostMs = options.backoffMs?.most ?? 10_000;
    this.retries = options.retries ?? DEFAULT_RETRIES;
  }

  /** VarveProblem from 400 on; VarveConnectionError where nothing whole came back. */
  async request(method: string, path: string, options: RequestOptions): Promise<Answer> {
    for (let failures = 0; ; failures++) {
      try {
        return await this.#once(method, path, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!options.again || failures >= this.retries || !isTransient(error)) throw error;
        await this.pause(failures, error, options.signal);
      }
    }
  }

  /** The lines of an answer, parsed, as they come; it ends when the answer does, whole or not. Not retried. */
  async *lines(method: string, path: string, options: Omit<RequestOptions, 'again'>): AsyncGenerator<Record<string, unknown>> {
    const call = new Call(this.#timeoutMs, options.signal);
    try {
      const response = await this.#send(method, path, options, call);
      const reader = response.body?.getReader();
      if (reader === undefined) return;
      const decoder = new TextDecoder();
      let rest = '';
      for (;;) {
        const { done, value } = await call.over(reader.read());
        call.heard();
        const parts = (rest + decoder.decode(value, { stream: !done })).split('\n');
        rest = parts.pop() as string;
        for (const line of parts) if (line.trim() !== '') yield parsed(line);
        if (done) return;
      }
    } catch (error) {
      throw call.explain(error);
    } finally {
      call.end();
    }
  }

  /** Before the next attempt: longer each time, or as long as the server asks for. */
  async pause(failures: number, error: unknown, signal: AbortSignal | undefined): Promise<void> {
    const asked = error instanceof VarveProblem ? error.retryAfterMs : undefined;
    await this.sleep(this.backoff(failures, asked), signal);
  }

  backoff(failures: number, askedMs = 0): number {
    const longest = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(failures, 30));
    const chance = globalThis.crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
    return Math.max(longest * (0.5 + chance / 2), Math.min(askedMs, this.#mostMs));
  }

  async sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      }
      signal?.addEventListener('abort', done);
    });
    signal?.throwIfAborted();
  }

  async #once(method: string, path: string, options: RequestOptions): Promise<Answer> {
    const call = new Call(this.#timeoutMs, options.signal);
    try {
      const response = await this.#send(method, path, options, call);
      const text = await call.over(response.text());
      return { status: response.status, headers: response.headers, json: text === '' ? undefined : parsed(text) };
    } catch (error) {
      throw call.explain(error);
    } finally {
      call.end();
    }
  }

  async #send(method: string, path: string, { query = {}, headers, body }: Omit<RequestOptions, 'again'>, call: Call): Promise<Response> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    const url = `${this.#base}${path}${search.size === 0 ? '' : `?${search}`}`;
    const init: RequestInit = { method, headers: { ...this.#headers, ...headers }, signal: call.signal, redirect: 'error' };
    if (body !== undefined) init.body = body;
    const response = await call.over(this.#fetch(url, init));
    if (response.status < 400) return response;
    const text = await call.over(response.text());
    throw new VarveProblem(response.status, tryParse(text), retryAfter(response.headers));
  }
}

/** One attempt, and what may end it. */
class Call {
  readonly #controller = new AbortController();
  readonly #timeoutMs: number;
  readonly #outer: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timedOut = false;
  readonly #onAbort = () => this.#controller.abort(this.#outer?.reason);

  constructor(timeoutMs: number, outer: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.#outer = outer;
    outer?.throwIfAborted();
    outer?.addEventListener('abort', this.#onAbort);
    this.heard();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came: the time runs anew. */
  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timedOut = true;
      this.#controller.abort();
    }, this.#timeoutMs);
  }

  /** `work`, or a rejection once the call is over, whether or not `work` heeds the signal. */
  async over<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#controller;
    let stop = () => {};
    const ended = new Promise<never>((_, reject) => {
      stop = () => reject(new Error('the call is over'));
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
    });
    try {
      return await Promise.race([work, ended]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  explain(error: unknown): unknown {
    if (this.#outer?.aborted === true) return this.#outer.reason;
    if (error instanceof VarveProblem || error instanceof VarveConnectionError) return error;
    if (this.#timedOut) return new VarveConnectionError('timeout', `nothing came for ${this.#timeoutMs} ms`, error);
    return new VarveConnectionError(
      'unreachable',
      `the connection failed: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }

  /** Lets go of the connection where the answer was not read to its end. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onAbort);
    this.#controller.abort();
  }
}

function parsed(text: string): Record<string, unknown> {
  const value = tryParse(text);
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new VarveConnectionError('cut-short', 'the answer is not whole');
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function retryAfter(headers: Headers): number | undefined {
  const text = headers.get('Retry-After');
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) * 1000 : undefined;
}
