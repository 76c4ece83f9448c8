/**
 * Reads request bodies: whole ones into memory under a limit, a deadline and a budget shared by all connections. Streams are
 * ndjson.ts's.
 *
 * Invariants: what was taken from the budget is given back exactly once, when the caller is done with the bytes. A refused body is
 * not read into memory; the rest of it is let run out (node does that once the answer is sent), so that the client sees the answer.
 */
import type { IncomingMessage } from 'node:http';
import type { Exchange } from './exchange.js';
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
  if (header === undefined) return undefined;
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

export interface HeldBody {
  readonly bytes: Buffer;
  /** Gives the memory back to the budget. */
  release(): void;
}

/** The whole body. 413 over `limitBytes`, 408 past the deadline, 503 where the memory for bodies is used up. */
export function readBody({ req, context }: Exchange, what: string, limitBytes: number): Promise<HeldBody> {
  const tooLarge = (actual?: number) =>
    new Problem('too-large', `The ${what} is over its limit of ${limitBytes} bytes.`, {
      what,
      limit: limitBytes,
      ...(actual === undefined ? {} : { actual }),
    });
  const overloaded = () => new Problem('overloaded', 'The memory for request bodies is used up.');
  const declared = req.headers['content-length'];
  const declaredBytes = declared === undefined ? 0 : Number(declared);
  if (declaredBytes > limitBytes) return Promise.reject(tooLarge(declaredBytes));
  const budget = context.bodyMemory;
  if (!budget.take(declaredBytes)) return Promise.reject(overloaded());

  return new Promise((resolve, reject) => {
    let taken = declaredBytes;
    let received = 0;
    const chunks: Buffer[] = [];
    const stop = () => {
      clearTimeout(deadline);
      req.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
    };
    const fail = (problem: Problem) => {
      stop();
      budget.give(taken);
      req.resume();
      reject(problem);
    };
    const onData = (chunk: Buffer) => {
      received += chunk.length;
      if (received > limitBytes) return fail(tooLarge());
      if (received > taken) {
        // Chunked: nothing was declared, so it is taken as it comes.
        if (!budget.take(received - taken)) return fail(overloaded());
        taken = received;
      }
      chunks.push(chunk);
    };
    const onEnd = () => {
      stop();
      let held = true;
      resolve({
        bytes: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, received),
        release() {
          if (held) budget.give(taken);
          held = false;
        },
      });
    };
    const onBroken = () =>
      fail(new Problem('invalid', 'The request ended before its body did.', { path: 'body', expected: 'a whole body' }));
    const deadline = setTimeout(() => {
      fail(new Problem('request-timeout', 'The body took too long to arrive.', {}, { headers: { Connection: 'close' } }));
    }, context.limits.bodyTimeoutMs);
    deadline.unref();
    req.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  });
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
