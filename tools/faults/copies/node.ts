/**
 * One `varve serve` of three, in a process of its own, always started with the same command line: that is what an operator's unit file does.
 *
 * Its log goes to the story. Nothing here sleeps for a time that it hopes is enough: `until` looks until it is so, and fails with what it waited for.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { cliCommand } from '../server-process.js';
import { type LogLine, parseLogLine, type Story } from './story.js';

export interface NodePlace {
  readonly name: string;
  readonly directory: string;
  /** How the others call it. */
  readonly url: string;
  /** How clients reach it; the same by default. */
  readonly clientUrl?: string;
  /** Of `serve`, without `--data`. */
  readonly flags: readonly string[];
  /** Goes before the command: `ip netns exec …`. */
  readonly prefix?: readonly string[];
  /** Shown to the nodes by clients. */
  readonly token?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface ShardState {
  readonly role: string;
  readonly epoch: number;
  readonly caughtUp: boolean;
  readonly durableSeq: number;
}

const LOOK_MS = 25;
const REQUEST_MS = 15_000;
const PATIENCE_MS = 90_000;

export class CopyNode {
  readonly place: NodePlace;
  readonly log: LogLine[] = [];
  readonly #story: Story;
  #child: ChildProcess | undefined;

  constructor(place: NodePlace, story: Story) {
    this.place = place;
    this.#story = story;
  }

  get name(): string {
    return this.place.name;
  }

  get url(): string {
    return this.place.url;
  }

  get directory(): string {
    return this.place.directory;
  }

  get clientUrl(): string {
    return this.place.clientUrl ?? this.place.url;
  }

  get isAlive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it and returns at once. */
  launch(): void {
    const { directory, flags, prefix = [] } = this.place;
    const [command, ...args] = [...prefix, process.execPath, ...cliCommand(), 'serve', '--data', directory, ...flags];
    const child = spawn(command!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.log.length = 0;
    this.#story.forget(this.name);
    createInterface({ input: child.stderr! }).on('line', (line) => {
      const parsed = parseLogLine(line);
      this.log.push(parsed);
      this.#story.heard(this.name, parsed);
    });
  }

  /** Resolves once it says that it is ready; rejects where it ends first. */
  async start(): Promise<void> {
    this.launch();
    await this.ready();
  }

  async ready(): Promise<void> {
    await this.untilAlive(`${this.name} is ready`, async () => (await this.ask('GET', '/readyz').catch(() => undefined))?.status === 200);
  }

  /** As `until`, and ends early where the process does. */
  untilAlive(what: string, isSo: () => Promise<boolean>): Promise<void> {
    return until(what, () => {
      if (!this.isAlive) throw new Error(`${what}: but it ended: ${this.log.at(-1)?.msg ?? ''} ${JSON.stringify(this.log.at(-1)?.fields)}`);
      return isSo();
    });
  }

  /** Without mercy. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As it should end: the exit code. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** Waits for it to end by itself: the exit code. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || !this.isAlive) return child?.exitCode ?? null;
    await once(child, 'exit');
    return child.exitCode;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.isAlive) this.#child!.kill(signal);
    return this.ended();
  }

  wipe(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  hasSaid(part: string): boolean {
    return this.log.some(({ msg }) => msg.includes(part));
  }

  get headers(): Record<string, string> {
    return this.place.token === undefined ? {} : { authorization: `Bearer ${this.place.token}` };
  }

  async ask(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await fetch(`${this.clientUrl}${path}`, {
      method,
      headers: { ...this.headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      signal: AbortSignal.timeout(REQUEST_MS),
      ...(body === undefined ? {} : { body }),
    });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }

  async json<T>(path: string): Promise<T | undefined> {
    try {
      const { status, text } = await this.ask('GET', path);
      return status === 200 ? (JSON.parse(text) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  state(): Promise<ShardState | undefined> {
    return this.json<ShardState>('/replication/v1/shards/1/state');
  }

  async isA(role: string): Promise<boolean> {
    return (await this.state())?.role === role;
  }
}

/** Looks until it is so. */
export async function until(what: string, isSo: () => Promise<boolean>, withinMs = PATIENCE_MS): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(LOOK_MS);
  }
}

export interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** `varve …`, as typed; with the token that the node takes. */
export async function varve(args: readonly string[], token?: string): Promise<Ran> {
  const env = { ...process.env, NO_COLOR: '1', ...(token === undefined ? {} : { VARVE_TOKEN: token }) };
  const child = spawn(process.execPath, [...cliCommand(), ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output: output.trim() };
}
