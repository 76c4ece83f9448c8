/**
 * Runs peers over one data set: every phase in a process of its own, medians of the repetitions. A peer's
 * failure is written down and the run goes on; so does a phase's, but for the load's, without which there is nothing to ask.
 */
import { fork } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Adapter, loadAdapter } from './adapter.js';
import type { DataSettings } from './data/index.js';
import type { Answer, Job, Measured, Phase } from './job.js';
import { sharedRssMB, writtenBytes } from './measure.js';
import { Packages } from './packages.js';
import { medians, type PeerResult } from './results.js';

export interface RunSettings {
  readonly data: DataSettings;
  readonly versions: number;
  readonly phases: readonly Phase[];
  readonly reps: number;
  readonly capMs: number;
  /** Work goes here, in a folder for each peer, which is removed before and after. */
  readonly directory: string;
  readonly peersDirectory: string | undefined;
  /** Keeps a CPU profile of every phase there. */
  readonly profiles?: string | undefined;
  log(line: string): void;
}

const SERVER_SAMPLE_MS = 1000;

/** One peer over one data set. Repetitions are asked for one at a time, so that peers can take turns: the machine may change in an hour. */
export class PeerRun {
  readonly name: string;
  readonly #adapter: Adapter;
  readonly #packages: Packages;
  readonly #settings: RunSettings;
  readonly #reps: Measured[] = [];
  readonly #errors: string[] = [];

  private constructor(name: string, adapter: Adapter, settings: RunSettings) {
    this.name = name;
    this.#adapter = adapter;
    this.#packages = new Packages(settings.peersDirectory);
    const entities = Math.min(settings.data.entities, adapter.meta.entities ?? settings.data.entities);
    this.#settings = { ...settings, data: { ...settings.data, entities } };
  }

  static async of(name: string, settings: RunSettings): Promise<PeerRun> {
    return new PeerRun(name, await loadAdapter(name), settings);
  }

  async repeat(): Promise<void> {
    const rep = this.#reps.length + 1;
    this.#reps.push(await repetition(this.name, this.#adapter, this.#packages, this.#settings, rep, this.#errors));
  }

  /** Of the repetitions so far. */
  result(): PeerResult {
    const { meta } = this.#adapter;
    return {
      title: meta.title,
      design: meta.design,
      durable: meta.durable,
      ...(meta.durableNote === undefined ? {} : { durableNote: meta.durableNote }),
      packages: Object.fromEntries(meta.packages.map((one) => [one, this.#packages.version(one)])),
      entities: this.#settings.data.entities,
      reps: this.#reps.length,
      diffHow: meta.diffHow,
      ...(meta.equalHow === undefined ? {} : { equalHow: meta.equalHow }),
      errors: this.#errors,
      workloads: medians(this.#reps),
    };
  }
}

async function repetition(
  name: string,
  adapter: Adapter,
  packages: Packages,
  settings: RunSettings,
  rep: number,
  errors: string[],
): Promise<Measured> {
  const directory = path.join(settings.directory, name);
  const fail = (phase: string, error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    errors.push(`run ${rep}, ${phase}: ${message}`);
    settings.log(`${name}: ${phase}: ${message}`);
  };
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const measured: Measured = {};
  try {
    const server = await adapter.setup?.(directory, packages);
    let serverPeakMB = 0;
    const sampler = server && setInterval(() => (serverPeakMB = Math.max(serverPeakMB, sharedRssMB(server.pid))), SERVER_SAMPLE_MS);
    try {
      for (const phase of settings.phases) {
        const started = performance.now();
        const serverBefore = server && writtenBytes(server.pid);
        try {
          merge(measured, await runPhase(name, phase, directory, settings, rep));
        } catch (error) {
          fail(phase, error);
          if (phase === 'load') break;
          continue;
        }
        if (phase === 'load') {
          const byServer = server === undefined ? 0 : (writtenBytes(server.pid) ?? 0) - (serverBefore ?? 0);
          const byProcess = measured['written']?.['processBytes'];
          if (typeof byProcess === 'number') merge(measured, { written: { bytes: byProcess + byServer } });
        }
        settings.log(`${name}, run ${rep} of ${settings.reps}: ${phase} ${((performance.now() - started) / 1000).toFixed(1)} s`);
      }
    } finally {
      clearInterval(sampler);
      await server?.stop();
      if (server !== undefined && serverPeakMB > 0) merge(measured, { memory: { serverPeakMB } });
    }
  } catch (error) {
    fail('setup', error);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return measured;
}

function merge(into: Measured, more: Measured): void {
  for (const [workload, figures] of Object.entries(more)) into[workload] = { ...into[workload], ...figures };
}

/** The compiled process is forked; run from sources, the one beside this file through tsx. */
function runPhase(peer: string, phase: Phase, directory: string, settings: RunSettings, rep: number): Promise<Measured> {
  const { data, capMs, peersDirectory, profiles } = settings;
  const job: Job = { phase, peer, directory, peersDirectory, data, capMs, spawnedAt: Date.now() };
  const profiling =
    profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`, `--cpu-prof-name=${peer}-${phase}-${rep}.cpuprofile`];
  const { file, flags } = processFile('phase-process');
  const child = fork(file, [JSON.stringify(job)], { execArgv: [...flags, ...profiling], stdio: ['ignore', 2, 2, 'ipc'] });
  // A load of twenty million takes its time; anything that takes ten times what a slow store does is stuck.
  const timer = setTimeout(() => child.kill('SIGKILL'), 240_000 + settings.versions);
  return new Promise<Measured>((resolve, reject) => {
    let answer: Answer | undefined;
    child.on('message', (message) => (answer = message as Answer));
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (answer === undefined) reject(new Error(`the process ended with ${code ?? signal} and no answer`));
      else if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.measured);
    });
  }).finally(() => clearTimeout(timer));
}

export function processFile(name: string): { file: string; flags: string[] } {
  const self = fileURLToPath(import.meta.url);
  const extension = path.extname(self);
  return { file: path.join(path.dirname(self), `${name}${extension}`), flags: extension === '.ts' ? ['--import', 'tsx'] : [] };
}
