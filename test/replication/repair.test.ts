import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { recordSeedOf } from '../../engine/copying.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { encodeMessage, MessageDecoder, type StreamMessage } from '../../replication/message.js';
import type { PeerService } from '../../replication/transport.js';
import { Copies, type Copy } from '../support/copies.js';
import { Random } from '../support/random.js';
import { compacted, contents, OPTIONS, RECORDS, type Result, segmentsOf, subject, verify } from './mending.js';

/** More by hand: `FLIPS=1000 SEED=2 npx vitest run test/replication/repair.test.ts`. */
const FLIPS = Number(process.env['FLIPS'] ?? 12);
const seed = Number(process.env['SEED'] ?? 1);

const open: Copies[] = [];
afterEach(async () => {
  for (const copies of open.splice(0)) await copies.close();
});

interface Cluster {
  readonly copies: Copies;
  readonly owner: Copy;
  readonly hurt: Copy;
  readonly expected: readonly string[];
}

/** The owner, and a follower that lost something before it was opened. */
async function cluster(damage: (machine: MemoryPlatform) => void, made?: MemoryPlatform): Promise<Cluster> {
  const machine = made ?? (await subject());
  const copies = new Copies();
  open.push(copies);
  const other = machine.clone({ seed: 4 });
  const owner = await copies.add('http://owner', machine, OPTIONS);
  const expected = await contents(owner.db);
  damage(other);
  const hurt = await copies.add('http://hurt', other, OPTIONS);
  await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
  return { copies, owner, hurt, expected };
}

const SEGMENT = 3;
const flip =
  (at: (size: number) => number, pick = SEGMENT) =>
  (machine: MemoryPlatform) => {
    const path = segmentsOf(machine)[pick]!;
    machine.flipBit(path, 8 * at(machine.contents(path).length) + 3);
  };
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
      await copies.close();
      open.length = 0;
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
    open.push(copies);
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

describe('a follower with other content than its owner', () => {
  async function apart(): Promise<Cluster> {
    const made = await cluster(() => undefined);
    const { owner, hurt } = made;
    await hurt.db.replica(1).lead();
    for (const [copy, body] of [
      [owner, 'right'],
      [hurt, 'wrong'],
    ] as const) {
      await copy.db.put('c', 'k3', body);
      await copy.db.put('c', 'k4', 'both');
      await copy.db.put('c', body, 'a key of its own');
    }
    await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
    return { ...made, expected: await contents(owner.db) };
  }

  it("is found, and takes the owner's", async () => {
    const { copies, owner, hurt, expected } = await apart();
    const found = await verify(copies.verifier(hurt, owner.url), hurt, {});
    expect(found.replicas[0]?.differing).toHaveLength(4);
    expect(found.repaired).toBe(0);
    const result = await verify(copies.verifier(hurt, owner.url), hurt, { repair: true });
    expect(result.replicas).toMatchObject([{ same: true }]);
    expect(result).toMatchObject({ damaged: 4, repaired: 4, unrepairable: 0 });
    expect(await contents(hurt.db)).toEqual(expected);
    expect(hurt.db.now().get('c', 'k3')?.body).toBe('right');
    expect(hurt.db.now().get('c', 'wrong')).toBeUndefined();
    expect(copies.log.some((line) => line.includes('records that differed were taken from the owner'))).toBe(true);
  });

  it('is left alone where the owner says one thing in its tree and another in its log', async () => {
    const { copies, owner, hurt } = await apart();
    const before = await contents(hurt.db);
    // Its log is that of another, sound in itself.
    const liar = await copies.add('http://liar', (await subject()).clone({ seed: 4 }), OPTIONS);
    await liar.db.put('c', 'k3', 'liars');
    await liar.db.put('c', 'k4', 'both');
    await liar.db.put('c', 'right', 'a key of its own');
    copies.byUrl.delete(liar.url);
    const honest = owner.service;
    owner.service = { handle: (call) => (call.path.endsWith('/log') ? liar.service : honest).handle(call) };
    const lied = await verify(copies.verifier(hurt, owner.url), hurt, { repair: true });
    expect(lied.repaired).toBe(0);
    expect(lied.findings.find(({ kind }) => kind === 'refused')?.detail).toContain('not what our tree has');
    expect(await contents(hurt.db)).toEqual(before);
    await liar.db.close();
    owner.service = honest;
    owner.service = lying(owner.service, owner.db.databaseId, (message) => {
      const batches = Buffer.from(message.batches);
      return batches.includes('right')
        ? { ...message, batches: Buffer.from(batches.toString('latin1').replaceAll('right', 'liars'), 'latin1') }
        : message;
    });
    const result = await verify(copies.verifier(hurt, owner.url), hurt, { repair: true });
    expect(result.repaired).toBe(0);
    expect(result.findings.some(({ kind }) => kind === 'refused')).toBe(true);
    expect(await contents(hurt.db)).toEqual(before);
  });

  it('answers nothing from the checkpoint that tells, and is mended without being asked', async () => {
    const { copies, owner, hurt } = await apart();
    const replica = hurt.db.replica(1);
    const verifier = copies.verifier(hurt, owner.url);
    verifier.start();
    const after = replica.durableSeq;
    await owner.db.checkpoint();
    for (const slice of owner.db.replica(1).slices(after + 1)) await replica.apply(slice);
    const told = new Promise<void>((resolve) => replica.onRootCheck(({ expected, found }) => expected === found && resolve()));
    await hurt.machine.advanceAndSettle(1_000_000);
    await Promise.all(hurt.db.jobs().map(({ id }) => hurt.db.jobEnded(id)));
    await told;
    verifier.close();
    expect(copies.log[0]).toContain('another root than its owner');
    expect(replica.unreadable).toBeUndefined();
    expect(await contents(hurt.db)).toEqual(await contents(owner.db));
  });

  it('keeps its own where it is the owner', async () => {
    const { copies, owner, hurt } = await apart();
    const before = await contents(owner.db);
    const result = await verify(copies.verifier(owner), owner, { repair: true });
    expect(result.replicas).toMatchObject([{ url: hurt.url, same: false }]);
    expect(await contents(owner.db)).toEqual(before);
  });
});

describe('damage behind the tree', () => {
  /** The process died before anything was folded: no tree has what the log holds. */
  async function unfolded(count: number): Promise<{ copies: Copies; all: Copy[]; expected: string[] }> {
    const machine = new MemoryPlatform({ seed: 3 });
    const db = await openWith(machine, OPTIONS);
    for (let i = 0; i < RECORDS; i++) await db.put('c', `k${i % 50}`, { i, pad: 'p'.repeat(100) });
    const dead = machine.killProcess();
    const copies = new Copies();
    open.push(copies);
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

/** A donor whose stream says something else. */
function lying(honest: PeerService, database: string, lie: (message: StreamMessage) => StreamMessage | undefined): PeerService {
  const seed = recordSeedOf(database, 1);
  return {
    async handle(call) {
      const answer = await honest.handle(call);
      const { stream } = answer;
      if (!call.path.endsWith('/log') || stream === undefined) return answer;
      const decoder = new MessageDecoder(seed);
      return {
        ...answer,
        stream: (async function* () {
          for await (const chunk of stream) {
            decoder.push(chunk);
            for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
              const told = message.kind === 'batches' ? lie(message) : message;
              if (told !== undefined) yield encodeMessage(told, seed);
            }
          }
        })(),
      };
    },
  };
}

describe('a donor', () => {
  const bent = (message: StreamMessage): StreamMessage => {
    const batches = Buffer.from(message.batches);
    batches[batches.length - 20]! ^= 1;
    return { ...message, batches };
  };

  it('with bytes that fail their checksum gives nothing', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    owner.service = lying(owner.service, owner.db.databaseId, bent);
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result).toMatchObject({ repaired: 0, unrepairable: 1 });
    expect(result.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('fails its checksum');
    expect(hurt.db.replica(1).gaps).toHaveLength(1);
  });

  it('with sound records of other content gives nothing', async () => {
    const { copies, hurt } = await cluster(flip(() => 1500));
    // The same history but for one body: every checksum is right.
    const forger = await copies.add('http://forger', await subject(undefined, 'q'), OPTIONS);
    expect(forger.db.databaseId).toBe(hurt.db.databaseId);
    const result = await verifyNoCompare(copies, hurt, forger);
    expect(result.unrepairable).toBeGreaterThan(0);
    expect(result.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('not what our tree has');
    expect(hurt.db.replica(1).gaps).toHaveLength(1);
  });

  it('that leaves records out gives nothing', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    owner.service = lying(owner.service, owner.db.databaseId, (message) => ({ ...message, batches: message.batches.subarray(0, 0) }));
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result).toMatchObject({ repaired: 0, unrepairable: 1 });
    expect(hurt.db.replica(1).gaps).toHaveLength(1);
  });

  it('that only lives, and never gives the range, is left', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    const honest = owner.service;
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    owner.service = {
      async handle(call) {
        const answer = await honest.handle(call);
        if (!call.path.endsWith('/log')) return answer;
        const hungUp = once(call.signal, 'abort');
        const stream = (async function* () {
          asked();
          await hungUp;
          yield await Promise.reject(new Error('hung up'));
        })();
        return { ...answer, stream };
      },
    };
    const verified = verify(copies.verifier(hurt, owner.url), hurt);
    await isAsked;
    await hurt.machine.advanceAndSettle(31_000_000);
    const result = await verified;
    expect(result).toMatchObject({ repaired: 0, unrepairable: 1 });
    expect(result.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('nothing of the range');
  });

  it('that has not come as far gives nothing', async () => {
    const { copies, hurt } = await cluster((machine) => flip(() => 300, segmentsOf(machine).length - 1)(machine));
    const machine = new MemoryPlatform({ seed: 3 });
    const db = await openWith(machine, OPTIONS);
    await db.put('c', 'k0', 1);
    await db.close();
    const stale = await copies.add('http://stale', machine, OPTIONS);
    const job = await verifyNoCompare(copies, hurt, stale);
    expect(job.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toMatch(/it has come to seq \d+ only/);
  });

  it('of another database gives nothing', async () => {
    const { copies, hurt } = await cluster(flip(() => 1500));
    const other = await copies.add('http://other', new MemoryPlatform({ seed: 99 }), OPTIONS);
    const job = await verifyNoCompare(copies, hurt, other);
    expect(job.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('it holds another database');
  });

  it('of another epoch gives nothing', async () => {
    const { copies, owner, hurt } = await cluster(flip(() => 1500));
    const honest = owner.service;
    owner.service = {
      async handle(call) {
        const answer = await honest.handle(call);
        if (!call.path.endsWith('/state')) return answer;
        const state = answer.json as { epochs: [number, number, number][] };
        return { ...answer, json: { ...state, epochs: state.epochs.map(([epoch, first, last]) => [epoch + 1, first, last]) } };
      },
    };
    const result = await verify(copies.verifier(hurt, owner.url), hurt);
    expect(result.findings.find(({ kind }) => kind === 'unrepairable')?.detail).toContain('its epoch 1 is not ours');
  });

  it('does not bring back bodies that were erased', async () => {
    const made = await subject((db) => db.put('c', 'secret', 'a body to be forgotten'));
    const before = made.clone({ seed: 8 });
    const db = await openWith(made, OPTIONS);
    const job = await db.erase({ collection: 'c', key: 'secret', reason: 'asked' });
    expect((await db.jobEnded(job.id))?.state).toBe('done');
    await db.close();
    // The copy is hurt where the erased record is; the donor still has the body.
    const { copies, hurt } = await cluster((machine) => {
      machine.files.remove(segmentsOf(machine)[0]!);
    }, made);
    const stale = await copies.add('http://stale', before, OPTIONS);
    const result = await verifyNoCompare(copies, hurt, stale);
    expect(result.repaired).toBeGreaterThan(0);
    for (const path of segmentsOf(hurt.machine)) expect(hurt.machine.contents(path).includes('to be forgotten')).toBe(false);
    expect(hurt.db.replica(1).gaps).toEqual([]);
  });

  it('does not bring back versions that were dropped', async () => {
    const before = await subject();
    const made = await compacted();
    const { copies, hurt, expected } = await cluster((machine) => machine.files.remove(segmentsOf(machine)[0]!), made);
    const stale = await copies.add('http://stale', before, OPTIONS);
    const gaps = hurt.db.replica(1).gaps;
    expect(gaps).toHaveLength(1);
    const result = await verifyNoCompare(copies, hurt, stale);
    expect(result).toMatchObject({ repaired: 1, unrepairable: 0 });
    expect(await contents(hurt.db)).toEqual(expected);
    // What is written anew is not packed: the bodies would show.
    const holdsFirst = (machine: MemoryPlatform) => segmentsOf(machine).some((path) => machine.contents(path).includes('"i":0,'));
    expect([holdsFirst(stale.machine), holdsFirst(hurt.machine)]).toEqual([true, false]);
  });
});

/** Without the comparison, which would wait for a peer that is behind. */
async function verifyNoCompare(copies: Copies, hurt: Copy, donor: Copy): Promise<Result> {
  const honest = donor.service;
  donor.service = {
    async handle(call) {
      return call.path.endsWith('/root') ? { status: 503, json: { error: 'unavailable' } } : honest.handle(call);
    },
  };
  return verify(copies.verifier(hurt, 'http://owner', { peers: [donor.url] }), hurt);
}
