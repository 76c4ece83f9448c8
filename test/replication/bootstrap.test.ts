/** An empty directory becomes a copy: whole, checked, and whatever interrupts it. */
import { describe, expect, it } from 'vitest';
import { readIdentity } from '../../engine/copying.js';
import { openWith } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { prepareReplica } from '../../replication/index.js';
import { CALM, ROUGH } from '../support/sim-network.js';
import { Cluster, type Node, roots } from './cluster.js';

async function loaded(seed: number, shards = 1): Promise<{ cluster: Cluster; owner: Node }> {
  const cluster = new Cluster(seed);
  const owner = await cluster.node('owner').start({ shards });
  for (let i = 0; i < 8; i++) await cluster.put(owner, 100, i * 100, 300);
  expect(owner.db.logFiles().filter(({ sealed }) => sealed).length).toBeGreaterThan(1);
  return { cluster, owner };
}

function segmentBytes(platform: MemoryPlatform): number {
  return platform
    .fileList()
    .filter(({ path }) => path.endsWith('.seg'))
    .reduce((sum, { size }) => sum + size, 0);
}

describe('an empty directory', () => {
  it('is given identity and sealed segments, and a node of its own', async () => {
    const { cluster, owner } = await loaded(1, 2);
    const copy = cluster.node('copy', { follow: owner.url });
    const prepared = await copy.prepare(owner.url);
    const sealed = owner.db.logFiles().filter((file) => file.sealed);
    expect(prepared.made).toEqual({ segments: sealed.length, bytes: sealed.reduce((sum, { bytes }) => sum + bytes, 0) });
    const identity = readIdentity(copy.platform);
    expect(identity).toMatchObject({ database: owner.db.databaseId, shards: 2, copy: true });
    expect(identity?.node).not.toBe(owner.db.nodeId);
    const before = cluster.network.streamedBytes;
    await copy.start();
    await cluster.caughtUp(copy, owner);
    // The rest came as a stream, and only the rest.
    expect(cluster.network.streamedBytes - before).toBeLessThan(segmentBytes(owner.platform) / 2);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
    expect(await copy.prepare(owner.url)).toEqual({ database: owner.db.databaseId });
  });

  it('goes on where it broke off, by range, through cuts and lost calls', async () => {
    const { cluster, owner } = await loaded(2);
    cluster.network.faults = { ...ROUGH, cut: 15, loss: 0 };
    const copy = cluster.node('copy', { follow: owner.url });
    const before = cluster.network.streamedBytes;
    const { made } = await copy.prepare(owner.url);
    // Cut dozens of times: all that came was kept.
    expect(cluster.network.streamedBytes - before).toBeLessThan(made!.bytes * 1.2);
    cluster.network.faults = CALM;
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it.each([1, 2, 3, 4, 5, 6])('goes on after the power was cut in the middle (seed %i)', async (seed) => {
    const { cluster, owner } = await loaded(3);
    const choose = randomChooser(seed);
    const copy = cluster.node('copy', { follow: owner.url });
    for (let cut = 0; cut < 4; cut++) {
      const { platform } = copy;
      platform.crashAt(platform.ops + 5 + ((seed * 31 + cut * 17) % 60), 'throw');
      const prepared = prepareReplica({ platform, transport: cluster.network.transport(copy.url), url: owner.url });
      let over = false;
      prepared.then(
        () => void (over = true),
        () => void (over = true),
      );
      await cluster.network.until('the power is cut', () => over || platform.halted);
      copy.platform = platform.crash(choose, { time: cluster.network.time });
      if (readIdentity(copy.platform) !== undefined) break;
      // Half a copy is no database.
      if (copy.platform.fileList().some(({ path }) => path.endsWith('.seg')))
        await expect(openWith(copy.platform)).rejects.toMatchObject({ code: 'CORRUPT' });
    }
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('takes it from another where the one it is told does not answer', async () => {
    const { cluster, owner } = await loaded(7);
    const copy = cluster.node('copy', { follow: owner.url });
    const transport = cluster.network.transport(copy.url);
    const { platform } = copy;
    const prepared = prepareReplica({ platform, transport, url: 'http://nobody:7411', others: [owner.url] });
    expect((await cluster.waitFor(prepared)).database).toBe(owner.db.databaseId);
    await copy.start();
    await cluster.caughtUp(copy, owner);
  });

  it('begins no database where another node has one still, and leaves it to the caller where none has', async () => {
    const { cluster, owner } = await loaded(8);
    const [wiped, fresh] = [cluster.node('wiped', {}), cluster.node('fresh', {})];
    const prepare = ({ platform, url: self }: typeof wiped, url: string) =>
      cluster.waitFor(prepareReplica({ platform, transport: cluster.network.transport(self), url, mayBegin: true }));
    expect(await prepare(wiped, owner.url)).toMatchObject({ database: owner.db.databaseId });
    expect(readIdentity(wiped.platform)).toMatchObject({ database: owner.db.databaseId, copy: true });
    expect(await prepare(fresh, 'http://nobody:7411')).toEqual({ database: undefined });
    expect(fresh.platform.fileList()).toEqual([]);
  });

  it('refuses segments that fail a check, and says which', async () => {
    const { cluster, owner } = await loaded(4);
    const copy = cluster.node('copy', { follow: owner.url });
    let flipped = 0;
    cluster.network.tamper = (_from, bytes) => {
      const changed = Uint8Array.from(bytes);
      if (changed.length > 5_000) {
        changed[4_000]! ^= 4;
        flipped++;
      }
      return changed;
    };
    await expect(copy.prepare(owner.url)).rejects.toThrow(/000000000001-0000\.seg/);
    expect(flipped).toBeGreaterThan(1);
    expect(copy.platform.fileList().filter(({ path }) => path.endsWith('.seg'))).toEqual([]);
    cluster.network.tamper = undefined;
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.caughtUp(copy, owner);
  });

  it('takes the segments of after a compaction that came in between', async () => {
    const { cluster, owner } = await loaded(5);
    await cluster.waitFor(owner.db.setRetention('c', { keep: 'last', versions: 1 }));
    const copy = cluster.node('copy', { follow: owner.url });
    cluster.network.faults = { ...CALM, delayMs: [5, 5], pieceBytes: 2_000 };
    const preparing = copy.prepare(owner.url);
    await cluster.network.until('one has come', () => copy.platform.fileList().some(({ path }) => path.endsWith('.seg')));
    const job = owner.db.compact({ force: true });
    await cluster.network.until('it is compacted', () => owner.db.job(job.id)?.ended !== null, 120_000);
    await preparing;
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('that holds something else stays as it is', async () => {
    const { cluster, owner } = await loaded(6);
    const copy = cluster.node('copy', { follow: owner.url });
    copy.platform.store('holiday/beach.jpg', Buffer.from('sand'));
    await expect(copy.prepare(owner.url)).rejects.toMatchObject({ code: 'INVALID' });
    expect(copy.platform.fileList().map(({ path }) => path)).toEqual(['holiday/beach.jpg']);
  });

  it('begun from one database is not finished from another', async () => {
    const { cluster, owner } = await loaded(7);
    const other = await cluster.node('other').start();
    const copy = cluster.node('copy', { follow: owner.url });
    const begun = { database: other.db.databaseId, shards: 1, node: other.db.nodeId };
    copy.platform.store('bootstrap.json', Buffer.from(JSON.stringify(begun)));
    await expect(copy.prepare(owner.url)).rejects.toMatchObject({ code: 'INCOMPATIBLE' });
  });

  it('begun from one node takes nothing of it over when another goes on: names may be the same, and contents end elsewhere', async () => {
    const { cluster, owner } = await loaded(9);
    await cluster.put(owner, 5, 850);
    const between = cluster.node('between', { follow: owner.url });
    await between.prepare(owner.url);
    await between.start();
    await cluster.caughtUp(between, owner);
    const last = owner.db.logFiles().at(-1)!;
    // The one that ends first gives its segment the same name as the one that goes on.
    await between.stop();
    await cluster.put(owner, 5, 900);
    await between.start();
    await cluster.caughtUp(between, owner);
    await owner.stop();
    await owner.start();
    const short = between.db.logFiles().find(({ name }) => name === last.name)!;
    const long = owner.db.logFiles().find(({ name }) => name === last.name)!;
    expect([short.sealed, long.sealed]).toEqual([true, true]);
    expect(short.lastSeq).toBeLessThan(long.lastSeq);
    const copy = cluster.node('copy', { follow: owner.url });
    const begun = { database: owner.db.databaseId, shards: 1, node: between.db.nodeId };
    copy.platform.store('bootstrap.json', Buffer.from(JSON.stringify(begun)));
    for (const { path } of between.platform.fileList())
      if (path.endsWith('.seg')) copy.platform.store(path, between.platform.contents(path));
    await copy.prepare(owner.url);
    await copy.start();
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('waits for a source that is not there yet', async () => {
    const { cluster, owner } = await loaded(8);
    cluster.network.down(owner.url);
    const copy = cluster.node('copy', { follow: owner.url });
    const preparing = copy.prepare(owner.url);
    await cluster.network.pass(20_000, 500);
    cluster.network.up(owner.url, owner.replicator.service);
    expect((await preparing).made?.segments).toBeGreaterThan(0);
  });
});
