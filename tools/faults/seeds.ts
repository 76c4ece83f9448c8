/**
 * Any number of seeds of a property test, from the command line: `[--seeds 1000] [--from 1] [--steps 100] [--shards 2]`. A failure
 * prints its seed; `--from SEED --seeds 1` with the same steps and shards replays it.
 */
import { parseArgs } from 'node:util';

type RunSeed = (options: { readonly seed: number; readonly shards: number; readonly steps: number }) => Promise<object>;

/** `driver` is a module of test/support, which is no part of the build: found at run time, beside the sources. `mostShards`: seeds take turns up to so many. */
export async function runSeeds(
  driver: string,
  mostShards: number,
  runnerOf: (module: Record<string, RunSeed>) => RunSeed | undefined,
): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { seeds: { ...text, default: '1000' }, from: { ...text, default: '1' }, steps: { ...text, default: '100' }, shards: text },
  });
  const run = runnerOf((await import(new URL(`../../test/support/${driver}`, import.meta.url).href)) as Record<string, RunSeed>);
  if (run === undefined) throw new Error(`test/support/${driver} runs no seeds`);
  const from = Number(values.from);
  const totals: Record<string, number> = {};
  for (let seed = from; seed < from + Number(values.seeds); seed++) {
    const shards = values.shards === undefined ? 1 + (seed % mostShards) : Number(values.shards);
    const stats = (await run({ seed, shards, steps: Number(values.steps) })) as Record<string, number>;
    for (const [name, count] of Object.entries(stats)) totals[name] = (totals[name] ?? 0) + count;
    if ((seed - from + 1) % 100 === 0) process.stdout.write(`${seed - from + 1} seeds: ${JSON.stringify(totals)}\n`);
  }
  process.stdout.write(`done: ${JSON.stringify(totals)}\n`);
}
