/** One phase of one peer, in a process of its own: a job comes as the first argument, the answer goes to the parent. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { loadAdapter } from './adapter.js';
import { dataSet } from './data/index.js';
import type { Answer, Job, Phase } from './job.js';
import { Packages } from './packages.js';
import { compact } from './phases/compact.js';
import type { Context, RunPhase } from './phases/context.js';
import { load } from './phases/load.js';
import { crash, openAfterCrash, openClean } from './phases/open.js';
import { reads } from './phases/reads.js';
import { verify } from './phases/verify.js';
import { checkpoint, insert, mixed } from './phases/writes.js';

const RUN: Readonly<Record<Phase, RunPhase>> = {
  load,
  open: openClean,
  reads,
  verify,
  insert,
  mixed,
  checkpoint,
  crash,
  'open-after-crash': openAfterCrash,
  compact,
};

const job = JSON.parse(process.argv[2] ?? '') as Job;

async function run(): Promise<Answer> {
  try {
    const packages = new Packages(job.peersDirectory);
    const adapter = await loadAdapter(job.peer);
    await packages.load(adapter.meta.packages);
    const directory = path.join(job.directory, 'data');
    mkdirSync(directory, { recursive: true });
    adapter.prepare?.(directory);
    const context: Context = {
      job,
      adapter,
      packages,
      set: dataSet(job.data),
      directory,
      open: (other = directory) => adapter.open(other, packages),
    };
    return { measured: await RUN[job.phase](context) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

const answer = await run();
process.send?.(answer, () => {
  if (job.phase === 'crash' && 'measured' in answer) process.kill(process.pid, 'SIGKILL');
  process.exit(0);
});
