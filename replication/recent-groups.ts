/**
 * The newest groups of a shard in memory, encoded once for all who follow it.
 *
 *   watchGroups -> [ message | message | … ] -> every stream that has kept up
 *
 * Invariants: filled only while somebody follows; at most `maxBytes`, the oldest go first, and whoever needs those is served from the
 * disk; what is here is durable, and each follows directly on the one before. A crash loses nothing: it is all in the log.
 */
import type { Clock, LogSlice, ReplicaShard } from '../engine/copying.js';
import { encodeMessage } from './message.js';

export interface RecentGroup {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly message: Uint8Array;
}

export class RecentGroups {
  readonly #shard: ReplicaShard;
  readonly #clock: Clock;
  readonly #seed: number;
  readonly #maxBytes: number;
  readonly #wakers = new Set<() => void>();
  #groups: RecentGroup[] = [];
  #bytes = 0;
  #followers = 0;
  #unwatch: (() => void) | undefined;

  constructor(shard: ReplicaShard, clock: Clock, seed: number, maxBytes: number) {
    this.#shard = shard;
    this.#clock = clock;
    this.#seed = seed;
    this.#maxBytes = maxBytes;
  }

  get followers(): number {
    return this.#followers;
  }

  get heldBytes(): number {
    return this.#bytes;
  }

  /** Begins to follow; the returned function ends it. */
  enter(): () => void {
    if (this.#followers++ === 0) this.#unwatch = this.#shard.watchGroups((slice) => this.#add(slice));
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      if (--this.#followers > 0) return;
      this.#unwatch?.();
      this.#unwatch = undefined;
      this.clear();
    };
  }

  /** What follows directly on `seq`, at least one group and at most about `maxBytes`; undefined where that is not here. */
  after(seq: number, maxBytes: number): RecentGroup[] | undefined {
    const groups = this.#groups;
    let at = groups.length;
    while (at > 0 && groups[at - 1]!.lastSeq > seq) at--;
    const first = groups[at];
    if (first === undefined) return undefined;
    // It may begin before: then the log cuts it. A later epoch begins far beyond the end of the one before: then that end must be here too.
    if (first.firstSeq !== seq + 1 && groups[at - 1]?.lastSeq !== seq) return undefined;
    const found = [first];
    let bytes = first.message.length;
    for (let i = at + 1; i < groups.length && bytes + groups[i]!.message.length <= maxBytes; i++) {
      found.push(groups[i]!);
      bytes += groups[i]!.message.length;
    }
    return found;
  }

  /** Resolves at the next group, at `wake`, after `ms`, or once the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wakers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      this.#wakers.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  wake(): void {
    for (const waker of [...this.#wakers]) waker();
  }

  /** Forgets them: the log is about to lose some. */
  clear(): void {
    this.#groups = [];
    this.#bytes = 0;
  }

  #endBefore({ epoch, firstSeq }: LogSlice, last: RecentGroup): number | undefined {
    if (epoch === last.epoch) return firstSeq - 1;
    const before = this.#shard.epochs().filter((span) => span.epoch < epoch);
    return before.at(-1)?.lastSeq;
  }

  #add(slice: LogSlice): void {
    const { epoch, firstSeq, lastSeq, compactedThrough, batches } = slice;
    const last = this.#groups.at(-1);
    // A group whose write failed may be in the log all the same, and was told to nobody: what is here would jump over it.
    if (last !== undefined && last.lastSeq !== this.#endBefore(slice, last)) this.clear();
    const durableSeq = Math.max(lastSeq, this.#shard.durableSeq);
    const whole = { kind: 'batches', epoch, firstSeq, lastSeq, compactedThrough, batches, durableSeq } as const;
    const message = encodeMessage({ ...whole, time: this.#clock.nowMicros() }, this.#seed);
    this.#groups.push({ epoch, firstSeq, lastSeq, message });
    this.#bytes += message.length;
    let gone = 0;
    while (this.#bytes > this.#maxBytes && gone < this.#groups.length) this.#bytes -= this.#groups[gone++]!.message.length;
    if (gone > 0) this.#groups.splice(0, gone);
    this.wake();
  }
}
