/**
 * Whether the disk is quick enough for this thread to wait for it, where nobody would use the time: the way over another thread costs
 * more than a good disk's sync. A slow sync would hold up whoever comes meanwhile, so this thread waits only for a disk that was quick
 * of late, and looks again now and then whether a slow one has become so.
 *
 *   quick: here, measured every time -> most of the newest over the limit -> slow: elsewhere, but for one in so many
 *
 * Depends on time alone; either way ends in the same bytes and the same promise.
 */
import type { Clock } from '../platform/platform.js';

/** Longer than this is too long to hold up a thread that serves others. */
const QUICK_MS = 1;
/** A hiccup, however long, says little of the next sync: only most of them being slow moves the average over the limit. */
const MOST_MS = 1.25;
/** Of the newest sync in the average. */
const WEIGHT = 1 / 8;
const PROBE_EVERY = 64;

export class BlockingSync {
  readonly #clock: Clock;
  #averageMs = 0;
  #untilProbe = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asked once for each write that could be made either way. */
  paysHere(): boolean {
    if (this.#averageMs <= QUICK_MS) return true;
    if (--this.#untilProbe > 0) return false;
    this.#untilProbe = PROBE_EVERY;
    return true;
  }

  /** Runs a write and its sync. */
  measure(writeAndSync: () => void): void {
    const began = this.#clock.monotonicMs();
    writeAndSync();
    const tookMs = Math.min(MOST_MS, this.#clock.monotonicMs() - began);
    this.#averageMs += (tookMs - this.#averageMs) * WEIGHT;
  }
}
