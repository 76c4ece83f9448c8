/** The engine beside a model and SQLite: `npx tsx tools/faults/property.ts`, with what seeds.ts takes. */
import { runSeeds } from './seeds.js';

await runSeeds('driver.ts', 4, ({ runSeed }) => runSeed);
