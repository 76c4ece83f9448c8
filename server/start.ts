/**
 * A listening server: sockets, timeouts, TLS, and how it ends; who comes in is doors.ts's. It may listen before there is a database (everything answers
 * 503 `recovering` then) and does not own the database: whoever opened it closes it after `close()`.
 *
 * Ending: not ready -> requests under way finish, streams end themselves, new ones get 503 -> the socket closes -> idle connections
 * are cut. `close()` may be called any number of times. A crash loses nothing here: no answer was given that is not durable.
 */
import { setMaxListeners } from 'node:events';
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Database } from '../engine/index.js';
import { loneVerifier, type Verifier } from '../replication/index.js';
import { PROBLEM_TYPE } from './answers.js';
import { createApp } from './app.js';
import { Access } from './auth.js';
import { ByteBudget } from './body.js';
import { DEFAULT_LISTEN } from './config.js';
import type { Copies } from './copies.js';
import { answerError } from './dispatch.js';
import { Doors } from './doors.js';
import type { Phase, ServerContext } from './exchange.js';
import { RequestFigures } from './figures.js';
import type { Forwarder } from './forward.js';
import { ConfigError, Hosts, isLoopback, parseListen, requireTokensBeyondLoopback } from './guard.js';
import { Incoming } from './incoming.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { createLogger, type Logger } from './logging.js';
import { Metrics } from './metrics.js';
import { Answer, flushOutbox } from './outbox.js';
import { Problem } from './problem.js';
import { RequestLog, type RequestLogging } from './request-log.js';
import { ShardEvents } from './shard-events.js';
import type { TlsMaterial } from './tls.js';
import type { TokenRecord } from './tokens.js';

export interface ServerOptions {
  /** Without one the server answers 503 `recovering` until `attach`. */
  db?: Database;
  /** What other nodes hold of it. */
  copies?: Copies;
  /** Passes writes on to them. */
  forwarder?: Forwarder;
  /** Compares and mends; one that has nobody to ask by default. */
  verifier?: Verifier;
  /** `HOST:PORT`; any but a loopback one needs access tokens. Port 0 lets the system choose. */
  listen?: string;
  /** Who may come in; anyone by default. */
  access?: Access;
  /** HTTPS with these; plain HTTP by default. */
  tls?: TlsMaterial;
  /** Names that requests may call this server by, beside loopback ones. */
  hostNames?: readonly string[];
  /** Silent by default. */
  logger?: Logger;
  /** Which requests have a line in the log; those with a problem by default. */
  requestLogging?: RequestLogging;
  limits?: Partial<Limits>;
}

export interface RunningServer {
  /** `http://127.0.0.1:7411` */
  readonly url: string;
  readonly phase: Phase;
  /** What waits and what is under way, for metrics. */
  readonly figures: Figures;
  /** Gives the server its database: it is ready then. */
  attach(db: Database, copies?: Copies, forwarder?: Forwarder, verifier?: Verifier): void;
  /** Puts other tokens in force; requests and feeds of those that are gone end at once. Undefined: their file is gone. */
  setTokens(tokens: readonly TokenRecord[] | undefined): void;
  /** Other certificates for connections from now on. */
  setTls(tls: TlsMaterial): void;
  /** Graceful; resolves once no request is under way. Does not close the database. */
  close(): Promise<void>;
}

export interface Figures {
  readonly connections: number;
  readonly active: number;
  readonly waiting: number;
  readonly streams: number;
  readonly clients: number;
  readonly unreadBytes: number;
}

const TICK_MS = 100;
/** Ticks from one look at the shards to the next. */
const LOOK_TICKS = 10;
/** With more shards than this the looks are further apart, so that they stay a small part of the work. */
const LOOK_SHARDS = 256;

export async function startServer(options: ServerOptions = {}): Promise<RunningServer> {
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const address = parseListen(options.listen ?? DEFAULT_LISTEN);
  const access = options.access ?? new Access();
  requireTokensBeyondLoopback(address, access.tokenCount);
  const draining = new AbortController();
  // Every stream listens.
  setMaxListeners(0, draining.signal);
  const figures = new RequestFigures();
  const context: ServerContext = {
    phase: options.db === undefined ? 'recovering' : 'ready',
    db: options.db,
    copies: options.copies,
    forwarder: options.forwarder,
    verifier: options.verifier ?? (options.db === undefined ? undefined : loneVerifier(options.db)),
    limits,
    logger: options.logger ?? createLogger('silent'),
    figures,
    metrics: new Metrics(figures, () => ({
      phase: context.phase,
      db: context.db,
      copies: context.copies,
      forwards: context.forwarder?.figures,
      verifier: context.verifier?.figures,
      doors: figuresNow(),
      bodyBytes: context.bodyMemory.heldBytes,
    })),
    bodyMemory: new ByteBudget(limits.bodyMemoryBytes),
    draining: draining.signal,
  };
  const secure = options.tls !== undefined;
  if (!secure && !isLoopback(address.host))
    context.logger.warn({ host: address.host }, 'tokens and data go over the network in the clear: see --tls-cert and --tls-key');
  const doors = new Doors({
    access,
    hosts: new Hosts(address, { names: options.hostNames ?? [], tls: secure }),
    limits,
    logger: context.logger,
    handle: createApp(context),
    refuse: (req, res, problem) => answerError(problem, req, res),
  });
  let idle = () => {};
  const requestLog = new RequestLog(context.logger, options.requestLogging);
  const figuresNow = (): Figures => ({
    ...doors.admission.figures,
    connections: doors.connections,
    unreadBytes: doors.slowReaders.unreadBytes,
  });
  const onClosed = (res: ServerResponse) => {
    requestLog.end(res, figures.end(res));
    if (doors.underWay.size === 0) idle();
  };

  const server = createHttpServer(limits, options.tls);
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    figures.begin(res);
    requestLog.begin(res);
    doors.enter(req, res, onClosed);
  });
  server.on('connection', (socket: Socket) => {
    const problem = doors.connect(socket);
    if (problem === undefined) return;
    // Before a handshake nothing can be said that would be understood.
    if (secure) socket.destroy();
    else socket.end(rawAnswer(problem));
  });
  server.on('clientError', refuseClient);
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    context.logger.debug({ code: error.code }, 'a handshake failed');
    // Whoever has not shaken hands cannot be told anything, and would sit there for ever.
    socket.destroy();
  });
  await listen(server, address.host, address.port);
  const events = new ShardEvents(context.logger);
  let ticks = 0;
  const look = () => {
    if (context.db !== undefined && context.phase === 'ready') events.look(context.db);
  };
  look();
  const ticking = setInterval(() => {
    doors.tick();
    if (++ticks % (LOOK_TICKS * Math.ceil((context.db?.shardCount ?? 1) / LOOK_SHARDS)) === 0) look();
  }, TICK_MS);
  ticking.unref();

  const { port } = server.address() as AddressInfo;
  const url = `${secure ? 'https' : 'http'}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
  context.logger.info({ url }, 'listening');

  const drain = async (): Promise<void> => {
    context.phase = 'draining';
    draining.abort();
    // An idle kept-alive connection could bring one more request; it would hear `draining`.
    if (doors.underWay.size > 0) await settled(doors.underWay, limits.shutdownTimeoutMs, (wake) => (idle = wake));
    if (doors.underWay.size > 0) context.logger.warn({ requests: doors.underWay.size }, 'shutting down without waiting longer');
    clearInterval(ticking);
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
    get figures() {
      return figuresNow();
    },
    attach(db, copies, forwarder, verifier = loneVerifier(db)) {
      context.copies = copies;
      context.forwarder = forwarder;
      context.verifier = verifier;
      context.db = db;
      if (context.phase === 'recovering') context.phase = 'ready';
      look();
    },
    setTokens(tokens) {
      access.replace(tokens ?? (access.required ? [] : undefined));
      doors.cutRevoked();
    },
    setTls(tls) {
      if ('setSecureContext' in server) server.setSecureContext(tls.options);
    },
    close: () => (closing ??= drain().finally(() => context.verifier?.close())),
  };
}

function createHttpServer(limits: Limits, tls: TlsMaterial | undefined): HttpServer | HttpsServer {
  const http = {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    // Streams last as long as they move; whole bodies have a deadline of their own.
    requestTimeout: 0,
    // Node would refuse without a word; the guard says why.
    requireHostHeader: false,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(limits.headersTimeoutMs, 5_000),
    noDelay: true,
    IncomingMessage: Incoming,
    ServerResponse: Answer,
  };
  const server =
    tls === undefined
      ? createServer(http)
      : createHttpsServer({
          ...http,
          ...tls.options,
          handshakeTimeout: limits.headersTimeoutMs,
          requestCert: tls.clientCertificates,
          rejectUnauthorized: tls.clientCertificates,
        });
  server.timeout = limits.idleTimeoutMs;
  // Beyond this a connection is dropped without a word; up to it one too many hears why.
  server.maxConnections = limits.maxConnections * 2 + limits.maxPeerStreams;
  return server;
}

function listen(server: HttpServer | HttpsServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'the port is in use' : error.code === 'EACCES' ? 'not allowed' : (error.code ?? 'failed');
      reject(new ConfigError(`cannot listen on ${host}:${port}: ${why}`));
    });
    server.listen(port, host, () => resolve());
  });
}

/** Resolves when the set is empty or the time is up. */
function settled(set: { readonly size: number }, timeoutMs: number, onIdle: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    onIdle(() => {
      clearTimeout(timer);
      resolve();
    });
    if (set.size === 0) resolve();
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
  flushOutbox(socket);
  socket.end(rawAnswer(problem));
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};

function rawAnswer(problem: Problem): string {
  const body = JSON.stringify(problem);
  const headers = {
    ...problem.headers,
    Date: new Date().toUTCString(),
    'Content-Type': PROBLEM_TYPE,
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-cache',
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${problem.status} ${STATUS_TEXT[problem.status] ?? 'Error'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}
