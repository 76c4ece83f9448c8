/** A copy that lost some of its files, or a bit of them, is given back what others have; what its tree does not vouch for, only by those who may say so. */
import { afterEach, describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Copies, Copy } from '../support/copies.js';
import { Random } from '../support/random.js';
import { begun, closeClusters, cluster, flip, SEGMENT } from './hurt-follower.js';
import { compacted, contents, OPTIONS, RECORDS, segmentsOf, subject, verify } from './mending.js';

/** More by hand: `FLIPS=1000 SEED=2 npx vitest run test/replication/repair.test.ts`. */
const FLIPS = Number(process.env['FLIPS'] ?? 12);
const seed = Number(process.env['SEED'] ?? 1);

afterEach(closeClusters);

const cut = (machine: MemoryPlatform, path: string, size: number): void => {
  const kept = machine.contents(path).subarray(0, size);
  machine.files.remove(path);
  const file = machine.files.open(path, 'create');
  void file.write(kept, 0, kept.length, 0);
  file.close();
};

describe('repair of a follower', () => {
  const classes: readonly [string, (machine: MemoryPlatform) => void][] = [
    ['a bit of a header', flip(() => 40)],
    ['a bit of a body', flip(() => 1500)],
    ['a bit of a footer', flip((size) => size - 120)],
    ['a bit of a trailer', flip((size) => size - 30)],
    ['a bit of the first segment', flip(() => 700, 0)],
    ['a bit of the last segment', (machine) => flip(() => 300, segmentsOf(machine).length - 1)(machine)],
    [
      'two bits of one body, far apart',
      (machine) => {
        flip(() => 300)(machine);
        flip(() => 3000)(machine);
      },
    ],
    ['a whole segment', (machine) => machine.files.remove(segmentsOf(machine)[SEGMENT]!)],
    ['the first segment', (machine) => machine.files.remove(segmentsOf(machine)[0]!)],
    [
      'two neighbouring segments',
      (machine) => {
        const [, one, two] = segmentsOf(machine);
        machine.files.remove(one!);
        machine.files.remove(two!);
      },
    ],
    [
      'the end of a segment',
      (machine) => {
        const path = segmentsOf(machine)[SEGMENT]!;
        cut(machine, path, 1800);
      },
    ],
    [
      'the tree',
      (machine) => {
        for (const { path, size } of machine.fileList()) if (path.endsWith('.tree')) machine.flipBit(path, 8 * (size - 300));
      },
    ],
    ['the catalog', (machine) => machine.files.remove('catalog.sqlite')],
    [
      'tree and segment',
      (machine) => {
        for (const { path } of machine.fileList()) if (path.endsWith('.tree')) machine.files.remove(path);
        flip(() => 1500)(machine);
      },
    ],
  ];

  it.each(classes)('gives back %s', async (_name, damage) => {
    const { copies, owner, hurt, expected } = await cluster(damage);
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result.unrepairable).toBe(0);
    expect(result.repaired).toBe(result.damaged);
    expect(await contents(hurt.db)).toEqual(expected);
    expect(result.replicas).toMatchObject([{ same: true }]);
    expect(hurt.db.replica(1).gaps).toEqual([]);
    // What was mended is whole on the disk, and stays so when it is opened again.
    expect(await verify(copies.verifier(hurt, owner.url, { peers: [] }), hurt, { deep: true })).toMatchObject({ damaged: 0, findings: [] });
    await hurt.db.close();
    const again = await copies.add('http://hurt', hurt.machine, OPTIONS);
    expect(await contents(again.db)).toEqual(expected);
    expect(again.db.replica(1).gaps).toEqual([]);
  });

  it('gives back whatever one flipped bit took, in any file', { timeout: 240_000 }, async () => {
    const subjects = [await subject(), await compacted()];
    const random = new Random(seed);
    for (let i = 0; i < FLIPS; i++) {
      const machine = subjects[i % 2]!;
      const files = machine.fileList().filter(({ path, size }) => size > 0 && /\.(seg|tree)$/.test(path));
      const { path, size } = random.pick(files);
      const bit = random.below(size * 8);
      const context = `seed ${seed}, bit ${bit} of ${path}`;
      const { copies, owner, hurt, expected } = await cluster((other) => other.flipBit(path, bit), machine.clone({ seed: 6 }));
      const result = await verify(copies.verifier(hurt, owner.url), hurt);
      expect(result.unrepairable, context).toBe(0);
      expect(await contents(hurt.db), context).toEqual(expected);
      expect(result.replicas, context).toMatchObject([{ same: true }]);
      const again = await verify(copies.verifier(hurt, owner.url, { peers: [] }), hurt, { deep: true });
      expect(again.findings, context).toEqual([]);
      await closeClusters();
    }
  });

  it('leaves files beside which a missing one is noticed', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    await verify(copies.verifier(hurt, owner.url), hurt);
    await hurt.db.close();
    hurt.machine.files.remove(segmentsOf(hurt.machine)[SEGMENT - 1]!);
    const again = await copies.add('http://hurt', hurt.machine, OPTIONS);
    expect(again.db.replica(1).gaps).toHaveLength(1);
  });

  it('mends rot that sets in while it runs', async () => {
    const { copies, owner, hurt, expected } = await cluster(() => undefined);
    flip(() => 1500)(hurt.machine);
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result.damaged).toBeGreaterThan(0);
    expect(result).toMatchObject({ unrepairable: 0 });
    expect(await contents(hurt.db)).toEqual(expected);
  });

  it.each([
    ['a frame', 200],
    ['the header, which says where the epoch before it ended', 40],
  ])('mends the beginning of an epoch, before which are seqs that nobody has: %s', async (_name, offset) => {
    const made = await subject();
    const db = await openWith(made, OPTIONS);
    await db.replica(1).beginEpoch(2, { node: db.nodeId, url: 'http://owner' }, 'a test');
    for (let i = 0; i < 40; i++) await db.put('c', `k${i}`, { i, pad: 'q'.repeat(100) });
    await db.close();
    const first = segmentsOf(made).findIndex((path) => path.includes('/00010000'));
    const { copies, owner, hurt, expected } = await cluster(
      flip(() => offset, first),
      made,
    );
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result.damaged).toBeGreaterThan(0);
    expect(result).toMatchObject({ unrepairable: 0, replicas: [{ same: true }] });
    expect(hurt.db.replica(1).gaps).toEqual([]);
    expect(await contents(hurt.db)).toEqual(expected);
  });

  it('tells by id what no copy has, and serves the rest', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    copies.byUrl.delete(owner.url);
    const result = await verify(copies.verifier(hurt, owner.url, { peers: [owner.url] }), hurt);
    const [told] = result.findings.filter(({ kind }) => kind === 'unrepairable');
    expect(told?.from).toMatch(/^0001[0-9a-f]{12}$/);
    expect(told?.detail).toContain('nobody answers');
    expect(result).toMatchObject({ repaired: 0, unrepairable: 1 });
    expect(hurt.db.now().get('c', 'k1')?.body).toMatchObject({ i: 51 });
    await owner.db.close();
  });

  it('asks the next donor where the first has lost the same', async () => {
    const machine = await subject();
    const { copies, owner, hurt, expected } = await cluster(
      flip(() => 1500),
      machine,
    );
    const third = await copies.add('http://third', hurt.machine.clone({ seed: 5 }), OPTIONS);
    await third.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
    const result = await verify(
      copies.verifier(hurt, owner.url, { peers: ['http://third', owner.url], ownerUrl: () => 'http://third' }),
      hurt,
    );
    expect(result).toMatchObject({ unrepairable: 0 });
    expect(await contents(hurt.db)).toEqual(expected);
    expect(copies.log.some((line) => line.includes('part of the log was repaired') && line.includes(owner.url))).toBe(true);
  });
});

describe('damage behind the tree', () => {
  /** The process died before anything was folded: no tree has what the log holds. */
  async function unfolded(count: number): Promise<{ copies: Copies; all: Copy[]; expected: string[] }> {
    const machine = new MemoryPlatform({ seed: 3 });
    const db = await openWith(machine, OPTIONS);
    for (let i = 0; i < RECORDS; i++) await db.put('c', `k${i % 50}`, { i, pad: 'p'.repeat(100) });
    const dead = machine.killProcess();
    const copies = begun();
    const all: Copy[] = [];
    for (let i = 0; i < count; i++) {
      const own = dead.clone({ seed: 10 + i });
      if (i === 0) flip(() => 1500)(own);
      all.push(await copies.add(`http://${i}`, own, OPTIONS));
    }
    return { copies, all, expected: await contents(all[1]!.db) };
  }

  it('is given back to a follower by its owner', async () => {
    const { copies, all, expected } = await unfolded(2);
    const [hurt, owner] = all as [Copy, Copy];
    await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
    expect(() => hurt.db.now().get('c', 'k49')).toThrow('damaged');
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result).toMatchObject({ unrepairable: 0, replicas: [{ same: true }] });
    expect(await contents(hurt.db)).toEqual(expected);
  });

  it('is given back with what turns out to be bad in the same file', async () => {
    const { copies, all, expected } = await unfolded(2);
    const [hurt, owner] = all as [Copy, Copy];
    await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
    expect(hurt.db.replica(1).gaps).toHaveLength(1);
    flip(() => 3000)(hurt.machine);
    const result = await verify(copies.verifier(hurt, owner.url), hurt, { repair: true });
    expect(result).toMatchObject({ unrepairable: 0, replicas: [{ same: true }] });
    expect(await contents(hurt.db)).toEqual(expected);
  });

  it('is not given back to an owner by one follower, whose word would be all there is', async () => {
    const { copies, all } = await unfolded(2);
    const result = await verify(copies.verifier(all[0]!), all[0]!);
    expect(result.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('nobody vouches for the root');
    expect(() => all[0]!.db.now().get('c', 'k49')).toThrow('damaged');
  });

  it('is given back to an owner by two that agree, and it takes writes again', async () => {
    const { copies, all, expected } = await unfolded(3);
    const result = await verify(copies.verifier(all[0]!), all[0]!);
    expect(result).toMatchObject({ unrepairable: 0 });
    expect(await contents(all[0]!.db)).toEqual(expected);
    await all[0]!.db.put('c', 'k', 'on');
  });

  it('is mended without being asked, where there is somebody to ask', async () => {
    const { copies, all, expected } = await unfolded(2);
    const [hurt, owner] = all as [Copy, Copy];
    await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
    const verifier = copies.verifier(hurt, owner.url);
    verifier.start();
    await hurt.machine.advanceAndSettle(6_000_000);
    await Promise.all(hurt.db.jobs().map(({ id }) => hurt.db.jobEnded(id)));
    verifier.close();
    expect(await contents(hurt.db)).toEqual(expected);
  });
});
