/**
 * The engine beside a trivial model and a SQLite history table, under the same random operations, closes,
 * kills and power cuts. More seeds by hand: `npx tsx tools/faults/property.ts --seeds 100000`.
 */
import { describe, expect, test } from 'vitest';
import { runSeed } from '../support/driver.js';

const SECONDS = 12;

describe('the engine beside a model and a SQLite history table', () => {
  // Fixed seeds, so that a failure here is a failure everywhere.
  test.each([1, 2, 3, 4])('gives the same answers on %d shards, whatever happens', { timeout: 120_000 }, async (shards) => {
    const end = performance.now() + (SECONDS / 4) * 1000;
    let seeds = 0;
    let versions = 0;
    for (let seed = shards * 1_000_000; seeds === 0 || (seeds < 40 && performance.now() < end); seed++, seeds++) {
      versions += (await runSeed({ seed, shards, steps: 60 })).versions;
    }
    expect(versions).toBeGreaterThan(0);
  });

  test('keeps an answer through a restart with a clock that went back', { timeout: 120_000 }, async () => {
    expect((await runSeed({ seed: 700_233, shards: 2, steps: 100 })).reopens).toBeGreaterThan(0);
  });
});
