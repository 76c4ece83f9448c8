/**
 * Asks one server, from a process of its own, whenever it is told to: so the generator's work is not the server's, and other servers'
 * slices can come between two of this one. Commands come from the parent one at a time; each has one answer.
 */
import type { Answer, Measured } from '../job.js';
import type { Command } from './load-generator.js';
import type { HttpJob } from './result.js';
import { Workloads } from './workloads.js';

const workloads = new Workloads(JSON.parse(process.argv[2] ?? '') as HttpJob);

async function obey(command: Command): Promise<Measured> {
  if (command.do === 'prepare') await workloads.prepare();
  else if (command.do === 'slice') await workloads.slice(command.step, command.timed);
  else return workloads.measured();
  return {};
}

process.on('message', async (command) => {
  let answer: Answer;
  try {
    answer = { measured: await obey(command as Command) };
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(answer);
});
process.on('disconnect', () => process.exit(0));
