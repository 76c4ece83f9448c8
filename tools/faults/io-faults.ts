/**
 * Every fault at every operation of every workload, and every capacity of a disk, by hand:
 *
 *   npx tsx tools/faults/io-faults.ts [--workload NAME] [--step BYTES]
 */
import { parseArgs } from 'node:util';

interface Chosen {
  readonly index: number;
}

const { values } = parseArgs({ options: { workload: { type: 'string' }, step: { type: 'string', default: '16' } } });

// Tests are not part of the build: found at run time, beside the sources.
const support = (name: string) => import(new URL(`../../test/support/${name}.ts`, import.meta.url).href);
const { WORKLOADS } = (await support('workloads')) as { WORKLOADS: { name: string }[] };
const { describeCase, faultCases, runFault, runFull } = (await support('fault-runs')) as {
  describeCase(workload: object, chosen: Chosen): string;
  faultCases(workload: object): Promise<Chosen[]>;
  runFault(workload: object, chosen: Chosen): Promise<void>;
  runFull(workload: object, capacityBytes: number): Promise<void>;
};

let failed = 0;
async function attempt(label: () => string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    failed++;
    if (failed <= 20) process.stdout.write(`FAILED ${label()}: ${error instanceof Error ? error.message.slice(0, 600) : String(error)}\n`);
  }
}

for (const workload of WORKLOADS) {
  if (values.workload !== undefined && !workload.name.includes(values.workload)) continue;
  const cases = await faultCases(workload);
  for (const chosen of cases)
    await attempt(
      () => describeCase(workload, chosen),
      () => runFault(workload, chosen),
    );
  let capacities = 0;
  for (let bytes = 0; bytes < 24_000; bytes += Number(values.step), capacities++) {
    await attempt(
      () => `${workload.name}, room for ${bytes} bytes`,
      () => runFull(workload, bytes),
    );
  }
  process.stdout.write(`${workload.name}: ${cases.length} faults, ${capacities} full disks, ${failed} failed so far\n`);
}
process.exitCode = failed > 0 ? 1 : 0;
