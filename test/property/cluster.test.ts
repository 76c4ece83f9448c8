/**
 * Copies of a database through everything networks, disks and people do to them: in the end they agree, and no promise was broken. More by hand:
 * `npx tsx tools/faults/cluster.ts --seeds 10000`.
 */
import { describe, expect, test } from 'vitest';
import { runClusterSeed } from '../support/cluster-driver.js';

const SECONDS = 10;

describe('a replica set, whatever happens to it', () => {
  test.each([
    [1, 3],
    [2, 3],
    [1, 5],
  ])('heals to equal roots, with all that a quorum acknowledged: %d shards on %d nodes', { timeout: 180_000 }, async (shards, nodes) => {
    const end = performance.now() + SECONDS * 1000;
    let [safe, promotions, setAside] = [0, 0, 0];
    const from = 1_000_000 * shards + 100_000 * nodes;
    for (let seed = from; seed < from + 4 || (seed < from + 60 && performance.now() < end); seed++) {
      const stats = await runClusterSeed({ seed, shards, nodes, steps: 120 });
      safe += stats.safe;
      promotions += stats.promotions;
      setAside += stats.setAside;
    }
    expect(safe).toBeGreaterThan(0);
    expect(promotions + setAside).toBeGreaterThan(0);
  });

  test.each([
    ['a header of an epoch rots', { seed: 3107, shards: 3, steps: 100 }],
    ['a disk fails in the middle of a rewind', { seed: 2_300_043, shards: 2, nodes: 3, steps: 120 }],
  ])('heals where %s', { timeout: 60_000 }, async (_name, options) => {
    await runClusterSeed(options);
  });
});
