/** What counts as safe: words of a majority of the replica set, given in the owner's epoch, and nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readAckReport } from '../../replication/ack-book.js';
import { ROUGH } from '../support/sim-network.js';
import { Cluster, type Node } from './cluster.js';

const NAMES = ['http://a:7411', 'http://b:7411', 'http://c:7411'];

async function three(seed: number, shards = 1): Promise<{ cluster: Cluster; nodes: [Node, Node, Node] }> {
  const cluster = new Cluster(seed);
  const config = { replicas: NAMES };
  const a = cluster.node('a', config);
  const starting = a.start({ shards });
  await cluster.waitFor(starting);
  const others: Node[] = [];
  for (const name of ['b', 'c']) {
    const node = cluster.node(name, config);
    await node.prepare(a.url);
    await cluster.waitFor(node.start());
    others.push(node);
  }
  await cluster.network.until('a owns, the others follow', () =>
    [a, ...others].every((node, i) =>
      Array.from({ length: shards }, (_, s) => node.replica(s + 1).role).every((role) => role === (i === 0 ? 'owner' : 'follower')),
    ),
  );
  return { cluster, nodes: [a, others[0]!, others[1]!] };
}

describe('the quorum position', () => {
  it('reaches a record once one of two followers has it, and not while neither can be heard', async () => {
    const { cluster, nodes } = await three(1);
    const [a, b, c] = nodes;
    await cluster.put(a, 10);
    const seq = a.replica().durableSeq;
    expect(await cluster.waitFor(a.replicator.whenQuorum(1, seq))).toBe(true);
    cluster.network.isolate(b.url, [a.url]);
    await cluster.put(a, 1, 10);
    expect(await cluster.waitFor(a.replicator.whenQuorum(1, a.replica().durableSeq))).toBe(true);
    cluster.network.isolate(c.url, [a.url]);
    await cluster.put(a, 1, 11);
    const newest = a.replica().durableSeq;
    const before = cluster.network.time.elapsedMicros;
    expect(await cluster.waitFor(a.replicator.whenQuorum(1, newest, 3_000))).toBe(false);
    expect(cluster.network.time.elapsedMicros - before).toBeGreaterThanOrEqual(3_000_000);
    expect(a.replicator.quorumSeq(1)).toBeLessThan(newest);
    cluster.network.heal();
    expect(await cluster.waitFor(a.replicator.whenQuorum(1, newest, 60_000), 90_000)).toBe(true);
    await cluster.network.until(
      'followers learn of it',
      () => b.replicator.quorumSeq(1) === newest && c.replicator.quorumSeq(1) === newest,
    );
  });

  it('counts nobody who is not of the replica set, no other epoch, and no more than is durable here', async () => {
    const { cluster, nodes } = await three(2);
    const [a] = nodes;
    cluster.network.isolate(a.url, NAMES.slice(1));
    await cluster.put(a, 5);
    const seq = a.replica().durableSeq;
    const before = a.replicator.quorumSeq(1);
    const report = (url: string, epoch: number, acked: number, node = 'd'.repeat(32)) =>
      cluster.waitFor(
        cluster.network.transport('http://x:1').request(a.url, {
          method: 'POST',
          path: '/replication/v1/acks',
          json: { node, url, positions: [[1, epoch, acked, 0]] },
        }),
      );
    await report('http://stranger:1', 1, seq);
    await report('http://other:1', 1, seq, 'e'.repeat(32));
    expect(a.replicator.quorumSeq(1)).toBe(before);
    await report(NAMES[1]!, 0, seq);
    expect(a.replicator.quorumSeq(1)).toBe(before);
    await report(NAMES[1]!, 1, seq + 1_000);
    await report(NAMES[2]!, 1, seq + 1_000, 'f'.repeat(32));
    expect(a.replicator.quorumSeq(1)).toBe(seq);
    expect(a.replicator.status(1).followers.map(({ url }) => url)).toEqual(expect.arrayContaining(['http://stranger:1', NAMES[1]]));
  });

  it('counts no word that was given in another epoch, however far it goes', async () => {
    const { cluster, nodes } = await three(9);
    const [a, b, c] = nodes;
    await cluster.waitFor(b.replica().promise(2, b.db.nodeId));
    await cluster.waitFor(c.replica().promise(2, b.db.nodeId));
    await cluster.waitFor(b.replica().beginEpoch(2, { node: b.db.nodeId, url: b.url }, 'test'));
    await cluster.waitFor(b.replicator.takeRole(1));
    cluster.network.isolate(b.url, [a.url, c.url]);
    await cluster.put(b, 3, 10);
    const { durableSeq } = b.replica();
    for (const [url, node] of [
      [a.url, a.db.nodeId],
      [c.url, c.db.nodeId],
    ]) {
      const json = { node, url, positions: [[1, 1, durableSeq, 0]] };
      const report = { method: 'POST', path: '/replication/v1/acks', json } as const;
      await cluster.waitFor(cluster.network.transport('http://x:1').request(b.url, report));
    }
    expect(b.replicator.quorumSeq(1)).toBeLessThan(durableSeq);
  });

  it('is every durable seq where a node is alone', async () => {
    const cluster = new Cluster(3);
    const owner = await cluster.waitFor(cluster.node('owner').start());
    await cluster.put(owner, 3);
    expect(await owner.replicator.whenQuorum(1, owner.replica().durableSeq)).toBe(true);
  });

  it('counts an epoch from its beginning: what was waited for in the one before hears no', async () => {
    const { cluster, nodes } = await three(4);
    const [a, b, c] = nodes;
    cluster.network.isolate(a.url, [b.url, c.url]);
    await cluster.put(a, 3);
    const waiting = a.replicator.whenQuorum(1, a.replica().durableSeq, 600_000);
    await cluster.waitFor(b.replica().promise(2, b.db.nodeId));
    await cluster.waitFor(c.replica().promise(2, b.db.nodeId));
    await cluster.waitFor(b.replica().beginEpoch(2, { node: b.db.nodeId, url: b.url }, 'test'));
    await cluster.waitFor(b.replicator.takeRole(1));
    await cluster.waitFor(c.replicator.takeRole(1));
    await cluster.network.until('c follows b', () => c.replicator.status(1).source?.url === b.url);
    await cluster.put(b, 3, 10);
    expect(await cluster.waitFor(b.replicator.whenQuorum(1, b.replica().durableSeq))).toBe(true);
    cluster.network.heal();
    await cluster.network.until('a follows b', () => a.replica().role === 'follower', 60_000);
    expect(await cluster.waitFor(waiting)).toBe(false);
    await cluster.caughtUp(a, b);
    expect(
      a
        .replica()
        .epochs()
        .map(({ epoch }) => epoch),
    ).toEqual([1, 2]);
  });

  it('tells who has not carried out what was erased', async () => {
    const { cluster, nodes } = await three(5);
    const [a, b, c] = nodes;
    expect(a.replicator.outstanding(1, 2 ** 40)).toEqual([b.url, c.url]);
    expect(a.replicator.outstanding(1, 0)).toEqual([]);
    await cluster.put(a, 1);
  });
});

describe('an owner of a replica set', () => {
  it('takes no write after a start before a majority has said that it knows no newer epoch', async () => {
    const { cluster, nodes } = await three(6);
    const [a, b] = nodes;
    await cluster.put(a, 5);
    await a.stop();
    cluster.network.isolate(a.url, NAMES.slice(1));
    await cluster.waitFor(a.start());
    await cluster.network.pass(20_000, 200);
    expect(a.replica().role).toBe('fenced');
    await expect(cluster.waitFor(a.db.put('c', 'k', 1))).rejects.toMatchObject({ code: 'NOT_OWNER' });
    expect(a.replicator.status(1).decision).toMatchObject({ kind: 'wait', reason: expect.stringContaining('1 of 3') });
    cluster.network.heal();
    await cluster.network.until('it owns the shard again', () => a.replica().role === 'owner');
    await cluster.put(a, 1, 10);
    await cluster.caughtUp(b, a);
  });

  it('is asked once for the states of all shards, and reported to once for all of them', async () => {
    const { cluster, nodes } = await three(7, 32);
    const [a, b] = nodes;
    for (let i = 0; i < 4; i++) await cluster.put(a, 64, i * 64);
    await cluster.caughtUp(b, a);
    const calls = cluster.network.calls;
    await cluster.network.pass(20_000, 100);
    // Two followers' heartbeats of 32 shards each, every 2 s, are 640 words in 20 s.
    expect(cluster.network.calls - calls).toBeLessThan(200);
  });

  it('learns on a rough network too what a majority has', async () => {
    const { cluster, nodes } = await three(8);
    cluster.network.faults = ROUGH;
    const [a] = nodes;
    for (let i = 0; i < 5; i++) {
      await cluster.put(a, 20, i * 20);
      expect(await cluster.waitFor(a.replicator.whenQuorum(1, a.replica().durableSeq, 30_000))).toBe(true);
    }
  });
});

describe('a report of positions', () => {
  const node = 'a'.repeat(32);
  it('is taken only whole and sound', () => {
    expect(readAckReport({ node, url: 'http://b:1', positions: [[1, 1, 5, 0]] }, 2)).toBeDefined();
    const position = [1, 1, 5, 0];
    for (const bad of [
      null,
      [],
      { node: 'x', positions: [] },
      { node, url: 'file:///etc', positions: [] },
      { node, positions: {} },
      { node, positions: [[3, 1, 5, 0]] },
      { node, positions: [[1, 1, 5]] },
      { node, positions: [[1, 1, 2 ** 48, 0]] },
      { node, positions: [[1, -1, 5, 0]] },
      { node, positions: [[1, 1.5, 5, 0]] },
      { node, positions: [position, position] },
      { node, positions: [position, [2, 1, 5, 0], [1, 1, 5, 0]] },
    ])
      expect(readAckReport(bad, 2), JSON.stringify(bad)).toBeUndefined();
  });

  it('never makes anything but a report or nothing of any JSON', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => void readAckReport(value, 4)));
  });
});
