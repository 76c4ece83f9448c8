/** Runs the command line in this process, and a real server over a real directory for it to talk to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { type Database, type OpenOptions, open } from '../../engine/index.js';
import { type RunningServer, startServer } from '../../server/index.js';
import { run } from '../../tools/program.js';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

export async function varve(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdout = collector();
  const stderr = collector();
  const input = options.input === undefined ? Buffer.alloc(0) : Buffer.from(options.input);
  const code = await run(args, { stdin: Readable.from([input]), stdout: stdout.stream, stderr: stderr.stream, env: options.env ?? {} });
  return { code, out: stdout.text(), err: stderr.text() };
}

function collector(): { stream: PassThrough; text(): string } {
  const chunks: Buffer[] = [];
  const stream = new PassThrough();
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') };
}

export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const directory = mkdtempSync(path.join(tmpdir(), 'varve-tools-'));
  return { path: directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

export interface TestServer {
  readonly url: string;
  readonly data: string;
  readonly db: Database;
  /** Runs a verb against this server. */
  varve(args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Closes server and database; the directory stays until `remove`. */
  close(): Promise<void>;
  remove(): Promise<void>;
}

export async function testServer(options: OpenOptions = {}): Promise<TestServer> {
  const directory = temporaryDirectory();
  const data = path.join(directory.path, 'data');
  const db = await open(data, options);
  const server: RunningServer = await startServer({ db, listen: '127.0.0.1:0' });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= server.close().then(() => db.close()));
  return {
    url: server.url,
    data,
    db,
    varve: (args, more = {}) => varve(args, { ...more, env: { VARVE_URL: server.url, ...more.env } }),
    close,
    async remove() {
      await close();
      directory.remove();
    },
  };
}
