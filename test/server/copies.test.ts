/**
 * Servers that are copies of each other, as `serve` puts them together, over real sockets and files: writes passed on, reads that wait for what was
 * written, acknowledgements of a majority, promotion, mutual TLS.
 */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { request as requestSecure } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { loadConfig, type Serving, serve } from '../../server/index.js';
import { freePort } from '../../tools/free-port.js';
import { certificate, MapDisk, memoryLog, token } from './doors-support.js';
import { linesOf, type Reply, readReply } from './support.js';

interface Copy {
  readonly url: string;
  readonly serving: Serving;
  readonly log: ReturnType<typeof memoryLog>;
}

const directories: string[] = [];
const running: Serving[] = [];
afterEach(async () => {
  for (const serving of running.splice(0).reverse()) await serving.stop();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-copies-'));
  directories.push(directory);
  return directory;
}

async function start(flags: Record<string, string> = {}, port?: number, disk?: MapDisk): Promise<Copy> {
  const listen = `127.0.0.1:${port ?? (await freePort())}`;
  const log = memoryLog('info');
  const config = loadConfig({ flags: { listen, data: newDirectory(), ...flags }, env: {}, readText: () => '' });
  const serving = await serve(config, { signals: null, logger: log.logger, ...(disk === undefined ? {} : { disk }) });
  running.push(serving);
  return { url: serving.url, serving, log };
}

const tls: { ca?: string; cert?: string; key?: string } = {};

async function ask(
  copy: { url: string },
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: unknown,
): Promise<Reply> {
  const bytes = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = bytes === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(bytes)) };
  const options = { path, method, headers: { ...type, ...headers }, agent: false as const };
  const req = copy.url.startsWith('https') ? requestSecure(copy.url, { ...options, ...tls }) : request(copy.url, options);
  req.end(bytes);
  return readReply(((await once(req, 'response')) as [IncomingMessage])[0]);
}

const entity = (key: string) => `/v1/collections/c/entities/${key}`;
const put = (copy: { url: string }, key: string, body: unknown, headers: Record<string, string> = {}, query = '') =>
  ask(copy, 'PUT', entity(key) + query, headers, JSON.stringify(body));

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(10);
  }
}

const roleOf = async (copy: Copy) => (await ask(copy, 'GET', '/v1/shards/1')).json.role;

async function pair(flags: Record<string, string> = {}): Promise<[Copy, Copy]> {
  const owner = await start();
  await owner.serving.ready;
  await put(owner, 'first', 1);
  const copy = await start({ follow: owner.url, ...flags });
  await copy.serving.ready;
  await until('it follows', async () => (await ask(copy, 'GET', entity('first'))).status === 200);
  return [owner, copy];
}

describe('a write that comes to a copy', () => {
  it('goes to the owner as it is, and the answer comes back as it is', async () => {
    const [owner, copy] = await pair();
    const made = await put(copy, 'a', { n: 1 }, { 'Idempotency-Key': 'k1', 'If-None-Match': '*' });
    expect(made).toMatchObject({ status: 201, headers: { etag: `"${made.json.id}"`, location: `/v1/records/${made.json.id}` } });
    expect((await ask(owner, 'GET', entity('a'))).json.id).toBe(made.json.id);
    const again = await put(copy, 'a', { n: 1 }, { 'Idempotency-Key': 'k1', 'If-None-Match': '*' });
    expect(again).toMatchObject({ status: 201, headers: { 'idempotent-replay': 'true' }, json: { id: made.json.id } });
    expect(await put(copy, 'a', 2, { 'If-None-Match': '*' })).toMatchObject({ status: 412, json: { current: made.json.id } });
    expect(await ask(copy, 'DELETE', entity('a'), { 'If-Match': `"${made.json.id}"` })).toMatchObject({
      status: 200,
      json: { deleted: true },
    });
    const batch = {
      records: [
        { collection: 'c', key: 'x', body: 1 },
        { collection: 'c', key: 'y', body: 2 },
      ],
    };
    expect((await ask(copy, 'POST', '/v1/records', {}, batch)).json.records).toHaveLength(2);
    const lines = await ask(
      copy,
      'POST',
      '/v1/records',
      { 'Content-Type': 'application/x-ndjson' },
      '{"collection":"c","key":"l","body":1}\nbad\n',
    );
    expect(linesOf(lines).map((line) => Object.keys(line))).toEqual([
      ['line', 'id'],
      ['line', 'error'],
      ['done', 'inserted', 'failed'],
    ]);
    expect(await ask(copy, 'PUT', '/v1/collections/new', {}, { placement: 'group:g' })).toMatchObject({ status: 200 });
    expect(await ask(copy, 'PUT', '/v1/collections/c/retention', {}, { keep: 'last', versions: 3 })).toMatchObject({ status: 200 });
    expect(await ask(copy, 'PUT', '/v1/snapshots/s', {}, { asOf: made.json.id })).toMatchObject({ status: 201 });
    await until('the snapshot is here too', async () => (await ask(copy, 'GET', '/v1/snapshots/s')).status === 200);
    expect(await ask(copy, 'DELETE', '/v1/snapshots/s')).toMatchObject({ status: 204 });
    const erasing = await ask(copy, 'POST', '/v1/erasures', {}, { collection: 'c', key: 'x', reason: 'asked' });
    expect(erasing).toMatchObject({ status: 202, json: { kind: 'erasure' } });
    await until('every copy has erased it', async () => (await ask(owner, 'GET', `/v1/jobs/${erasing.json.id}`)).json.state === 'done');
    expect((await ask(copy, 'GET', entity('x'))).json).toMatchObject({ status: 410, type: 'urn:varve:erased' });
    expect((await ask(copy, 'GET', '/metrics')).text).toMatch(/varve_forwarded_total\{outcome="passed"\} 1[0-9]/);
  });

  it('says what became of it where the owner is gone: nothing was written', async () => {
    const [owner, copy] = await pair();
    await owner.serving.stop();
    const refused = await put(copy, 'a', 1);
    expect(refused).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:owner-unreachable', shard: 1 },
      headers: { 'retry-after': '1' },
    });
    expect((await ask(copy, 'GET', entity('first'))).status).toBe(200);
  });

  it('is passed on by each node once', async () => {
    const [, copy] = await pair();
    const { nodeId } = await copy.serving.ready;
    expect(await put(copy, 'a', 1, { 'Varve-Forwarded': nodeId })).toMatchObject({ status: 503, json: { type: 'urn:varve:not-owner' } });
    const further = await start({ follow: copy.url });
    await further.serving.ready;
    await until('it follows', async () => (await ask(further, 'GET', entity('first'))).status === 200);
    const made = await put(further, 'a', 1);
    expect(made.status).toBe(201);
    expect((await ask(further, 'GET', entity('a'), { 'Varve-Min-Id': made.json.id })).json.body).toBe(1);
  });
});

describe('a read on a copy', () => {
  it('waits for the ids that it must have, and says where it does not have them', async () => {
    const [owner, copy] = await pair();
    for (let n = 0; n < 50; n++) {
      const { json } = await put(owner, `k${n}`, n);
      expect((await ask(copy, 'GET', entity(`k${n}`), { 'Varve-Min-Id': json.id })).json.id).toBe(json.id);
    }
    const { json: last } = await put(owner, 'last', 1);
    const never = '0001ffffffffffff';
    expect(await ask(owner, 'GET', entity('last'), { 'Varve-Min-Id': `${last.id}, ${never}` })).toMatchObject({
      status: 400,
      json: { path: 'Varve-Min-Id[1]' },
    });
    expect(await ask(copy, 'GET', entity('last'), { 'Varve-Min-Id': never })).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:behind' },
    });
    for (const bad of ['x', '0002000000000001'])
      expect((await ask(copy, 'GET', '/v1/collections', { 'Varve-Min-Id': bad })).status, bad).toBe(400);
  });

  it('as of a time beyond its newest asks the owner, and says so where it cannot', async () => {
    const [owner, copy] = await pair();
    for (let n = 0; n < 20; n++) {
      await put(owner, 'k', n);
      const time = new Date().toISOString();
      const [here, there] = await Promise.all([copy, owner].map((each) => ask(each, 'GET', `${entity('k')}?asOf=${time}`)));
      expect([here!.status, here!.json.id], `round ${n}`).toEqual([200, there!.json.id]);
      await put(owner, 'k', `after ${n}`);
      expect((await ask(copy, 'GET', `${entity('k')}?asOf=${time}`)).json.id).toBe(there!.json.id);
    }
    const { json } = await put(owner, 'k', 'end');
    expect((await ask(copy, 'GET', `${entity('k')}?asOf=${json.id}`)).json.body).toBe('end');
    const time = new Date().toISOString();
    await owner.serving.stop();
    expect(await ask(copy, 'GET', `${entity('k')}?asOf=${time}`)).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:behind', shard: 1 },
    });
    expect((await ask(copy, 'GET', `${entity('k')}?asOf=${json.id}`)).json.body).toBe('end');
    expect((await ask(copy, 'GET', `${entity('k')}?asOf=${json.time}`)).json.body).toBe('end');
  });
});

describe('a replica set', () => {
  /** One of them anew, on an empty disk. */
  let begin: (n: number) => Promise<Copy>;

  async function three(): Promise<Copy[]> {
    const ports = [await freePort(), await freePort(), await freePort()];
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const flags = (n: number, follow = {}) => ({ replicas: urls.join(','), advertise: urls[n]!, acksTimeout: '300ms', ...follow });
    const a = await start(flags(0), ports[0]);
    await a.serving.ready;
    const b = await start(flags(1, { follow: urls[0]! }), ports[1]);
    await until('the owner has heard a majority', async () => (await roleOf(a)) === 'owner');
    const c = await start(flags(2, { follow: urls[0]! }), ports[2]);
    await Promise.all([b.serving.ready, c.serving.ready]);
    await until('both follow', async () => (await roleOf(b)) === 'follower' && (await roleOf(c)) === 'follower');
    const mayVote = async (copy: Copy) => (await ask(copy, 'GET', '/replication/v1/shards/1/state')).json.caughtUp === true;
    await until('both may vote', async () => (await mayVote(b)) && (await mayVote(c)));
    begin = (n) => start(flags(n, { follow: urls[0]! }), ports[n]);
    await until('writes are safe', async () => (await put(a, 'first', 1, {}, '?acks=quorum')).status === 201);
    return [a, b, c];
  }

  it('acknowledges what a majority has; without one the write is there, and told of as not there yet', async () => {
    const [a, b, c] = (await three()) as [Copy, Copy, Copy];
    expect((await put(b, 'k', 1, {}, '?acks=quorum')).status).toBe(201);
    const shard = (await ask(a, 'GET', '/v1/shards/1')).json;
    expect(shard.followers.map(({ url }: { url: string }) => url).sort()).toEqual([b.url, c.url].sort());
    expect(shard.followers[0]).toMatchObject({ breaker: 'closed', lagSeconds: expect.any(Number) });
    await b.serving.stop();
    expect((await put(a, 'k', 2, {}, '?acks=quorum')).status).toBe(201);
    await c.serving.stop();
    const key = { 'Idempotency-Key': 'once' };
    const late = await put(a, 'k', 3, key, '?acks=quorum');
    expect(late).toMatchObject({ status: 504, json: { type: 'urn:varve:acks-timeout', shard: 1 } });
    expect((await ask(a, 'GET', entity('k'))).json.id).toBe(late.json.id);
    expect((await put(a, 'k', 3, key, '?acks=quorum')).json).toMatchObject({ status: 504, id: late.json.id });
    expect(await put(a, 'k', 3, key)).toMatchObject({ status: 201, headers: { 'idempotent-replay': 'true' } });
    expect((await ask(a, 'DELETE', `${entity('k')}?acks=quorum`)).status).toBe(504);
    const batch = {
      records: [
        { collection: 'c', key: 'x', body: 1 },
        { collection: 'c', key: 'y', body: 2 },
      ],
    };
    expect((await ask(a, 'POST', '/v1/records?acks=quorum', {}, batch)).json).toMatchObject({
      status: 504,
      ids: [expect.any(String), expect.any(String)],
    });
    const ndjson = { 'Content-Type': 'application/x-ndjson' };
    const lines = linesOf(await ask(a, 'POST', '/v1/records?acks=quorum', ndjson, '{"collection":"c","key":"l","body":1}\n'));
    expect(lines[0]).toMatchObject({ line: 1, error: { status: 504, id: expect.any(String) } });
  });

  it('changes its owner where a majority agrees, and tells why where it does not', async () => {
    const [a, b, c] = (await three()) as [Copy, Copy, Copy];
    const promoted = await ask(b, 'POST', '/v1/shards/1/promotion', {}, { force: false });
    expect({ status: promoted.status, json: promoted.json }).toMatchObject({
      status: 200,
      json: { role: 'owner', epoch: 2, owner: { url: b.url } },
    });
    await until('the old owner follows', async () => (await roleOf(a)) === 'follower');
    await until('writes go to the new one', async () => (await put(a, 'k', 1, {}, '?acks=quorum')).status === 201);
    await a.serving.stop();
    await b.serving.stop();
    const refused = await ask(c, 'POST', '/v1/shards/1/promotion');
    expect(refused).toMatchObject({ status: 409, json: { type: 'urn:varve:no-majority', shard: 1 } });
    expect(refused.json.answers.map(({ url }: { url: string }) => url).sort()).toEqual([a.url, b.url, c.url].sort());
    expect(await ask(c, 'POST', '/v1/shards/1/promotion', {}, { force: true })).toMatchObject({ status: 200, json: { role: 'owner' } });
    expect((await put(c, 'k', 2)).status).toBe(201);
    expect((await ask(c, 'GET', '/metrics')).text).toContain('varve_shard_roles{role="owner"} 1');
  });

  it('has an erasure done when every copy has carried it out, and names those outstanding until then', async () => {
    const [a, b] = (await three()) as [Copy, Copy, Copy];
    await put(a, 'k', 'personal');
    await b.serving.stop();
    const erasing = await ask(a, 'POST', '/v1/erasures', {}, { collection: 'c', key: 'k', reason: 'asked' });
    const job = async () => (await ask(a, 'GET', `/v1/jobs/${erasing.json.id}`)).json;
    await until('only the one that is down is outstanding', async () => (await job()).result?.outstanding?.join() === b.url);
    expect(await job()).toMatchObject({ state: 'running', ended: null });
    await begin(1);
    await until('it is done', async () => (await job()).state === 'done');
    expect((await job()).result.outstanding).toEqual([]);
  });

  it('takes no writes after a start until a majority is heard, and says so', async () => {
    const ports = [await freePort(), await freePort(), await freePort()];
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const alone = await start({ replicas: urls.join(','), advertise: urls[0]! }, ports[0]);
    await alone.serving.ready;
    expect(await put(alone, 'k', 1)).toMatchObject({ status: 503, json: { type: 'urn:varve:not-owner' } });
    const ready = await ask(alone, 'GET', '/readyz?verbose');
    expect(ready.status).toBe(503);
    expect(ready.json.checks[1]).toMatchObject({ name: 'shard 1', state: 'fenced', ok: false });
  });
});

describe('copies behind certificates and tokens', () => {
  it('show each other both, and nobody without them gets in', async () => {
    const authority = certificate('an authority', { authority: true });
    const server = certificate('127.0.0.1', { issuer: authority });
    const node = certificate('a node', { issuer: authority });
    const admin = token('admin');
    const replica = token('replica');
    const disk = new MapDisk();
    disk.write('cert', server.cert);
    disk.write('key', server.key);
    disk.write('ca', authority.cert);
    disk.write('node.cert', node.cert);
    disk.write('node.key', node.key);
    disk.write('peer.token', `${replica.text}\n`);
    disk.tokens('tokens', admin, replica);
    const flags = {
      tokens: 'tokens',
      tlsCert: 'cert',
      tlsKey: 'key',
      tlsClientCa: 'ca',
      peerCa: 'ca',
      peerCert: 'node.cert',
      peerKey: 'node.key',
    };
    Object.assign(tls, { ca: authority.cert, cert: node.cert, key: node.key });
    const owner = await start({ ...flags, peerTokenFile: 'peer.token' }, undefined, disk);
    await owner.serving.ready;
    expect((await put(owner, 'k', 1, admin.headers)).status).toBe(201);
    const copy = await start({ ...flags, peerTokenFile: 'peer.token', follow: owner.url }, undefined, disk);
    await copy.serving.ready;
    await until('it follows', async () => (await ask(copy, 'GET', entity('k'), admin.headers)).status === 200);
    expect((await put(copy, 'k', 2, admin.headers)).status).toBe(201);
    expect((await put(copy, 'k', 3)).status).toBe(401);
    expect((await ask(owner, 'GET', '/replication/v1/state', replica.headers)).status).toBe(200);
    expect((await ask(owner, 'GET', entity('k'), replica.headers)).status).toBe(403);
    // Without a token nothing is handed out.
    const stranger = await start({ ...flags, follow: owner.url }, undefined, disk);
    await until('it is refused', async () => stranger.log.text().includes('the copy cannot be filled yet'));
    expect(stranger.log.text()).toContain('401');
  });
});
