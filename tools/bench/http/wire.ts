/**
 * HTTP/1.1 as a load generator needs it: requests as bytes made ahead, answers cut out of the stream. It costs a few microseconds a
 * request, so that the generator is not what is measured.
 *
 *     head -> fixed                 content-length
 *     head -> size <-> chunk -> trailer    chunked
 */

export function request(method: string, target: string, body?: string, type = 'application/json'): Buffer {
  const head = `${method} ${target} HTTP/1.1\r\nhost: 127.0.0.1\r\n`;
  if (body === undefined) return Buffer.from(`${head}\r\n`);
  return Buffer.from(`${head}content-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

export type OnResponse = (status: number, body: Buffer) => void;

const EMPTY = Buffer.alloc(0);
const END_OF_HEAD = '\r\n\r\n';

export class ResponseReader {
  readonly #onResponse: OnResponse;
  /** Off while measuring: bodies are then passed over. */
  readonly #keepBodies: boolean;
  #rest: Buffer = EMPTY;
  #state: 'head' | 'fixed' | 'size' | 'chunk' | 'trailer' = 'head';
  #left = 0;
  #status = 0;
  #body: Buffer[] = [];

  constructor(onResponse: OnResponse, keepBodies = false) {
    this.#onResponse = onResponse;
    this.#keepBodies = keepBodies;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      const next = this.#step(bytes, at);
      if (next === -1) break;
      at = next;
    }
    this.#rest = bytes.subarray(at);
    if (this.#state === 'fixed' || this.#state === 'chunk') {
      this.#take(this.#rest);
      this.#left -= this.#rest.length;
      this.#rest = EMPTY;
    }
  }

  /** Where to go on from, or -1 where more bytes are needed. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head': {
        const end = bytes.indexOf(END_OF_HEAD, at);
        if (end === -1) return -1;
        this.#head(bytes.toString('latin1', at, end));
        return end + END_OF_HEAD.length;
      }
      case 'fixed':
      case 'chunk': {
        if (bytes.length - at < this.#left) return -1;
        const end = at + this.#left;
        this.#take(bytes.subarray(at, end));
        this.#left = 0;
        if (this.#state === 'chunk') this.#state = 'size';
        else this.#finish();
        return end;
      }
      case 'size': {
        const end = bytes.indexOf('\r\n', at);
        if (end === -1) return -1;
        const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
        this.#state = size === 0 ? 'trailer' : 'chunk';
        this.#left = size + 2;
        return end + 2;
      }
      case 'trailer': {
        const end = bytes.indexOf('\r\n', at);
        if (end === -1) return -1;
        if (end === at) this.#finish();
        return end + 2;
      }
    }
  }

  #head(text: string): void {
    this.#status = Number(text.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    if (length !== undefined) {
      this.#state = 'fixed';
      this.#left = Number(length);
    } else if (/\r\ntransfer-encoding: *chunked/i.test(text)) {
      this.#state = 'size';
    } else {
      this.#finish();
    }
  }

  /** Of a chunk this is also the line end behind it: JSON does not mind. */
  #take(bytes: Buffer): void {
    if (this.#keepBodies) this.#body.push(bytes);
  }

  #finish(): void {
    const body = this.#keepBodies ? Buffer.concat(this.#body) : EMPTY;
    this.#body = [];
    this.#state = 'head';
    this.#onResponse(this.#status, body);
  }
}
