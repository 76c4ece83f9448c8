/** What a source answers, call by call, as docs/PROTOCOL.md has it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordSeedOf } from '../../engine/copying.js';
import { MessageDecoder, type StreamMessage } from '../../replication/message.js';
import { readJson } from '../../replication/peer-json.js';
import type { PeerResponse } from '../../replication/transport.js';
import { Cluster, type Node } from './cluster.js';

let cluster: Cluster;
let owner: Node;
const ends: AbortController[] = [];

beforeEach(async () => {
  cluster = new Cluster(1);
  owner = await cluster.node('owner').start({ shards: 2 });
});
afterEach(async () => {
  for (const end of ends.splice(0)) end.abort();
  await owner.stop();
});

function ask(path: string, method: 'GET' | 'POST' = 'GET', json?: unknown): Promise<PeerResponse> {
  const end = new AbortController();
  ends.push(end);
  const request = { method, path: `/replication/v1${path}`, signal: end.signal, stream: true, ...(json === undefined ? {} : { json }) };
  return cluster.waitFor(cluster.network.transport('http://me:1').request(owner.url, request));
}

async function answer(path: string, method: 'GET' | 'POST' = 'GET', json?: unknown) {
  const read = await cluster.waitFor(readJson(owner.url, await ask(path, method, json)));
  return { status: read.status, json: read.json as Record<string, unknown> };
}

/** Messages of a stream, one at a time; undefined at its end. */
async function stream(shard: number, query: string): Promise<() => Promise<StreamMessage | undefined>> {
  const { status, body } = await ask(`/shards/${shard}/log?${query}`);
  expect(status).toBe(200);
  const decoder = new MessageDecoder(recordSeedOf(owner.db.databaseId, shard));
  const reading = body[Symbol.asyncIterator]();
  return async () => {
    for (;;) {
      const message = decoder.next();
      if (message !== undefined) return message;
      const { done, value } = await cluster.waitFor(reading.next());
      if (done === true) return undefined;
      decoder.push(value);
    }
  };
}

/** In one group, all of them in one shard. Its number. */
async function group(count: number, from = 0): Promise<number> {
  const shard = owner.db.shardOf('c', 'key0');
  const keys: string[] = [];
  for (let i = from; keys.length < count; i++) if (owner.db.shardOf('c', `key${i}`) === shard) keys.push(`key${i}`);
  await cluster.waitFor(Promise.all(keys.map((key) => owner.db.put('c', key, { key }))));
  return shard;
}

describe('a source', () => {
  it('says at once how far it is durable, and then every two seconds', async () => {
    const shard = await group(3);
    const next = await stream(shard, 'after=3&epoch=1');
    expect(await next()).toMatchObject({ kind: 'heartbeat', epoch: 1, durableSeq: 3 });
    const from = cluster.network.time.elapsedMicros;
    expect(await next()).toMatchObject({ kind: 'heartbeat', durableSeq: 3 });
    expect(cluster.network.time.elapsedMicros - from).toBeGreaterThanOrEqual(1_900_000);
  });

  it('begins in the middle of a group where the follower ends there, from the disk and beside a stream that has it in memory', async () => {
    const shard = owner.db.shardOf('c', 'key0');
    const other = await stream(shard, 'after=0&epoch=0');
    await other();
    await group(6);
    expect(await other()).toMatchObject({ kind: 'batches', firstSeq: 1, lastSeq: 6 });
    for (const after of [1, 3, 5]) {
      const next = await stream(shard, `after=${after}&epoch=1`);
      expect(await next()).toMatchObject({ kind: 'heartbeat' });
      expect(await next()).toMatchObject({ kind: 'batches', firstSeq: after + 1, lastSeq: 6 });
    }
  });

  it('joins what was written in many small groups', async () => {
    let shard = 1;
    for (let i = 0; i < 20; i++) shard = await group(1, i * 100);
    const next = await stream(shard, 'after=0&epoch=0');
    await next();
    expect(await next()).toMatchObject({ kind: 'batches', firstSeq: 1, lastSeq: 20, durableSeq: 20 });
  });

  it('ends where it is told to', async () => {
    const shard = await group(6);
    const next = await stream(shard, 'after=1&epoch=1&until=4');
    expect(await next()).toMatchObject({ kind: 'heartbeat' });
    expect(await next()).toMatchObject({ kind: 'batches', firstSeq: 2, lastSeq: 4 });
    expect(await next()).toBeUndefined();
  });

  it('refuses positions that are not in its history, with the history', async () => {
    const shard = await group(3);
    for (const query of ['after=4&epoch=1', 'after=2&epoch=2', 'after=2&epoch=0']) {
      const refused = await answer(`/shards/${shard}/log?${query}`);
      expect(refused, query).toMatchObject({ status: 409, json: { error: 'diverged', epochs: [[1, 1, 3]] } });
    }
  });

  it('says goodbye when it closes, and takes nobody new', async () => {
    const shard = await group(1);
    const next = await stream(shard, 'after=1&epoch=1');
    await next();
    const closing = owner.replicator.close();
    expect(await next()).toMatchObject({ kind: 'goodbye' });
    expect(await next()).toBeUndefined();
    await cluster.waitFor(closing);
    expect(await answer(`/shards/${shard}/log?after=1&epoch=1`)).toMatchObject({ status: 503, json: { error: 'draining' } });
  });

  it('holds no groups in memory where nobody follows', async () => {
    const shard = await group(2);
    expect(owner.replicator.status(shard).streams).toBe(0);
    const next = await stream(shard, 'after=2&epoch=1');
    await next();
    expect(owner.replicator.status(shard).streams).toBe(1);
    ends[0]!.abort();
    await cluster.network.until('the stream is over', () => owner.replicator.status(shard).streams === 0);
  });

  it('tells who it is and where its shards are', async () => {
    await group(2);
    const { status, json } = await answer('/state');
    expect(status).toBe(200);
    expect(json).toMatchObject({ node: owner.db.nodeId, database: owner.db.databaseId, shards: 2 });
    const one = await answer('/shards/2/state');
    expect(one.json).toEqual((json['states'] as unknown[])[1]);
    expect(one.json).toMatchObject({ shard: 2, role: 'owner', epoch: 1, promised: 0, owner: null, caughtUp: true });
  });

  it('gives its segments out by range, and only what is durable of them', async () => {
    const shard = await group(3);
    const { json } = await answer('/segments');
    const segment = (json['segments'] as { shard: number; name: string; bytes: number }[]).find((each) => each.shard === shard)!;
    const end = new AbortController();
    const ranged = (range: string) =>
      cluster.waitFor(
        cluster.network.transport('http://me:1').request(owner.url, {
          method: 'GET',
          path: `/replication/v1/shards/${shard}/segments/${segment.name}`,
          headers: { range },
          stream: true,
          signal: end.signal,
        }),
      );
    const part = await ranged('bytes=8-15');
    expect(part).toMatchObject({ status: 206, headers: { 'content-range': `bytes 8-15/${segment.bytes}` } });
    const { value } = await cluster.waitFor(part.body[Symbol.asyncIterator]().next());
    expect(value).toHaveLength(8);
    expect((await ranged(`bytes=${segment.bytes}-`)).status).toBe(416);
    expect((await ranged('bytes=5-2')).status).toBe(416);
    expect((await ranged('lines=1-2')).status).toBe(400);
  });

  it('refuses what no peer of ours would say', async () => {
    for (const [path, status] of [
      ['/shards/3/state', 404],
      ['/shards/0/state', 404],
      ['/shards/1x/state', 404],
      ['/shards/01/state', 404],
      ['/nothing', 404],
      ['/shards/1/segments/..%2f..%2fnode.json', 404],
      ['/state?x=1', 400],
      ['/shards/1/log', 400],
      ['/shards/1/log?after=1', 400],
      ['/shards/1/log?after=-1&epoch=0', 400],
      ['/shards/1/log?after=1e3&epoch=0', 400],
      ['/shards/1/log?after=1&after=2&epoch=0', 400],
      ['/shards/1/log?after=0&epoch=0&until=x', 400],
    ] as const)
      expect((await answer(path)).status, path).toBe(status);
    expect((await answer('/state', 'POST', {})).status).toBe(405);
    for (const json of [undefined, null, [], 'x', { node: 1 }, { node: 'a'.repeat(32), positions: [[9, 1, 1, 1]] }])
      expect((await answer('/acks', 'POST', json)).status, JSON.stringify(json)).toBe(400);
  });
});
