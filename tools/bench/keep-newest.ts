/**
 * A million versions of which everything but the newest of each entity goes: how long that takes, what is left beside a fresh load of
 * just those, and how much room it needs meanwhile. Varve and the peers that give space back, in one run.
 *
 *   node dist/tools/bench/keep-newest.js [--versions 1000000] [--versions-per 5] [--peers varve,sqlite,lmdb,level] [--reps 1]
 *                                        [--dir DIR] [--out FILE.json] [--profiles DIR]
 *
 * Each peer has processes of its own, for loading, for giving back, and for the fresh load; the files are measured once closed, and
 * from here, by size, while space is given back, so that a store that blocks its own thread is seen too. Build first: Varve's threads
 * run from compiled files only.
 */
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { KeepNewestAnswer, KeepNewestStep } from './keep-newest-process.js';
import { diskBytes, median, round } from './measure.js';
import { defaultPeersDirectory } from './packages.js';
import { processFile } from './runner.js';

export interface KeepNewestResult {
  readonly seconds: number;
  /** Of all its threads: tells more than the clock on a busy machine. */
  readonly cpuSeconds: number;
  readonly bytesBefore: number;
  /** The most there was at once beyond what was there before. */
  readonly extraBytes: number;
  readonly bytesAfter: number;
  /** Of a store that was given the newest versions and nothing else. */
  readonly freshBytes: number;
  readonly afterOverFresh: number;
  readonly peakRssMB: number | undefined;
}

export interface KeepNewestOptions {
  readonly versions: number;
  readonly versionsPer: number;
  /** Emptied before and after. */
  readonly directory: string;
  readonly peersDirectory: string | undefined;
  readonly profiles?: string | undefined;
}

const SAMPLE_MS = 10;

/** Throws where a step fails, a wrong answer after it included. */
export async function keepNewest(peer: string, options: KeepNewestOptions): Promise<KeepNewestResult> {
  const { directory } = options;
  const data = path.join(directory, 'data');
  const into = path.join(directory, 'into');
  const fresh = path.join(directory, 'fresh');
  rmSync(directory, { recursive: true, force: true });
  for (const one of [data, into, fresh]) mkdirSync(one, { recursive: true });
  try {
    await step('load', peer, options, { data, into });
    const bytesBefore = diskBytes(data);
    let most = bytesBefore;
    const sampling = setInterval(() => (most = Math.max(most, bytesNow(data) + bytesNow(into))), SAMPLE_MS);
    const done = await step('give-back', peer, options, { data, into }).finally(() => clearInterval(sampling));
    const bytesAfter = diskBytes(done.into ? into : data);
    await step('fresh', peer, options, { data: fresh, into });
    const freshBytes = diskBytes(fresh);
    return {
      seconds: round(done.seconds),
      cpuSeconds: round(done.cpuSeconds),
      bytesBefore,
      extraBytes: most - bytesBefore,
      bytesAfter,
      freshBytes,
      afterOverFresh: round(bytesAfter / freshBytes, 3),
      peakRssMB: done.peakRssMB,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

type Done = Extract<KeepNewestAnswer, { readonly seconds: number }>;

function step(
  name: KeepNewestStep['step'],
  peer: string,
  { versions, versionsPer, peersDirectory, profiles }: KeepNewestOptions,
  { data, into }: { readonly data: string; readonly into: string },
): Promise<Done> {
  const request: KeepNewestStep = { step: name, peer, versions, versionsPer, data, into, peersDirectory };
  const { file, flags } = processFile('keep-newest-process');
  const profiling = profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
  const child = fork(file, [JSON.stringify(request)], { execArgv: [...flags, ...profiling], stdio: ['ignore', 2, 2, 'ipc'] });
  return new Promise((resolve, reject) => {
    let answer: KeepNewestAnswer | undefined;
    child.on('message', (message) => (answer = message as KeepNewestAnswer));
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (answer === undefined) reject(new Error(`${peer}: the process of '${name}' ended with ${code ?? signal} and no answer`));
      else if ('error' in answer) reject(new Error(`${peer}: ${name}: ${answer.error}`));
      else resolve(answer);
    });
  });
}

/** Files come and go while they are counted. */
function bytesNow(directory: string): number {
  try {
    return existsSync(directory) ? diskBytes(directory) : 0;
  } catch {
    return 0;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      versions: { type: 'string', default: '1000000' },
      'versions-per': { type: 'string', default: '5' },
      peers: { type: 'string', default: 'varve,sqlite,lmdb,level' },
      reps: { type: 'string', default: '1' },
      dir: { type: 'string' },
      out: { type: 'string' },
      profiles: { type: 'string' },
    },
  });
  const root = mkdtempSync(path.join(values.dir ?? tmpdir(), 'varve-keep-newest-'));
  const runs = new Map<string, KeepNewestResult[]>();
  try {
    for (let rep = 0; rep < Number(values.reps); rep++) {
      for (const peer of values.peers.split(',')) {
        const result = await keepNewest(peer, {
          versions: Number(values.versions),
          versionsPer: Number(values['versions-per']),
          directory: path.join(root, peer),
          peersDirectory: defaultPeersDirectory(),
          profiles: values.profiles,
        });
        runs.set(peer, [...(runs.get(peer) ?? []), result]);
        process.stdout.write(`${described(peer, result)}\n`);
      }
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const medians = new Map([...runs].map(([peer, results]) => [peer, middle(results)]));
  for (const [peer, result] of medians) process.stdout.write(`median ${described(peer, result)}\n`);
  if (values.out !== undefined) {
    const result = { node: process.version, versions: Number(values.versions), runs: Object.fromEntries(runs) };
    writeFileSync(values.out, `${JSON.stringify(result, undefined, 2)}\n`);
  }
}

/** The run whose time is the median. */
function middle(results: readonly KeepNewestResult[]): KeepNewestResult {
  const seconds = median(results.map((result) => result.seconds));
  return results.find((result) => result.seconds === seconds)!;
}

function described(
  peer: string,
  { seconds, cpuSeconds, bytesBefore, bytesAfter, freshBytes, afterOverFresh, extraBytes }: KeepNewestResult,
): string {
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
  return `${peer.padEnd(8)} ${seconds} s (processor ${cpuSeconds}), ${mb(bytesBefore)} -> ${mb(bytesAfter)} MB (fresh ${mb(freshBytes)}, ${afterOverFresh}×), at most ${mb(extraBytes)} MB more meanwhile`;
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
