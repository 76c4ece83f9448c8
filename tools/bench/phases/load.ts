/**
 * The whole data set in batches of 1000, each durable before the next. Records are made outside the measured time. Tells also
 * what the load cost in memory, in bytes written and in bytes kept.
 */
import { mkdirSync } from 'node:fs';
import type { Store } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { diskBytes, latencies, peakRssMB, round, writtenBytes } from '../measure.js';
import type { Context } from './context.js';

const BATCH = 1000;

export async function load(context: Context): Promise<Measured> {
  const { set, directory, job } = context;
  mkdirSync(directory, { recursive: true });
  const baseRssMB = peakRssMB();
  const writtenBefore = writtenBytes() ?? 0;
  const store = await context.open();
  const times: number[] = [];
  let userBytes = 0;
  for (let from = 0; from < set.versions; from += BATCH) {
    const records: BenchRecord[] = [];
    for (let version = from; version < Math.min(set.versions, from + BATCH); version++) records.push(set.record(version));
    for (const { key, body } of records) userBytes += Buffer.byteLength(key) + Buffer.byteLength(JSON.stringify(body));
    const before = performance.now();
    await store.putBatch(records);
    times.push(performance.now() - before);
  }
  const closing = performance.now();
  await store.close();
  const closeMs = performance.now() - closing;
  const written = (writtenBytes() ?? 0) - writtenBefore;
  const peak = peakRssMB();
  return {
    load: { ...rates(times, set.versions), closeMs: round(closeMs), userBytes, capMs: job.capMs },
    memory: baseRssMB === undefined || peak === undefined ? {} : { loadBaseMB: baseRssMB, loadPeakMB: peak },
    written: writtenBytes() === undefined ? {} : { processBytes: written },
    disk: { bytes: await keptBytes(context), userBytes, versions: set.versions },
  };
}

function rates(times: readonly number[], versions: number): Figures {
  const ms = times.reduce((a, b) => a + b, 0);
  const batch = latencies(times, ms);
  const tenths: number[] = [];
  for (let tenth = 0; tenth < 10; tenth++) {
    const part = times.slice(Math.floor((times.length * tenth) / 10), Math.floor((times.length * (tenth + 1)) / 10));
    if (part.length > 0) tenths.push(round((part.length * BATCH * 1000) / part.reduce((a, b) => a + b, 0)));
  }
  return {
    versions,
    perSecond: round((versions / ms) * 1000),
    lastTenthPerSecond: tenths.at(-1) ?? 0,
    batchP50Ms: round(batch.p50Us / 1000),
    batchP99Ms: round(batch.p99Us / 1000),
    tenths,
  };
}

/** After a close; a server is asked while it runs. */
async function keptBytes(context: Context): Promise<number> {
  const store: Store = await context.open();
  await store.afterLoad?.();
  const told = await store.bytes?.();
  await store.close();
  return told ?? diskBytes(context.directory);
}
