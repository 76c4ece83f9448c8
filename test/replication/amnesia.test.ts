/** A node that lost its disk has forgotten what it promised and acknowledged: whoever counts that must not be outvoted by its next life. */
import { describe, expect, it } from 'vitest';
import { Candidate } from '../../replication/election.js';
import { electionHandlers } from '../../replication/election-service.js';
import type { Replicator } from '../../replication/index.js';
import type { Transport } from '../../replication/transport.js';
import { Cluster, type Node } from './cluster.js';

/** The first owns the shard; the others follow. */
async function replicaSet(seed: number, names: readonly string[]): Promise<{ cluster: Cluster; nodes: Node[] }> {
  const cluster = new Cluster(seed);
  const replicas = names.map((name) => `http://${name}:7411`);
  const nodes = names.map((name) => {
    const node: Node = cluster.node(
      name,
      { replicas },
      {
        handlers: (replicator: Replicator) =>
          electionHandlers({ db: node.db, replicas, onPromised: ({ id }) => void replicator.takeRole(id) }),
      },
    );
    return node;
  });
  const [owner, ...others] = nodes as [Node, ...Node[]];
  await owner.start();
  for (const node of others) await node.prepare(owner.url);
  for (const node of others) await node.start();
  await cluster.network.until('the first owns it', () => owner.replica().role === 'owner');
  await cluster.put(owner, 20);
  await cluster.network.until('all have a say', () => nodes.every((node) => node.replica().promised.caughtUp));
  return { cluster, nodes };
}

describe('a node that lost its disk', () => {
  it('of five has no say before it has all that all four others have, however many of them it can hear', async () => {
    const { cluster, nodes } = await replicaSet(1, ['a', 'b', 'c', 'd', 'e']);
    const [a, b, c, d, e] = nodes as [Node, Node, Node, Node, Node];
    await e.stop();
    b.kill();
    b.wipe(77);
    await b.prepare(c.url);
    await b.start();
    await cluster.put(a, 5, 100);
    await cluster.caughtUp(b, a);
    await cluster.network.pass(20_000);
    expect(b.replica().promised.caughtUp).toBe(false);
    await e.start();
    await cluster.network.until('it has a say', () => b.replica().promised.caughtUp);
    for (const node of [a, b, c, d, e]) await node.stop();
  });

  it('cannot be counted for what its owner promised before the candidate gave its own word', async () => {
    const { cluster, nodes } = await replicaSet(2, ['a', 'b', 'c']);
    const [a, b, c] = nodes as [Node, Node, Node];
    await c.stop();
    const real = cluster.network.transport(b.url);
    const asked: [string, number][] = [];
    const transport: Transport = {
      async request(url, request) {
        if (!request.path.endsWith('/promises')) return real.request(url, request);
        asked.push([url, b.replica().promised.epoch]);
        // From the second word on nobody is there any more.
        if (asked.filter(([other]) => other === url).length > 1) throw new Error('nobody answers');
        return real.request(url, request);
      },
    };
    const { databaseId, nodeId: node } = b.db;
    const replicas = [a.url, b.url, c.url];
    const { clock } = b.platform;
    const options = { shard: b.replica(), databaseId, node, url: b.url, replicas, transport, clock, timeoutMs: 1000 };
    const outcome = await cluster.waitFor(new Candidate(options).run()).catch((error: unknown) => error);
    expect(outcome).toMatchObject({ kind: 'no-majority' });
    expect(asked).toEqual([
      [a.url, 0],
      [a.url, 2],
      [c.url, 2],
    ]);
    expect(b.replica().epoch).toBe(1);
    for (const each of [a, b]) await each.stop();
  });
});
