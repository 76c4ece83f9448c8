/** A real `varve serve` in a process of its own: started on a free port, waited for, killed without mercy. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../free-port.js';

/** The repository's root, both from the sources and from dist/. */
function repositoryRoot(): string {
  let directory = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(directory, 'package.json'))) directory = path.dirname(directory);
  return directory;
}

/** How to run the command line: the build where there is one, else the sources through tsx. */
export function cliCommand(): string[] {
  const root = repositoryRoot();
  const built = path.join(root, 'dist/tools/cli.js');
  return existsSync(built) ? [built] : ['--import', 'tsx', path.join(root, 'tools/cli.ts')];
}

export class ServerProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #output = '';
  #alive = true;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
    child.stdout?.on('data', (data: Buffer) => this.#keep(data));
    child.stderr?.on('data', (data: Buffer) => this.#keep(data));
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => {
        this.#alive = false;
        resolve();
      });
    });
  }

  /** `shards`: undefined where the data is there already, or comes from another node. */
  static async start(dataDirectory: string, shards?: number, flags: readonly string[] = [], port?: number): Promise<ServerProcess> {
    const listen = `127.0.0.1:${port ?? (await freePort())}`;
    const created = shards === undefined ? [] : ['--shards', String(shards)];
    const args = [...cliCommand(), 'serve', '--data', dataDirectory, '--listen', listen, ...created, ...flags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    return new ServerProcess(child, `http://${listen}`);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The last of what it printed: for a failure's message. */
  get output(): string {
    return this.#output;
  }

  /** Resolves once it takes requests; rejects when it ends first. */
  async ready(): Promise<void> {
    while (this.#alive) {
      try {
        const answer = await fetch(`${this.url}/readyz`);
        await answer.arrayBuffer();
        if (answer.status === 200) return;
      } catch {
        // Not listening yet.
      }
      await Promise.race([this.#exited, new Promise((resolve) => setTimeout(resolve, 10))]);
    }
    throw new Error(`the server ended before it was ready:\n${this.#output}`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** As it should end. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
  }

  #keep(data: Buffer): void {
    this.#output = (this.#output + data.toString('utf8')).slice(-4000);
  }
}
