/** The bench of giving space back, small: what it measures is there and adds up. Nothing is said about time. */
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { keepNewest } from '../../../tools/bench/keep-newest.js';
import { temporaryDirectory } from '../cli.js';

const root = temporaryDirectory();
afterAll(() => root.remove());

describe('the bench of keeping the newest', () => {
  it.each(['varve', 'sqlite'])('checks answers and tells sizes, of %s', async (peer) => {
    const result = await keepNewest(peer, {
      versions: 6000,
      versionsPer: 5,
      directory: path.join(root.path, peer),
      peersDirectory: undefined,
    });
    expect(result.seconds).toBeGreaterThan(0);
    expect(result.bytesBefore).toBeGreaterThan(result.bytesAfter);
    expect(result.freshBytes).toBeGreaterThan(100_000);
    expect(result.afterOverFresh).toBeLessThan(1.1);
  });

  it('says what went wrong with a peer', async () => {
    const options = { versions: 10, versionsPer: 5, directory: path.join(root.path, 'none'), peersDirectory: undefined };
    await expect(keepNewest('oracle', options)).rejects.toThrow("oracle: load: there is no peer 'oracle'");
  });
});
