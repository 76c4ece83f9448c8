/**
 * The real clock: wall time in microseconds, monotonic time, timers.
 *
 * `Date.now` counts only milliseconds, so wall time is an anchor plus what the monotonic clock has run since.
 * A wall clock that was stepped (by hand, by NTP, by a suspended machine) must be followed, or records would
 * carry a time nobody else agrees with: when the two disagree by more than 2 ms, the anchor is set anew.
 */
import type { Clock, Micros } from './platform.js';

const TOLERANCE_MS = 2;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Where the real clocks come from; a test passes its own. */
export interface TimeSources {
  wallMs(): number;
  monotonicMs(): number;
}

const realSources: TimeSources = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

export function nodeClock(sources: TimeSources = realSources): Clock {
  // Wall time less monotonic time, in ms. Half a millisecond stands for what Date.now cut off.
  // Anchored when first asked: node loads its monotonic clock late, and opening asks for no time.
  let offsetMs = Number.NaN;

  function nowMicros(): Micros {
    const wallMs = sources.wallMs();
    const monotonicMs = sources.monotonicMs();
    const nowMs = monotonicMs + offsetMs;
    if (Math.abs(nowMs - wallMs - 0.5) <= TOLERANCE_MS) return Math.floor(nowMs * 1000);
    offsetMs = wallMs + 0.5 - monotonicMs;
    return wallMs * 1000 + 500;
  }

  return { nowMicros, monotonicMs: () => sources.monotonicMs(), after, yield: yieldToOthers };
}

function after(delayMs: number, task: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    // setTimeout takes a longer delay for 1 ms.
    const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
    timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : task()), stepMs);
    timer.unref();
  };
  arm(delayMs);
  return () => clearTimeout(timer);
}

function yieldToOthers(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
