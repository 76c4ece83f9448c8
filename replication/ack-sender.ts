/**
 * A follower's reports to one source: of all its shards together, one request in flight, the newest positions each time.
 *
 * Invariants: what is reported is durable; a shard that has promised a newer epoch than its log's is reported no more, until its log has
 * that epoch. Losing a report costs latency only: the next one says the same and more.
 */
import type { Clock, ReplicaShard } from '../engine/copying.js';
import type { Backoff } from './backoff.js';
import { isSeq, isShard } from './checks.js';
import { askJson, isRecord } from './peer-json.js';
import type { Transport } from './transport.js';

export interface AckSenderOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly backoff: Backoff;
  /** The source. */
  readonly url: string;
  readonly node: string;
  /** What others call this node. */
  readonly advertise: string | undefined;
  readonly database: string;
  readonly shards: number;
  readonly shard: (id: number) => ReplicaShard;
  /** What the owner says is safe. */
  readonly onQuorum: (shard: number, seq: number) => void;
}

/** Well below what a writer waits for a quorum: a report that is lost costs it a part of its time, not all. */
const TIMEOUT_MS = 1_500;
/** What is no news waits this long for others of its kind. */
const GATHER_MS = 200;

export class AckSender {
  readonly #options: AckSenderOptions;
  readonly #due = new Set<number>();
  readonly #forgotten = new Set<number>();
  readonly #stop = new AbortController();
  #sending = false;
  #isBackingOff = false;
  #cancel: (() => void) | undefined;
  #lastError: string | undefined;

  constructor(options: AckSenderOptions) {
    this.#options = options;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The shard has moved on, or the source is to know that it is there: that may wait for others to be told with it. */
  note(shard: number, moved = true): void {
    if (this.#stop.signal.aborted) return;
    this.#forgotten.delete(shard);
    this.#due.add(shard);
    if (this.#sending || this.#isBackingOff) return;
    if (moved) {
      this.#cancel?.();
      this.#cancel = undefined;
      void this.#run();
    } else if (this.#cancel === undefined) this.#later(GATHER_MS);
  }

  /** Somebody else is followed for this shard now. */
  forget(shard: number): void {
    this.#due.delete(shard);
    this.#forgotten.add(shard);
  }

  close(): void {
    this.#stop.abort();
    this.#cancel?.();
  }

  async #run(): Promise<void> {
    this.#sending = true;
    try {
      while (this.#due.size > 0 && !this.#stop.signal.aborted) {
        const shards = [...this.#due];
        this.#due.clear();
        try {
          await this.#send(shards);
          this.#lastError = undefined;
          this.#options.backoff.reset();
        } catch (error) {
          this.#lastError = error instanceof Error ? error.message : String(error);
          for (const shard of shards) if (!this.#forgotten.has(shard)) this.#due.add(shard);
          this.#isBackingOff = true;
          this.#later(this.#options.backoff.next());
          return;
        }
      }
    } finally {
      this.#sending = false;
    }
  }

  #later(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#cancel = undefined;
      this.#isBackingOff = false;
      void this.#run();
    });
  }

  async #send(ids: readonly number[]): Promise<void> {
    const { transport, url, node, advertise, database, shards, shard } = this.#options;
    const positions = ids
      .map(shard)
      .filter(({ promised, epoch }) => promised.epoch <= epoch)
      // A copy without a say may have forgotten a promise: its word makes nothing safe.
      .map(({ id, epoch, promised, durableSeq, erasedThrough }) => [id, promised.caughtUp ? epoch : 0, durableSeq, erasedThrough]);
    if (positions.length === 0) return;
    const json = { node, ...(advertise === undefined ? {} : { url: advertise }), positions };
    const request = { method: 'POST', path: '/replication/v1/acks', json, timeoutMs: TIMEOUT_MS, signal: this.#stop.signal } as const;
    const answer = await askJson(transport, url, request);
    if (answer.status !== 200) throw new Error(`${url}: it answered ${answer.status} to a report of positions`);
    if (answer.headers['varve-database'] !== database) throw new Error(`${url}: it holds another database`);
    const quorum = isRecord(answer.json) ? answer.json['quorum'] : undefined;
    for (const pair of Array.isArray(quorum) ? (quorum as unknown[]) : []) {
      const [id, seq] = Array.isArray(pair) ? (pair as unknown[]) : [];
      if (isShard(id, shards) && isSeq(seq)) this.#options.onQuorum(id, seq);
    }
  }
}
