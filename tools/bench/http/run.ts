/** Runs the servers one after the other, each beside a process that asks it. */
import { fork } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Answer, Measured } from '../job.js';
import { peakRssMB } from '../measure.js';
import { Packages } from '../packages.js';
import { medians } from '../results.js';
import { processFile } from '../runner.js';
import { HTTP_TITLES, type HttpJob, type HttpKind, type HttpKindResult } from './result.js';
import { DIALECTS, startHttpServer } from './servers.js';

export interface HttpSettings {
  readonly entities: number;
  readonly capMs: number;
  readonly reps: number;
  readonly seed: number;
  readonly directory: string;
  readonly peersDirectory: string | undefined;
  log(line: string): void;
}

export async function runHttpKind(kind: HttpKind, settings: HttpSettings): Promise<HttpKindResult> {
  const packages = new Packages(settings.peersDirectory);
  const { design, packages: names } = DIALECTS[kind];
  const errors: string[] = [];
  const reps: Measured[] = [];
  for (let rep = 1; rep <= settings.reps; rep++) {
    const started = performance.now();
    try {
      reps.push(await repetition(kind, settings));
      settings.log(`HTTP, ${kind}, run ${rep} of ${settings.reps}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      errors.push(`run ${rep}: ${message}`);
      settings.log(`HTTP, ${kind}: ${message}`);
    }
  }
  return {
    title: HTTP_TITLES[kind],
    design,
    packages: Object.fromEntries(names.map((name) => [name, packages.version(name)])),
    errors,
    workloads: medians(reps),
  };
}

async function repetition(kind: HttpKind, settings: HttpSettings): Promise<Measured> {
  const directory = path.join(settings.directory, `http-${kind}`);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  try {
    const server = await startHttpServer(kind, directory, settings.peersDirectory);
    try {
      const { entities, capMs, seed } = settings;
      const measured = await askAll({ kind, port: server.port, entities, capMs, seed });
      const peakMB = peakRssMB(server.pid);
      return peakMB === undefined ? measured : { ...measured, httpMemory: { peakMB } };
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function askAll(job: HttpJob): Promise<Measured> {
  const { file, flags } = processFile('http/load-process');
  const child = fork(file, [JSON.stringify(job)], { execArgv: flags, stdio: ['ignore', 2, 2, 'ipc'] });
  return new Promise((resolve, reject) => {
    let answer: Answer | undefined;
    child.on('message', (message) => (answer = message as Answer));
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (answer === undefined) reject(new Error(`the load generator ended with ${code ?? signal} and no answer`));
      else if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.measured);
    });
  });
}
