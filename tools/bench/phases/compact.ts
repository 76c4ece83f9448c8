/** Everything but the newest version of each entity goes. Last, for nothing can be asked of the past afterwards. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Measured } from '../job.js';
import { diskBytes, peakRssMB, round } from '../measure.js';
import type { Context } from './context.js';

export async function compact(context: Context): Promise<Measured> {
  const store = await context.open();
  if (store.compact === undefined) {
    await store.close();
    return {};
  }
  const into = path.join(context.job.directory, 'compacted');
  mkdirSync(into, { recursive: true });
  const bytesBefore = (await store.bytes?.()) ?? diskBytes(context.directory);
  const before = performance.now();
  const done = await store.compact(into);
  const seconds = (performance.now() - before) / 1000;
  const told = await store.bytes?.();
  await store.close();
  const bytesAfter = told ?? diskBytes(done.into ? into : context.directory);
  const peak = peakRssMB();
  return { compact: { seconds: round(seconds), bytesBefore, bytesAfter, ...(peak === undefined ? {} : { peakMB: peak }) } };
}
