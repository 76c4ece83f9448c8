/** What is kept, beside a model that never forgets: `npx tsx tools/faults/keeping.ts`, with what seeds.ts takes. */
import { runSeeds } from './seeds.js';

await runSeeds('keep-driver.ts', 3, ({ runKeepSeed }) => runKeepSeed);
