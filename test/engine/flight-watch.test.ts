import { describe, expect, it } from 'vitest';
import { FlightWatch } from '../../engine/flight-watch.js';

function watching(...flights: boolean[]): FlightWatch {
  const watch = new FlightWatch();
  for (const used of flights) watch.landed(used);
  return watch;
}

describe('the time of a flight', () => {
  it('is left to others until four flights in a row went unused', () => {
    expect(watching().mayBlock()).toBe(false);
    expect(watching(false, false, false).mayBlock()).toBe(false);
    expect(watching(false, false, false, false).mayBlock()).toBe(true);
    expect(watching(false, false, false, true, false).mayBlock()).toBe(false);
  });

  it('is looked at again once in 32 groups, and left to others as soon as one of them uses it', () => {
    const watch = watching(false, false, false, false);
    const answers = Array.from({ length: 64 }, () => watch.mayBlock());
    expect(answers.filter((blocks) => !blocks).length).toBe(2);
    watch.landed(false);
    expect(watch.mayBlock()).toBe(true);
    watch.landed(true);
    expect(Array.from({ length: 40 }, () => watch.mayBlock())).not.toContain(true);
  });
});
