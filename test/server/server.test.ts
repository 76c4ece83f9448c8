/** The server itself: health, shards, methods, strangers, limits, failing disks. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { matchHot } from '../../server/hot-path.js';
import { startServer } from '../../server/index.js';
import { entityRoute } from '../../server/routes/entities.js';
import { recordsRoute } from '../../server/routes/records.js';
import { ROUTES } from '../../server/routes/table.js';
import { problemAnswer, rootAnswer, shardAnswer, shardsAnswer } from '../../server/schemas.js';
import { linesOf, readReply, TestServer } from './support.js';

const ENTITY = '/v1/collections/c/entities/k';

describe('a running server', () => {
  let s: TestServer;
  beforeAll(async () => {
    s = await TestServer.start({ open: { shards: 2 } });
  });
  afterAll(() => s.stop());

  it('is alive and ready', async () => {
    expect((await s.get('/livez')).json).toEqual({ status: 'alive' });
    expect((await s.get('/readyz')).json).toEqual({ status: 'ready' });
    expect((await s.get('/readyz?verbose')).json).toEqual({
      status: 'ready',
      checks: [
        { name: 'phase', state: 'ready', ok: true },
        { name: 'shard 1', state: 'open', ok: true },
        { name: 'shard 2', state: 'open', ok: true },
      ],
    });
    expect((await s.get('/readyz?verbose=maybe')).status).toBe(400);
    expect((await s.get('/')).json).toMatchObject({ name: 'varve', api: '/v1' });
  });

  it('shows its shards and their roots', async () => {
    for (let n = 0; n < 8; n++) await s.put(`k${n}`, n);
    const { shards } = shardsAnswer.parse((await s.get('/v1/shards')).json);
    expect(shards.map(({ shard }) => shard)).toEqual([1, 2]);
    let entries = 0;
    for (const { shard } of shards) {
      expect(shardAnswer.parse((await s.get(`/v1/shards/${shard}`)).json)).toMatchObject({
        shard,
        role: 'owner',
        state: 'open',
        followers: [],
      });
      const root = rootAnswer.parse((await s.get(`/v1/shards/${shard}/root`)).json);
      expect((await s.get(`/v1/shards/${shard}/root`)).json).toEqual(root);
      entries += root.entries;
      await s.db.checkpoint(shard);
      const { checkpoint } = (await s.get(`/v1/shards/${shard}`)).json;
      expect((await s.get(`/v1/shards/${shard}/root?seq=${checkpoint.seq}`)).json).toMatchObject({
        shard,
        seq: checkpoint.seq,
        root: checkpoint.root,
      });
    }
    expect(entries).toBe(8);
    for (const path of ['/v1/shards/3', '/v1/shards/3/root', '/v1/shards/1/root?seq=281474976710655'])
      expect((await s.get(path)).json, path).toMatchObject({ status: 404 });
    for (const path of ['/v1/shards/0', '/v1/shards/x', '/v1/shards/01', '/v1/shards/1/root?seq=x', '/v1/shards/1/root?at=1']) {
      expect((await s.get(path)).json, path).toMatchObject({ status: 400 });
    }
  });

  it('answers every wrong method with 405 and those that are right', async () => {
    for (const route of ROUTES) {
      const path = route.path.replace(':collection', 'c').replace(':key', 'k').replace(':shard', '1').replace(':id', '0001000000000001');
      const reply = await s.ask('PATCH', path);
      expect(reply, path).toMatchObject({ status: 405, json: { type: 'urn:varve:method-not-allowed' } });
      const allow = String(reply.headers.allow).split(', ');
      expect(allow).toEqual(expect.arrayContaining(Object.keys(route.endpoints)));
      expect(await s.ask('OPTIONS', path), path).toMatchObject({ status: 204, headers: { allow: reply.headers.allow } });
    }
  });

  it('has a role for every endpoint', () => {
    for (const route of ROUTES)
      for (const endpoint of Object.values(route.endpoints)) expect(['none', 'read', 'write', 'admin', 'replica']).toContain(endpoint.role);
  });

  it('answers every route with a problem that names an unknown parameter', async () => {
    for (const route of ROUTES) {
      const path = route.path.replace(':collection', 'c').replace(':key', 'k').replace(':shard', '1').replace(':id', '0001000000000001');
      for (const method of Object.keys(route.endpoints)) {
        const reply = await s.ask(method, `${path}?nonsense=1`, method === 'GET' || method === 'DELETE' ? {} : { body: {} });
        expect(problemAnswer.parse(reply.json), `${method} ${path}`).toMatchObject({ status: 400, parameters: ['nonsense'] });
        expect(reply.headers['content-type']).toBe('application/problem+json');
      }
    }
  });

  it('knows nothing of other paths', async () => {
    for (const path of [
      '/nowhere',
      '/v1',
      '/v2/collections',
      '/V1/collections',
      '/v1/collections/',
      '/v1/collections/c/entities/a/b',
      '//v1/collections',
      '/v1/collections/c/entities//history',
    ]) {
      expect((await s.get(path)).json, path).toMatchObject({ type: 'urn:varve:not-found', status: 404 });
    }
  });

  it('refuses strangers before it looks at what they want', async () => {
    for (const host of ['evil.example', '127.0.0.1.evil.example', ':80']) {
      expect((await s.get(ENTITY, { Host: host })).json, host).toMatchObject({ status: 403, type: 'urn:varve:host-not-allowed' });
    }
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1:1']) {
      expect((await s.put('stranger', 1, { Origin: origin })).json, origin).toMatchObject({
        status: 403,
        type: 'urn:varve:origin-not-allowed',
      });
    }
    expect((await s.get('/v1/collections/c/entities/stranger')).status).toBe(404);
    expect((await s.put('own', 1, { Origin: s.server.url })).status).toBe(201);
    expect((await s.get('/livez')).headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    });
    expect((await s.get('/livez')).headers).not.toHaveProperty('x-powered-by');
    expect((await s.get('/livez')).headers).not.toHaveProperty('access-control-allow-origin');
  });

  it('answers what is no HTTP, and headers over their limit', async () => {
    expect(await s.raw('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 .*urn:varve:invalid/s);
    expect(await s.raw(`GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 .*urn:varve:headers-too-large/s,
    );
    expect(await s.raw('GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/);
    expect(await s.raw('GET /v1/collections/c/entities/\xe9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 400/,
    );
    expect(await s.raw('GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 400/,
    );
    expect((await s.get('/livez')).status).toBe(200);
  });
});

describe('addresses', () => {
  it('other than loopback are refused with words', async () => {
    for (const listen of ['0.0.0.0:0', '[::]:0', '192.168.1.1:0', 'example.com:0']) {
      await expect(startServer({ listen }), listen).rejects.toThrow(/refusing to listen on .*this machine only/);
    }
  });

  it('in use are reported as such', async () => {
    const first = await startServer({ listen: '127.0.0.1:0' });
    await expect(startServer({ listen: new URL(first.url).host })).rejects.toThrow(/cannot listen on 127\.0\.0\.1:\d+: the port is in use/);
    await first.close();
  });

  it('of IPv6 work', async () => {
    const server = await startServer({ listen: '[::1]:0' }).catch(() => undefined);
    // A machine without IPv6 has nothing to show here.
    if (server === undefined) return;
    expect(server.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    await server.close();
  });
});

describe('limits', () => {
  it('a body over its limit is 413, declared or not, and the connection goes on', async () => {
    const s = await TestServer.start({ limits: { maxBodyBytes: 1000, maxBatchBytes: 5000 } });
    expect((await s.put('k', 'x'.repeat(998))).status).toBe(201);
    expect((await s.put('k', 'x'.repeat(999))).json).toMatchObject({ status: 413, type: 'urn:varve:too-large', limit: 1000, actual: 1001 });
    expect((await s.put('k', 'x'.repeat(3_000_000))).status).toBe(413);
    const req = request(s.server.url, {
      path: ENTITY,
      method: 'PUT',
      headers: { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' },
    });
    for (let n = 0; n < 20; n++) req.write(' '.repeat(100));
    req.end('1');
    expect(await readReply(((await once(req, 'response')) as [IncomingMessage])[0])).toMatchObject({ status: 413 });
    expect((await s.post({ records: [{ collection: 'c', key: 'k', body: 'x'.repeat(5000) }] })).status).toBe(413);
    expect((await s.get('/livez')).status).toBe(200);
    await s.stop();
  });

  it('a body that does not arrive is 408', async () => {
    const s = await TestServer.start({ limits: { bodyTimeoutMs: 50 } });
    const answer = await s.raw(
      `PUT ${ENTITY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 .*urn:varve:request-timeout/s);
    await s.stop();
  });

  it('headers that do not arrive are 408', async () => {
    const s = await TestServer.start({ limits: { headersTimeoutMs: 50 } });
    expect(await s.raw('GET /livez HTTP/1.1\r\nHost: loc')).toMatch(/^HTTP\/1\.1 408 .*urn:varve:request-timeout/s);
    await s.stop();
  });

  it('a connection on which nothing moves is cut', async () => {
    const s = await TestServer.start({ limits: { idleTimeoutMs: 50 } });
    const stream = `POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{"`;
    expect(await s.raw(stream)).not.toContain('"done":true');
    await s.stop();
  });

  it('memory for bodies is bounded over all requests', async () => {
    const s = await TestServer.start({ limits: { bodyMemoryBytes: 2000 } });
    const half = request(s.server.url, {
      path: ENTITY,
      method: 'PUT',
      headers: { 'Content-Type': 'application/json', 'Content-Length': 1500 },
    });
    half.write('"');
    // Its headers are there once another connection's later request is answered: the loop takes them in order.
    const busy = async (): Promise<void> => {
      const reply = await s.put('other', 'x'.repeat(1000));
      if (reply.status === 503) expect(reply).toMatchObject({ json: { type: 'urn:varve:overloaded' }, headers: { 'retry-after': '1' } });
      else await busy();
    };
    await busy();
    half.end(`${'x'.repeat(1498)}"`);
    expect((await readReply(((await once(half, 'response')) as [IncomingMessage])[0])).status).toBe(201);
    expect((await s.put('other', 'x'.repeat(1000))).status).toBe(201);
    await s.stop();
  });

  it('one connection too many hears why', async () => {
    const s = await TestServer.start({ limits: { maxConnections: 2 } });
    const sockets = [connect(s.port, '127.0.0.1'), connect(s.port, '127.0.0.1')];
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    expect(await s.raw('')).toMatch(/^HTTP\/1\.1 503 .*Retry-After: 1.*urn:varve:overloaded/s);
    for (const socket of sockets) socket.destroy();
    await s.stop();
  });
});

describe('a failing disk', () => {
  it('fails the write with 503 and no id, keeps reading, and comes back', async () => {
    const s = await TestServer.start();
    const { id } = (await s.put('k', 1)).json;
    s.platform.faults.failWhen((operation) => operation.kind === 'sync' && operation.path.endsWith('.seg'), { kind: 'failed-sync' });
    const reply = await s.put('k', 2, { 'Idempotency-Key': 'again' });
    expect(reply.status).toBe(503);
    expect(['urn:varve:not-written', 'urn:varve:outcome-unknown']).toContain(reply.json.type);
    expect(Number(reply.headers['retry-after'])).toBeGreaterThan(0);
    expect(reply.text).not.toMatch(/000[0-9a-f]{13}|\.seg|EIO/);
    expect([id, undefined]).toContain((await s.get(ENTITY)).json.id ?? undefined);
    s.platform.faults.clear();
    await s.stop();
  });

  it('fails lines of a stream one by one', async () => {
    const s = await TestServer.start();
    await s.put('k', 1);
    s.platform.faults.failWhen((operation) => operation.kind === 'write' && operation.path.endsWith('.seg'), {
      kind: 'error',
      code: 'ENOSPC',
    });
    const lines = linesOf(await s.lines('{"collection":"c","key":"a","body":1}\n'));
    expect(lines[0]).toMatchObject({ line: 1, error: { status: 503 } });
    expect(lines[1]).toEqual({ done: true, inserted: 0, failed: 1 });
    s.platform.faults.clear();
    await s.stop();
  });
});

describe('the hot path', () => {
  it('matches what Express would match, and nothing else', () => {
    expect(matchHot('/v1/collections/c/entities/a%2Fb?asOf=x')).toEqual({ route: entityRoute, params: { collection: 'c', key: 'a/b' } });
    expect(matchHot('/v1/records?acks=local')?.route).toBe(recordsRoute);
    const others = [
      '/',
      '/v1/records/',
      '/v1/records/x',
      '/v1/collections/c/entities',
      '/v1/collections/c/entities/',
      '/v1/collections/c/entities/k/history',
      '/V1/records',
      '/v1/collections/c/entities/%ff',
      '/v1/collections/%/entities/k',
    ];
    for (const target of others) expect(matchHot(target), target).toBeUndefined();
    for (const route of [entityRoute, recordsRoute]) expect(ROUTES).toContain(route);
  });
});
