/**
 * For real: three `varve serve` processes, writers over HTTP, and what happens to servers. A story on stdout; exit 1 on a broken promise.
 *
 *   node dist/tools/faults/copies.js [--rounds N] [--scenario kill|wipe|rot|promote|partition] [--kind "tree file"] [--seed N]
 */

import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { partition } from './copies/partition.js';
import type { Kept } from './copies/promises.js';
import { ROT_CASES, rot, rotOf } from './copies/rot.js';
import { kill, promote, wipe } from './copies/scenarios.js';
import { Story } from './copies/story.js';
import type { TrioOptions } from './copies/trio.js';

/** Undefined: it says itself why it was not played. */
export type Scenario = (options: TrioOptions) => Promise<Kept | undefined>;

export const SCENARIOS: Readonly<Record<string, Scenario>> = { kill, wipe, rot, promote, partition };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '1' },
      scenario: { type: 'string' },
      seed: { type: 'string' },
      kind: { type: 'string' },
    },
  });
  const { kind } = values;
  const scenarios = kind === undefined ? SCENARIOS : { ...SCENARIOS, rot: rotOf(ROT_CASES.filter((each) => each.kind.includes(kind))) };
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  const names = values.scenario === undefined ? Object.keys(SCENARIOS) : values.scenario.split(',');
  const unknown = names.find((name) => SCENARIOS[name] === undefined);
  if (unknown !== undefined) throw new Error(`there is no scenario ${unknown}: ${Object.keys(SCENARIOS).join(', ')}`);
  const story = new Story((line) => process.stdout.write(line));
  const total: Kept = { quorum: 0, local: 0, aside: 0, excused: 0, unasked: 0 };
  let broken = 0;
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of names) {
      story.chapter(`${name}, round ${round + 1}, seed ${seed + round}`);
      try {
        const kept = await scenarios[name]!({ story, seed: seed + round });
        for (const each of Object.keys(total) as (keyof Kept)[]) total[each] += kept?.[each] ?? 0;
      } catch (error) {
        broken++;
        story.tell('', `BROKEN: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  process.stdout.write(`\n${values.rounds} rounds of ${names.join(', ')}: ${JSON.stringify(total)}, ${broken} broken\n`);
  if (broken > 0) process.exitCode = 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
