/**
 * What a run leaves behind: one JSON file with every figure, and under which conditions it was taken. `format` grows when a reader
 * of older files would misread newer ones.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { HttpResult } from './http/result.js';
import type { Figures, Measured } from './job.js';
import { median, round } from './measure.js';
import { packageRoot, readManifest } from './packages.js';

export interface Results {
  readonly format: 1;
  readonly date: string;
  readonly command: string;
  readonly varve: string;
  /** Of the checkout it ran from; undefined where it was none. `+` at the end: with changes not committed. */
  readonly commit: string | undefined;
  readonly node: string;
  readonly machine: Machine;
  readonly settings: { readonly reps: number; readonly capSeconds: number; readonly seed: number };
  readonly runs: RunResult[];
  http?: HttpResult;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
  readonly system: string;
}

/** All peers over one data set of one size. */
export interface RunResult {
  readonly data: 'synthetic' | 'git';
  readonly entities: number;
  readonly versions: number;
  readonly peers: Record<string, PeerResult>;
}

export interface PeerResult {
  readonly title: string;
  readonly design: string;
  readonly durable: boolean;
  readonly durableNote?: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly entities: number;
  readonly reps: number;
  readonly diffHow: string;
  readonly equalHow?: string;
  readonly errors: readonly string[];
  readonly workloads: Measured;
}

export function newResults(command: string, settings: Results['settings']): Results {
  return {
    format: 1,
    date: new Date().toISOString(),
    command,
    varve: readManifest(packageRoot()).version ?? '?',
    commit: commit(),
    node: process.version,
    machine: {
      cpu: os.cpus()[0]?.model.trim() ?? '?',
      cores: os.cpus().length,
      memoryGB: Math.round(os.totalmem() / 2 ** 30),
      system: `${os.type()} ${os.release()} ${os.arch()}`,
    },
    settings,
    runs: [],
  };
}

function commit(): string | undefined {
  try {
    const git = (...args: string[]) => execFileSync('git', ['-C', packageRoot(), ...args], { encoding: 'utf8', stdio: 'pipe' }).trim();
    if (path.resolve(git('rev-parse', '--show-toplevel')) !== path.resolve(packageRoot())) return undefined;
    return git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+');
  } catch {
    return undefined;
  }
}

export function readResults(file: string): Results {
  const read = JSON.parse(readFileSync(file, 'utf8')) as Results;
  if (read.format !== 1) throw new Error(`${file} is of format ${String(read.format)}, not 1`);
  return read;
}

/** Whole or not at all: a run of an hour writes this after every peer. */
export function writeResults(file: string, results: Results): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.tmp`, `${JSON.stringify(results, undefined, 1)}\n`);
  renameSync(`${file}.tmp`, file);
}

/** Medians over repetitions, figure by figure; curves point by point. `spreadPercent` is of the first of MAIN a workload has. */
export function medians(reps: readonly Measured[]): Measured {
  const merged: Measured = {};
  for (const workload of new Set(reps.flatMap((rep) => Object.keys(rep)))) {
    const taken = reps.flatMap((rep) => (rep[workload] === undefined ? [] : [rep[workload]]));
    merged[workload] = mergeFigures(taken);
  }
  return merged;
}

const MAIN = ['perSecond', 'ms', 'seconds'];

function mergeFigures(taken: readonly Figures[]): Figures {
  const figures: Figures = {};
  for (const name of new Set(taken.flatMap((one) => Object.keys(one)))) {
    const values = taken.flatMap((one) => (one[name] === undefined ? [] : [one[name]]));
    if (values.every((value) => typeof value === 'number')) figures[name] = median(values);
    else if (values.every((value) => Array.isArray(value))) figures[name] = curve(values);
    else figures[name] = values[0]!;
  }
  const main = MAIN.find((name) => typeof figures[name] === 'number');
  if (main !== undefined && taken.length > 1) {
    const values = taken.map((one) => one[main]).filter((value) => typeof value === 'number');
    figures['reps'] = values;
    figures['spreadPercent'] = round(((Math.max(...values) - Math.min(...values)) / median(values)) * 100, 3);
  }
  return figures;
}

function curve(curves: readonly (readonly number[])[]): number[] {
  const length = Math.min(...curves.map((one) => one.length));
  return Array.from({ length }, (_, i) => median(curves.map((one) => one[i]!)));
}
