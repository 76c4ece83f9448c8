/**
 * A listening server: sockets, timeouts, connections, and how it ends. It may listen before there is a database (everything answers
 * 503 `recovering` then) and does not own the database: whoever opened it closes it after `close()`.
 *
 * Ending: not ready -> requests under way finish, streams end themselves, new ones get 503 -> the socket closes -> idle connections
 * are cut. `close()` may be called any number of times. A crash loses nothing here: no answer was given that is not durable.
 */
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Database } from '../engine/index.js';
import { PROBLEM_TYPE } from './answers.js';
import { createApp } from './app.js';
import { ByteBudget } from './body.js';
import { DEFAULT_LISTEN } from './config.js';
import type { Phase, ServerContext } from './exchange.js';
import { ConfigError, parseListen } from './guard.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { createLogger, type Logger } from './logging.js';
import { Problem } from './problem.js';

export interface ServerOptions {
  /** Without one the server answers 503 `recovering` until `attach`. */
  db?: Database;
  /** `HOST:PORT`, loopback only; port 0 lets the system choose. */
  listen?: string;
  /** Silent by default. */
  logger?: Logger;
  limits?: Partial<Limits>;
}

export interface RunningServer {
  /** `http://127.0.0.1:7411` */
  readonly url: string;
  readonly phase: Phase;
  /** Gives the server its database: it is ready then. */
  attach(db: Database): void;
  /** Graceful; resolves once no request is under way. Does not close the database. */
  close(): Promise<void>;
}

export async function startServer(options: ServerOptions = {}): Promise<RunningServer> {
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const address = parseListen(options.listen ?? DEFAULT_LISTEN);
  const draining = new AbortController();
  const context: ServerContext = {
    phase: options.db === undefined ? 'recovering' : 'ready',
    db: options.db,
    limits,
    logger: options.logger ?? createLogger('silent'),
    bodyMemory: new ByteBudget(limits.bodyMemoryBytes),
    draining: draining.signal,
  };
  const app = createApp(context);
  const underWay = new Set<ServerResponse>();
  let idle = () => {};

  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    // Streams last as long as they move; whole bodies have a deadline of their own.
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(limits.headersTimeoutMs, 5_000),
    noDelay: true,
  });
  server.timeout = limits.idleTimeoutMs;
  // Beyond this a connection is dropped without a word; up to it one too many hears why.
  server.maxConnections = limits.maxConnections * 2;
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    underWay.add(res);
    res.on('close', () => {
      underWay.delete(res);
      if (underWay.size === 0) idle();
    });
    app(req, res);
  });
  limitConnections(server, limits);
  server.on('clientError', refuseClient);
  await listen(server, address.host, address.port);

  const { port } = server.address() as AddressInfo;
  const url = `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
  context.logger.info({ url }, 'listening');

  const drain = async (): Promise<void> => {
    context.phase = 'draining';
    draining.abort();
    // An idle kept-alive connection could bring one more request; it would hear `draining`.
    if (underWay.size > 0) await settled(underWay, limits.shutdownTimeoutMs, (wake) => (idle = wake));
    if (underWay.size > 0) context.logger.warn({ requests: underWay.size }, 'shutting down without waiting longer');
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    context.logger.info('closed');
  };
  let closing: Promise<void> | undefined;
  return {
    url,
    get phase() {
      return context.phase;
    },
    attach(db) {
      context.db = db;
      if (context.phase === 'recovering') context.phase = 'ready';
    },
    close: () => (closing ??= drain()),
  };
}

function listen(server: HttpServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'the port is in use' : error.code === 'EACCES' ? 'not allowed' : (error.code ?? 'failed');
      reject(new ConfigError(`cannot listen on ${host}:${port}: ${why}`));
    });
    server.listen(port, host, () => resolve());
  });
}

/** Resolves when the set is empty or the time is up. */
function settled(set: ReadonlySet<unknown>, timeoutMs: number, onIdle: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    onIdle(() => {
      clearTimeout(timer);
      resolve();
    });
    if (set.size === 0) resolve();
  });
}

function limitConnections(server: HttpServer, limits: Limits): void {
  let open = 0;
  server.on('connection', (socket: Socket) => {
    open++;
    socket.on('close', () => open--);
    if (open > limits.maxConnections) socket.end(rawAnswer(new Problem('overloaded', 'There are too many connections.')));
  });
}

/** What node's parser refuses never becomes a request; it is told on the bare socket. */
function refuseClient(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const problem =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new Problem('headers-too-large', 'The request line and headers are over their limit.')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new Problem('request-timeout', 'The headers took too long to arrive.')
        : new Problem('invalid', 'This is not HTTP as this server understands it.', { path: 'request', expected: 'HTTP/1.1' });
  socket.end(rawAnswer(problem));
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};

function rawAnswer(problem: Problem): string {
  const body = JSON.stringify(problem);
  const headers = {
    ...problem.headers,
    'Content-Type': PROBLEM_TYPE,
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-cache',
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${problem.status} ${STATUS_TEXT[problem.status] ?? 'Error'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}
