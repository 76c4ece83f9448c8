/**
 * Clients that write through any node while things are done to the nodes, and the ledger of what they were told.
 *
 * Every record carries a token of its own, so that each can be found, found twice, or missed. What was not acknowledged is sent again with its
 * idempotency key, through another node: it must then be there once.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { BrokenPromise } from './broken.js';
import type { Answer, CopyNode } from './node.js';

export interface Item {
  readonly key: string;
  readonly token: string;
}

/** Together or not at all. */
export interface Attempt {
  readonly items: readonly Item[];
  readonly pad: string;
  readonly acks: 'local' | 'quorum';
  readonly idempotencyKey: string;
  /** Of the items, in order, once acknowledged as `acks` asks; a 504 acknowledges locally. */
  readonly acknowledged: { readonly ids: readonly string[]; readonly acks: 'local' | 'quorum' }[];
}

export const COLLECTION = 'things';
const KEYS = 60;
const TRIES = 4;
/** After a node that did not answer, or said "not now". */
const BREATH_MS = 30;
/** Between two writes of one client: three servers and their clients share a machine. */
const PACE_MS = 4;

export interface LoadOptions {
  readonly nodes: readonly CopyNode[];
  readonly writers: number;
  readonly random: () => number;
  /** In front of keys and tokens. */
  readonly name: string;
}

export class Load {
  readonly ledger: Attempt[] = [];
  readonly #options: LoadOptions;
  #isRunning = true;
  #wrong: unknown;
  #tokens = 0;
  readonly #writers: Promise<void>[];
  readonly counts = { local: 0, quorum: 0 };

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#writers = Array.from({ length: options.writers }, () => this.#write());
  }

  /** Ends all writers; throws what one of them should never have been told. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#writers);
    this.check();
  }

  check(): void {
    if (this.#wrong !== undefined) throw this.#wrong;
  }

  /** Resolves once `count` more were acknowledged by a quorum. */
  async more(count: number): Promise<void> {
    const goal = this.counts.quorum + count;
    const end = performance.now() + 120_000;
    while (this.counts.quorum < goal) {
      this.check();
      if (performance.now() > end) throw new Error(`waited in vain: ${count} more acknowledged by a quorum (${this.counts.quorum} so far)`);
      await pause(BREATH_MS);
    }
  }

  async #write(): Promise<void> {
    while (this.#isRunning) {
      const attempt = this.#next();
      this.ledger.push(attempt);
      try {
        for (let n = 0; n < TRIES && this.#isRunning; n++) {
          if (await this.#send(attempt)) break;
          await pause(BREATH_MS);
        }
      } catch (error) {
        this.#wrong ??= error;
        return;
      }
      await pause(PACE_MS);
    }
  }

  #next(): Attempt {
    const { random, name } = this.#options;
    const count = random() < 0.75 ? 1 : 2 + Math.floor(random() * 4);
    const items = Array.from({ length: count }, () => ({
      key: `${name}/${Math.floor(random() * KEYS)}`,
      token: `${name}.${++this.#tokens}`,
    }));
    const acks = random() < 0.6 ? 'quorum' : 'local';
    return { items, acks, pad: 'x'.repeat(Math.floor(random() ** 3 * 2000)), idempotencyKey: items[0]!.token, acknowledged: [] };
  }

  /** Whether that is settled. */
  async #send(attempt: Attempt): Promise<boolean> {
    const { nodes, random } = this.#options;
    const node = nodes[Math.floor(random() * nodes.length)]!;
    const records = attempt.items.map((item) => ({ collection: COLLECTION, key: item.key, body: bodyOf(item, attempt.pad) }));
    const headers = { 'idempotency-key': attempt.idempotencyKey };
    let answer: Answer;
    try {
      answer = await node.ask('POST', `/v1/records?acks=${attempt.acks}`, JSON.stringify({ records }), headers);
    } catch {
      return false;
    }
    const told = answer.text.startsWith('{') ? (JSON.parse(answer.text) as Told) : {};
    if (answer.status === 201 || answer.status === 200)
      return this.#note(
        attempt,
        (told.records ?? []).map(({ id }) => id),
        attempt.acks,
      );
    // Durable on the owner, and no claim beyond: it names them.
    if (answer.status === 504) {
      const ids = told.ids ?? (told.id === undefined ? undefined : [told.id]);
      if (ids !== undefined) this.#note(attempt, ids, 'local');
      return false;
    }
    if (answer.status === 503 || answer.status === 502) return false;
    throw new BrokenPromise(`${node.name} answered an insert with ${answer.status} ${answer.text.slice(0, 500)}`);
  }

  #note(attempt: Attempt, ids: readonly string[], acks: 'local' | 'quorum'): true {
    if (ids.length !== attempt.items.length)
      throw new BrokenPromise(`${ids.length} ids for ${attempt.items.length} records of ${attempt.idempotencyKey}`);
    attempt.acknowledged.push({ ids, acks });
    this.counts[acks] += ids.length;
    return true;
  }
}

interface Told {
  readonly records?: readonly { readonly id: string }[];
  readonly id?: string;
  readonly ids?: readonly string[];
}

/** With its members in the order that a database gives them. */
export function bodyOf({ token }: Item, pad: string): { pad: string; token: string } {
  return { pad, token };
}

/** The same numbers for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
