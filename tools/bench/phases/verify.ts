/** Two copies: are they equal, and where ten entities were changed, which ones? */
import { cpSync, rmSync } from 'node:fs';
import type { Store } from '../adapter.js';
import { picker } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { round } from '../measure.js';
import { type Context, copyDirectory, EXTRA, expect } from './context.js';

const CHANGES = 10;

export async function verify(context: Context): Promise<Measured> {
  const { set, job } = context;
  const pick = picker(job.data.seed + 5);
  const entities = new Set<number>();
  while (entities.size < Math.min(CHANGES, set.entities)) entities.add(pick(set.entities));
  const changes = [...entities].map((entity, i) => set.extra(entity, EXTRA.verify + i));

  let store = await context.open();
  if (store.makeCopy !== undefined) {
    await store.makeCopy(changes);
    const measured = { diff: await differing(store, store, changes) };
    await store.dropCopy?.();
    await store.close();
    return measured;
  }
  await store.beforeCopy?.();
  await store.close();
  const copy = copyDirectory(context);
  rmSync(copy, { recursive: true, force: true });
  cpSync(context.directory, copy, { recursive: true });
  store = await context.open();
  const other = await context.open(copy);
  try {
    const measured: Record<string, Figures> = {};
    if (store.equal !== undefined) measured['equal'] = await equal(store, other);
    for (const change of changes) await other.put(change);
    if (store.equal !== undefined) expect(!(await store.equal(other)), 'equal, of a changed copy');
    measured['diff'] = await differing(store, other, changes);
    return measured;
  } finally {
    await store.close();
    await other.close();
    rmSync(copy, { recursive: true, force: true });
  }
}

async function equal(store: Store, other: Store): Promise<Figures> {
  const before = performance.now();
  const same = await store.equal?.(other);
  const ms = performance.now() - before;
  expect(same === true, 'equal, of an unchanged copy');
  return { ms: round(ms) };
}

async function differing(store: Store, other: Store, changes: readonly { key: string }[]): Promise<Figures> {
  const want = changes
    .map(({ key }) => key)
    .sort()
    .join();
  const times: number[] = [];
  for (let i = 0; i < 2; i++) {
    const before = performance.now();
    const keys = [...(await store.diff(other))];
    times.push(performance.now() - before);
    expect(keys.sort().join() === want, `keys that differ (${keys.length} found)`);
  }
  return { ms: round(times[0]!), secondMs: round(times[1]!), found: changes.length };
}
