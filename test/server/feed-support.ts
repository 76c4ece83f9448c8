/** A reader of an answer that goes on: what came so far, and the next thing that comes. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { TestServer } from './support.js';

export class Reader {
  readonly req: ClientRequest;
  readonly res: IncomingMessage;
  #rest = '';
  readonly #blocks: string[] = [];
  #ended = false;
  #wake: () => void = () => {};

  private constructor(req: ClientRequest, res: IncomingMessage, separator: string) {
    this.req = req;
    this.res = res;
    res.setEncoding('utf8');
    res.on('data', (text: string) => {
      const parts = (this.#rest + text).split(separator);
      this.#rest = parts.pop() as string;
      this.#blocks.push(...parts);
      this.#wake();
    });
    res.on('error', () => {});
    res.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  static async open(s: TestServer, path: string, headers: Record<string, string> = {}): Promise<Reader> {
    const req = request(s.server.url, { path, headers, agent: false });
    req.on('error', () => {});
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    return new Reader(req, res, headers['Accept'] === 'text/event-stream' ? '\n\n' : '\n');
  }

  /** The next line, or block of lines; undefined once the answer has ended. */
  async next(): Promise<string | undefined> {
    while (this.#blocks.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#blocks.shift();
  }

  /** The next line that is JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked by the test itself
  async json(): Promise<any> {
    const line = await this.next();
    return line === undefined ? undefined : JSON.parse(line);
  }

  /** The next block of an event stream, by field. */
  async event(): Promise<Record<string, string> | undefined> {
    const block = await this.next();
    if (block === undefined) return undefined;
    return Object.fromEntries(
      block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
    );
  }

  stop(): void {
    this.req.destroy();
  }
}
