/**
 * What lies in memory because clients do not read: bounded for each answer in time, and over all answers in bytes.
 *
 * A streamed answer waits for its reader once a buffer is full; this is for the rest: a reader that has stopped, and many readers that
 * each hold what one may hold. Looked at a few times a second, at the cost of the answers under way.
 *
 * Invariants: an answer whose unread bytes do not shrink at `minReadBytesPerSecond` (after a grace) is cut; where all unread bytes
 * together are over their budget, the client with the most loses its largest answer, until they are not. Nobody who reads is cut for
 * slowness, and a cut answer is visibly cut: its length or its last line is missing.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from './limits.js';
import type { Logger } from './logging.js';
import { unsentBytes } from './outbox.js';

const SEEN = Symbol('seen');

interface Seen {
  unread: number;
  since: number;
}
type Observed = ServerResponse & { [SEEN]?: Seen };

export interface Unread {
  readonly res: ServerResponse;
  readonly bytes: number;
}

/** Bytes of an answer that are still here. */
export function unreadBytes(res: ServerResponse): number {
  // What the answer holds itself and what the socket holds of it; answers that wait behind another on their connection have no socket.
  const held = res.socket === null ? res.writableLength : Math.max(res.writableLength, res.socket.writableLength);
  return held + unsentBytes(res);
}

export class SlowReaders {
  readonly #limits: Limits;
  readonly #logger: Logger;
  readonly #clientOf: (res: ServerResponse) => string;
  #unread = 0;

  constructor(limits: Limits, logger: Logger, clientOf: (res: ServerResponse) => string) {
    this.#limits = limits;
    this.#logger = logger;
    this.#clientOf = clientOf;
  }

  /** Over all answers, when last looked at. */
  get unreadBytes(): number {
    return this.#unread;
  }

  look(underWay: Iterable<ServerResponse>, now = performance.now()): void {
    const kept: Unread[] = [];
    let total = 0;
    for (const res of underWay) {
      const bytes = unreadBytes(res);
      if (bytes === 0 || res.destroyed) {
        delete (res as Observed)[SEEN];
      } else if (this.#stands(res as Observed, bytes, now)) {
        this.#cut(res, bytes, 'a reader that does not read was cut off');
      } else {
        kept.push({ res, bytes });
        total += bytes;
      }
    }
    this.#unread = total > this.#limits.answerMemoryBytes ? this.#shed(kept, total) : total;
  }

  /** Whether it has moved too little for too long. */
  #stands(res: Observed, bytes: number, now: number): boolean {
    const seen = res[SEEN];
    // A chunk on its way counts until all of it has gone; so the time allowed follows from the bytes, not from each look.
    if (seen === undefined || bytes < seen.unread) {
      res[SEEN] = { unread: bytes, since: now };
      return false;
    }
    seen.unread = bytes;
    return now - seen.since > this.#limits.readTimeoutMs + (bytes / this.#limits.minReadBytesPerSecond) * 1000;
  }

  #shed(kept: readonly Unread[], total: number): number {
    const byClient = new Map<string, { bytes: number; answers: Unread[] }>();
    for (const answer of kept) {
      const name = this.#clientOf(answer.res);
      const client = byClient.get(name) ?? { bytes: 0, answers: [] };
      byClient.set(name, client);
      client.bytes += answer.bytes;
      client.answers.push(answer);
    }
    const clients = [...byClient.values()];
    for (const { answers } of clients) answers.sort((a, b) => a.bytes - b.bytes);
    let left = total;
    while (left > this.#limits.answerMemoryBytes) {
      const most = clients.reduce((a, b) => (b.bytes > a.bytes ? b : a));
      const largest = most.answers.pop();
      if (largest === undefined) break;
      most.bytes -= largest.bytes;
      left -= largest.bytes;
      this.#cut(largest.res, largest.bytes, 'an unread answer was cut off: too many bytes wait for their readers');
    }
    return left;
  }

  #cut(res: ServerResponse, bytes: number, why: string): void {
    this.#logger.warn({ client: this.#clientOf(res), bytes }, why);
    // An answer behind another on its connection has no socket of its own.
    (res.req.socket ?? res).destroy();
  }
}
