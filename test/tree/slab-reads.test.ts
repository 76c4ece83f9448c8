/** Reads of many neighbours at once: the same bytes as reads of each alone, whatever the order, and whatever lies between. */
import { describe, expect, it } from 'vitest';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { SlabReads } from '../../engine/tree/slab-reads.js';
import { TreeFiles } from '../../engine/tree/tree-files.js';
import { DATABASE_ID, DIRECTORY, fold, openStore, run, SMALL, versionKey } from './support.js';

const SEED = Number(process.env['SEED'] ?? 77);
const LARGE = 32 * 1024;

async function filled(): Promise<{ machine: MemoryPlatform; files: TreeFiles; ends: Map<number, number> }> {
  const machine = new MemoryPlatform();
  const store = await openStore({ machine, fileBytes: 60_000 });
  let root: Parameters<typeof fold>[1];
  for (let round = 0; round < 3; round++) {
    const versions = Array.from({ length: 700 }, (_, i) => [versionKey(`k${i * 3 + round}`, round * 10_000 + i + 1), i] as const);
    root = await fold(store, root, run(versions), round + 1);
  }
  store.close();
  const files = new TreeFiles(machine.files, DIRECTORY, { databaseId: DATABASE_ID, shard: 1, targetBytes: SMALL });
  files.prepare();
  return { machine, files, ends: new Map(files.numbers.map((number) => [number, files.file(number).size()])) };
}

describe('reads in slabs', () => {
  it('answer what a read alone does, in order, out of order, over ends of files and beyond them', async () => {
    const { machine, files, ends } = await filled();
    expect(ends.size).toBeGreaterThan(2);
    const random = new SeededRandom(SEED);
    const slabs = new SlabReads(files);
    const before = machine.ops;
    let reads = 0;
    const numbers = [...ends.keys()];
    for (const [file, end] of ends) {
      for (let offset = 64; offset < end + 2000; reads++) {
        const number = random.below(20) === 0 ? numbers[random.below(numbers.length)]! : file;
        const length = 1 + random.below(800);
        expect(slabs.read(number, offset, length), `SEED=${SEED} ${number}:${offset}`).toEqual(files.read(number, offset, length));
        const back = random.below(20) === 0 ? random.below(Math.min(offset, 5000)) : 0;
        offset += back > 0 ? -back : length + random.below(300);
      }
    }
    // Each was read once alone, to compare.
    expect(machine.ops - before - reads).toBeLessThan(reads / 2);
  });

  it('bring many at a time where a walk goes through several files by turns', async () => {
    const { machine, files, ends } = await filled();
    const slabs = new SlabReads(files);
    const before = machine.ops;
    const places = [...ends.keys()].slice(0, 3).map((file) => ({ file, offset: 64 }));
    for (let i = 0; i < 300; i++) {
      const place = places[i % places.length]!;
      expect(slabs.read(place.file, place.offset, 150)).toHaveLength(150);
      place.offset += 150;
    }
    expect(machine.ops - before).toBeLessThan(20);
  });

  it('do not fail for what nobody asked for', async () => {
    const { machine, files, ends } = await filled();
    const slabs = new SlabReads(files);
    const [[number] = [0]] = ends;
    machine.faults.failWhen(
      ({ kind, length }) => kind === 'read' && length >= LARGE,
      { kind: 'error', code: 'EIO' },
      { times: Number.POSITIVE_INFINITY },
    );
    for (let offset = 64; offset < 20_000; offset += 400)
      expect(slabs.read(number, offset, 400), `${offset}`).toEqual(files.read(number, offset, 400));
  });
});
