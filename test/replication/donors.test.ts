/** Those who are asked for what a copy has lost, and what is not taken of them: bad bytes, other records, half of a range, another history. */
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { StreamMessage } from '../../replication/message.js';
import type { Copies, Copy } from '../support/copies.js';
import { closeClusters, cluster, flip, lying } from './hurt-follower.js';
import { compacted, contents, OPTIONS, type Result, segmentsOf, subject, verify } from './mending.js';

afterEach(closeClusters);

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
