/**
 * Every crash point of every workload, with every loss pattern, by hand:
 *
 *   npx tsx tools/faults/crash-points.ts [--states 3000] [--random 50] [--nested 10] [--seeds 1] [--workload NAME]
 */
import { parseArgs } from 'node:util';

interface Stats {
  moments: number;
  states: number;
  nested: number;
}

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '3000' },
    random: { type: 'string', default: '50' },
    nested: { type: 'string', default: '10' },
    seeds: { type: 'string', default: '1' },
    workload: { type: 'string' },
  },
});

// Tests are not part of the build: found at run time, beside the sources.
const support = (name: string) => import(new URL(`../../test/support/${name}.ts`, import.meta.url).href);
const { WORKLOADS } = (await support('workloads')) as { WORKLOADS: { name: string }[] };
const { crashEverywhere } = (await support('crash-states')) as {
  crashEverywhere(workload: object, budget: object, seed: number): Promise<Stats>;
};

const budget = {
  everyUpToSectors: 8,
  statesPerMoment: Number(values.states),
  randomPerMoment: Number(values.random),
  nestedOneIn: Number(values.nested),
};
for (let seed = 1; seed <= Number(values.seeds); seed++) {
  for (const workload of WORKLOADS) {
    if (values.workload !== undefined && !workload.name.includes(values.workload)) continue;
    const stats = await crashEverywhere(workload, budget, seed);
    process.stdout.write(
      `seed ${seed}, ${workload.name}: ${stats.moments} moments, ${stats.states} different states, ${stats.nested} crashes of a recovery, 0 lost\n`,
    );
  }
}
