import { afterEach, describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { Copies, type Copy } from '../support/copies.js';
import { OPTIONS, verify as verifyWith } from './mending.js';

const verify: typeof verifyWith = (verifier, copy, request = {}) => verifyWith(verifier, copy, request);

const open: Copies[] = [];
afterEach(async () => {
  for (const copies of open.splice(0)) await copies.close();
});

async function twins(records = 60): Promise<{ copies: Copies; a: Copy; b: Copy }> {
  const machine = new MemoryPlatform({ seed: 3 });
  const db = await openWith(machine, OPTIONS);
  for (let i = 0; i < records; i++) await db.put('c', `k${i}`, { i, pad: 'p'.repeat(100) });
  await db.close();
  const copies = new Copies();
  open.push(copies);
  const other = machine.clone({ seed: 4 });
  return { copies, a: await copies.add('http://a', machine, OPTIONS), b: await copies.add('http://b', other, OPTIONS) };
}

describe('verification', () => {
  it('of equal copies takes one question', async () => {
    const { copies, a } = await twins();
    const result = await verify(copies.verifier(a), a);
    expect(result.replicas).toMatchObject([{ url: 'http://b', shard: 1, same: true, differing: [] }]);
    expect(result.replicas[0]?.roots[0]).toBe(result.replicas[0]?.roots[1]);
    expect(result).toMatchObject({ damaged: 0, repaired: 0, unrepairable: 0, findings: [] });
    expect(copies.calls).toEqual(['GET /replication/v1/shards/1/root']);
  });

  it('names the records that differ', async () => {
    const { copies, a, b } = await twins();
    const ours = await a.db.put('c', 'k1', 'ours');
    const theirs = await b.db.put('c', 'k2', 'theirs');
    const result = await verify(copies.verifier(a), a);
    expect(ours.id).toBe(theirs.id);
    expect(result.replicas).toMatchObject([{ same: false, differing: [ours.id, theirs.id] }]);
  });

  it('meets a peer that is beyond, where both stand at one seq', async () => {
    const { copies, a, b } = await twins();
    for (const { db } of [a, b]) {
      db.replica(1);
      await db.checkpoint();
    }
    const seq = a.db.replica(1).visibleSeq;
    const result = await verify(copies.verifier(a), a);
    expect(result.replicas).toMatchObject([{ same: true, seq }]);
  });

  it('goes on past a peer that nobody reaches, and says so', async () => {
    const { copies, a } = await twins();
    const result = await verify(copies.verifier(a), a, { peers: ['http://nobody', 'http://b'] });
    expect(result.replicas).toMatchObject([{ url: 'http://b', same: true }]);
    expect(result.findings).toMatchObject([{ kind: 'unreachable', at: 'http://nobody' }]);
  });

  it('compares nothing with another database', async () => {
    const { copies, a } = await twins();
    const other = await copies.add('http://other', new MemoryPlatform({ seed: 99 }), OPTIONS);
    while (other.db.replica(1).visibleSeq < a.db.replica(1).visibleSeq) await other.db.put('c', 'k', 1);
    const result = await verify(copies.verifier(a), a, { peers: ['http://other'] });
    expect(result.replicas).toEqual([]);
    expect(result.findings).toMatchObject([{ kind: 'unreachable', detail: 'http://other: it holds another database' }]);
  });

  it('tells a peer whose tree does not prove itself from one that differs', async () => {
    const { copies, a, b } = await twins();
    await b.db.put('c', 'k2', 'theirs');
    await a.db.put('c', 'k2', 'ours');
    const honest = b.service;
    b.service = {
      async handle(call) {
        const answer = await honest.handle(call);
        if (!call.path.endsWith('/nodes') || answer.stream === undefined) return answer;
        const parts: Buffer[] = [];
        for await (const part of answer.stream) parts.push(Buffer.from(part));
        parts[1]![20]! ^= 1;
        return {
          ...answer,
          stream: (async function* () {
            yield* parts;
          })(),
        };
      },
    };
    const result = await verify(copies.verifier(a), a);
    expect(result.findings).toMatchObject([{ kind: 'unproven', at: 'http://b' }]);
  });

  it('deep, without anybody to ask, reads every byte and finds one flipped bit', async () => {
    const { copies, a } = await twins();
    expect(await verify(copies.verifier(a, undefined, { peers: [] }), a, { deep: true })).toMatchObject({ damaged: 0, findings: [] });
    const [segment] = a.machine.fileList().filter(({ path }) => path.endsWith('.seg'));
    a.machine.flipBit(segment!.path, 8 * 1000);
    const verifier = copies.verifier(a, undefined, { peers: [] });
    const result = await verify(verifier, a, { deep: true });
    expect(result.damaged).toBeGreaterThan(0);
    expect(result.findings.every(({ kind, at }) => kind === 'damaged' && at === segment!.path)).toBe(true);
    expect(verifier.figures.open).toBe(result.findings.length);
    expect(verifier.figures.scrubs).toBe(1);
  });

  it('deep, finds a bad row of the catalog, which is built again', async () => {
    const { copies, a } = await twins();
    await a.db.checkpoint();
    expect(await verify(copies.verifier(a, undefined, { peers: [] }), a, { deep: true })).toMatchObject({ findings: [] });
    await a.db.close();
    const sqlite = a.machine.files.openSqlite('catalog.sqlite');
    sqlite.prepare('UPDATE checkpoints SET entries = entries + 1').run();
    sqlite.close();
    const again = await copies.add(a.url, a.machine, OPTIONS);
    const result = await verify(copies.verifier(again, undefined, { peers: [] }), again, { deep: true });
    expect(result.findings).toMatchObject([{ kind: 'damaged', at: 'catalog.sqlite' }]);
    expect((await again.db.root(1, again.db.shards()[0]!.checkpoint!.seq))?.entries).toBe(60);
    expect(await verify(copies.verifier(again, undefined, { peers: [] }), again, { deep: true })).toMatchObject({ findings: [] });
  });

  it('deep, finds nothing wrong with what is written, sealed, folded and compacted meanwhile', async () => {
    const { copies, a } = await twins();
    await a.db.setRetention('c', { keep: 'last', versions: 1 });
    for (let round = 0; round < 4; round++) {
      const verifying = verify(copies.verifier(a, undefined, { peers: [] }), a, { deep: true });
      const compaction = a.db.compact({ force: true });
      for (let i = 0; i < 40; i++) await a.db.put('c', `k${i}`, { i, round, pad: 'p'.repeat(100) });
      await a.db.checkpoint();
      await a.db.jobEnded(compaction.id);
      expect(await verifying).toMatchObject({ damaged: 0, findings: [] });
    }
  });

  it('is cancelled between two slices', async () => {
    const { copies, a } = await twins();
    const job = copies.verifier(a, undefined, { bytesPerSecond: 1 }).verify({ deep: true });
    a.db.cancelJob(job.id);
    expect((await a.db.jobEnded(job.id))?.state).toBe('cancelled');
  });

  it('scrubs by itself, every so often', async () => {
    const { copies, a } = await twins();
    const verifier = copies.verifier(a, undefined, { scrubEveryMs: 1000, peers: [] });
    verifier.start();
    await a.machine.advanceAndSettle(2_500_000);
    await Promise.all(a.db.jobs().map(({ id }) => a.db.jobEnded(id)));
    verifier.close();
    expect(a.db.jobs().filter(({ kind }) => kind === 'verification')).toHaveLength(2);
    expect(verifier.figures.scrubs).toBe(2);
  });
});
