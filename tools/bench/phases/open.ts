/**
 * From a closed store, and from one whose process was killed, to the first answer. The page cache is warm; nothing else is:
 * this process has opened no store before. Its modules are loaded, for every store alike.
 */
import { isDeepStrictEqual } from 'node:util';
import { type BenchRecord, picker } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { peakRssMB, round } from '../measure.js';
import { type Context, EXTRA, expect } from './context.js';

/** Left behind by the crash, in batches of BATCH and then one by one. */
const MOST_BATCHES = 20;
const BATCH = 1000;
const SINGLES = 50;

export async function openClean(context: Context): Promise<Measured> {
  const { set } = context;
  const entity = Math.floor(set.entities * 0.37);
  return { open: await opened(context, set.keyOf(entity), undefined) };
}

/** Writes and dies without a word to the store. The answer must have left the process before. */
export async function crash(context: Context): Promise<Measured> {
  const store = await context.open();
  const records = crashRecords(context);
  const singles = records.splice(-SINGLES);
  for (let from = 0; from < records.length; from += BATCH) await store.putBatch(records.slice(from, from + BATCH));
  for (const record of singles) await store.put(record);
  return {};
}

export async function openAfterCrash(context: Context): Promise<Measured> {
  const last = crashRecords(context).at(-1)!;
  return { openAfterCrash: await opened(context, last.key, last) };
}

function crashRecords({ set, job }: Context): BenchRecord[] {
  const pick = picker(job.data.seed + 31);
  const batches = Math.max(1, Math.min(MOST_BATCHES, Math.floor(set.versions / BATCH / 5)));
  return Array.from({ length: batches * BATCH + SINGLES }, (_, nth) => set.extra(pick(set.entities), EXTRA.crash + nth));
}

async function opened(context: Context, key: string, wanted: BenchRecord | undefined): Promise<Figures> {
  performance.now(); // Node loads its clock at the first call, which is nobody's opening
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  const store = await context.open();
  const found = await store.newest(key);
  const after = performance.now();
  const cpu = process.cpuUsage(cpuBefore);
  expect(found !== undefined && (wanted === undefined || isDeepStrictEqual(found.body, wanted.body)), `newest of ${key} after opening`);
  const peak = peakRssMB();
  await store.close();
  return {
    ms: round(after - before),
    cpuMs: round((cpu.user + cpu.system) / 1000),
    spawnToAnswerMs: round(performance.timeOrigin + after - context.job.spawnedAt),
    ...(peak === undefined ? {} : { peakMB: peak }),
  };
}
