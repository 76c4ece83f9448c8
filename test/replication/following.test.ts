/** A follower ends up with what its source has, whatever happens on the way. */
import { describe, expect, it } from 'vitest';
import { CALM, ROUGH } from '../support/sim-network.js';
import { Cluster, type Node, roots } from './cluster.js';

describe('a follower', () => {
  it('takes over what is there and what comes, and knows when it has everything', async () => {
    const cluster = new Cluster(1);
    const owner = await cluster.node('owner').start();
    await cluster.put(owner, 300);
    const copy = cluster.node('copy', { follow: owner.url });
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.caughtUp(copy, owner);
    await cluster.put(owner, 200, 300);
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
    expect(copy.db.now().get('c', 'key5')?.body).toEqual(owner.db.now().get('c', 'key5')?.body);
    expect(copy.replica().role).toBe('follower');
    await cluster.network.until('it is caught up', () => copy.replicator.status(1).source?.lagSeconds === 0);
    expect(copy.replicator.status(1).source).toMatchObject({ connected: true, refused: 0, rewinds: 0, lastError: undefined });
    expect(copy.replica().promised.caughtUp).toBe(true);
    await cluster.network.until(
      'the owner knows it',
      () => owner.replicator.status(1).followers[0]?.ackedSeq === owner.replica().durableSeq,
    );
    await copy.stop();
    await owner.stop();
  });

  it.each([1, 2, 3, 4])('ends up with the same on a rough network, while the owner loads (seed %i)', async (seed) => {
    const cluster = new Cluster(seed);
    const owner = await cluster.node('owner').start({ shards: 2 });
    await cluster.put(owner, 100);
    const copy = cluster.node('copy', { follow: owner.url });
    cluster.network.faults = ROUGH;
    await copy.prepare(owner.url);
    await copy.start();
    for (let i = 0; i < 6; i++) {
      await cluster.put(owner, 60, 100 + i * 60);
      await cluster.network.pass(200);
    }
    cluster.network.isolate(copy.url, [owner.url]);
    await cluster.put(owner, 50, 500);
    await cluster.network.pass(25_000, 500);
    expect(copy.replicator.status(1).source?.lagSeconds).toBeGreaterThan(20);
    cluster.network.heal();
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
    expect(copy.replicator.status(1).source?.refused).toBe(0);
    cluster.network.faults = CALM;
    await copy.stop();
    await owner.stop();
  });

  it('that was killed goes on behind what it had made durable', async () => {
    const cluster = new Cluster(5, { ...CALM, pieceBytes: 2_000, delayMs: [1, 5] });
    const owner = await cluster.node('owner').start();
    await cluster.put(owner, 2_000);
    const copy = await prepared(cluster, owner);
    await cluster.network.until('half of it has come', () => copy.replica().durableSeq > 0);
    for (let kill = 0; kill < 5; kill++) {
      copy.kill();
      await copy.start();
      await cluster.put(owner, 20, 2_000 + kill * 20);
      await cluster.network.pass(30, 5);
    }
    await cluster.caughtUp(copy, owner);
    const had = copy.replica().durableSeq;
    copy.kill();
    const before = cluster.network.streamedBytes;
    await cluster.put(owner, 1, 5_000);
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(copy.replica().durableSeq).toBeGreaterThan(had);
    expect(cluster.network.streamedBytes - before).toBeLessThan(2_000);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('whose disk was lost begins anew, under another name for its node', async () => {
    const cluster = new Cluster(6);
    const owner = await cluster.node('owner').start();
    await cluster.put(owner, 400);
    const copy = await prepared(cluster, owner);
    await cluster.caughtUp(copy, owner);
    const { nodeId } = copy.db;
    copy.kill();
    copy.wipe(99);
    await cluster.put(owner, 100, 400);
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(copy.db.nodeId).not.toBe(nodeId);
    expect(copy.db.databaseId).toBe(owner.db.databaseId);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('may itself be followed', async () => {
    const cluster = new Cluster(7, ROUGH);
    const owner = await cluster.node('owner').start();
    const middle = await prepared(cluster, owner, 'middle');
    const last = await prepared(cluster, middle, 'last');
    await cluster.put(owner, 300);
    await cluster.caughtUp(last, owner);
    expect(await roots(cluster, last)).toEqual(await roots(cluster, owner));
    await cluster.network.until(
      'its source knows',
      () => middle.replicator.status(1).followers[0]?.ackedSeq === owner.replica().durableSeq,
    );
  });

  it('leaves a source of another database alone', async () => {
    const cluster = new Cluster(8);
    const owner = await cluster.node('owner').start();
    const stranger = await cluster.node('stranger').start();
    await cluster.put(stranger, 20);
    await cluster.put(owner, 10);
    const copy = await prepared(cluster, owner);
    await cluster.caughtUp(copy, owner);
    cluster.network.up(owner.url, stranger.replicator.service);
    await cluster.network.until('it notices', () => /another database/.test(copy.replicator.status(1).source?.lastError ?? ''));
    expect(copy.replica().durableSeq).toBe(owner.replica().durableSeq);
  });

  it('hangs up after ten seconds without a word, and says so', async () => {
    const cluster = new Cluster(9);
    const owner = await cluster.node('owner').start();
    const copy = await prepared(cluster, owner);
    await cluster.network.until('it is connected', () => copy.replicator.status(1).source?.connected === true);
    // Idle for long: heartbeats keep it.
    await cluster.network.pass(60_000, 500);
    expect(copy.replicator.status(1).source).toMatchObject({ connected: true, connections: 1, lagSeconds: 0 });
    cluster.network.block(owner.url, copy.url);
    await cluster.network.pass(7_000, 500);
    expect(copy.replicator.status(1).source?.connected).toBe(true);
    await cluster.network.pass(4_000, 500);
    expect(copy.replicator.status(1).source).toMatchObject({ connected: false, lastError: expect.stringContaining('10 s') });
    cluster.network.heal();
    await cluster.put(owner, 5);
    await cluster.caughtUp(copy, owner);
  });

  it('that does not read costs the owner nothing but its place', async () => {
    const cluster = new Cluster(10);
    const owner = await cluster.node('owner').start();
    const transport = cluster.network.transport('http://lazy:1');
    const lazy = transport.request(owner.url, { method: 'GET', path: '/replication/v1/shards/1/log?after=0&epoch=0', stream: true });
    const { body } = await cluster.waitFor(lazy);
    const reading = body[Symbol.asyncIterator]();
    await cluster.waitFor(reading.next());
    const copy = await prepared(cluster, owner);
    await cluster.network.until('both follow', () => owner.replicator.status(1).streams === 2);
    for (let i = 0; i < 24; i++) await cluster.put(owner, 50, i * 50, 10_000);
    await cluster.caughtUp(copy, owner);
    const { sentBytes, streams } = owner.replicator.status(1);
    expect(streams).toBe(2);
    // 12 MB were written and went out once; of them the one that reads nothing has had nothing.
    expect(sentBytes).toBeGreaterThan(11 * 1024 * 1024);
    expect(sentBytes).toBeLessThan(13 * 1024 * 1024);
    // And when it does read, it is served from the disk what is not in memory any more.
    let bytes = 0;
    while (bytes < 12_000_000) bytes += (await cluster.waitFor(reading.next())).value?.length ?? 0;
    await reading.return?.();
    await cluster.network.until('it has left', () => owner.replicator.status(1).streams === 1);
  });

  it('sets aside what a newer epoch left behind, and follows that', async () => {
    const cluster = new Cluster(11);
    const owner = cluster.node('owner', { replicas: ['http://owner:7411', 'http://copy:7411'] });
    await owner.start();
    const copy = cluster.node('copy', { replicas: ['http://owner:7411', 'http://copy:7411'] });
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.network.until('one owns, one follows', () => owner.replica().role === 'owner' && copy.replica().role === 'follower');
    await cluster.put(owner, 50);
    await cluster.caughtUp(copy, owner);
    cluster.network.isolate(owner.url, [copy.url]);
    await cluster.put(owner, 7, 50);
    const lost = owner.replica().durableSeq;
    const shared = copy.replica().durableSeq;
    // By force, as an operator would with the owner gone.
    await cluster.waitFor(copy.replica().promise(2, copy.db.nodeId));
    await cluster.waitFor(copy.replica().beginEpoch(2, { node: copy.db.nodeId, url: copy.url }, 'forced'));
    await cluster.waitFor(copy.replicator.takeRole(1));
    expect(copy.replica().role).toBe('owner');
    await cluster.put(copy, 5, 100);
    cluster.network.heal();
    await cluster.network.until('the old owner follows', () => owner.replica().role === 'follower', 120_000);
    await cluster.caughtUp(owner, copy);
    expect(owner.replicator.status(1).source?.rewinds).toBe(1);
    expect(owner.told.join()).toMatch(/set aside/);
    expect(shared).toBeLessThan(lost);
    expect(await roots(cluster, owner)).toEqual(await roots(cluster, copy));
  });

  it('gives an owner back what rot took from the end of its log while it was down', async () => {
    const cluster = new Cluster(77);
    const replicas = ['http://one:7411', 'http://two:7411'];
    const owner = cluster.node('one', { replicas });
    await owner.start();
    const copy = cluster.node('two', { replicas, follow: owner.url });
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.network.until('the owner leads', () => owner.replica().role === 'owner');
    await cluster.put(owner, 20);
    await cluster.caughtUp(copy, owner);
    const last = owner.replica().durableSeq;
    const { name, shard } = owner.db.logFiles().at(-1)!;
    expect(shard).toBe(1);
    owner.kill();
    const path = `shards/0001/log/${name}`;
    // The last frame, before the zeros that the next ones are written over.
    const end = owner.platform.contents(path).findLastIndex((byte) => byte !== 0);
    owner.platform.flipBit(path, 8 * (end - 30));
    await owner.start();
    expect(owner.replica().durableSeq).toBeLessThan(last);
    await cluster.network.until('the owner leads again', () => owner.replica().role === 'owner');
    expect(owner.replica().durableSeq).toBeGreaterThanOrEqual(last);
    await cluster.put(owner, 5, 100);
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
    expect(copy.replicator.status(1).source?.rewinds).toBe(0);
    await copy.stop();
    await owner.stop();
  });
});

async function prepared(cluster: Cluster, source: Node, name = 'copy'): Promise<Node> {
  const copy = cluster.node(name, { follow: source.url });
  await copy.prepare(source.url);
  return copy.start();
}
