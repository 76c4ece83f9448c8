/**
 * NDJSON in both directions: splits a request into lines under a cap, and writes a streamed answer that waits for slow readers.
 *
 *   request chunks -> LineSplitter -> lines          answers -> LineWriter -> one write a turn of the event loop
 *
 * Invariants: no line is held beyond its cap, however long it is; line numbers count every line, blank ones too; a line without its
 * newline counts once the request has ended whole. The writer holds no more than its cap plus what is given to it at once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** A line, without its newline, where it stands: most are read there and never cut out. */
export class Line {
  /** From 1. */
  readonly number: number;
  /** It is `source[from, to)`; undefined where it was over the cap and has been thrown away. */
  readonly source: Buffer | undefined;
  readonly from: number;
  readonly to: number;

  constructor(number: number, source: Buffer | undefined, from: number, to: number) {
    this.number = number;
    this.source = source;
    this.from = from;
    this.to = to;
  }

  get bytes(): Buffer | undefined {
    return this.source?.subarray(this.from, this.to);
  }
}

const NEWLINE = 0x0a;

/** What comes up to the end of the first line that is not blank, and perhaps more; the request goes on behind it. No more than the cap and a chunk. */
export async function readFirstLine(req: IncomingMessage, capBytes: number): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    head = Buffer.concat([head, chunk as Buffer]);
    const start = head.findIndex((byte) => byte > 0x20);
    if (head.length > capBytes || (start >= 0 && head.indexOf(NEWLINE, start) >= 0)) break;
  }
  return head;
}

export class LineSplitter {
  readonly #capBytes: number;
  #number = 0;
  #parts: Buffer[] = [];
  #heldBytes = 0;
  #overflowing = false;

  constructor(capBytes: number) {
    this.#capBytes = capBytes;
  }

  /** The lines that `chunk` completes. Blank ones are counted and left out. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#heldBytes === 0 && !this.#overflowing) this.#add(lines, end - start > this.#capBytes ? undefined : chunk, start, end);
      else {
        this.#hold(chunk.subarray(start, end));
        this.#finish(lines);
      }
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
    return lines;
  }

  /** What is left once the request has ended. */
  end(): Line[] {
    const lines: Line[] = [];
    if (this.#heldBytes > 0 || this.#overflowing) this.#finish(lines);
    return lines;
  }

  #hold(part: Buffer): void {
    if (this.#overflowing) return;
    this.#heldBytes += part.length;
    if (this.#heldBytes > this.#capBytes) {
      this.#overflowing = true;
      this.#parts = [];
      return;
    }
    this.#parts.push(part);
  }

  #finish(lines: Line[]): void {
    const bytes = this.#overflowing ? undefined : this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#heldBytes = 0;
    this.#overflowing = false;
    this.#add(lines, bytes, 0, bytes?.length ?? 0);
  }

  #add(lines: Line[], source: Buffer | undefined, from: number, to: number): void {
    const number = ++this.#number;
    if (source === undefined || !isBlank(source, from, to)) lines.push(new Line(number, source, from, to));
  }
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  }
  return true;
}

export class LineWriter {
  readonly #res: ServerResponse;
  readonly #capBytes: number;
  #pending: Uint8Array[] = [];
  /** Behind what is pending: short lines are gathered as text. */
  #text = '';
  #pendingBytes = 0;
  #scheduled = false;

  constructor(res: ServerResponse, capBytes: number) {
    this.#res = res;
    this.#capBytes = capBytes;
  }

  /** True once the reader is gone; writing goes nowhere then. */
  get closed(): boolean {
    return this.#res.destroyed || this.#res.closed;
  }

  /** Queues one line (with its newline). Await `ready` before the next where that returns true. */
  push(line: Uint8Array): boolean {
    this.#endText();
    this.#pending.push(line);
    return this.#added(line.length);
  }

  pushText(line: string): boolean {
    this.#text += line;
    return this.#added(line.length);
  }

  #added(length: number): boolean {
    this.#pendingBytes += length;
    if (this.#pendingBytes >= 64 * 1024) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
    return this.#res.writableLength + this.#pendingBytes > this.#capBytes;
  }

  #endText(): void {
    if (this.#text === '') return;
    this.#pending.push(Buffer.from(this.#text));
    this.#text = '';
  }

  flush(): void {
    this.#endText();
    if (this.#pending.length === 0) return;
    const whole = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (!this.closed && !this.#res.writableEnded) this.#res.write(whole);
  }

  /** Resolves once the reader has caught up, or is gone. */
  async ready(): Promise<void> {
    this.flush();
    if (this.closed || !this.#res.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#res.off('drain', done).off('close', done);
        resolve();
      };
      this.#res.on('drain', done).on('close', done);
    });
  }

  end(): void {
    this.flush();
    this.#res.end();
  }
}
