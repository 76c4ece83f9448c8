/**
 * How fast compaction may go: a byte rate, a pause that lasts until it is lifted, and giving up. One for each job; asked after every
 * slice of work.
 */
import { VarveError } from '../errors.js';
import type { Clock } from '../platform/platform.js';

export class Cancelled extends Error {
  constructor() {
    super('the work was cancelled');
  }
}

export class Pace {
  readonly #clock: Clock;
  /** Bytes read and written a second; Infinity: as fast as can be. */
  readonly #bytesPerSecond: number;
  #cancelled = false;
  #resume: (() => void) | undefined;
  #paused: Promise<void> | undefined;
  #startedMs: number;
  #bytes = 0;
  #wake: (() => void) | undefined;

  constructor(clock: Clock, bytesPerSecond = Number.POSITIVE_INFINITY) {
    if (!(bytesPerSecond > 0)) {
      const expected = 'a number of bytes above 0';
      throw new VarveError('INVALID', `a rate of ${bytesPerSecond} bytes a second cannot be kept`, { path: 'bytesPerSecond', expected });
    }
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#startedMs = clock.monotonicMs();
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  get paused(): boolean {
    return this.#paused !== undefined;
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#paused = undefined;
    this.#resume?.();
    // What was not done in the pause is not made up for.
    this.#startedMs = this.#clock.monotonicMs();
    this.#bytes = 0;
  }

  cancel(): void {
    this.#cancelled = true;
    this.resume();
    this.#wake?.();
  }

  /** Throws Cancelled. */
  async spend(bytes: number): Promise<void> {
    this.#bytes += bytes;
    const dueMs = (this.#bytes / this.#bytesPerSecond) * 1000 - (this.#clock.monotonicMs() - this.#startedMs);
    if (dueMs > 1 && !this.#cancelled) {
      await new Promise<void>((resolve) => {
        const stop = this.#clock.after(dueMs, resolve);
        this.#wake = () => {
          stop();
          resolve();
        };
      });
      this.#wake = undefined;
    } else await this.#clock.yield();
    while (this.#paused !== undefined && !this.#cancelled) await this.#paused;
    if (this.#cancelled) throw new Cancelled();
  }
}
