/**
 * The command line's own client: requests, problems, NDJSON both ways. On node:http rather than fetch because
 * `load` reads answers while it is still sending, and an import is thousands of small requests in a row.
 *
 * Retries nothing: callers know what is safe to send again.
 */

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { parseJson } from '../engine/format/parse-json.js';

/** The server answered with an error. `slug` is the end of the problem's `type`: switch on it, not on words. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;
  readonly slug: string;
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(status: number, body: string) {
    const problem = parseProblem(body);
    const title = typeof problem['title'] === 'string' ? problem['title'] : `the server answered ${status}`;
    const detail = typeof problem['detail'] === 'string' ? problem['detail'] : '';
    super(detail === '' || detail === title ? title : `${title}: ${detail}`);
    this.status = status;
    this.slug =
      String(problem['type'] ?? '')
        .split(':')
        .at(-1) ?? '';
    this.problem = problem;
  }
}

/** No answer: nobody there, or the connection ended half way. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
}

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Silence for so long is taken for a dead server. */
const SILENCE_MS = 120_000;
const NDJSON = 'application/x-ndjson';
const NEWLINE = Buffer.from('\n');
const WRITE_BYTES = 64 * 1024;

export class HttpClient {
  readonly url: string;
  readonly #base: URL;
  readonly #headers: Record<string, string>;
  readonly #secure: boolean;
  readonly #agent: http.Agent;

  /** Throws TypeError unless `url` is an http or https URL. */
  constructor(url: string, token?: string) {
    this.#base = new URL(url);
    this.#secure = this.#base.protocol === 'https:';
    if (!this.#secure && this.#base.protocol !== 'http:') throw new TypeError(`'${url}' is not an http URL`);
    this.url = url.replace(/\/+$/, '');
    this.#headers = token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` };
    this.#agent = new (this.#secure ? https : http).Agent({ keepAlive: true, maxSockets: 64 });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Any status is an answer; only silence throws (ConnectionError). */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    const request = this.#start(method, path, options);
    request.end(options.body);
    const response = await this.#response(request);
    return { status: response.statusCode ?? 0, headers: response.headers, body: await this.#all(response) };
  }

  /** The answer's JSON; ProblemError from 400 on. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const reply = await this.request(method, path, options);
    const text = reply.body.toString('utf8');
    if (reply.status >= 400) throw new ProblemError(reply.status, text);
    return parseJson(text) as T;
  }

  /** A streamed listing, without its last line; ConnectionError where that line never came. */
  async *lines<T>(path: string, options: RequestOptions = {}): AsyncGenerator<T> {
    const request = this.#start('GET', path, { ...options, headers: { accept: NDJSON, ...options.headers } });
    request.end();
    const response = await this.#response(request);
    if ((response.statusCode ?? 0) >= 400) throw new ProblemError(response.statusCode ?? 0, (await this.#all(response)).toString('utf8'));
    for await (const line of this.#answerLines(response)) yield line as T;
  }

  /** Sends lines as they come and yields the answers as they come; the last one (`done`) included. */
  async *exchange<T>(path: string, lines: AsyncIterable<Uint8Array>, options: RequestOptions = {}): AsyncGenerator<T> {
    const request = this.#start('POST', path, { ...options, headers: { 'content-type': NDJSON, accept: NDJSON, ...options.headers } });
    let failure: { error: unknown } | undefined;
    const sending = send(request, lines).catch((error: unknown) => {
      failure = { error };
      request.destroy();
    });
    try {
      const response = await this.#response(request);
      if ((response.statusCode ?? 0) >= 400) throw new ProblemError(response.statusCode ?? 0, (await this.#all(response)).toString('utf8'));
      for await (const line of this.#answerLines(response, true)) yield line as T;
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    } finally {
      request.destroy();
      await sending;
    }
  }

  #start(method: string, path: string, options: RequestOptions): http.ClientRequest {
    const url = new URL(this.#base.href.replace(/\/+$/, '') + path);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = { ...this.#headers, ...options.headers };
    if (options.body !== undefined) headers['content-length'] = String(Buffer.byteLength(options.body));
    const request = (this.#secure ? https : http).request(url, { method, headers, agent: this.#agent });
    request.setNoDelay(true);
    request.setTimeout(SILENCE_MS, () => request.destroy(new Error('no answer in two minutes')));
    return request;
  }

  async #response(request: http.ClientRequest): Promise<http.IncomingMessage> {
    try {
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      request.on('error', () => {}); // from here on the response tells
      return response;
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  async #all(response: http.IncomingMessage): Promise<Buffer> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  async *#answerLines(response: http.IncomingMessage, withLast = false): AsyncGenerator<unknown> {
    let done = false;
    try {
      for await (const line of splitLines(response)) {
        const value = parseJson(line.toString('utf8')) as Record<string, unknown>;
        done = value['done'] === true;
        if (!done || withLast) yield value;
      }
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (!done) throw new ConnectionError(`the answer of ${this.url} was cut short`);
  }

  #unreachable(error: unknown): Error {
    if (error instanceof ConnectionError || error instanceof SyntaxError) return error;
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      return new ConnectionError(`no server at ${this.url}: start one with \`varve serve\``, { cause: error });
    }
    const said = error instanceof Error && error.message !== '' ? error.message : code;
    return new ConnectionError(`the connection to ${this.url} failed: ${said}`, { cause: error });
  }
}

/** Lines as bytes, however the chunks fall; empty ones too, so that they can be counted. */
export async function* splitLines(chunks: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
    let start = 0;
    for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
      const line = bytes.subarray(start, end);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      start = end + 1;
    }
    if (start < bytes.length) rest.push(bytes.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

/** `/v1/collections/c/entities/k` with both percent-encoded, slashes too. */
export function entityPath(collection: string, key: string): string {
  return `/v1/collections/${encodeURIComponent(collection)}/entities/${encodeURIComponent(key)}`;
}

/** Gathers lines into writes of some size, but leaves none lying while the next one is waited for. */
async function send(request: http.ClientRequest, lines: AsyncIterable<Uint8Array>): Promise<void> {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  let scheduled: NodeJS.Immediate | undefined;
  const flush = () => {
    clearImmediate(scheduled);
    scheduled = undefined;
    const chunk = Buffer.concat(gathered);
    gathered = [];
    bytes = 0;
    return chunk.length === 0 || request.destroyed || request.write(chunk);
  };
  for await (const line of lines) {
    if (request.destroyed) return;
    gathered.push(line, NEWLINE);
    bytes += line.length + 1;
    scheduled ??= setImmediate(flush);
    if (bytes >= WRITE_BYTES && !flush()) await roomIn(request);
  }
  flush();
  request.end();
}

/** Resolves once more can be written, or nothing ever will be. */
function roomIn(request: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      request.off('drain', done);
      request.off('close', done);
      resolve();
    };
    request.on('drain', done);
    request.on('close', done);
  });
}

function parseProblem(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
