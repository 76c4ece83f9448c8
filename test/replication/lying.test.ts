/** Sources that lie or rot: whatever they send, nothing of it is taken that does not stand every check, and what is there stays. */
import { describe, expect, it } from 'vitest';
import { recordSeedOf } from '../../engine/copying.js';
import { encodeMessage, MessageDecoder, type StreamMessage } from '../../replication/message.js';
import { Cluster, type Node, roots } from './cluster.js';

/** What a liar makes of a message of batches. Sealed again with a good checksum where it returns a message. */
type Lie = (message: StreamMessage) => StreamMessage | Uint8Array;

const LIES: Readonly<Record<string, Lie>> = {
  'a flipped bit': (message) => Uint8Array.from(encodeMessage(message, 0)),
  'a byte of a record changed, under a checksum that passes': (message) => {
    const batches = Uint8Array.from(message.batches);
    batches[batches.length - 20]! ^= 1;
    return { ...message, batches };
  },
  'a hole before it': (message) => ({ ...message, firstSeq: message.firstSeq + 1, lastSeq: message.lastSeq + 1 }),
  'less covered than is in it': (message) => ({ ...message, lastSeq: message.firstSeq }),
  'an older epoch': (message) => ({ ...message, epoch: 0 }),
  'a newer epoch that no event begins': (message) => ({
    ...message,
    epoch: message.epoch + 1,
    firstSeq: message.firstSeq + 2 ** 32,
    lastSeq: message.lastSeq + 2 ** 32,
  }),
  'a batch cut short': (message) => ({ ...message, batches: message.batches.subarray(0, message.batches.length - 8) }),
  'bytes behind its last batch': (message) => ({ ...message, batches: Buffer.concat([message.batches, Buffer.alloc(16)]) }),
  'the same batches twice': (message) => ({ ...message, batches: Buffer.concat([message.batches, message.batches]) }),
  'no batch at all, where there were some, and the hole covered': (message) => ({
    ...message,
    epoch: message.epoch + 7,
    batches: new Uint8Array(0),
  }),
  'a length beyond all bounds': (message) => {
    const bytes = encodeMessage(message, 0);
    bytes.writeUInt32LE(0xffffffff, 8);
    return bytes;
  },
};

async function pair(seed: number): Promise<{ cluster: Cluster; owner: Node; copy: Node }> {
  const cluster = new Cluster(seed);
  const owner = await cluster.node('owner').start();
  await cluster.put(owner, 30);
  const copy = cluster.node('copy', { follow: owner.url });
  await copy.prepare(owner.url);
  await copy.start();
  await cluster.caughtUp(copy, owner);
  return { cluster, owner, copy };
}

/** Tells the lie of every message of batches that passes. */
function liar(database: string, lie: Lie): (from: string, bytes: Uint8Array) => Uint8Array {
  const seed = recordSeedOf(database, 1);
  return (_from, bytes) => {
    const decoder = new MessageDecoder(seed);
    decoder.push(bytes);
    const parts: Uint8Array[] = [];
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
      const told = message.kind === 'batches' ? lie(message) : message;
      parts.push(told instanceof Uint8Array ? told : encodeMessage(told, seed));
    }
    return Buffer.concat(parts);
  };
}

describe('a source that sends', () => {
  it.each(Object.entries(LIES))('%s is refused, told of, and left behind', async (_name, lie) => {
    const { cluster, owner, copy } = await pair(1);
    const had = copy.replica().durableSeq;
    const root = await roots(cluster, copy);
    cluster.network.tamper = liar(owner.db.databaseId, lie);
    await cluster.put(owner, 5, 30);
    await cluster.network.until('it is refused', () => (copy.replicator.status(1).source?.refused ?? 0) > 1);
    expect(copy.replica().durableSeq).toBe(had);
    expect(await roots(cluster, copy)).toEqual(root);
    expect(copy.told.join()).toContain('refused');
    expect(copy.replicator.status(1).source?.lastError).toBeTruthy();
    expect(copy.db.now().get('c', 'key3')?.body).toMatchObject({ i: 3 });
    // It comes to its senses: nothing of the lies is left.
    cluster.network.tamper = undefined;
    await cluster.caughtUp(copy, owner);
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
    copy.kill();
    await copy.start();
    expect(await roots(cluster, copy)).toEqual(await roots(cluster, owner));
  });

  it('is not hammered with attempts', async () => {
    const { cluster, owner, copy } = await pair(2);
    cluster.network.tamper = liar(owner.db.databaseId, LIES['an older epoch']!);
    await cluster.put(owner, 5, 30);
    const { connections } = copy.replicator.status(1).source!;
    await cluster.network.pass(60_000, 200);
    const attempts = copy.replicator.status(1).source!.connections - connections;
    expect(attempts).toBeGreaterThan(3);
    expect(attempts).toBeLessThan(25);
  });

  it('a good message and a bad one in one piece is believed in the first', async () => {
    const { cluster, owner, copy } = await pair(3);
    const had = copy.replica().durableSeq;
    cluster.network.block(owner.url, copy.url);
    for (let i = 0; i < 3; i++) await cluster.put(owner, 2, 30 + i * 2);
    const seed = recordSeedOf(owner.db.databaseId, 1);
    let seen = 0;
    cluster.network.tamper = (_from, bytes) => {
      const decoder = new MessageDecoder(seed);
      decoder.push(bytes);
      const parts: Uint8Array[] = [];
      for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
        const bad = message.kind === 'batches' && ++seen === 2;
        const batches = Uint8Array.from(message.batches);
        if (bad) batches[batches.length - 20]! ^= 1;
        parts.push(encodeMessage({ ...message, batches }, seed));
      }
      return Buffer.concat(parts);
    };
    cluster.network.heal();
    await cluster.network.until('the bad one is refused', () => (copy.replicator.status(1).source?.refused ?? 0) > 0);
    expect(copy.replica().durableSeq).toBeGreaterThan(had);
    expect(copy.replica().durableSeq).toBeLessThan(owner.replica().durableSeq);
    await cluster.caughtUp(copy, owner);
  });

  it('that its log does not reach back so far is told of, and takes nothing', async () => {
    const { cluster, owner, copy } = await pair(5);
    const had = copy.replica().durableSeq;
    cluster.network.up(owner.url, {
      handle: async () => ({
        status: 410,
        headers: { 'Varve-Database': owner.db.databaseId, 'Varve-Node': owner.db.nodeId },
        json: { error: 'bootstrap', firstSeq: 1_000 },
      }),
    });
    await cluster.network.until('it is told', () => /begin anew/.test(copy.replicator.status(1).source?.lastError ?? ''));
    await cluster.network.pass(20_000, 200);
    expect(copy.replica().durableSeq).toBe(had);
    expect(copy.db.now().get('c', 'key3')?.body).toMatchObject({ i: 3 });
  });

  it('an epoch history that is only shorter, or senseless, takes nothing from the follower', async () => {
    const { cluster, owner, copy } = await pair(4);
    const had = copy.replica().durableSeq;
    for (const epochs of [
      [[1, 1, 3]],
      [],
      [[9, 1, 3]],
      'x',
      [
        [1, 1, 3],
        [1, 4, 5],
      ],
    ]) {
      cluster.network.up(owner.url, {
        handle: async () => ({
          status: 409,
          headers: { 'Varve-Database': owner.db.databaseId, 'Varve-Node': owner.db.nodeId },
          json: { error: 'diverged', epochs },
        }),
      });
      await cluster.network.pass(20_000, 200);
      expect(copy.replica().durableSeq).toBe(had);
    }
    expect(copy.replicator.status(1).source?.rewinds).toBe(0);
    cluster.network.up(owner.url, owner.replicator.service);
    await cluster.put(owner, 3, 100);
    await cluster.caughtUp(copy, owner);
  });
});
