/** Runs servers, each beside a process that asks it. */
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

/** One server; servers take turns, as peers do in process. */
export class HttpKindRun {
  readonly kind: HttpKind;
  readonly #settings: HttpSettings;
  readonly #reps: Measured[] = [];
  readonly #errors: string[] = [];
  #tries = 0;

  constructor(kind: HttpKind, settings: HttpSettings) {
    this.kind = kind;
    this.#settings = settings;
  }

  async repeat(): Promise<void> {
    const { log, reps } = this.#settings;
    const started = performance.now();
    const name = `run ${++this.#tries} of ${reps}`;
    try {
      this.#reps.push(await repetition(this.kind, this.#settings));
      log(`HTTP, ${this.kind}, ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#errors.push(`${name}: ${message}`);
      log(`HTTP, ${this.kind}: ${message}`);
    }
  }

  /** Of the repetitions so far. */
  result(): HttpKindResult {
    const { design, packages: names } = DIALECTS[this.kind];
    const packages = new Packages(this.#settings.peersDirectory);
    return {
      title: HTTP_TITLES[this.kind],
      design,
      packages: Object.fromEntries(names.map((name) => [name, packages.version(name)])),
      errors: this.#errors,
      workloads: medians(this.#reps),
    };
  }
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
