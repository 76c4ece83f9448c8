/**
 * Runs servers side by side, each beside a process that asks it. All of a repetition's servers are up at once, and one is asked at a time:
 *
 *     begin     a server, its generator, what it is loaded with, its answers checked     one after the other
 *     slices    of each step in turns (plan.ts)
 *     finish    figures, peak memory; both processes end, the directory goes
 *
 * Whoever fails is written down and ended, and is not asked again in this repetition; the others go on.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Measured } from '../job.js';
import { peakRssMB } from '../measure.js';
import { Packages } from '../packages.js';
import { medians } from '../results.js';
import { LoadGenerator } from './load-generator.js';
import { inTurn, plan, type Step } from './plan.js';
import { HTTP_TITLES, type HttpKind, type HttpKindResult } from './result.js';
import { DIALECTS, type HttpServer, startHttpServer } from './servers.js';

export interface HttpSettings {
  readonly entities: number;
  readonly capMs: number;
  readonly reps: number;
  readonly seed: number;
  readonly directory: string;
  readonly peersDirectory: string | undefined;
  log(line: string): void;
}

/** One server through all repetitions. */
export class HttpKindRun {
  readonly kind: HttpKind;
  readonly #settings: HttpSettings;
  readonly #directory: string;
  readonly #reps: Measured[] = [];
  readonly #errors: string[] = [];
  #server: HttpServer | undefined;
  /** Undefined: it takes no part, or no longer. */
  #generator: LoadGenerator | undefined;
  #tries = 0;

  constructor(kind: HttpKind, settings: HttpSettings) {
    this.kind = kind;
    this.#settings = settings;
    this.#directory = path.join(settings.directory, `http-${kind}`);
  }

  async begin(): Promise<void> {
    this.#tries++;
    await this.#trying('start', async () => {
      const { entities, seed, peersDirectory } = this.#settings;
      rmSync(this.#directory, { recursive: true, force: true });
      mkdirSync(this.#directory, { recursive: true });
      this.#server = await startHttpServer(this.kind, this.#directory, peersDirectory);
      this.#generator = new LoadGenerator({ kind: this.kind, port: this.#server.port, entities, seed });
      await this.#generator.ask({ do: 'prepare' });
    });
  }

  async slice(step: Step, timed: boolean): Promise<void> {
    const generator = this.#generator;
    if (generator !== undefined) await this.#trying(step.workload, () => generator.ask({ do: 'slice', step, timed }));
  }

  async finish(): Promise<void> {
    const generator = this.#generator;
    if (generator === undefined) return;
    await this.#trying('finish', async () => {
      const measured = await generator.ask({ do: 'finish' });
      const peakMB = this.#server && peakRssMB(this.#server.pid);
      this.#reps.push(peakMB === undefined ? measured : { ...measured, httpMemory: { peakMB } });
    });
    await this.#end();
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

  async #trying(what: string, attempt: () => Promise<unknown>): Promise<void> {
    try {
      await attempt();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#errors.push(`run ${this.#tries} of ${this.#settings.reps}: ${what}: ${message}`);
      this.#settings.log(`HTTP, ${this.kind}: ${what}: ${message}`);
      await this.#end();
    }
  }

  async #end(): Promise<void> {
    const [generator, server] = [this.#generator, this.#server];
    this.#generator = undefined;
    this.#server = undefined;
    await generator?.stop();
    await server?.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Each of them once. */
export async function repeatHttp(runs: readonly HttpKindRun[], { capMs, log }: HttpSettings): Promise<void> {
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  for (const run of runs) await run.begin();
  log(`HTTP: servers are loaded and checked, ${seconds()}`);
  let turn = 0;
  for (const step of plan(capMs)) {
    for (let slice = 0; slice <= step.slices; slice++) for (const run of inTurn(runs, turn++)) await run.slice(step, slice > 0);
    log(`HTTP: ${step.workload}, ${seconds()}`);
  }
  for (const run of runs) await run.finish();
}
