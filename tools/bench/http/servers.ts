/** Starts the server of a kind with default settings, and says how it is asked. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import { freePort } from '../../free-port.js';
import { processFile } from '../runner.js';
import type { HttpKind } from './result.js';
import { request } from './wire.js';

export interface HttpServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Keyed {
  readonly key: string;
  readonly body: JsonValue;
}

/** Requests as bytes. */
export interface Dialect {
  readonly design: string;
  readonly packages: readonly string[];
  /** Before anything else. */
  readonly prepare?: () => Buffer;
  get(key: string): Buffer;
  put(item: Keyed): Buffer;
  /** Many in one request. */
  bulk(items: readonly Keyed[]): Buffer;
  /** Many as a stream of lines, each answered by itself. */
  readonly stream?: (items: readonly Keyed[]) => Buffer;
  /** The entity's body in what GET answers. */
  bodyOf(answer: JsonValue): JsonValue;
}

const NDJSON = 'application/x-ndjson';
const READY_MS = 20_000;

const lines = (items: readonly object[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');

function ofMap(design: string, packages: readonly string[]): Dialect {
  return {
    design,
    packages,
    get: (key) => request('GET', `/db/${encodeURIComponent(key)}`),
    put: ({ key, body }) => request('PUT', `/db/${encodeURIComponent(key)}`, JSON.stringify(body)),
    bulk: (items) =>
      request('POST', '/db/_bulk_docs', JSON.stringify({ docs: items.map(({ key, body }) => ({ _id: key, ...(body as object) })) })),
    stream: (items) => request('POST', '/stream', lines(items), NDJSON),
    bodyOf: (answer) => answer,
  };
}

const { stream: _, ...pouch } = ofMap('express-pouchdb over PouchDB on LevelDB, which does not sync', ['express-pouchdb', 'pouchdb-node']);

export const DIALECTS: Readonly<Record<HttpKind, Dialect>> = {
  varve: {
    design: 'varve serve, default settings: answers once durable; a record with its ids, hash and time around the body',
    packages: ['varve'],
    get: (key) => request('GET', `/v1/collections/bench/entities/${encodeURIComponent(key)}`),
    put: ({ key, body }) => request('PUT', `/v1/collections/bench/entities/${encodeURIComponent(key)}`, JSON.stringify(body)),
    bulk: (items) => request('POST', '/v1/records', JSON.stringify({ records: items.map((item) => ({ collection: 'bench', ...item })) })),
    stream: (items) => request('POST', '/v1/records', lines(items.map((item) => ({ collection: 'bench', ...item }))), NDJSON),
    bodyOf: (answer) => (answer as { body: JsonValue }).body,
  },
  node: ofMap('a Map in memory behind node:http, nothing kept safe', []),
  express: ofMap('the same Map behind Express', ['express']),
  pouchdb: {
    ...pouch,
    prepare: () => request('PUT', '/db', '{}'),
    bodyOf: (answer) => {
      const { _id, _rev, ...body } = answer as { [field: string]: JsonValue };
      return body;
    },
  },
};

export function startHttpServer(kind: HttpKind, directory: string, peersDirectory: string | undefined): Promise<HttpServer> {
  return kind === 'varve' ? startVarve(directory) : startPeer(kind, directory, peersDirectory);
}

async function startPeer(kind: HttpKind, directory: string, peersDirectory: string | undefined): Promise<HttpServer> {
  const { file, flags } = processFile('http/peer-server');
  const child = fork(file, [kind, directory, peersDirectory ?? ''], {
    execArgv: flags,
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 2, 'ipc'],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve((message as { port: number }).port));
    child.once('exit', (code) => reject(new Error(`the server of ${kind} ended with ${code}`)));
  });
  return { port, pid: child.pid ?? 0, stop: () => end(child, 'SIGKILL') };
}

async function startVarve(directory: string): Promise<HttpServer> {
  const port = await freePort();
  const { file, flags } = processFile('../cli');
  const args = [...flags, file, 'serve', '--data', path.join(directory, 'varve'), '--listen', `127.0.0.1:${port}`];
  const child = spawn(process.execPath, args, { env: { ...process.env, NODE_ENV: 'production' }, stdio: ['ignore', 'ignore', 'pipe'] });
  // Its log: told only where it does not start.
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-2000)));
  const until = performance.now() + READY_MS;
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ready) return { port, pid: child.pid ?? 0, stop: () => end(child, 'SIGTERM') };
    if (child.exitCode !== null || performance.now() > until) {
      await end(child, 'SIGKILL');
      throw new Error(`varve serve did not start: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}
