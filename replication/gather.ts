/**
 * Questions to several peers at once: who waits for their answers waits for enough of them, and a little longer for the rest, so that one that is
 * silent, and refuses nothing either, holds up nobody for as long as its time limit.
 *
 * Pure but for the clock. What comes late is still resolved by its own promise.
 */
import type { Clock } from '../engine/copying.js';

export interface Enough<T> {
  /** So many that count are enough. */
  readonly enough: number;
  readonly counts: (answer: T) => boolean;
  /** For the rest, once there are enough: this, and as long again as those took, for peers that are far away are no silent ones. */
  readonly graceMs: number;
}

/** By the order of the questions; undefined where there is no answer yet. Rejects as soon as one of them does. */
export function gather<T>(clock: Clock, asked: readonly Promise<T>[], { enough, counts, graceMs }: Enough<T>): Promise<(T | undefined)[]> {
  return new Promise((resolve, reject) => {
    const answers: (T | undefined)[] = asked.map(() => undefined);
    const beganMs = clock.monotonicMs();
    let left = asked.length;
    let good = 0;
    let cancel: (() => void) | undefined;
    const finish = (): void => {
      cancel?.();
      resolve([...answers]);
    };
    if (left === 0) finish();
    asked.forEach((each, n) => {
      each.then((answer) => {
        answers[n] = answer;
        left--;
        if (counts(answer)) good++;
        if (left === 0) finish();
        else if (good >= enough) cancel ??= clock.after(graceMs + clock.monotonicMs() - beganMs, finish);
      }, reject);
    });
  });
}
