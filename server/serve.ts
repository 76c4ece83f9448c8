/**
 * What `varve serve` runs: the one place that puts a database and a server together.
 *
 * It listens first and opens the database then, so that /livez answers and /readyz says `recovering` meanwhile. SIGTERM or SIGINT:
 * the server drains, the database closes (marks, syncs), exit code 0; a second signal ends the process with 1 at once, which is safe:
 * a crash is what the log is made for. SIGHUP: tokens and certificates are read again, as they are when their files change.
 */
import { setTimeout } from 'node:timers/promises';
import { type Database, isVarveError, type OpenOptions, open, type Platform, VarveError } from '../engine/index.js';
import { Access } from './auth.js';
import { limitsOf, openOptionsOf, type ServeConfig, tlsFilesOf, tokenFileOf } from './config.js';
import { copiesConfigOf, readPeerCredentials } from './copies-config.js';
import { type Disk, Watch } from './disk.js';
import { type Joined, join } from './join.js';
import { createLogger, type Logger } from './logging.js';
import { type RunningServer, startServer } from './start.js';
import { readTls } from './tls.js';
import { readTokens } from './tokens.js';

/** The part of `process` that serving needs. */
export interface SignalSource {
  on(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', listener: () => void): unknown;
  off(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', listener: () => void): unknown;
  exit(code: number): void;
}

export interface ServeOptions {
  /** Made from the config's level by default. */
  logger?: Logger;
  /** The process by default; null: signals are somebody else's. */
  signals?: SignalSource | null;
  /** How the database is opened; the engine's `open` by default. */
  openDatabase?: (dir: string, options: OpenOptions) => Promise<Database>;
  /** Where replication finds clock, randomness and, before the database is open, its directory; the machine's by default. */
  platform?: Platform;
  /** Reads tokens and certificates; without it there are none. */
  disk?: Disk;
}

/** For the last words on streams of followers. */
const GOODBYE_MS = 200;

/** For a copy, of what it cannot guess. */
const BEGIN_ANEW = 'promote another copy if this one owned a shard; then put its directory aside and start it again: it is filled anew';

/** Holds no files. */
const NO_DISK: Disk = { stamp: () => undefined, read: () => undefined };

export interface Serving {
  readonly url: string;
  /** Resolves once the database is open; rejects where it cannot be opened (the server has closed then). */
  readonly ready: Promise<Database>;
  /** The exit code, once everything has ended. Never rejects. */
  readonly stopped: Promise<number>;
  /** What a first signal does. */
  stop(): Promise<number>;
}

export async function serve(config: ServeConfig, options: ServeOptions = {}): Promise<Serving> {
  const logger = options.logger ?? createLogger(config.logLevel);
  const signals = options.signals === undefined ? (process as SignalSource) : options.signals;
  const openDatabase = options.openDatabase ?? open;
  const disk = options.disk ?? NO_DISK;
  const tlsFiles = tlsFilesOf(config);
  const copies = copiesConfigOf(config);
  const credentials = readPeerCredentials(disk, config);
  // Others call this server by that name.
  const ownName = copies.advertise === undefined ? [] : [new URL(copies.advertise).hostname];
  const server = await startServer({
    listen: config.listen,
    logger,
    limits: limitsOf(config),
    access: new Access(readTokens(disk, tokenFileOf(config))),
    hostNames: [...(config.hostNames ?? []), ...ownName],
    requestLogging: config.logRequests,
    ...(tlsFiles === undefined ? {} : { tls: readTls(disk, tlsFiles) }),
  });
  const secrets = watchSecrets(config, disk, server, logger);

  let finish = (_code: number) => {};
  const stopped = new Promise<number>((resolve) => {
    finish = resolve;
  });
  const onSignal = () => {
    if (stopping) {
      logger.warn('a second signal: ending at once');
      signals?.exit(1);
    }
    void stop();
  };
  const end = (code: number) => {
    secrets.stop();
    signals?.off('SIGHUP', secrets.reload);
    signals?.off('SIGTERM', onSignal);
    signals?.off('SIGINT', onSignal);
    finish(code);
  };

  const began = performance.now();
  const leaving = new AbortController();
  let joined: Joined | undefined;
  const ready = join({
    directory: config.data,
    config: copies,
    credentials,
    url: server.url,
    logger,
    openDatabase: (openOptions) => openDatabase(config.data, openOptions),
    open: openOptionsOf(config),
    signal: leaving.signal,
    ...(config.scrubEvery === undefined ? {} : { scrubEveryMs: config.scrubEvery }),
    ...(options.platform === undefined ? {} : { platform: options.platform }),
  }).then(
    (all) => {
      joined = all;
      const { db } = all;
      server.attach(db, all.copies, all.forwarder, all.verifier);
      logger.info({ shards: db.shardCount, ms: Math.round(performance.now() - began) }, 'ready');
      return db;
    },
    async (error: unknown) => {
      if (leaving.signal.aborted) throw error;
      // What was meant to be said needs no stack.
      const why = error instanceof VarveError ? { code: error.code, why: error.message } : { err: error };
      const isCopy = copies.follow !== undefined || copies.replicas.length > 1;
      const todo = isCopy && isVarveError(error, 'CORRUPT') ? { todo: BEGIN_ANEW } : {};
      logger.error({ ...why, ...todo }, 'the database cannot be opened');
      await server.close();
      end(1);
      throw error;
    },
  );
  ready.catch(() => {});

  let stopping = false;
  const stop = (): Promise<number> => {
    if (!stopping) {
      stopping = true;
      logger.info('shutting down');
      void shutDown();
    }
    return stopped;
  };
  const shutDown = async (): Promise<void> => {
    try {
      leaving.abort();
      // Those who follow hear a goodbye before their streams are cut.
      const left = joined?.leave();
      await Promise.race([left, setTimeout(GOODBYE_MS)]);
      await server.close();
      const db = await ready.catch(() => undefined);
      await (left ?? joined?.leave());
      await db?.close();
      end(0);
    } catch (error) {
      logger.error({ err: error }, 'shutting down failed');
      end(1);
    }
  };
  signals?.on('SIGTERM', onSignal);
  signals?.on('SIGINT', onSignal);
  signals?.on('SIGHUP', secrets.reload);
  return { url: server.url, ready, stopped, stop };
}

/** Tokens and certificates, taken anew when their files change. What cannot be used is reported, and the ones before stay in force. */
function watchSecrets(config: ServeConfig, disk: Disk, server: RunningServer, logger: Logger): { reload(): void; stop(): void } {
  const tokenFile = tokenFileOf(config);
  const tlsFiles = tlsFilesOf(config);
  const reloadTokens = () => {
    try {
      const tokens = readTokens(disk, tokenFile);
      server.setTokens(tokens);
      logger.info({ tokens: tokens?.length ?? 0 }, 'the access tokens were read again');
    } catch (error) {
      logger.error({ why: error instanceof Error ? error.message : String(error) }, 'the access tokens stay as they were');
    }
  };
  const reloadTls = () => {
    if (tlsFiles === undefined) return;
    try {
      const tls = readTls(disk, tlsFiles);
      server.setTls(tls);
      logger.info({ subject: tls.subject, validTo: tls.validTo }, 'the certificate was read again');
    } catch (error) {
      logger.error({ why: error instanceof Error ? error.message : String(error) }, 'the certificate stays as it was');
    }
  };
  const watches = [
    new Watch(disk, [tokenFile], reloadTokens),
    ...(tlsFiles === undefined ? [] : [new Watch(disk, Object.values(tlsFiles) as string[], reloadTls)]),
  ];
  return {
    reload() {
      reloadTokens();
      reloadTls();
    },
    stop() {
      for (const watch of watches) watch.stop();
    },
  };
}
