/** The tree's files shrink to what the newest root reaches; hashes stay, and so does whoever reads meanwhile. */
import { describe, expect, it } from 'vitest';
import { compactTree, isTreeWorthCompacting, measureTree } from '../../engine/compaction/compact-tree.js';
import { Cancelled } from '../../engine/compaction/pace.js';
import { isVarveError } from '../../engine/errors.js';
import { keepEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { copyTree } from '../../engine/tree/tree-copy.js';
import { FILE_HEADER_BYTES, ROOT_FRAME_BYTES } from '../../engine/tree/tree-file.js';
import { check, contents, DIRECTORY, modelContents } from '../tree/support.js';
import { FORCED, HeldTree } from './tree-support.js';

const SEED = Number(process.env['SEED'] ?? 77);

const names = (machine: MemoryPlatform): string[] => machine.files.list(DIRECTORY);

/** As it is, and as a reopen finds it. */
async function isWhole(tree: HeldTree): Promise<void> {
  expect(contents(tree.store, tree.root!)).toEqual(modelContents(tree.model));
  expect(check(tree.store, tree.root!).problems).toEqual([]);
  const again = await HeldTree.open(tree.machine.clone());
  expect(again.store.findings).toEqual([]);
  expect([again.hash, again.seq]).toEqual([tree.hash, tree.seq]);
  expect(contents(again.store, again.root!)).toEqual(modelContents(tree.model));
  expect(check(again.store, again.root!).problems).toEqual([]);
  expect(names(again.machine)).toEqual(names(tree.machine));
}

describe('a compaction of the tree', () => {
  it('leaves what the newest root reaches, under the same hash, and no other file', async () => {
    const tree = await HeldTree.open();
    await tree.fold(30);
    const { hash } = tree;
    const { bytes, nodes } = check(tree.store, tree.root!);
    const before = tree.store.bytes;
    expect(before).toBeGreaterThan(2 * bytes);
    const done = await tree.compact();
    const files = names(tree.machine).length;
    expect(done).toEqual({ bytesBefore: before, bytesAfter: bytes + files * FILE_HEADER_BYTES + ROOT_FRAME_BYTES, nodes });
    expect(tree.hash).toBe(hash);
    expect(tree.store.bytes).toBe(done!.bytesAfter);
    expect(tree.store.roots().map(({ seq }) => seq)).toEqual([30]);
    await isWhole(tree);
    // Folds go on behind it, and so does the next compaction.
    await tree.fold(12);
    await isWhole(tree);
    expect(await tree.compact()).toBeDefined();
    await isWhole(tree);
  });

  // How many keys the fold after each copy writes; how many copies are made while folds go on, and while they wait.
  it.each([
    { folds: [90], free: 2, held: 0 },
    { folds: [3, 0], free: 2, held: 0 },
    { folds: [90, 0], free: 2, held: 0 },
    { folds: [90, 90, 90, 90, 90, 90, 90], free: 2, held: 1 },
    { folds: [45, 3], free: 3, held: 0 },
  ])('copies what folds add meanwhile, pass after pass, and holds up none but for the last where passes lead nowhere', async (expected) => {
    const tree = await HeldTree.open();
    await tree.fold(15);
    const copies = { free: 0, held: 0 };
    const copy = async (task: Parameters<typeof copyTree>[1]) => {
      const pass = await copyTree(tree.machine, task, () => Promise.resolve());
      const keys = expected.folds[copies.free + copies.held] ?? 0;
      copies[tree.isHeld ? 'held' : 'free']++;
      if (!tree.isHeld && keys > 0) await tree.fold(1, keys);
      return pass;
    };
    const done = await compactTree(tree.compacted, { copy }, tree.pace, FORCED);
    expect(copies).toEqual({ free: expected.free, held: expected.held });
    expect(done!.bytesAfter).toBe(tree.store.bytes);
    await isWhole(tree);
    await tree.fold(2);
    await isWhole(tree);
  });

  it('shrinks the empty tree to a root', async () => {
    const tree = await HeldTree.open();
    await tree.fold(3);
    const changes = [...tree.model.keys()].sort((a, b) => (a < b ? -1 : 1));
    tree.root = await tree.store.fold(
      tree.root,
      changes.map((key) => ({ key: Buffer.from(key, 'latin1'), value: undefined })),
      ++tree.seq,
      () => Promise.resolve(),
    );
    tree.model.clear();
    expect(tree.root.height).toBe(-1);
    expect(await tree.compact()).toMatchObject({ bytesAfter: FILE_HEADER_BYTES + ROOT_FRAME_BYTES, nodes: 0 });
    await isWhole(tree);
    await tree.fold(3);
    await isWhole(tree);
  });

  it('keeps the old files until those who read them have let go', async () => {
    const tree = await HeldTree.open();
    await tree.fold(20);
    const old = tree.root!;
    const before = contents(tree.store, old);
    const files = names(tree.machine);
    const [first, second] = [tree.store.hold(), tree.store.hold()];
    await tree.compact();
    expect(names(tree.machine)).toEqual(expect.arrayContaining(files));
    expect(contents(tree.store, old)).toEqual(before);
    await tree.fold(3);
    first();
    expect(names(tree.machine)).toEqual(expect.arrayContaining(files));
    // Whoever begins after the change is in nobody's way.
    const later = tree.store.hold();
    second();
    expect(names(tree.machine).filter((name) => files.includes(name))).toEqual([]);
    later();
    await isWhole(tree);
  });

  it('is given up by who cancels it: the old files stand, the new ones are gone', async () => {
    const tree = await HeldTree.open();
    await tree.fold(12, 600);
    const [before, bytes] = [names(tree.machine), tree.store.bytes];
    const compacting = tree.compact();
    tree.pace.cancel();
    await expect(compacting).rejects.toThrow(Cancelled);
    expect(names(tree.machine)).toEqual(before);
    expect(tree.store.bytes).toBe(bytes);
    await tree.fold(2, 600);
    await isWhole(tree);
  });

  it('ends where the tree was thrown away meanwhile, without a trace', async () => {
    const tree = await HeldTree.open();
    await tree.fold(12, 600);
    const compacting = tree.compact();
    await tree.exclusively(async () => {
      await tree.store.removeAll();
      tree.root = undefined;
    });
    expect(await compacting).toBeUndefined();
    expect(names(tree.machine)).toEqual([]);
  });

  it('tells a bad node and leaves everything as it is', async () => {
    const tree = await HeldTree.open();
    await tree.fold(12, 600);
    const { file, offset } = tree.root!;
    const path = `${DIRECTORY}/${String(file).padStart(6, '0')}.tree`;
    tree.store.close();
    const bytes = Buffer.from(tree.machine.contents(path));
    bytes[offset + 40]! ^= 1;
    tree.machine.store(path, bytes);
    const again = await HeldTree.open(tree.machine);
    const before = names(tree.machine);
    const failure = await again.compact({ deadShare: 0, deadBytes: 0, force: false }).catch((error: unknown) => error);
    expect(isVarveError(failure, 'CORRUPT')).toBe(true);
    expect(names(tree.machine)).toEqual(before);
  });

  it('goes by share and by bytes, and leaves what would gain little', () => {
    const MB = 1e6;
    const worth = (bytes: number, deadBytes: number, more = {}) =>
      isTreeWorthCompacting({ bytes, deadBytes }, { deadShare: 0.3, deadBytes: Number.POSITIVE_INFINITY, force: false, ...more });
    expect([worth(100 * MB, 31 * MB), worth(100 * MB, 29 * MB)]).toEqual([true, false]);
    expect([worth(1000 * MB, 99 * MB, { deadBytes: 100 * MB }), worth(1000 * MB, 100 * MB, { deadBytes: 100 * MB })]).toEqual([
      false,
      true,
    ]);
    expect(worth(1 * MB, 0.9 * MB)).toBe(false);
    expect([worth(20_000, 5000, { force: true }), worth(20_000, 1000, { force: true }), worth(0, 0, { force: true })]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('measures what is dead by the inner nodes alone', async () => {
    const tree = await HeldTree.open();
    await tree.fold(20);
    const { bytes } = check(tree.store, tree.root!);
    expect(await measureTree(tree.compacted)).toEqual({ bytes: tree.store.bytes, deadBytes: tree.store.bytes - bytes });
  });
});

/** Several files for little. */
const OPTIONS = { fileBytes: 4096 };

describe('a power cut in a compaction of the tree', () => {
  it('leaves the old or the new at every change to the disk, and no file too many', { timeout: 120_000 }, async () => {
    const before = await HeldTree.open(new MemoryPlatform({ seed: SEED }), OPTIONS);
    await before.fold(8, 45);
    before.store.close();
    const whole = await HeldTree.open(before.machine.clone({ trace: true }), OPTIONS);
    const from = whole.machine.ops;
    const work = async (tree: HeldTree) => {
      // Into files that the copy must leave alone, and into those that it makes.
      const compacting = tree.compact();
      const folded = tree.fold(2, 45);
      const [done] = await Promise.allSettled([compacting, folded]);
      if (done.status === 'rejected') throw done.reason;
      await folded;
      await tree.fold(1, 45);
    };
    await work(whole);
    const moments = whole.machine.trace.flatMap((operation, index) => (index >= from && isMutation(operation) ? [index] : []));
    expect(moments.length).toBeGreaterThan(20);
    const [old, shrunk] = [names(before.machine), names(whole.machine)];
    const found = { old: 0, shrunk: 0 };
    for (const index of moments) {
      for (let way = 0; way < 3; way++) {
        const where = `SEED=${SEED}: cut before operation ${index}, way ${way}`;
        const cut = await HeldTree.open(before.machine.clone(), OPTIONS);
        cut.machine.crashAt(index);
        await work(cut).catch(() => undefined);
        const after =
          way === 0
            ? cut.machine.killProcess()
            : cut.machine.crash(way === 1 ? keepEverything : randomChooser(SEED + index * 31 + way), { tear: [1, 511] });
        // What opening deletes must not be gone before what stands in its place is durable.
        if (way === 0 && whole.machine.trace[index]!.kind === 'syncDirectory') await isWholeAfterCutsIn(after, where);
        const again = await HeldTree.open(after, OPTIONS);
        expect(
          again.store.findings.filter(({ kind }) => kind === 'damaged'),
          where,
        ).toEqual([]);
        expect(again.seq, where).toBeGreaterThanOrEqual(8);
        expect(check(again.store, again.root!).problems, where).toEqual([]);
        const model = await modelThrough(again.seq);
        expect(contents(again.store, again.root!), where).toEqual(modelContents(model));
        // Of old and new, one set of files: a fold's own may have come to either.
        const left = names(again.machine);
        expect(
          left.some((name) => name.endsWith('.tmp')),
          where,
        ).toBe(false);
        if (left.includes(old[0]!)) {
          found.old++;
          expect(left.slice(0, old.length), where).toEqual(old);
        } else {
          found.shrunk++;
          expect(
            left.filter((name) => old.includes(name)),
            where,
          ).toEqual([]);
          expect(left.length, where).toBeLessThanOrEqual(shrunk.length);
        }
        // And the next one brings it to the same end.
        if (way > 0) continue;
        await again.fold(1, 45);
        await again.compact();
        expect(check(again.store, again.root!).problems, where).toEqual([]);
      }
    }
    expect(found.old).toBeGreaterThan(10);
    expect(found.shrunk).toBeGreaterThan(10);
  });
});

/** The power goes while a machine opens that was only killed: names may not be durable yet. */
async function isWholeAfterCutsIn(killed: MemoryPlatform, where: string): Promise<void> {
  for (let operation = 0; operation < 60; operation++) {
    const opening = killed.clone();
    opening.crashAt(opening.ops + operation);
    await HeldTree.open(opening, OPTIONS).catch(() => undefined);
    if (!opening.halted) return;
    const again = await HeldTree.open(opening.crash(randomChooser(SEED + operation)), OPTIONS);
    expect(again.seq, where).toBeGreaterThanOrEqual(8);
    expect(check(again.store, again.root!).problems, `${where}, then ${operation} of opening`).toEqual([]);
  }
}

const models = new Map<number, HeldTree['model']>();

async function modelThrough(seq: number): Promise<HeldTree['model']> {
  if (!models.has(seq)) {
    const tree = await HeldTree.open();
    await tree.fold(seq, 45);
    models.set(seq, tree.model);
  }
  return models.get(seq)!;
}
