/** Runs Debian's curl, beside a server in this very process: never synchronously. */
import { execFile, spawn } from 'node:child_process';
import type { Reply } from '../server/support.js';

export interface Curled extends Reply {
  /** As curl gives it: 0 where it was content with what it saw. */
  readonly code: number;
}

/** `curl -i …`, taken apart. An answer that curl itself finds wrong has a code. */
export function curl(...args: readonly string[]): Promise<Curled> {
  return new Promise((resolve, reject) => {
    const command = ['--silent', '--show-error', '--include', '--globoff', '--path-as-is', '--max-time', '30', ...args];
    execFile('curl', command, { encoding: 'buffer', maxBuffer: 1 << 26 }, (error, stdout) => {
      if (error !== null && typeof error.code !== 'number')
        return reject(new Error(`curl cannot be run (apt-get install curl): ${error.message}`));
      resolve({ code: error === null ? 0 : Number(error.code), ...answerIn(stdout) });
    });
  });
}

/** Head and body of the last answer: before it may stand `100 Continue`. */
function answerIn(output: Buffer): Reply {
  let rest = output;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    const [first = '', ...lines] = rest
      .subarray(0, end < 0 ? 0 : end)
      .toString('latin1')
      .split('\r\n');
    const status = Number(first.split(' ')[1] ?? 0);
    rest = rest.subarray(end < 0 ? 0 : end + 4);
    if (status >= 100 && status < 200) continue;
    const headers: Record<string, string> = {};
    for (const line of lines) headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.slice(line.indexOf(':') + 1).trim();
    const text = rest.toString();
    const isJson = /[/+]json(;|$)/.test(headers['content-type'] ?? '') && text !== '';
    return { status, headers, bytes: rest, text, json: isJson ? JSON.parse(text) : undefined };
  }
}

/** A curl that goes on: lines are written to it and read from it one by one. */
export class LivingCurl {
  readonly #child;
  readonly #exited: Promise<number>;
  readonly #lines: string[] = [];
  #rest = '';
  #wake: () => void = () => {};

  constructor(...args: readonly string[]) {
    this.#child = spawn('curl', ['--silent', '--show-error', '--no-buffer', '--max-time', '30', ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() as string;
      this.#lines.push(...lines);
      this.#wake();
    });
    this.#exited = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', (code) => {
        this.#wake();
        resolve(code ?? -1);
      });
    });
  }

  write(value: unknown): void {
    this.#child.stdin.write(`${JSON.stringify(value)}\n`);
  }

  /** The next line that came; undefined where curl has ended. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked by the test itself
  async next(): Promise<any> {
    while (this.#lines.length === 0 && this.#child.exitCode === null) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const line = this.#lines.shift();
    return line === undefined ? undefined : JSON.parse(line);
  }

  /** Closes what it reads from, and gives its exit code. */
  end(): Promise<number> {
    this.#child.stdin.end();
    return this.#exited;
  }

  kill(): void {
    this.#child.kill();
  }
}
