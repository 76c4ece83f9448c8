/**
 * Messages on their way into the log of a follower: what waits while one is applied goes in together with what joins it, with one write.
 *
 *   add -> queue (bounded: `room`) -> apply, one slice at a time -> applied
 *
 * Invariants: in order, one at a time; after the first failure nothing more is taken, and where several went in together those before the bad
 * one are in. A crash costs what is queued.
 */
import type { ReplicaShard } from '../engine/copying.js';
import { isVarveError } from '../engine/index.js';
import type { StreamMessage } from './message.js';
import { joined, joins } from './slices.js';

/** Applied at a time, where that much waits. */
const APPLY_BYTES = 4 * 1024 * 1024;
/** Received and not yet applied; beyond it nothing more is read. */
const QUEUE_BYTES = 16 * 1024 * 1024;

export class Intake {
  readonly #shard: ReplicaShard;
  /** What comes of older epochs is history of this one: a promise refuses sources, not history. */
  readonly #sourceEpoch: number;
  readonly #applied: () => void;
  #queue: StreamMessage[] = [];
  #bytes = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #failed: () => void = () => {};
  #wake: (() => void) | undefined;

  constructor(shard: ReplicaShard, sourceEpoch: number, applied: () => void) {
    this.#shard = shard;
    this.#sourceEpoch = sourceEpoch;
    this.#applied = applied;
  }

  get isFull(): boolean {
    return this.#bytes >= QUEUE_BYTES;
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  onFailure(failed: () => void): void {
    this.#failed = failed;
  }

  add(message: StreamMessage): void {
    if (this.#failure !== undefined) return;
    this.#queue.push(message);
    this.#bytes += message.batches.length;
    this.#running ??= this.#run();
  }

  /** Resolves once it is no longer full, or has failed. */
  async room(): Promise<void> {
    while (this.isFull && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves once everything is applied; throws what applying threw. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #run(): Promise<void> {
    // In a later turn, so that what came in one piece goes in together.
    await undefined;
    while (this.#queue.length > 0) {
      const taken = this.#take();
      try {
        await this.#apply(taken);
      } catch (error) {
        this.#failure = { error };
        this.#queue = [];
        this.#bytes = 0;
        this.#failed();
      }
      for (const message of taken) this.#bytes = Math.max(0, this.#bytes - message.batches.length);
      this.#wake?.();
    }
    this.#running = undefined;
  }

  #take(): StreamMessage[] {
    let count = 1;
    let bytes = this.#queue[0]!.batches.length;
    while (count < this.#queue.length && joins(this.#queue[count - 1]!, this.#queue[count]!)) {
      bytes += this.#queue[count]!.batches.length;
      if (bytes > APPLY_BYTES) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #apply(messages: readonly StreamMessage[]): Promise<void> {
    if (messages.length > 1) {
      try {
        await this.#shard.apply(joined(messages), this.#sourceEpoch);
        this.#applied();
        return;
      } catch (error) {
        if (!isVarveError(error, 'UNSOUND')) throw error;
        // One of them is bad: those before it are not.
      }
    }
    for (const message of messages) {
      await this.#shard.apply(message, this.#sourceEpoch);
      this.#applied();
    }
  }
}
