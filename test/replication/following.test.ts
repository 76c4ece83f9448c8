/** A follower ends up with what its source has, whatever happens on the way. */
import { describe, expect, it } from 'vitest';
import { Cluster, roots } from './cluster.js';

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
});
