/** Any file of a data directory, mangled: the database opens or says why not, and gives what was written or a typed error. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { type Database, openWith, VarveError } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { mutated } from './mutations.js';
import type { Target } from './target.js';

const KEYS = 30;

async function sample(): Promise<MemoryPlatform> {
  const platform = new MemoryPlatform({ seed: 1, autoAdvanceMicros: 10 });
  const db = await openWith(platform, { segmentBytes: 4096 });
  for (let n = 0; n < 2 * KEYS; n++) {
    await db.put('c', `k${n % KEYS}`, { n, text: 'x'.repeat(n * 3) });
    if (n !== KEYS) continue;
    await db.checkpoint();
    // Half of the log is packed.
    await db.jobEnded(db.compact({ force: true }).id);
  }
  await db.delete('c', 'k0');
  await db.close();
  return platform.killProcess();
}

/** What is there, exactly; `undefined` where that is refused with a code. */
async function attempt<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof VarveError) return undefined;
    throw error;
  }
}

async function look(db: Database, mangled: boolean): Promise<void> {
  for (let n = 0; n < KEYS; n++) {
    const history = await attempt(() => db.now().history('c', `k${n}`).records);
    for (const record of history ?? []) {
      const body = await attempt(() => (record.deleted ? undefined : record.body));
      if (record.deleted || body === undefined) continue;
      const { n: number, text } = body as { n: number; text: string };
      expect(number % KEYS).toBe(n);
      expect(text).toBe('x'.repeat(number * 3));
    }
    if (!mangled) expect(history?.length).toBe(n === 0 ? 3 : 2);
  }
  await attempt(() => db.now().list('c', { limit: 1000 }));
  await attempt(() => db.collections());
  await attempt(() => db.root(1));
  await attempt(() => db.put('c', 'after', 1));
}

export const files: Target = {
  name: 'files',
  about: 'whole data directories with one mangled file',
  async open() {
    const machine = await sample();
    const list = machine
      .fileList()
      .filter(({ path }) => !path.endsWith('.sqlite'))
      .map(({ path }) => ({ path, bytes: machine.contents(path) }));
    const inputs = fc.nat(list.length - 1).chain((which) => fc.tuple(fc.constant(which), mutated([list[which]!.bytes])));
    const property = fc.asyncProperty(inputs, async ([which, bytes]) => {
      const { path, bytes: before } = list[which]!;
      const broken = machine.clone();
      broken.store(path, bytes);
      const db = await attempt(() => openWith(broken));
      if (db === undefined) return;
      await look(db, !bytes.equals(before));
      await attempt(() => db.close());
    });
    return { property: property as never, close: async () => {} };
  },
};
