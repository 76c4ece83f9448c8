/** Tree files: what is there after closing, crashing, failing and rotting. */
import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { keepEverything, loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { NodeCache, type TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { check, contents, DIRECTORY, fold, hexOf, openStore, run, versionKey } from './support.js';

const SEED = Number(process.env['SEED'] ?? 4242);

function batch(round: number, size = 60): ReturnType<typeof run> {
  return run(Array.from({ length: size }, (_, i) => [versionKey(`k${(i * 17 + round * 5) % 90}`, round * 1000 + i + 1), i + round]));
}

async function folds(store: TreeStore, rounds: number): Promise<TreeRoot[]> {
  const roots: TreeRoot[] = [];
  for (let round = 0; round < rounds; round++) roots.push(await fold(store, roots.at(-1), batch(round), round + 1));
  return roots;
}

const seqs = (store: TreeStore, limit?: number): number[] => store.roots(limit).map((found) => found.seq);

describe('tree files', () => {
  it('give back every root after a reopen, newest first', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    expect(store.roots()).toEqual([]);
    const roots = await folds(store, 5);
    const before = roots.map((root) => contents(store, root));
    store.close();
    const again = await openStore({ machine });
    expect(again.findings).toEqual([]);
    expect(seqs(again)).toEqual([5, 4, 3, 2, 1]);
    expect(seqs(again, 2)).toEqual([5, 4]);
    for (const { seq, root } of again.roots()) {
      expect(root).toEqual(roots[seq - 1]);
      expect(contents(again, root)).toEqual(before[seq - 1]);
    }
    expect(machine.fileList().map((file) => file.path)).toEqual([`${DIRECTORY}/000001.tree`]);
  });

  it('rotate by size, also within a fold, and go on in the newest', async () => {
    const machine = new MemoryPlatform();
    let store = await openStore({ machine, fileBytes: 4096 });
    const roots = await folds(store, 4);
    const files = machine.fileList();
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) expect(file.size).toBeLessThan(4096 + 2000);
    expect(store.bytes).toBe(files.reduce((sum, file) => sum + file.size, 0));
    store.close();
    store = await openStore({ machine, fileBytes: 4096 });
    expect(seqs(store)).toEqual([4, 3, 2, 1]);
    for (const root of roots) expect(check(store, root).problems).toEqual([]);
    await fold(store, roots.at(-1), batch(9), 5);
    expect(seqs(store)).toEqual([5, 4, 3, 2, 1]);
    expect(store.findings).toEqual([]);
  });

  it('that end in a torn fold are left alone: a new file is begun', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    const [first, second] = await folds(store, 2);
    store.close();
    const path = `${DIRECTORY}/000001.tree`;
    const whole = machine.contents(path);
    const reach = check(store, first!).bytes;
    expect(reach).toBeGreaterThan(0);
    for (let cut = whole.length - 1; cut > 0; cut -= 97) {
      const torn = machine.clone();
      torn.store(path, whole.subarray(0, cut));
      const again = await openStore({ machine: torn });
      const found = again.roots();
      expect(found.length).toBeLessThan(2);
      for (const { root } of found) expect(check(again, root).problems).toEqual([]);
      expect(again.findings.map((finding) => finding.kind)).toEqual([cut < 64 ? 'damaged' : 'torn-tail']);
      const next = await fold(again, found[0]?.root, batch(7), 3);
      expect(check(again, next).problems).toEqual([]);
      expect(next.file).toBe(2);
      expect(torn.contents(path).equals(whole.subarray(0, cut))).toBe(true);
      again.close();
      const last = await openStore({ machine: torn });
      expect(seqs(last)).toEqual([3, ...found.map(({ seq }) => seq)]);
      expect(last.findings).toEqual([]);
    }
    expect(second!.entries).toBeGreaterThan(first!.entries);
  });

  it('that were not finished are deleted, strangers are reported', async () => {
    const machine = new MemoryPlatform();
    machine.store(`${DIRECTORY}/000007.tree.tmp`, Buffer.from('half'));
    machine.store(`${DIRECTORY}/notes.txt`, Buffer.from('?'));
    const store = await openStore({ machine });
    expect(store.findings.map(({ kind, file }) => [kind, file])).toEqual([['stray', `${DIRECTORY}/notes.txt`]]);
    await folds(store, 1);
    expect(machine.fileList().map((file) => file.path)).toEqual([`${DIRECTORY}/000008.tree`, `${DIRECTORY}/notes.txt`]);
  });

  it('of another database or shard, or under another name, are not believed', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    const [root] = await folds(store, 1);
    const bytes = machine.contents(`${DIRECTORY}/000001.tree`);
    for (const options of [{ shard: 2 }, { databaseId: new Uint8Array(16) }, { targetBytes: 128 }]) {
      const other = await openStore({ machine: machine.clone(), ...options });
      expect(other.roots()).toEqual([]);
      expect(other.findings.map((finding) => finding.kind)).toEqual(['damaged']);
    }
    const renamed = new MemoryPlatform();
    renamed.store(`${DIRECTORY}/000002.tree`, bytes);
    const other = await openStore({ machine: renamed });
    expect(other.roots()).toEqual([]);
    expect(() => contents(other, root!)).toThrowError(expect.objectContaining({ code: 'CORRUPT' }));
  });

  it('can all be removed and built anew', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, fileBytes: 4096 });
    const roots = await folds(store, 3);
    await store.removeAll();
    expect(store.roots()).toEqual([]);
    expect(machine.fileList()).toEqual([]);
    const all = new Map([0, 1, 2].flatMap((round) => batch(round)).map((change) => [Buffer.from(change.key).toString('latin1'), change]));
    const rebuilt = await fold(
      store,
      undefined,
      [...all.keys()].sort().map((key) => all.get(key)!),
      3,
    );
    expect(hexOf(rebuilt)).toBe(hexOf(roots[2]!));
    expect(seqs(store)).toEqual([3]);
  });
});

describe('a fold', () => {
  it('is sliced', async () => {
    const store = await openStore({ targetBytes: 64 });
    const steps = store.apply(undefined, batch(0, 3000));
    let yields = 0;
    while (steps.next().done !== true) yields++;
    expect(yields).toBeGreaterThan(5);
  });

  it('that is given up leaves nothing behind', async () => {
    const store = await openStore({ targetBytes: 64, fileBytes: 1 << 20 });
    const [root] = await folds(store, 1);
    const given = store.apply(root, batch(1, 3000));
    given.next();
    await store.drain();
    const next = await fold(store, root, batch(2), 2);
    expect(check(store, next).problems).toEqual([]);
    expect(seqs(store)).toEqual([2, 1]);
    expect(() => given.next()).toThrow('assertion failed');
  });

  it('that fails at any write or sync rejects, changes no root, and the next one succeeds', async () => {
    for (const kind of ['write', 'sync', 'syncDirectory', 'create', 'rename'] as const) {
      for (let times = 0; times < 4; times++) {
        const machine = new MemoryPlatform();
        const store = await openStore({ machine, fileBytes: 4096 });
        const roots = await folds(store, 2);
        machine.failOn(kind, { kind: 'error', code: 'EIO' }, { skip: times, times: 1 });
        await expect(fold(store, roots[1], batch(5, 200), 3)).rejects.toMatchObject({ code: 'EIO' });
        machine.clearFaults();
        expect(seqs(store)).toEqual([2, 1]);
        const next = await fold(store, roots[1], batch(5, 200), 3);
        const lost = await openStore({ machine: machine.crash(loseEverything), fileBytes: 4096 });
        expect(seqs(lost)[0]).toBe(3);
        for (const { root } of lost.roots()) expect(check(lost, root).problems).toEqual([]);
        expect(hexOf(lost.roots()[0]!.root)).toBe(hexOf(next));
      }
    }
  });

  it('meets a full disk and goes on when there is room', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    const [root] = await folds(store, 1);
    machine.capacityBytes = machine.fileList().reduce((sum, file) => sum + file.size, 0) + 1000;
    await expect(fold(store, root, batch(1), 2)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(contents(store, root!).length).toBe(root!.entries);
    machine.capacityBytes = Infinity;
    const next = await fold(store, root, batch(1), 2);
    expect(check(store, next).problems).toEqual([]);
    expect(seqs(store)).toEqual([2, 1]);
  });

  it('writes through short writes', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    machine.failOn('write', { kind: 'short', bytes: 100 });
    const [root] = await folds(store, 1);
    expect(check(store, root!).problems).toEqual([]);
  });

  it('survives a power cut at every operation: announced roots are there and whole, and so is any other that is found', async () => {
    for (let at = 0; ; at++) {
      const machine = new MemoryPlatform({ seed: SEED });
      machine.crashAt(at);
      const announced: TreeRoot[] = [];
      let finished = false;
      try {
        const store = await openStore({ machine, fileBytes: 3000 });
        for (let round = 0; round < 3; round++) announced.push(await fold(store, announced.at(-1), batch(round, 30), round + 1));
        finished = true;
      } catch (error) {
        expect(error).toMatchObject({ code: 'POWER_CUT' });
      }
      for (const chooser of [loseEverything, keepEverything, ...Array.from({ length: 4 }, (_, i) => randomChooser(SEED + at * 4 + i))]) {
        const after = await openStore({ machine: machine.crash(chooser), fileBytes: 3000 });
        const found = after.roots();
        expect(found.length).toBeGreaterThanOrEqual(announced.length);
        for (const { seq, root } of found) {
          expect(check(after, root).problems, `seed ${SEED}, operation ${at}`).toEqual([]);
          if (seq <= announced.length) expect(hexOf(root)).toBe(hexOf(announced[seq - 1]!));
        }
        const next = await fold(after, found[0]?.root, batch(8, 30), 9);
        expect(check(after, next).problems).toEqual([]);
      }
      if (finished) break;
      expect(at).toBeLessThan(500);
    }
  });
});

describe('rot', () => {
  it('of any bit gives the same answers or CORRUPT with file and offset, and check or opening finds it', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, targetBytes: 64 });
    const root = await fold(store, undefined, batch(0, 5), 1);
    expect(root.height).toBeGreaterThan(0);
    const expected = contents(store, root);
    store.close();
    const path = `${DIRECTORY}/000001.tree`;
    const bits = machine.contents(path).length * 8;
    let silent = 0;
    for (let bit = 0; bit < bits; bit++) {
      machine.flipBit(path, bit);
      const again = await openStore({ machine, targetBytes: 64, cache: new NodeCache(1 << 20) });
      const found = again.roots();
      if (found.length === 0) {
        expect(again.findings.length).toBe(1);
      } else {
        expect(found.map(({ root: other }) => other)).toEqual([root]);
        let refused = false;
        try {
          expect(contents(again, root)).toEqual(expected);
        } catch (error) {
          if (!isVarveError(error, 'CORRUPT')) throw error;
          expect(error.details.file).toBe(path);
          refused = true;
        }
        expect(check(again, root).problems.length > 0).toBe(refused);
        if (!refused) silent++;
      }
      again.close();
      machine.flipBit(path, bit);
    }
    // A node that the collapsing root left behind is all that nothing ever reads.
    expect(silent).toBe((bits / 8 - 64 - 80 - check(await openStore({ machine, targetBytes: 64 }), root).bytes) * 8);
  });

  it('of a swapped, missing or shortened file is CORRUPT', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, fileBytes: 3000 });
    const root = await fold(store, undefined, batch(0, 300), 1);
    const files = machine.fileList();
    expect(files.length).toBeGreaterThan(2);
    const [one, two] = [machine.contents(files[0]!.path), machine.contents(files[1]!.path)];
    const swapped = machine.clone();
    swapped.store(files[0]!.path, Buffer.concat([one.subarray(0, 64), two.subarray(64)]));
    const missing = machine.clone();
    missing.files.remove(files[0]!.path);
    const short = machine.clone();
    short.store(files[0]!.path, one.subarray(0, one.length - 1));
    for (const bad of [swapped, missing, short]) {
      const again = await openStore({ machine: bad, fileBytes: 3000 });
      expect(() => contents(again, root!)).toThrowError(expect.objectContaining({ code: 'CORRUPT' }));
      expect(check(again, root!).problems.length).toBeGreaterThan(0);
    }
  });

  it('that the disk reports is CORRUPT too', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine });
    const [root] = await folds(store, 1);
    machine.failOn('read', { kind: 'error', code: 'EIO' });
    expect(() => contents(store, root!)).toThrowError(expect.objectContaining({ code: 'CORRUPT' }));
    machine.clearFaults();
    expect(contents(store, root!).length).toBe(root!.entries);
  });
});
