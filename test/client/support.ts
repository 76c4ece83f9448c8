/**
 * A way to a server that can be cut: a small HTTP proxy of one origin that stays while servers come and go behind it, counts what
 * passes, and breaks or refuses what it is told to.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Passed {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** What to do with a request instead of passing it on: answered here, or `true` for "done". */
export type Meddler = (req: IncomingMessage, res: ServerResponse) => boolean | Promise<boolean>;

export class Relay {
  readonly passed: Passed[] = [];
  /** Of the server behind; undefined: nobody there. */
  target: string | undefined;
  meddle: Meddler | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, target: string | undefined) {
    this.#server = server;
    this.target = target;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (req: IncomingMessage, res: ServerResponse) => void this.#pass(req, res));
  }

  static async start(target?: string): Promise<Relay> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Relay(server, target);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts every connection there is. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #pass(req: IncomingMessage, res: ServerResponse): Promise<void> {
    this.passed.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers });
    if (this.meddle !== undefined && (await this.meddle(req, res))) return;
    if (this.target === undefined) return void res.destroy();
    const { host: _, ...headers } = req.headers;
    // To the server behind it is one origin too.
    if (headers.origin !== undefined) headers.origin = this.target;
    const behind = request(this.target, { path: req.url, method: req.method, headers, agent: false });
    behind.on('error', () => res.destroy());
    behind.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('error', () => res.destroy());
      answer.on('close', () => {
        if (!answer.complete) res.destroy();
      });
      answer.pipe(res);
    });
    res.on('close', () => behind.destroy());
    req.pipe(behind);
  }
}

/** Everything an iterator gives. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const told: T[] = [];
  for await (const item of items) told.push(item);
  return told;
}

/** What a promise rejects with. */
export async function rejection(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}
