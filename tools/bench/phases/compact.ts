/** Everything but the newest version of each entity goes. Last, for nothing can be asked of the past afterwards. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Store } from '../adapter.js';
import { picker } from '../data/index.js';
import type { Measured } from '../job.js';
import { diskBytes, peakRssMB, round } from '../measure.js';
import { type Context, expect } from './context.js';

const CHECKED = 100;

export async function compact(context: Context): Promise<Measured> {
  const store = await context.open();
  if (store.compact === undefined) {
    await store.close();
    return {};
  }
  const into = path.join(context.job.directory, 'compacted');
  mkdirSync(into, { recursive: true });
  const newest = await someNewest(context, store);
  const bytesBefore = (await store.bytes?.()) ?? diskBytes(context.directory);
  const before = performance.now();
  const done = await store.compact(into);
  const seconds = (performance.now() - before) / 1000;
  if (!done.into) expect(isDeepStrictEqual(await someNewest(context, store), newest), 'newest versions after compacting');
  const told = await store.bytes?.();
  await store.close();
  const bytesAfter = told ?? diskBytes(done.into ? into : context.directory);
  const peak = peakRssMB();
  return { compact: { seconds: round(seconds), bytesBefore, bytesAfter, ...(peak === undefined ? {} : { peakMB: peak }) } };
}

async function someNewest({ set, job }: Context, store: Store): Promise<unknown[]> {
  const pick = picker(job.data.seed + 61);
  const found: unknown[] = [];
  for (let i = 0; i < CHECKED; i++) found.push((await store.newest(set.keyOf(pick(set.entities))))?.body);
  expect(!found.includes(undefined), 'newest before compacting');
  return found;
}
