/**
 * Any number of seeds of the property test of what is kept, from the command line:
 *
 *   npx tsx tools/faults/keeping.ts [--seeds 1000] [--from 1] [--steps 100] [--shards 2]
 *
 * A failure prints its seed; `--from SEED --seeds 1` with the same steps and shards replays it.
 */
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: '100' },
    shards: { type: 'string' },
  },
});

// Tests are not part of the build: found at run time, beside the sources.
const driver = (await import(new URL('../../test/support/keep-driver.ts', import.meta.url).href)) as {
  runKeepSeed(seed: number, shards: number, steps: number): Promise<Record<string, number>>;
};

const from = Number(values.from);
const totals: Record<string, number> = {};
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  const shards = values.shards === undefined ? 1 + (seed % 3) : Number(values.shards);
  const stats = await driver.runKeepSeed(seed, shards, Number(values.steps));
  for (const [name, count] of Object.entries(stats)) totals[name] = (totals[name] ?? 0) + count;
  if ((seed - from + 1) % 100 === 0) process.stdout.write(`${seed - from + 1} seeds: ${JSON.stringify(totals)}\n`);
}
process.stdout.write(`done: ${JSON.stringify(totals)}\n`);
