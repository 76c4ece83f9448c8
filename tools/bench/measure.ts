/**
 * Timing loops and what Linux tells about a process. Latencies are kept whole and sorted at the end; a loop ends at its count
 * or its time, whichever comes first.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

export interface Latencies {
  readonly ops: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export interface Limits {
  readonly maxOps: number;
  readonly maxMs: number;
  /** Clients, each with one call in flight. */
  readonly clients?: number;
}

/** Four digits are more than these measurements are good for. */
export function round(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function latencies(ms: readonly number[], wallMs: number): Latencies {
  const sorted = Float64Array.from(ms).sort();
  return {
    ops: ms.length,
    perSecond: round((ms.length / wallMs) * 1000),
    p50Us: round(percentile(sorted, 0.5) * 1000),
    p99Us: round(percentile(sorted, 0.99) * 1000),
    maxUs: round((sorted.at(-1) ?? Number.NaN) * 1000),
  };
}

export async function timed(operation: () => unknown, { maxOps, maxMs, clients = 1 }: Limits): Promise<Latencies> {
  const times: number[] = [];
  const started = performance.now();
  const end = started + maxMs;
  let begun = 0;
  const client = async () => {
    for (let before = performance.now(); begun < maxOps && before < end; ) {
      begun++;
      const answer = operation();
      // A store that answers at once is not made to wait for a turn of the loop.
      if (answer instanceof Promise || isThenable(answer)) await answer;
      const after = performance.now();
      times.push(after - before);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return latencies(times, performance.now() - started);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Of this process so far; undefined where there is no /proc. */
export function peakRssMB(pid: number | 'self' = 'self'): number | undefined {
  const kib = /VmHWM:\s+(\d+)/.exec(readProc(`${pid}/status`))?.[1];
  return kib === undefined ? undefined : round(Number(kib) / 1024);
}

/** Bytes a process and its living children made the kernel write (dirtied pages of files included). */
export function writtenBytes(pid: number | 'self' = 'self'): number | undefined {
  const own = /^write_bytes: (\d+)/m.exec(readProc(`${pid}/io`))?.[1];
  return own === undefined ? undefined : children(pid).reduce((sum, child) => sum + (writtenBytes(child) ?? 0), Number(own));
}

/** Of a process and its children, what they share counted once. */
export function sharedRssMB(pid: number): number {
  const kib = [pid, ...children(pid)].map((one) => Number(/^Pss:\s+(\d+)/m.exec(readProc(`${one}/smaps_rollup`))?.[1] ?? 0));
  return round(kib.reduce((a, b) => a + b, 0) / 1024);
}

function children(pid: number | 'self'): number[] {
  const of = pid === 'self' ? process.pid : pid;
  return readProc(`${of}/task/${of}/children`).split(' ').filter(Boolean).map(Number);
}

function readProc(file: string): string {
  try {
    return readFileSync(`/proc/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** Sparse files count as what they occupy. */
export function diskBytes(directory: string): number {
  let sum = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const name = path.join(directory, entry.name);
    if (entry.isDirectory()) sum += diskBytes(name);
    else if (entry.isFile()) {
      const { size, blocks } = statSync(name);
      sum += Math.min(size, blocks * 512 || size);
    }
  }
  return sum;
}
