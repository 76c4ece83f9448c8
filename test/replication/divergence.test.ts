/** A follower whose content is another than its owner's, byte by byte sound: it is found, says nothing wrong, and takes the owner's where that is proven. */
import { afterEach, describe, expect, it } from 'vitest';
import { type Cluster, closeClusters, cluster, lying } from './hurt-follower.js';
import { contents, OPTIONS, subject, verify } from './mending.js';

afterEach(closeClusters);

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
