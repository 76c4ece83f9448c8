/**
 * A real server on a port of its own over a database on the simulated disk, and a client that says exactly what a test wants said:
 * node:http, because fetch hides Host, Origin and connection handling.
 */
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { type Database, type OpenOptions, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { type Limits, type RunningServer, type ServerOptions, startServer } from '../../server/index.js';
import { checkAnswer } from './answer-check.js';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** Parsed; undefined for an empty body. Loose, as tests look into it. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked by the test itself
  readonly json: any;
}

export interface Ask {
  headers?: Record<string, string>;
  /** A string or bytes as they are; anything else as JSON. */
  body?: unknown;
}

/** The wall clock stands still unless moved, so times in tests are exact: each look at it moves it a little. */
export const AUTO_ADVANCE_MICROS = 10;

export class TestServer {
  readonly platform: MemoryPlatform;
  readonly db: Database;
  readonly server: RunningServer;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(platform: MemoryPlatform, db: Database, server: RunningServer) {
    this.platform = platform;
    this.db = db;
    this.server = server;
  }

  static async start(options: { open?: OpenOptions; limits?: Partial<Limits>; server?: ServerOptions } = {}): Promise<TestServer> {
    const platform = new MemoryPlatform({ autoAdvanceMicros: AUTO_ADVANCE_MICROS });
    const db = await openWith(platform, options.open ?? {});
    const server = await startServer({
      db,
      listen: '127.0.0.1:0',
      ...options.server,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    return new TestServer(platform, db, server);
  }

  get port(): number {
    return Number(new URL(this.server.url).port);
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    await this.server.close();
    await this.db.close();
  }

  async ask(method: string, path: string, { headers = {}, body }: Ask = {}): Promise<Reply> {
    const bytes = body === undefined ? undefined : typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const type = bytes === undefined || method === 'GET' ? {} : { 'Content-Type': 'application/json' };
    const req = request(this.server.url, { path, method, headers: { ...type, ...headers }, agent: this.#agent });
    req.on('error', () => {});
    req.end(bytes);
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    const reply = await readReply(res);
    checkAnswer({ method, path }, reply);
    return reply;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return this.ask('GET', path, { headers });
  }

  put(key: string, body: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    return this.ask('PUT', `/v1/collections/c/entities/${encodeURIComponent(key)}`, { headers, body: JSON.stringify(body) });
  }

  post(body: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    return this.ask('POST', '/v1/records', { headers, body });
  }

  lines(text: string | Uint8Array, headers: Record<string, string> = {}): Promise<Reply> {
    return this.ask('POST', '/v1/records', { headers: { 'Content-Type': 'application/x-ndjson', ...headers }, body: text });
  }

  /** Sends bytes over a bare socket and gives back everything until the server closes. */
  async raw(text: string): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
    socket.write(text, 'latin1');
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  }
}

export async function readReply(res: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  for await (const chunk of res) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString();
  const isJson =
    /json$/.test(String(res.headers['content-type']).split(';')[0]!) && !String(res.headers['content-type']).includes('x-ndjson');
  return { status: res.statusCode ?? 0, headers: res.headers, bytes, text, json: isJson && text !== '' ? JSON.parse(text) : undefined };
}

/** The lines of an NDJSON answer. */
// biome-ignore lint/suspicious/noExplicitAny: answers are checked by the test itself
export function linesOf(reply: Reply): any[] {
  return reply.text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}
