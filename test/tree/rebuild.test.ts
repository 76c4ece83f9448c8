/** A tree made anew of what is left of it: the root that taking the versions out comes to, in files that hold nothing else. */
import { describe, expect, it } from 'vitest';
import { entityKey, splitEntityKey } from '../../engine/format/keys.js';
import { Memtable } from '../../engine/memtable.js';
import { keepEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { SeqSet } from '../../engine/retention/seq-set.js';
import type { RebuiltTree } from '../../engine/tree/rebuild.js';
import { treeFileName } from '../../engine/tree/tree-file.js';
import type { TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { check, contents, DIRECTORY, hexOf, noPause, openStore } from './support.js';

const SEED = Number(process.env['SEED'] ?? 88);
const OPTIONS = { fileBytes: 16_384 };

type Version = readonly [entity: string, seq: number];

function tableOf(versions: readonly Version[]): Memtable {
  const table = new Memtable();
  for (const [entity, seq] of versions) table.add(entity, seq, seq * 10, 1 + (seq % 2), seq - 1, new Uint8Array(32).fill(seq));
  return table;
}

/** In three folds, which leave dead nodes behind. */
async function built(store: TreeStore, versions: readonly Version[]): Promise<TreeRoot> {
  let root: TreeRoot | undefined;
  for (let part = 0; part < 3; part++) {
    const some = versions.filter((_, i) => i % 3 === part);
    root = await store.foldVersions(root, tableOf(some).run(), part + 1, noPause);
  }
  return root!;
}

async function freshRoot(versions: readonly Version[]): Promise<TreeRoot> {
  const store = await openStore(OPTIONS);
  return store.foldVersions(undefined, tableOf(versions).run(), 1, noPause);
}

/** Of a few collections; some of one hot entity, whose leaves' prefixes reach into its seqs. */
function someVersions(random: SeededRandom, count: number, fromSeq = 1): Version[] {
  const hot = entityKey('a', 'hot');
  const entity = (): string => entityKey(random.pick(['a', 'aa', 'zz']), `k${'long '.repeat(random.below(3))}${random.below(60)}`);
  return Array.from({ length: count }, (_, i) => [random.below(4) === 0 ? hot : entity(), fromSeq + i * 3 + random.below(3)]);
}

async function rebuilt(store: TreeStore, root: TreeRoot, added: readonly Version[], drops: SeqSet, seq = 9): Promise<RebuiltTree> {
  let told: RebuiltTree | undefined;
  const shares: number[] = [];
  const rebuild = { root, run: tableOf(added).run(), drops, seq, pause: noPause, progress: (share: number) => void shares.push(share) };
  await store.rebuildDropping(rebuild, (made) => (told = made));
  expect(shares.every((share, i) => share <= 1 && share >= (shares[i - 1] ?? 0))).toBe(true);
  return told!;
}

describe('a tree made anew', () => {
  it('has the root of a fresh build of what is left, and counts what went (seed in SEED)', async () => {
    const random = new SeededRandom(SEED);
    for (let round = 0; round < 30; round++) {
      const machine = new MemoryPlatform();
      const store = await openStore({ machine, ...OPTIONS });
      const old = someVersions(random, 20 + random.below(900));
      const added = random.below(3) === 0 ? [] : someVersions(random, 1 + random.below(60), 10_000);
      const root = await built(store, old);
      const share = random.pick([0, 5, 8, 9.5, 10]);
      const drops = new SeqSet();
      const counts = new Map<string, number>();
      for (const [entity, seq] of old) {
        if (random.below(100) >= share * 10) continue;
        drops.add(seq);
        const { collection } = splitEntityKey(entity);
        counts.set(collection, (counts.get(collection) ?? 0) + 1);
      }
      drops.add(2 ** 40);
      const left = [...old, ...added].filter(([, seq]) => !drops.has(seq));
      const made = await rebuilt(store, root, added, drops);
      const where = `SEED=${SEED}, round ${round}`;
      const expected = await freshRoot(left);
      expect([made.root.entries, made.root.height, hexOf(made.root)], where).toEqual([left.length, expected.height, hexOf(expected)]);
      expect(new Map(made.dropped), where).toEqual(counts);
      if (left.length > 0) {
        const { problems, nodes } = check(store, made.root);
        expect([problems, nodes], where).toEqual([[], made.nodes]);
      }
      // Folds go on behind it, and a reopen finds it.
      const more = someVersions(random, 40, 20_000);
      await store.removeSuperseded();
      const next = await store.foldVersions(made.root, tableOf(more).run(), 10, noPause);
      expect(hexOf(next), where).toBe(hexOf(await freshRoot([...left, ...more])));
      const again = await openStore({ machine: machine.clone(), ...OPTIONS });
      expect([again.findings, again.roots().map(({ seq }) => seq)], where).toEqual([[], [10, 9]]);
      expect(contents(again, again.roots(1)[0]!.root), where).toEqual(contents(store, next));
      store.close();
    }
  });

  it('leaves the old one to those who hold it', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, ...OPTIONS });
    const versions = someVersions(new SeededRandom(SEED), 600);
    const root = await built(store, versions);
    const expected = contents(store, root);
    const files = machine.files.list(DIRECTORY);
    const drops = new SeqSet();
    for (const [, seq] of versions.slice(0, 500)) drops.add(seq);
    const letGo = store.hold();
    await rebuilt(store, root, [], drops);
    await store.removeSuperseded();
    expect(contents(store, root)).toEqual(expected);
    letGo();
    expect(machine.files.list(DIRECTORY).filter((name) => files.includes(name))).toEqual([]);
    store.close();
  });

  it('is the old one or the new after a power cut at any change, and no file is left over', { timeout: 60_000 }, async () => {
    const versions = someVersions(new SeededRandom(SEED), 700);
    const drops = new SeqSet();
    for (const [, seq] of versions) if (seq % 5 !== 0) drops.add(seq);
    const before = new MemoryPlatform({ seed: SEED });
    const store = await openStore({ machine: before, ...OPTIONS });
    const root = await built(store, versions);
    store.close();
    const old = before.files.list(DIRECTORY);
    const work = async (machine: MemoryPlatform) => {
      const opened = await openStore({ machine, ...OPTIONS });
      const made = await rebuilt(opened, opened.roots(1)[0]!.root, [], drops);
      await opened.removeSuperseded();
      return made.root;
    };
    const whole = before.clone({ trace: true });
    const from = whole.ops;
    const made = await work(whole);
    const anew = whole.files.list(DIRECTORY);
    expect(anew.some((name) => old.includes(name))).toBe(false);
    const moments = whole.trace.flatMap((operation, index) => (index >= from && isMutation(operation) ? [index] : []));
    expect(moments.length).toBeGreaterThan(15);
    const found = { old: 0, anew: 0 };
    for (const index of moments) {
      for (let way = 0; way < 3; way++) {
        const where = `SEED=${SEED}: cut before operation ${index}, way ${way}`;
        const cut = before.clone();
        cut.crashAt(index);
        await work(cut).catch(() => undefined);
        const after =
          way === 0
            ? cut.killProcess()
            : cut.crash(way === 1 ? keepEverything : randomChooser(SEED + index * 31 + way), { tear: [1, 511] });
        const again = await openStore({ machine: after, ...OPTIONS });
        const newest = again.roots(1)[0]!;
        expect(again.findings, where).toEqual([]);
        const isOld = newest.seq === 3;
        expect([newest.seq, hexOf(newest.root)], where).toEqual(isOld ? [3, hexOf(root)] : [9, hexOf(made)]);
        expect(check(again, newest.root).problems, where).toEqual([]);
        expect(after.files.list(DIRECTORY), where).toEqual(isOld ? old : anew);
        found[isOld ? 'old' : 'anew']++;
        // Begun again, it comes to the same end.
        if (isOld && way === 0) expect(hexOf((await rebuilt(again, newest.root, [], drops)).root), where).toBe(hexOf(made));
        again.close();
      }
    }
    expect(found.old).toBeGreaterThan(10);
    expect(found.anew).toBeGreaterThan(3);
  });

  it('leaves the old one as it was where a write fails, or a leaf is bad', async () => {
    const versions = someVersions(new SeededRandom(SEED), 600);
    const drops = new SeqSet();
    for (const [, seq] of versions) if (seq % 4 !== 0) drops.add(seq);
    const before = new MemoryPlatform();
    const store = await openStore({ machine: before, ...OPTIONS });
    await built(store, versions);
    store.close();
    const files = before.files.list(DIRECTORY);
    for (const kind of ['write', 'sync', 'rename', 'syncDirectory'] as const) {
      const machine = before.clone();
      const opened = await openStore({ machine, ...OPTIONS });
      const { root } = opened.roots(1)[0]!;
      machine.faults.failWhen((operation) => operation.kind === kind, { kind: 'error', code: 'EIO' });
      await expect(rebuilt(opened, root, [], drops), kind).rejects.toMatchObject({ code: 'EIO' });
      expect(machine.files.list(DIRECTORY), kind).toEqual(files);
      expect(check(opened, root).problems, kind).toEqual([]);
      // The next try is as good as the first.
      await rebuilt(opened, root, [], drops);
      opened.close();
    }
    const bad = before.clone();
    const opened = await openStore({ machine: bad, ...OPTIONS });
    const { root } = opened.roots(1)[0]!;
    const file = bad.files.open(`${DIRECTORY}/${treeFileName(root.file)}`, 'update');
    // Everything before the root, which lies behind all that it reaches of that fold.
    for (let at = 100; at < root.offset - 1000; at += 150) await file.write(Buffer.of(0xaa, 0x55), 0, 2, at);
    file.close();
    await expect(rebuilt(opened, root, [], drops)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(bad.files.list(DIRECTORY)).toEqual(files);
    opened.close();
  });
});
