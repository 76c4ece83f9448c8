import { describe, expect, test } from 'vitest';
import { BlockingSync } from '../../engine/log/blocking-sync.js';
import { SIMULATION_START, SimulatedClock, SimulatedTime } from '../../engine/platform/memory-clock.js';

function sync(): { asked(times: number): boolean[]; syncs(milliseconds: number, times?: number): void } {
  const time = new SimulatedTime();
  const blocking = new BlockingSync(new SimulatedClock(time, SIMULATION_START, 0));
  return {
    asked: (times) => Array.from({ length: times }, () => blocking.paysHere()),
    syncs: (milliseconds, times = 1) => {
      for (let i = 0; i < times; i++) blocking.measure(() => time.spend(milliseconds * 1000));
    },
  };
}

describe('a write whose time nobody uses', () => {
  test('is synced on this thread while the disk is quick, a few slow syncs notwithstanding', () => {
    const { asked, syncs } = sync();
    syncs(0.2, 20);
    syncs(50, 3);
    expect(asked(3)).toEqual([true, true, true]);
  });

  test('goes elsewhere once the disk is slow, but for one in 64 that looks again', () => {
    const { asked, syncs } = sync();
    syncs(10, 20);
    const answers = asked(200);
    expect(answers.filter((here) => here).length).toBeGreaterThan(1);
    expect(answers.filter((here) => here).length).toBeLessThanOrEqual(4);
  });

  test('comes back when the disk is quick again', () => {
    const { asked, syncs } = sync();
    syncs(2, 20);
    expect(asked(70).filter((here) => here).length).toBeLessThanOrEqual(2);
    syncs(0.1, 20);
    expect(asked(5)).not.toContain(false);
  });
});
