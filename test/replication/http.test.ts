/** The same over real HTTP: servers, sockets, tokens, and peers that behave badly. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Database, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { nodeClock } from '../../engine/platform/node-clock.js';
import type { Platform } from '../../engine/platform/platform.js';
import {
  type HttpTransport,
  httpTransport,
  PeerError,
  prepareReplica,
  type Replicator,
  startReplication,
} from '../../replication/index.js';
import { Access, type RunningServer, startServer } from '../../server/index.js';
import { answerPeersWith } from '../../server/peers.js';
import { token } from '../server/doors-support.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A simulated disk, and time that passes by itself. */
function machine(seed: number): Platform {
  const platform = new MemoryPlatform({ seed });
  return { files: platform.files, clock: nodeClock(), randomBytes: (size) => platform.randomBytes(size) };
}

function transport(text?: string): HttpTransport {
  const made = httpTransport({ clock: nodeClock(), token: () => text, breakAfter: 3, openMs: 200, retries: 1 });
  ends.push(() => made.close());
  return made;
}

interface Running {
  readonly db: Database;
  readonly server: RunningServer;
  readonly replicator: Replicator;
  readonly url: string;
}

async function node(platform: Platform, follow: string | undefined, by: HttpTransport, access?: Access): Promise<Running> {
  const db = await openWith(platform, { upkeep: { automatic: false }, segmentBytes: 64 * 1024, replication: { hold: true } });
  const replicator = await startReplication({ db, platform, transport: by, config: follow === undefined ? {} : { follow } });
  answerPeersWith(db, replicator.service);
  const server = await startServer({ db, listen: '127.0.0.1:0', ...(access === undefined ? {} : { access }) });
  ends.push(async () => {
    await replicator.close();
    await server.close();
    await db.close();
  });
  return { db, server, replicator, url: server.url };
}

async function fill(db: Database, count: number, from = 0): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) => db.put('c', `key${(from + i) % 50}`, { i: from + i, pad: 'x'.repeat(200) })));
}

async function until(condition: () => boolean): Promise<void> {
  const clock = nodeClock();
  const end = clock.monotonicMs() + 30_000;
  while (!condition()) {
    if (clock.monotonicMs() > end) throw new Error('not within 30 s');
    await clock.yield();
  }
}

async function rootOf(db: Database): Promise<string> {
  const replica = db.replica(1);
  return (await replica.rootAt(replica.visibleSeq)).root;
}

describe('replication over HTTP', () => {
  it('makes a copy of a server, follows it, and tells it how far it is', async () => {
    const replica = token('replica');
    const by = transport(replica.text);
    const owner = await node(machine(1), undefined, by, new Access([replica.record]));
    for (let i = 0; i < 5; i++) await fill(owner.db, 100, i * 100);
    const disk = machine(2);
    const prepared = await prepareReplica({ platform: disk, transport: by, url: owner.url });
    expect(prepared.made?.segments).toBeGreaterThan(0);
    const copy = await node(disk, owner.url, by);
    await fill(owner.db, 500, 500);
    await until(() => copy.db.replica(1).visibleSeq === owner.db.replica(1).durableSeq);
    expect(await rootOf(copy.db)).toBe(await rootOf(owner.db));
    await until(() => owner.replicator.status(1).followers[0]?.ackedSeq === owner.db.replica(1).durableSeq);
    expect(by.peers()).toEqual([expect.objectContaining({ url: owner.url, breaker: 'closed', lastError: undefined })]);
  });

  it('lets a follower follow a follower', async () => {
    const by = transport();
    const owner = await node(machine(1), undefined, by);
    await fill(owner.db, 100);
    const [first, second] = [machine(2), machine(3)];
    await prepareReplica({ platform: first, transport: by, url: owner.url });
    const middle = await node(first, owner.url, by);
    await prepareReplica({ platform: second, transport: by, url: middle.url });
    const last = await node(second, middle.url, by);
    await fill(owner.db, 100, 100);
    await until(() => last.db.replica(1).visibleSeq === owner.db.replica(1).durableSeq);
    expect(await rootOf(last.db)).toBe(await rootOf(owner.db));
  });

  it('follows more shards than a client may have requests, streams or connections', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error) => void warnings.push(warning);
    process.on('warning', warned);
    ends.push(() => process.off('warning', warned));
    const by = transport();
    const db = await openWith(machine(1), { upkeep: { automatic: false }, shards: 12 });
    const server = await startServer({
      db,
      listen: '127.0.0.1:0',
      limits: { activePerClient: 4, maxStreamsPerClient: 2, maxStreams: 3, maxConnections: 10 },
    });
    ends.push(async () => {
      await server.close();
      await db.close();
    });
    await fill(db, 100);
    const disk = machine(2);
    await prepareReplica({ platform: disk, transport: by, url: server.url });
    const copy = await node(disk, server.url, by);
    const isThere = (shard: number) => copy.db.replica(shard).visibleSeq === db.replica(shard).durableSeq;
    await until(() => Array.from({ length: 12 }, (_, i) => isThere(i + 1)).every(Boolean));
    // And nobody else finds the doors full.
    const answers = await Promise.all(Array.from({ length: 8 }, () => by.request(server.url, { method: 'GET', path: '/readyz' })));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(server.figures.connections).toBeGreaterThan(12);
    expect(warnings).toEqual([]);
  });

  it('goes on after the server was gone, without fetching again what it has', async () => {
    const by = transport();
    const disk = machine(1);
    const owner = await node(disk, undefined, by);
    await fill(owner.db, 300);
    const copyDisk = machine(2);
    await prepareReplica({ platform: copyDisk, transport: by, url: owner.url });
    const copy = await node(copyDisk, owner.url, by);
    await until(() => copy.db.replica(1).visibleSeq === owner.db.replica(1).durableSeq);
    const before = copy.replicator.status(1).source!.receivedBytes;
    const port = new URL(owner.url).port;
    await owner.server.close();
    await until(() => copy.replicator.status(1).source?.connected === false);
    await fill(owner.db, 20, 300);
    const again = await startServer({ db: owner.db, listen: `127.0.0.1:${port}` });
    ends.push(() => again.close());
    await until(() => copy.db.replica(1).visibleSeq === owner.db.replica(1).durableSeq);
    const status = copy.replicator.status(1).source!;
    expect(status.connections).toBeGreaterThan(1);
    expect(status.receivedBytes - before).toBeLessThan(20 * 1_000);
  });

  it('tells a stranger nothing', async () => {
    const replica = token('replica');
    const owner = await node(machine(1), undefined, transport(), new Access([replica.record]));
    const answer = await transport().request(owner.url, { method: 'GET', path: '/replication/v1/state' });
    expect(answer.status).toBe(401);
    expect(answer.headers['varve-database']).toBeUndefined();
  });

  it('serves streams and states from a server that was told of no copies', async () => {
    const by = transport();
    const db = await openWith(machine(1), { upkeep: { automatic: false } });
    const server = await startServer({ db, listen: '127.0.0.1:0' });
    ends.push(async () => {
      await server.close();
      await db.close();
    });
    await fill(db, 50);
    const disk = machine(2);
    await prepareReplica({ platform: disk, transport: by, url: server.url });
    const copy = await node(disk, server.url, by);
    await until(() => copy.db.replica(1).visibleSeq === db.replica(1).durableSeq);
    expect(await rootOf(copy.db)).toBe(await rootOf(db));
  });
});

describe('the transport', () => {
  async function peer(handler: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
    const server = createServer(handler as never);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ends.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
  }

  it('gives up on a peer that does not answer in time, and on one that says too much', async () => {
    const silent = await peer((() => {}) as never);
    const by = httpTransport({ clock: nodeClock(), retries: 0, maxAnswerBytes: 1000 });
    ends.push(() => by.close());
    await expect(by.request(silent.url, { method: 'GET', path: '/x', timeoutMs: 50 })).rejects.toThrow(/no answer within 50 ms/);
    const loud = await peer(((_req: unknown, res: { end(text: string): void }) => res.end('x'.repeat(5_000))) as never);
    await expect(by.request(loud.url, { method: 'GET', path: '/x' })).rejects.toThrow(/over 1000 bytes/);
  });

  it('tries a read again, never a write', async () => {
    let reads = 0;
    let writes = 0;
    const flaky = await peer(((req: { method: string; socket: { destroy(): void } }, res: { end(text: string): void }) => {
      if (req.method === 'POST') writes++;
      else reads++;
      if (req.method === 'POST' || reads === 1) req.socket.destroy();
      else res.end('{}');
    }) as never);
    const by = transport();
    expect((await by.request(flaky.url, { method: 'GET', path: '/x' })).status).toBe(200);
    expect(reads).toBe(2);
    await expect(by.request(flaky.url, { method: 'POST', path: '/x', json: {} })).rejects.toThrow(PeerError);
    expect(writes).toBe(1);
  });

  it('leaves a dead peer alone for a while, and others do not notice', async () => {
    const dead = await peer(((req: { socket: { destroy(): void } }) => req.socket.destroy()) as never);
    const well = await peer(((_req: unknown, res: { end(text: string): void }) => res.end('{}')) as never);
    const by = transport();
    const breaker = () => by.peers().find((each) => each.url === dead.url)?.breaker;
    await expect(by.request(dead.url, { method: 'POST', path: '/x' })).rejects.toThrow(PeerError);
    await expect(by.request(dead.url, { method: 'POST', path: '/x' })).rejects.toThrow(PeerError);
    expect(breaker()).toBe('closed');
    await expect(by.request(dead.url, { method: 'POST', path: '/x' })).rejects.toThrow(PeerError);
    expect(breaker()).toBe('open');
    await expect(by.request(dead.url, { method: 'POST', path: '/x' })).rejects.toThrow(/left alone/);
    expect((await by.request(well.url, { method: 'GET', path: '/x' })).status).toBe(200);
    expect(by.peers().find((each) => each.url === dead.url)?.lastError).toContain(dead.url);
  });

  it('calls a peer again at once that has called here', async () => {
    let isDead = true;
    const host = await peer(((req: { socket: { destroy(): void } }, res: { end(text: string): void }) =>
      isDead ? req.socket.destroy() : res.end('{}')) as never);
    const by = httpTransport({ clock: nodeClock(), breakAfter: 2, openMs: 3_600_000 });
    ends.push(() => by.close());
    const call = () => by.request(host.url, { method: 'POST', path: '/x' });
    for (let n = 0; n < 2; n++) await expect(call()).rejects.toThrow(/hang up|reset/);
    isDead = false;
    await expect(call()).rejects.toThrow(/left alone/);
    by.heardFrom?.(host.url);
    expect((await call()).status).toBe(200);
    by.heardFrom?.('http://nobody:1');
    expect(by.peers()).toHaveLength(1);
  });

  it('gives all attempts of a call its time together, not each of them', async () => {
    let calls = 0;
    const silent = await peer((() => void calls++) as never);
    const by = httpTransport({ clock: nodeClock(), retries: 5, breakAfter: 100 });
    ends.push(() => by.close());
    await expect(by.request(silent.url, { method: 'GET', path: '/x', timeoutMs: 50 })).rejects.toThrow(/no answer within 50 ms/);
    expect(calls).toBe(1);
    expect(by.peers()[0]?.failures).toBe(1);
  });

  it('ends a stream when its reader leaves', async () => {
    let closed = 0;
    const source = await peer(((_req: unknown, res: { write(text: string): void; on(name: string, heard: () => void): void }) => {
      res.on('close', () => void closed++);
      res.write('begins');
    }) as never);
    const by = transport();
    const answer = await by.request(source.url, { method: 'GET', path: '/x', stream: true, timeoutMs: 1_000 });
    for await (const chunk of answer.body) {
      expect(Buffer.from(chunk).toString()).toBe('begins');
      break;
    }
    await until(() => closed === 1);
  });
});
