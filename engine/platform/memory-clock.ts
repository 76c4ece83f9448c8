/**
 * Simulated time: stands still until a test moves it.
 *
 * One `SimulatedTime` may serve the platforms of many nodes; each sees it through a `SimulatedClock` of its
 * own, which dies with its process: timers of a dead process never run.
 */
import type { Clock, Micros } from './platform.js';

/** 2025-01-01T00:00:00Z. */
export const SIMULATION_START: Micros = 1_735_689_600_000_000;

interface Timer {
  readonly dueMicros: number;
  readonly task: () => void;
}

export class SimulatedTime {
  /** Never goes back. */
  #elapsedMicros: number;
  /** In the order they were set, which decides between those due at once. */
  #timers: Timer[] = [];

  constructor(elapsedMicros = 0) {
    this.#elapsedMicros = elapsedMicros;
  }

  get elapsedMicros(): number {
    return this.#elapsedMicros;
  }

  /** Timers waiting, cancelled ones not counted. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Moves time on and runs the timers that come due, each at its own moment, those it sets included. */
  advance(micros: number): void {
    const end = this.#elapsedMicros + micros;
    while (this.#runNext(end));
    this.#elapsedMicros = Math.max(end, this.#elapsedMicros);
  }

  /** As `advance`, and lets everything that follows from a timer happen before the next one runs. */
  async advanceAndSettle(micros: number): Promise<void> {
    const end = this.#elapsedMicros + micros;
    do await settle();
    while (this.#runNext(end));
    this.#elapsedMicros = Math.max(end, this.#elapsedMicros);
    await settle();
  }

  /** Moves time on without running timers: the time a call takes. */
  spend(micros: number): void {
    this.#elapsedMicros += micros;
  }

  after(delayMs: number, task: () => void): () => void {
    const dueMicros = this.#elapsedMicros + Math.max(0, Math.round(delayMs * 1000));
    const timer: Timer = { dueMicros, task };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  #runNext(end: number): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMicros > end) continue;
      if (next === undefined || timer.dueMicros < next.dueMicros) next = timer;
    }
    if (next === undefined) return false;
    const due = next;
    this.#timers = this.#timers.filter((other) => other !== due);
    this.#elapsedMicros = Math.max(this.#elapsedMicros, due.dueMicros);
    due.task();
    return true;
  }
}

/** Resolves when every promise that can go on without the outside has done so. */
export async function settle(): Promise<void> {
  // One turn runs all microtasks; a few more let chains of `clock.yield()` get somewhere.
  for (let turn = 0; turn < 4; turn++) await nextTurn();
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

export class SimulatedClock implements Clock {
  readonly time: SimulatedTime;
  readonly #autoAdvanceMicros: number;
  #wallOffsetMicros: number;
  #alive = true;
  #stuck = false;

  constructor(time: SimulatedTime, wallOffsetMicros: number, autoAdvanceMicros: number) {
    this.time = time;
    this.#wallOffsetMicros = wallOffsetMicros;
    this.#autoAdvanceMicros = autoAdvanceMicros;
  }

  /** What wall time is ahead of elapsed time. */
  get wallOffsetMicros(): number {
    return this.#wallOffsetMicros;
  }

  nowMicros(): Micros {
    const now = this.#wallOffsetMicros + this.time.elapsedMicros;
    this.time.spend(this.#autoAdvanceMicros);
    return now;
  }

  monotonicMs(): number {
    return this.time.elapsedMicros / 1000;
  }

  after(delayMs: number, task: () => void): () => void {
    return this.time.after(delayMs, () => {
      if (this.#alive) task();
    });
  }

  yield(): Promise<void> {
    return this.#stuck ? new Promise(() => {}) : nextTurn();
  }

  /** Steps this node's wall clock, either way; monotonic time does not notice. */
  jump(micros: number): void {
    this.#wallOffsetMicros += micros;
  }

  /** The process is dead: no timer runs any more; if `stuck`, no yield comes back either. */
  stop(stuck: boolean): void {
    this.#alive = false;
    this.#stuck = stuck;
  }
}
