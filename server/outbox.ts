/**
 * Whole answers of a connection that are ready in the same turn of the event loop leave it in one write: a write costs as much as the
 * rest of a small read, and who pipelines, or waits for one commit with others, has several.
 *
 *   Answer.sendWhole -> its turn on the connection? -> outbox -> (end of the turn: one write, with those behind it that are whole) -> kernel
 *                    -> behind another: keeps its bytes until it is its turn
 *
 * Node says whose turn it is (`assignSocket`) and makes it the next one's when an answer has finished; answers of any other kind go
 * node's way, behind what the outbox holds of them.
 *
 * Invariants: bytes leave in the order of requests. While bytes are here or on their way to the kernel, an answer of the connection is
 * under way: the last one of a write finishes when the kernel has it, those before it once the next one has its turn; so ending waits
 * for them and slow readers are seen. An outbox holds at most MAX_BATCH_CHARS and one answer more.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** One char a byte. */
const MAX_BATCH_CHARS = 64 * 1024;

const OUTBOX = Symbol('outbox');
type Posted = Duplex & { [OUTBOX]?: Outbox };

/** What answers of one connection share. */
class Outbox {
  readonly #socket: Socket;
  /** Last lines of every head. */
  readonly keepAlive: string;
  /** Whole ones that wait behind others, and their bytes. */
  waiting = 0;
  waitingChars = 0;
  /** Whose turn it is, where that one is whole. */
  #turn: Answer | undefined;
  #text = '';
  #isFlushing = false;

  constructor(socket: Socket, keepAliveMs: number) {
    this.#socket = socket;
    this.keepAlive = `Connection: keep-alive\r\n${keepAliveMs > 0 ? `Keep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n` : ''}\r\n`;
  }

  /** It is the turn of `answer`, which is whole. */
  turnOf(answer: Answer): void {
    this.#turn = answer;
    if (this.#isFlushing) return;
    if (filled.push(this) === 1) process.nextTick(flushAll);
  }

  /** What is held goes out before anything else is written. */
  write(whenGone?: (error?: Error | null) => void): void {
    const text = this.#text;
    if (text === '') return;
    this.#text = '';
    // Ended by the other side meanwhile: nobody can be answered any more, and the connection closes.
    if (this.#socket.writable) this.#socket.write(text, 'latin1', whenGone);
  }

  flush(): void {
    let answer = this.#take();
    if (answer === undefined) return;
    this.#isFlushing = true;
    while (this.waiting > 0 && this.#text.length < MAX_BATCH_CHARS) {
      // The next one has its turn now, and may be whole.
      answer.ended();
      const next = this.#take();
      if (next === undefined) {
        this.#isFlushing = false;
        return this.write();
      }
      answer = next;
    }
    this.#isFlushing = false;
    const last = answer;
    this.write((error) => {
      if (error === undefined || error === null) last.ended();
    });
  }

  #take(): Answer | undefined {
    const answer = this.#turn;
    if (answer === undefined) return undefined;
    this.#turn = undefined;
    this.#text += answer.take();
    return answer;
  }
}

/** With something to write at the end of this turn. */
let filled: Outbox[] = [];

function flushAll(): void {
  const outboxes = filled;
  filled = [];
  for (const outbox of outboxes) outbox.flush();
}

/** Lets whole answers of this connection leave together. */
export function openOutbox(socket: Socket, keepAliveMs: number): void {
  (socket as Posted)[OUTBOX] ??= new Outbox(socket, keepAliveMs);
}

/** The response of every request; see `ServerResponse` of node's `createServer`. */
export class Answer<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  /** All of it, head and body, one char a byte, until it is taken to be written. */
  #text = '';
  #isWhole = false;
  #hasLeft = false;
  #hasHeaders = false;

  /** Whether `sendWhole` may be called: nothing of it was said yet, and the connection stays open behind it. */
  get mayBeWhole(): boolean {
    const { req } = this;
    if (
      !this.shouldKeepAlive ||
      this.#hasHeaders ||
      this.headersSent ||
      this.writableEnded ||
      req.httpVersionMinor !== 1 ||
      req.method === 'HEAD'
    )
      return false;
    const outbox = (req.socket as Posted)[OUTBOX];
    return outbox !== undefined && outbox.waitingChars < MAX_BATCH_CHARS && !req.socket.destroyed && req.headers.expect === undefined;
  }

  /** `head`: the status line and headers, each with its line end, but for `Date` and those of the connection. One char a byte. */
  sendWhole(status: number, head: string, body: string): void {
    const outbox = (this.req.socket as Posted)[OUTBOX]!;
    this.statusCode = status;
    this.#text = `${head}${dateLine()}${outbox.keepAlive}${body}`;
    this.#isWhole = true;
    this.finished = true;
    if (this.socket !== null) return outbox.turnOf(this);
    outbox.waiting++;
    outbox.waitingChars += this.#text.length;
  }

  /** For the outbox. */
  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** For the outbox: nothing of it is left here. */
  ended(): void {
    this.#hasLeft = true;
    this.emit('finish');
  }

  /** Undefined for an answer that went node's way. */
  get wholeHasLeft(): boolean | undefined {
    return this.#isWhole ? this.#hasLeft : undefined;
  }

  /** What is still here of it, beside what node holds. */
  get unsent(): number {
    return this.#text.length;
  }

  override setHeader(name: string, value: number | string | readonly string[]): this {
    this.#hasHeaders = true;
    return super.setHeader(name, value);
  }

  /** Called by node when it is this answer's turn. */
  override assignSocket(socket: Socket): void {
    const outbox = (socket as Posted)[OUTBOX];
    if (!this.#isWhole || outbox === undefined) {
      outbox?.write();
      return super.assignSocket(socket);
    }
    super.assignSocket(socket);
    outbox.waiting--;
    outbox.waitingChars -= this.#text.length;
    outbox.turnOf(this);
  }
}

/** Writes what whole answers there are, where something else is to be written behind them. */
export function flushOutbox(socket: Duplex): void {
  (socket as Posted)[OUTBOX]?.flush();
}

/** Bytes of an answer that are still here. */
export function unsentBytes(res: ServerResponse): number {
  return res instanceof Answer ? res.unsent : 0;
}

/** Whether an answer, of whatever kind, went to the kernel whole. */
export function hasLeft(res: ServerResponse): boolean {
  // While its write is told of, node 24 does not call a response finished yet.
  const whole = res instanceof Answer ? res.wholeHasLeft : undefined;
  return whole ?? res.writableFinished;
}

let dateSecond = 0;
let date = '';

function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return date;
}
