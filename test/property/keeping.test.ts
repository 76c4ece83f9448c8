/**
 * Retention, snapshots, refs, compactions, erasures and crashes, beside a model that never forgets. More by hand:
 * `npx tsx tools/faults/keeping.ts --seeds 10000`.
 */
import { describe, expect, test } from 'vitest';
import { runKeepSeed } from '../support/keep-driver.js';

const SECONDS = 4;

describe('what is kept, whatever happens', () => {
  test('is answered so where the tree is lost amid a compaction that has taken an ending away, and not yet what it ended', {
    timeout: 120_000,
  }, async () => {
    await runKeepSeed({ seed: 910_072, shards: 2, steps: 80 });
  });

  test.each([1, 2])('is answered exactly or refused on %d shards', { timeout: 120_000 }, async (shards) => {
    const end = performance.now() + SECONDS * 1000;
    let dropped = 0;
    for (let seed = shards * 1_000_000, seeds = 0; seeds < 5 || (seeds < 30 && performance.now() < end); seed++, seeds++) {
      dropped += (await runKeepSeed({ seed, shards, steps: 60 })).dropped;
    }
    expect(dropped).toBeGreaterThan(0);
  });
});
