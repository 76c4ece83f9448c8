/** Who owns a shard: candidates, promises, and what becomes of an owner that is no longer one. */
import { describe, expect, it } from 'vitest';
import { Candidate, PromotionRefused } from '../../replication/election.js';
import { electionHandlers } from '../../replication/election-service.js';
import type { Replicator } from '../../replication/index.js';
import type { PeerCall, Transport } from '../../replication/transport.js';
import { Cluster, type Node, roots } from './cluster.js';

const URLS = ['http://a:7411', 'http://b:7411', 'http://c:7411'];

interface Trio {
  readonly cluster: Cluster;
  readonly a: Node;
  readonly b: Node;
  readonly c: Node;
}

/** An owner and two that follow it and have all it has. */
async function trio(seed: number): Promise<Trio> {
  const cluster = new Cluster(seed);
  const voting = (node: () => Node) => ({
    handlers: (replicator: Replicator) =>
      electionHandlers({ db: node().db, replicas: URLS, onPromised: ({ id }) => void replicator.takeRole(id) }),
  });
  const replicas = URLS;
  const a: Node = cluster.node(
    'a',
    { replicas },
    voting(() => a),
  );
  const b: Node = cluster.node(
    'b',
    { replicas, follow: URLS[0]! },
    voting(() => b),
  );
  const c: Node = cluster.node(
    'c',
    { replicas, follow: URLS[0]! },
    voting(() => c),
  );
  await a.start();
  await b.prepare(a.url);
  await c.prepare(a.url);
  await b.start();
  await c.start();
  await cluster.network.until('a leads', () => a.replica().role === 'owner');
  await cluster.put(a, 50);
  await cluster.caughtUp(b, a);
  await cluster.caughtUp(c, a);
  await cluster.network.until('they may vote', () => [b, c].every((node) => node.replica().promised.caughtUp));
  return { cluster, a, b, c };
}

function candidate(cluster: Cluster, node: Node, transport: Transport = cluster.network.transport(node.url)): Candidate {
  return new Candidate({
    shard: node.replica(),
    databaseId: node.db.databaseId,
    node: node.db.nodeId,
    url: node.url,
    replicas: URLS,
    transport,
    clock: node.platform.clock,
    timeoutMs: 1000,
    catchUpMs: 2000,
    stopFollowing: () => node.replicator.takeRole(1),
  });
}

async function elect({ cluster }: Trio, node: Node, force = false): Promise<number> {
  const run = candidate(cluster, node)
    .run(force)
    .finally(() => node.replicator.takeRole(1));
  return cluster.waitFor(run);
}

const followers = (trio: Trio, owner: Node) => [trio.a, trio.b, trio.c].filter((node) => node !== owner);

async function allFollow(trio: Trio, owner: Node): Promise<void> {
  await trio.cluster.network.until('the others follow', () => followers(trio, owner).every((node) => node.replica().role === 'follower'));
  for (const node of followers(trio, owner)) await trio.cluster.caughtUp(node, owner);
}

async function stopAll({ a, b, c }: Trio): Promise<void> {
  for (const node of [a, b, c]) await node.stop();
}

describe('a promotion', () => {
  it('takes the shard from an owner that is there; nothing is lost, and the old owner follows', async () => {
    const t = await trio(1);
    expect(await elect(t, t.b)).toBe(2);
    expect(t.b.replica()).toMatchObject({ role: 'owner', epoch: 2, owner: { node: t.b.db.nodeId, url: t.b.url } });
    await expect(t.cluster.waitFor(t.a.db.put('c', 'late', 1))).rejects.toMatchObject({ code: 'NOT_OWNER' });
    await t.cluster.put(t.b, 20, 100);
    const began = t.cluster.network.time.elapsedMicros / 1000;
    await allFollow(t, t.b);
    expect(t.cluster.network.time.elapsedMicros / 1000 - began).toBeLessThan(3000);
    const all = await Promise.all([t.a, t.b, t.c].map((node) => roots(t.cluster, node)));
    expect(new Set(all.flat()).size).toBe(1);
    await t.cluster.network.until('a majority has it', () => t.b.replicator.quorumSeq(1) >= t.b.replica().durableSeq);
    await stopAll(t);
  });

  it('while writes are under way fetches what the owner had when it stopped', async () => {
    for (let seed = 30; seed < 34; seed++) {
      const t = await trio(seed);
      const writes: Promise<unknown>[] = [];
      let isOver = false;
      const writing = (async () => {
        for (let n = 0; !isOver; n++) {
          writes.push(
            t.a.db.put('c', `w${n}`, n).then(
              ({ key }) => key,
              () => undefined,
            ),
          );
          await new Promise<void>((resolve) => void t.a.platform.clock.after(1, resolve));
        }
      })();
      await t.cluster.network.pass(20);
      expect(await elect(t, t.b), `seed ${seed}`).toBe(2);
      isOver = true;
      await t.cluster.waitFor(writing);
      const acknowledged = (await t.cluster.waitFor(Promise.all(writes))).filter((key) => key !== undefined) as string[];
      expect(acknowledged.length).toBeGreaterThan(5);
      for (const key of acknowledged) expect(t.b.db.now().get('c', key), key).toBeDefined();
      await allFollow(t, t.b);
      await stopAll(t);
    }
  });

  it('of an owner leaves it what it is', async () => {
    const t = await trio(2);
    expect(await elect(t, t.a)).toBe(1);
    expect(t.a.replica()).toMatchObject({ role: 'owner', epoch: 1 });
    await stopAll(t);
  });

  it('needs a majority, and promises nothing where it has no chance; by force it goes without', async () => {
    const t = await trio(3);
    t.a.kill();
    t.c.kill();
    const refused = await elect(t, t.b).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(PromotionRefused);
    expect(refused).toMatchObject({ kind: 'no-majority', epoch: 2 });
    expect((refused as PromotionRefused).votes.map(({ url, promised }) => [url, promised])).toEqual([
      [t.b.url, false],
      [t.a.url, false],
      [t.c.url, false],
    ]);
    expect(t.b.replica()).toMatchObject({ role: 'follower', epoch: 1, promised: { epoch: 0 } });
    expect(await elect(t, t.b, true)).toBe(2);
    await t.cluster.put(t.b, 5, 200);
    await t.a.start();
    await t.c.start();
    await allFollow(t, t.b);
    await stopAll(t);
  });

  it('goes to whoever has most; one that is behind is told of whom', async () => {
    const t = await trio(4);
    const { network } = t.cluster;
    network.isolate(t.c.url, [t.a.url, t.b.url]);
    await t.cluster.put(t.a, 30, 300);
    await t.cluster.caughtUp(t.b, t.a);
    t.a.kill();
    network.heal();
    expect(t.c.replica().durableSeq).toBeLessThan(t.b.replica().durableSeq);
    const refused = await elect(t, t.c).catch((error: unknown) => error);
    expect(refused).toMatchObject({ kind: 'behind', ahead: { url: t.b.url, position: [1, t.b.replica().durableSeq] } });
    // Nobody was stopped for a node that could not take over.
    expect([t.b, t.c].map((node) => node.replica().promised.epoch)).toEqual([0, 0]);
    expect(await elect(t, t.b)).toBe(2);
    expect(t.b.db.now().get('c', 'key38')).toBeDefined();
    await t.a.start();
    await allFollow(t, t.b);
    await stopAll(t);
  });

  it('of two at once at most one succeeds in an epoch, and a later one settles it', async () => {
    for (let seed = 10; seed < 16; seed++) {
      const t = await trio(seed);
      t.a.kill();
      const outcomes = await Promise.allSettled([elect(t, t.b), elect(t, t.c)]);
      const won = outcomes.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      expect(new Set(won).size, `seed ${seed}`).toBe(won.length);
      const owners = [t.b, t.c].filter((node) => node.replica().role === 'owner');
      if (owners.length === 2) expect(owners[0]!.replica().epoch).not.toBe(owners[1]!.replica().epoch);
      if (won.length === 0) await elect(t, t.b).catch(() => elect(t, t.c));
      await t.cluster.network.until('one is left', () => [t.b, t.c].filter((node) => node.replica().role === 'owner').length === 1);
      const owner = [t.b, t.c].find((node) => node.replica().role === 'owner')!;
      await t.cluster.put(owner, 5, 400);
      await t.a.start();
      await allFollow(t, owner);
      await stopAll(t);
    }
  });

  it('is not held up by a node that is silent, nor is what a quorum has to have afterwards', async () => {
    for (let seed = 50; seed < 54; seed++) {
      const t = await trio(seed);
      const { network } = t.cluster;
      const nowMs = () => network.time.elapsedMicros / 1000;
      // Long enough for everybody to have noticed, and to be in the middle of asking.
      t.cluster.network.isolate(t.a.url, [t.b.url, t.c.url]);
      await network.pass(seed % 2 === 0 ? 500 : 30_000 + seed * 100);
      const beganMs = nowMs();
      await elect(t, t.b);
      const promotedMs = nowMs();
      expect(promotedMs - beganMs).toBeLessThan(3000);
      await t.cluster.put(t.b, 1, 700);
      await network.until('both have it', () => t.b.replicator.quorumSeq(1) >= t.b.replica().durableSeq);
      expect(nowMs() - promotedMs, `seed ${seed}`).toBeLessThan(1000);
      network.heal();
      await allFollow(t, t.b);
      await stopAll(t);
    }
  });

  it('is not needed where the owner comes back: it is followed again within seconds, however long it was away', async () => {
    const t = await trio(60);
    const { network } = t.cluster;
    t.a.kill();
    await network.pass(120_000, 100);
    await t.a.start();
    await network.until('it leads', () => t.a.replica().role === 'owner');
    const leadsMs = network.time.elapsedMicros / 1000;
    await t.cluster.put(t.a, 1, 700);
    await network.until('a quorum has it', () => t.a.replicator.quorumSeq(1) >= t.a.replica().durableSeq);
    expect(network.time.elapsedMicros / 1000 - leadsMs).toBeLessThan(4000);
    await stopAll(t);
  });

  it('survives lost answers: asked again it is promised the same again', async () => {
    const t = await trio(20);
    const real = t.cluster.network.transport(t.b.url);
    // The owner may be asked twice.
    let lost = 3;
    const lossy: Transport = {
      async request(url, request) {
        const answer = await real.request(url, request);
        if (request.path.endsWith('/promises') && lost-- > 0) throw new Error('the answer was lost');
        return answer;
      },
    };
    const refused = await t.cluster.waitFor(candidate(t.cluster, t.b, lossy).run()).catch((error: unknown) => error);
    expect(refused).toMatchObject({ kind: 'no-majority', epoch: 2 });
    await t.cluster.waitFor(t.b.replicator.takeRole(1));
    expect(t.a.replica()).toMatchObject({ role: 'fenced', promised: { epoch: 2, candidate: t.b.db.nodeId } });
    expect(await elect(t, t.b)).toBeGreaterThan(2);
    await t.cluster.put(t.b, 5, 500);
    await allFollow(t, t.b);
    await stopAll(t);
  });

  it('that ends between promise and event leaves promises; the next one takes a higher epoch', async () => {
    const t = await trio(21);
    expect(await t.cluster.waitFor(t.b.replica().promise(2, t.b.db.nodeId))).toBe(true);
    t.b.kill();
    await t.b.start();
    expect(t.b.replica().promised).toMatchObject({ epoch: 2, candidate: t.b.db.nodeId });
    expect(await elect(t, t.b)).toBe(3);
    await allFollow(t, t.b);
    expect(
      t.b
        .replica()
        .epochs()
        .map(({ epoch }) => epoch),
    ).toEqual([1, 3]);
    await stopAll(t);
  });

  it('sets aside what the old owner wrote alone meanwhile, and says where', async () => {
    const t = await trio(22);
    const { network } = t.cluster;
    network.isolate(t.a.url, [t.b.url, t.c.url]);
    await t.cluster.put(t.a, 10, 600);
    expect(await elect(t, t.b)).toBe(2);
    await t.cluster.put(t.a, 10, 700);
    const alone = t.a.replica().durableSeq;
    network.heal();
    await t.cluster.put(t.b, 10, 800);
    await allFollow(t, t.b);
    expect(t.a.told.some((line) => line.includes('set aside') && line.includes('aside/'))).toBe(true);
    expect(t.a.replica().epochs()[0]!.lastSeq).toBeLessThan(alone);
    expect(await roots(t.cluster, t.a)).toEqual(await roots(t.cluster, t.b));
    await stopAll(t);
  });

  it('is promised by nobody to strangers, nor what is malformed, nor an epoch that is over', async () => {
    const t = await trio(23);
    const ask = (json: unknown) => {
      const call: PeerCall = {
        method: 'POST',
        path: '/replication/v1/shards/1/promises',
        query: new URLSearchParams(),
        headers: {},
        json,
        signal: new AbortController().signal,
      };
      return t.cluster.waitFor(t.b.replicator.service.handle(call));
    };
    const asked = { epoch: 2, candidate: t.c.db.nodeId, url: t.c.url };
    expect((await ask({ ...asked, url: 'http://stranger:1' })).json).toMatchObject({ promised: false });
    expect((await ask({ ...asked, epoch: 1 })).json).toMatchObject({ promised: false, epoch: 1 });
    for (const bad of [
      undefined,
      [],
      {},
      { ...asked, epoch: 0 },
      { ...asked, epoch: 2 ** 32 },
      { ...asked, candidate: 'c' },
      { ...asked, url: 7 },
    ])
      expect((await ask(bad)).status, JSON.stringify(bad)).toBe(400);
    expect(t.b.replica().promised.epoch).toBe(0);
    expect((await ask(asked)).json).toMatchObject({ promised: true, epoch: 2, caughtUp: true, position: [1, t.b.replica().durableSeq] });
    expect((await ask(asked)).json).toMatchObject({ promised: true });
    expect((await ask({ ...asked, candidate: t.a.db.nodeId, url: t.a.url })).json).toMatchObject({ promised: false, epoch: 2 });
    await stopAll(t);
  });
});
