/**
 * A whole run: installs what is missing, measures every data set of every size and then HTTP, and leaves three files behind. They
 * are written again after every peer and every turn of the servers, so that an hour's run that is interrupted is not lost.
 *
 *     results.json    every figure, machine, versions, command
 *     table.md        the tables with percentiles
 *     chart.svg       the chart
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { loadAdapter } from './adapter.js';
import { chart } from './chart.js';
import { type DataSettings, dataSet, extract } from './data/index.js';
import { HTTP_KINDS, type HttpKind } from './http/result.js';
import { HttpKindRun, repeatHttp } from './http/run.js';
import { DIALECTS } from './http/servers.js';
import type { Phase } from './job.js';
import { installPeers, Packages } from './packages.js';
import { comparisons, conditions, markdown } from './report.js';
import { newResults, type Results, type RunResult, writeResults } from './results.js';
import { PeerRun } from './runner.js';

export interface BenchOptions {
  readonly command: string;
  readonly peers: readonly string[];
  readonly phases: readonly Phase[];
  /** One run each, of so many entities. */
  readonly entities: readonly number[];
  readonly versionsPer: number;
  readonly data: 'synthetic' | 'git';
  readonly repo?: string | undefined;
  readonly reps: number;
  readonly capMs: number;
  readonly seed: number;
  readonly inProcess: boolean;
  readonly http: readonly HttpKind[];
  readonly httpEntities: number;
  readonly out: string;
  readonly directory?: string | undefined;
  readonly peersDirectory: string | undefined;
  readonly install: boolean;
  readonly profile: boolean;
  log(line: string): void;
}

/** What is left beside each other in `out`. */
export const FILES = { results: 'results.json', table: 'table.md', chart: 'chart.svg' } as const;

export async function runBench(options: BenchOptions): Promise<Results> {
  await provide(options);
  mkdirSync(options.out, { recursive: true });
  const own = options.directory === undefined;
  const directory = options.directory ?? mkdtempSync(path.join(os.tmpdir(), 'varve-bench-'));
  mkdirSync(directory, { recursive: true });
  // A server that runs as another user has to get in.
  if (own) chmodSync(directory, 0o755);
  const { reps, capMs, seed } = options;
  const results = newResults(options.command, { reps, capSeconds: capMs / 1000, seed });
  try {
    if (options.inProcess) await runData(options, directory, results);
    if (options.http.length > 0) await runHttp(options, directory, results);
  } finally {
    if (own) rmSync(directory, { recursive: true, force: true });
  }
  return results;
}

/** Packages of every peer asked for. */
async function provide({ peers, http, inProcess, peersDirectory, install, log }: BenchOptions): Promise<void> {
  const adapters = inProcess ? await Promise.all(peers.map(loadAdapter)) : [];
  const names = [...adapters.flatMap(({ meta }) => meta.packages), ...http.flatMap((kind) => DIALECTS[kind].packages)];
  const wanted = names.filter((name) => name !== 'varve');
  const missing = new Packages(peersDirectory).missing(wanted);
  if (missing.length === 0) return;
  const list = missing.join(', ');
  if (!install || peersDirectory === undefined) throw new Error(`not installed: ${list} (give --peers-dir DIR, without --no-install)`);
  log(`installing ${list} in ${peersDirectory}`);
  installPeers(peersDirectory);
  const still = new Packages(peersDirectory).missing(wanted);
  if (still.length > 0) throw new Error(`still not installed: ${still.join(', ')}`);
}

async function runData(options: BenchOptions, directory: string, results: Results): Promise<void> {
  for (const entities of options.entities) {
    const data = await dataSettings(options, directory, entities);
    const { entities: found, versions } = dataSet(data);
    const run: RunResult = { data: data.data, entities: found, versions, peers: {} };
    results.runs.push(run);
    options.log(`${versions.toLocaleString('en-US')} versions of ${found.toLocaleString('en-US')} entities`);
    const { reps, capMs, peersDirectory, log, phases } = options;
    const profiles = options.profile ? path.resolve(options.out, 'profiles') : undefined;
    const settings = { data: { ...data, entities: found }, versions, phases, reps, capMs, directory, peersDirectory, profiles, log };
    const peers = await Promise.all(options.peers.map((peer) => PeerRun.of(peer, settings)));
    for (let rep = 1; rep <= reps; rep++) {
      for (const peer of peers) {
        await peer.repeat();
        run.peers[peer.name] = peer.result();
        leave(options, results);
      }
    }
  }
}

async function dataSettings(options: BenchOptions, directory: string, entities: number): Promise<DataSettings> {
  const { data, versionsPer, seed, repo } = options;
  if (data === 'synthetic') return { data, entities, versionsPer, seed };
  if (repo === undefined) throw new Error('a git data set needs --repo');
  const file = path.join(directory, 'git-history.txt');
  options.log(`reading the history of ${repo}`);
  await extract(repo, file);
  return { data, entities, versionsPer, seed, file };
}

async function runHttp(options: BenchOptions, directory: string, results: Results): Promise<void> {
  const { reps, capMs, seed, peersDirectory, log, httpEntities: entities } = options;
  results.http = { entities, capSeconds: capMs / 1000, reps, kinds: {} };
  const settings = { entities, capMs, reps, seed, directory, peersDirectory, log };
  const kinds = HTTP_KINDS.filter((kind) => options.http.includes(kind)).map((kind) => new HttpKindRun(kind, settings));
  for (let rep = 1; rep <= reps; rep++) {
    log(`HTTP, run ${rep} of ${reps}`);
    await repeatHttp(kinds, settings);
    for (const run of kinds) results.http.kinds[run.kind] = run.result();
    leave(options, results);
  }
}

function leave({ out }: BenchOptions, results: Results): void {
  writeResults(path.join(out, FILES.results), results);
  writeReport(out, results);
}

/** Again from the results alone. */
export function writeReport(out: string, results: Results): void {
  writeFileSync(path.join(out, FILES.table), markdown(results));
  writeFileSync(path.join(out, FILES.chart), chart(comparisons(results), conditions(results)));
}
