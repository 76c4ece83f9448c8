/** Copies that must agree in the end, whatever networks, disks and promotions do: `npx tsx tools/faults/cluster.ts`, with what seeds.ts takes. */
import { runSeeds } from './seeds.js';

await runSeeds('cluster-driver.ts', 3, ({ runClusterSeed }) => runClusterSeed);
