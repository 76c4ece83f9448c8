/** Real `varve serve` processes that are copies of each other: started from the sources, killed, wiped, asked over HTTP. Nothing sleeps: it waits for conditions. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cliCommand } from '../../tools/faults/server-process.js';
import { freePort } from '../../tools/free-port.js';

const LOOK_MS = 20;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked by the test itself
  readonly json: any;
}

export class Node {
  readonly url: string;
  readonly directory: string;
  #child: ChildProcess | undefined;
  output = '';

  constructor(readonly port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.directory = mkdtempSync(join(tmpdir(), 'varve-copy-'));
  }

  static async make(count: number): Promise<Node[]> {
    const nodes: Node[] = [];
    for (let n = 0; n < count; n++) nodes.push(new Node(await freePort()));
    return nodes;
  }

  /** Resolves once it is as `ready` says; by default once it takes requests. */
  async start(flags: readonly string[], isReady: () => Promise<boolean> = () => this.#isUp()): Promise<this> {
    const args = [...cliCommand(), 'serve', '--data', this.directory, '--listen', `127.0.0.1:${this.port}`, ...flags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data: Buffer) => (this.output += data.toString()));
    await until(`${this.url} is up`, async () => {
      if (child.exitCode !== null) throw new Error(`${this.url} ended: ${this.output}`);
      return isReady();
    });
    return this;
  }

  async #isUp(): Promise<boolean> {
    const answer = await this.ask('GET', '/v1/shards').catch(() => undefined);
    return answer?.status === 200;
  }

  /** Without mercy. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As it should end; its exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  }

  wipe(): void {
    rmSync(this.directory, { recursive: true });
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const type = body === undefined ? {} : { 'Content-Type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json' };
    const init = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const answer = await fetch(`${this.url}${path}`, { method, headers: { ...type, ...headers }, ...init });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      json: text.startsWith('{') && !text.includes('\n{') ? JSON.parse(text) : text,
    };
  }

  put(key: string, body: unknown, query = '', headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('PUT', `/v1/collections/c/entities/${key}${query}`, body, headers);
  }

  async shard(): Promise<Answer['json']> {
    return (await this.ask('GET', '/v1/shards/1')).json;
  }

  async root(): Promise<{ seq: number; root: string }> {
    return (await this.ask('GET', '/v1/shards/1/root')).json;
  }
}

/** Looks until it is so; fails with what it waited for. */
export async function until(what: string, isSo: () => Promise<boolean>, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(LOOK_MS);
  }
}
