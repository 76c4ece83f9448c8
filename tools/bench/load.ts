/** What the benchmarks of folding write: keys, bodies of about 240 bytes, and the same numbers from the same seed. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonValue } from '../../engine/index.js';

/** 32-bit unsigned integers from a seed (mulberry32). */
export function randomInts(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Neighbours in number are far apart in order. */
export function keyOf(entity: number): string {
  return `entity-${(Math.imul(entity, 0x9e3779b1) >>> 0).toString(36).padStart(7, '0')}-${entity.toString(36)}`;
}

const FILLER = 'sediment settles in the still water of a lake, a layer a year, and whoever counts them knows when; '.repeat(2);

export function bodyAt(n: number): JsonValue {
  return {
    active: n % 3 === 0,
    count: n % 1000,
    id: n,
    name: `name ${n % 9973}`,
    tags: ['a', `t${n % 7}`],
    text: FILLER.slice(n % 40, (n % 40) + 140),
  };
}

/** Of all values, sorted here; milliseconds with one decimal. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return Math.round(value * 100) / 100;
}

export function directoryBytes(directory: string): number {
  let sum = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    sum += entry.isDirectory() ? directoryBytes(path) : statSync(path).size;
  }
  return sum;
}

/** Processor time so far, milliseconds: of the main thread where the system tells (Linux), and of the whole process. */
export function processorMs(): { readonly main: number; readonly all: number } {
  const { user, system } = process.cpuUsage();
  return { main: mainThreadMs(), all: (user + system) / 1000 };
}

function mainThreadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return Number.NaN;
  }
}
