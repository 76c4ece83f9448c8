/** A handful of cycles of the kill loop; any number by hand: `npx tsx tools/faults/kill-loop.ts --cycles 1000`. */
import { expect, test } from 'vitest';
import { runKillLoop } from '../../tools/faults/kill-loop.js';

test('a server killed under load has everything it acknowledged, once, after every restart', { timeout: 120_000 }, async () => {
  const totals = await runKillLoop({ cycles: 6, seed: 20_261_121, shards: 2, clients: 6, cyclesPerDirectory: 3 });
  // How many depends on how busy the machine is.
  expect(totals.acknowledged).toBeGreaterThan(0);
});
