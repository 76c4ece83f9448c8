/**
 * Reads request bodies: whole ones into memory under a limit, a deadline and a budget shared by all connections. Streams are
 * ndjson.ts's.
 *
 * Invariants: what was taken from the budget is given back exactly once, when the caller is done with the bytes. A refused body is
 * not read into memory; the rest of it is let run out (node does that once the answer is sent), so that the client sees the answer.
 */
import type { IncomingMessage } from 'node:http';
import { SpareMemory } from '../engine/index.js';
import type { Exchange, ServerContext } from './exchange.js';
import { Incoming } from './incoming.js';
import { Problem } from './problem.js';

/** Bytes that may be held at a time. */
export class ByteBudget {
  readonly #limit: number;
  #held = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /** False where there is no room; takes nothing then. A single holder always fits. */
  take(bytes: number): boolean {
    if (this.#held > 0 && this.#held + bytes > this.#limit) return false;
    this.#held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}

/** The media type without parameters, lowercase, or undefined where there is none. A charset other than UTF-8 is refused. */
export function mediaType(req: IncomingMessage): string | undefined {
  const header = req.headers['content-type'];
  if (header === undefined || header === 'application/json') return header;
  const [type = '', ...parameters] = header.split(';');
  for (const parameter of parameters) {
    const [name = '', value = ''] = parameter.split('=');
    if (name.trim().toLowerCase() === 'charset' && value.trim().replaceAll('"', '').toLowerCase() !== 'utf-8') {
      throw new Problem('unsupported-media-type', 'JSON is UTF-8 here; another charset was named.', { supported: ['application/json'] });
    }
  }
  return type.trim().toLowerCase();
}

/** Refuses any other media type, and compressed bodies. `optional`: a missing Content-Type will do. */
export function requireMediaType(req: IncomingMessage, supported: readonly string[], optional = false): string {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Problem(
      'unsupported-media-type',
      'Compressed request bodies are not taken.',
      { supported },
      { headers: { 'Accept-Encoding': 'identity' } },
    );
  }
  const type = mediaType(req);
  if (type === undefined && optional) return supported[0]!;
  if (type === undefined || !supported.includes(type)) {
    const told = type === undefined ? 'The request has no Content-Type' : 'The Content-Type is another';
    throw new Problem('unsupported-media-type', `${told}; expected ${supported.join(' or ')}.`, { supported });
  }
  return type;
}

const NOTHING = Buffer.alloc(0);

/** Bodies that came in several pieces are put together here. */
const memory = new SpareMemory();

export interface HeldBody {
  readonly bytes: Buffer;
  /** Gives the memory back to the budget. */
  release(): void;
  /** The same, and nobody looks at the bytes, nor at what was made of them in place, any more: their memory is used again. */
  recycle(): void;
}

/** The whole body. 413 over `limitBytes`, 408 past the deadline, 503 where the memory for bodies is used up. */
export function readBody({ req, context }: Exchange, what: string, limitBytes: number): Promise<HeldBody> {
  return new Promise((resolve, reject) => new BodyReader(req, context, what, limitBytes, resolve, reject));
}

const READER = Symbol('body reader');
type Read = IncomingMessage & { [READER]?: BodyReader };

/** Readers that began in this turn of the event loop: those still waiting at its end get their deadline. Most bodies come at once. */
let begun: BodyReader[] = [];

function setDeadlines(): void {
  const readers = begun;
  begun = [];
  for (const reader of readers) reader.goOn();
}

/**
 * One body on its way in, most often in the turn of its request: then it is taken from the parser, and nothing listens. Otherwise listeners
 * are shared by all of them and stay where they are: once it is over they do nothing.
 */
class BodyReader implements HeldBody {
  bytes: Buffer = NOTHING;
  readonly #req: IncomingMessage;
  readonly #context: ServerContext;
  readonly #what: string;
  readonly #limitBytes: number;
  readonly #resolve: (body: HeldBody) => void;
  readonly #reject: (problem: Problem) => void;
  #chunks: Buffer[] | undefined;
  #received = 0;
  /** Of the budget. */
  #taken = 0;
  #over = false;
  #deadline: NodeJS.Timeout | undefined;

  constructor(
    req: IncomingMessage,
    context: ServerContext,
    what: string,
    limitBytes: number,
    resolve: (body: HeldBody) => void,
    reject: (problem: Problem) => void,
  ) {
    this.#req = req;
    this.#context = context;
    this.#what = what;
    this.#limitBytes = limitBytes;
    this.#resolve = resolve;
    this.#reject = reject;
    const declared = req.headers['content-length'];
    const declaredBytes = declared === undefined ? 0 : Number(declared);
    if (declaredBytes > limitBytes) this.#fail(this.#tooLarge(declaredBytes));
    else if (this.#take(declaredBytes)) this.#begin();
  }

  #begin(): void {
    const req: Read = this.#req;
    if (!(req instanceof Incoming && req.giveBody(this))) {
      this.#listen();
      req.on('data', onData).on('end', onEnd);
    }
    if (begun.push(this) === 1) setImmediate(setDeadlines);
  }

  #listen(): void {
    const req: Read = this.#req;
    req[READER] = this;
    req.on('error', onBroken).on('close', onBroken);
  }

  /** It takes longer than a turn. */
  goOn(): void {
    if (this.#over) return;
    const req: Read = this.#req;
    if (req.destroyed) return this.broken();
    if (req[READER] === undefined) this.#listen();
    this.#deadline = setTimeout(() => {
      this.#fail(new Problem('request-timeout', 'The body took too long to arrive.', {}, { headers: { Connection: 'close' } }));
    }, this.#context.limits.bodyTimeoutMs);
    this.#deadline.unref();
  }

  data(chunk: Buffer): void {
    if (this.#over) return;
    this.#received += chunk.length;
    if (this.#received > this.#limitBytes) return this.#fail(this.#tooLarge());
    // Chunked: nothing was declared, so it is taken as it comes.
    if (this.#received > this.#taken && !this.#take(this.#received - this.#taken)) return;
    if (this.bytes.length === 0) this.bytes = chunk;
    else if (this.#chunks === undefined) this.#chunks = [this.bytes, chunk];
    else this.#chunks.push(chunk);
  }

  end(): void {
    if (this.#over) return;
    this.#settle();
    if (this.#chunks !== undefined) this.bytes = together(this.#chunks, this.#received);
    this.#chunks = undefined;
    this.#resolve(this);
  }

  broken(): void {
    if (this.#over) return;
    this.#fail(new Problem('invalid', 'The request ended before its body did.', { path: 'body', expected: 'a whole body' }));
  }

  release(): void {
    this.#context.bodyMemory.give(this.#taken);
    this.#taken = 0;
    this.bytes = NOTHING;
  }

  recycle(): void {
    memory.giveBack(this.bytes);
    this.release();
  }

  #take(bytes: number): boolean {
    if (this.#context.bodyMemory.take(bytes)) {
      this.#taken += bytes;
      return true;
    }
    this.#fail(new Problem('overloaded', 'The memory for request bodies is used up.'));
    return false;
  }

  #tooLarge(actual?: number): Problem {
    const limit = this.#limitBytes;
    const fields = { what: this.#what, limit, ...(actual === undefined ? {} : { actual }) };
    return new Problem('too-large', `The ${this.#what} is over its limit of ${limit} bytes.`, fields);
  }

  #fail(problem: Problem): void {
    this.#settle();
    this.release();
    this.#chunks = undefined;
    // The rest runs out: whoever answers sees to how much of it (sendProblem).
    if (this.#req instanceof Incoming) this.#req.letGo();
    this.#req.resume();
    this.#reject(problem);
  }

  #settle(): void {
    this.#over = true;
    clearTimeout(this.#deadline);
  }
}

function together(chunks: readonly Buffer[], length: number): Buffer {
  const whole = memory.take(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function onData(this: Read, chunk: Buffer): void {
  this[READER]?.data(chunk);
}

function onEnd(this: Read): void {
  this[READER]?.end();
}

function onBroken(this: Read): void {
  this[READER]?.broken();
}

/** Reads the whole body, hands it to `use`, and gives the memory back once that has settled. */
export async function withBody<T>(
  exchange: Exchange,
  what: string,
  limitBytes: number,
  use: (bytes: Buffer) => T | Promise<T>,
): Promise<T> {
  const body = await readBody(exchange, what, limitBytes);
  try {
    return await use(body.bytes);
  } finally {
    body.release();
  }
}
