/** What strangers send to break things: bombs, bytes that never come, names that would be paths, and what errors give away. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { problemOf } from '../../server/index.js';
import { linesOf, type Reply, TestServer } from './support.js';

const ENTITY = '/v1/collections/c/entities/k';

describe('compressed requests', () => {
  it('are refused unread, whatever they would grow to', async () => {
    const s = await TestServer.start();
    const bomb = Buffer.alloc(64 * 1024 * 1024, 0x20);
    for (const [encoding, body] of [
      ['gzip', gzipSync(bomb)],
      ['deflate', deflateSync(bomb)],
      ['br', brotliCompressSync(bomb.subarray(0, 1 << 20))],
      ['GZIP', Buffer.from('x')],
      ['gzip, identity', Buffer.from('x')],
      ['zstd', Buffer.from('x')],
    ] as const) {
      const before = process.memoryUsage().rss;
      for (const [method, path] of [
        ['PUT', ENTITY],
        ['POST', '/v1/records'],
        ['PUT', '/v1/collections/c'],
      ] as const) {
        const reply = await s.ask(method, path, { headers: { 'Content-Encoding': encoding }, body });
        expect(reply, `${method} ${encoding}`).toMatchObject({ status: 415, headers: { 'accept-encoding': 'identity' } });
      }
      expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1024 * 1024);
    }
    expect((await s.ask('PUT', ENTITY, { headers: { 'Content-Encoding': 'identity' }, body: '1' })).status).toBe(201);
    await s.stop();
  });
});

describe('caps', () => {
  it('end lines, keys, pages and cursors at their limits', async () => {
    const s = await TestServer.start({ limits: { maxLineBytes: 2000, maxPageBytes: 4000, maxBodyBytes: 1500 } });
    const long = JSON.stringify({ collection: 'c', key: 'k', body: 'x'.repeat(3000) });
    const good = JSON.stringify({ collection: 'c', key: 'k', body: 1 });
    expect(linesOf(await s.lines(`${good}\n${long}\n${good}\n`))).toMatchObject([
      { line: 1, id: expect.any(String) },
      { line: 2, error: { status: 413, what: 'line', limit: 2000 } },
      { line: 3, id: expect.any(String) },
      { inserted: 2, failed: 1 },
    ]);
    for (const [key, status] of [
      ['k'.repeat(512), 201],
      ['k'.repeat(513), 400],
      ['é'.repeat(257), 400],
    ] as const)
      expect([status, status === 400 ? 413 : status]).toContain((await s.put(key, 1)).status);
    for (let n = 0; n < 20; n++) await s.put(`p${n}`, 'x'.repeat(1000));
    expect((await s.get('/v1/collections/c/entities?prefix=p')).json.records.length).toBeLessThan(6);
    for (const query of ['limit=1001', 'limit=0', 'limit=99999999999', `cursor=${'A'.repeat(13_000)}`, `prefix=${'x'.repeat(513)}`])
      expect((await s.get(`/v1/collections/c/entities?${query}`)).status, query.slice(0, 40)).toBe(400);
    await s.stop();
  });

  it('end headers by size and by number', async () => {
    const s = await TestServer.start();
    const many = Array.from({ length: 3000 }, (_, n) => `X${n}: y\r\n`).join('');
    expect(await s.raw(`GET /livez HTTP/1.1\r\nHost: localhost\r\n${many}\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await s.raw(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    await s.stop();
  });

  it('end whoever sends too slowly, byte by byte as well', async () => {
    const s = await TestServer.start({ limits: { bodyTimeoutMs: 150, headersTimeoutMs: 150 } });
    const drip = async (head: string, rest: string): Promise<string> => {
      const socket = connect(s.port, '127.0.0.1');
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
      socket.write(head);
      let at = 0;
      const timer = setInterval(() => at < rest.length && !socket.destroyed && socket.write(rest[at++] ?? ''), 20);
      await once(socket, 'close');
      clearInterval(timer);
      return Buffer.concat(chunks).toString();
    };
    const head = `PUT ${ENTITY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
    expect(await drip(`${head}Content-Length: 1000\r\n\r\n`, ' '.repeat(1000))).toMatch(/^HTTP\/1\.1 408 /);
    expect(await drip(`${head}Transfer-Encoding: chunked\r\n\r\n`, '1\r\n \r\n'.repeat(200))).toMatch(/^HTTP\/1\.1 408 /);
    expect(await drip('GET /livez HTTP/1.1\r\n', `X: ${'y'.repeat(1000)}`)).toMatch(/^HTTP\/1\.1 408 /);
    expect(s.server.figures.active).toBe(0);
    await s.stop();
  });
});

describe('smuggled and malformed requests', () => {
  it('are refused or answered as what they are, and never as two', async () => {
    const s = await TestServer.start();
    const lines = (...parts: string[]) => `${parts.join('\r\n')}\r\n`;
    const inner = lines('PUT /v1/collections/c/entities/smuggled HTTP/1.1', 'Host: localhost', 'Content-Length: 1', '', '1').trimEnd();
    const put = [`PUT ${ENTITY} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/json'];
    for (const request of [
      lines(...put, 'Content-Length: 1', 'Transfer-Encoding: chunked', '', '0', '', inner),
      lines(...put, 'Transfer-Encoding: chunked', 'Content-Length: 5', '', '0', '', inner),
      lines(...put, 'Content-Length: 1', 'Content-Length: 2', '', `1${inner}`),
      lines(...put, 'Transfer-Encoding: xchunked', '', inner),
      lines(...put, 'Transfer-Encoding : chunked', '', '0', '', inner),
      lines(...put, 'Content-Length: +1', '', `1${inner}`),
      lines(...put, 'Content-Length: 0x1', '', `1${inner}`),
      `PUT ${ENTITY} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n\n${inner}`,
      lines('GET /livez HTTP/1.1', 'Host: localhost', 'Host: evil.example', 'Connection: close', ''),
      lines('GET /livez HTTP/1.1', 'Host: local\0host', '', ''),
    ])
      expect(await s.raw(request), request.slice(0, 120)).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect((await s.get('/v1/collections/c/entities/smuggled')).status).toBe(404);
    expect((await s.get('/livez')).status).toBe(200);
    await s.stop();
  });
});

describe('names', () => {
  it('never become names of files', async () => {
    const s = await TestServer.start({ open: { shards: 2 } });
    const keys = [
      '../../etc/passwd',
      '/etc/passwd',
      '..%2f..',
      'a\\..\\b',
      'CON',
      'tokens.json',
      'node.json',
      '.hidden',
      'x.seg',
      '~root',
      '$(id)',
      "';--",
      'é',
    ];
    for (const key of keys) expect((await s.put(key, key)).status, key).toBe(201);
    for (const name of ['shards', 'CON', 'node', 'lock-sqlite'])
      expect((await s.ask('PUT', `/v1/collections/${name}/entities/k`, { body: '1' })).status, name).toBe(201);
    for (const name of ['..', '.', 'a%2fb', '%2e%2e', 'a.b', 'a%00b', 'é', '~'])
      expect([400, 404], name).toContain((await s.ask('PUT', `/v1/collections/${name}/entities/k`, { body: '1' })).status);
    await s.db.checkpoint();
    for (const key of keys) expect((await s.get(`/v1/collections/c/entities/${encodeURIComponent(key)}`)).json.body, key).toBe(key);
    const known =
      /^(?:node\.json|lock\.sqlite|catalog\.sqlite(?:-\w+)?|shards\/\d{4}\/log\/[0-9a-f]{12}-[0-9a-f]{4}\.seg(?:\.tmp)?|shards\/\d{4}\/tree\/[^/]+)$/;
    expect(
      s.platform
        .fileList()
        .map(({ path }) => path)
        .filter((path) => !known.test(path)),
    ).toEqual([]);
    await s.stop();
  });
});

describe('errors', () => {
  /** Paths of this machine or of the data directory, stacks, names of errors of the system. */
  const TELLTALE =
    /\/(?:work|home|tmp|root|usr|node_modules)\/|\.(?:ts|js|seg|tree|sqlite):?\b|\bat \S+ \(|\bnode:|E(?:NOENT|IO|NOSPC|ACCES|PERM)\b|shards\/\d|Error:/;
  const told = (reply: Reply) => reply.text + JSON.stringify(reply.headers);

  it('never hold a path or a stack, for whatever is sent', async () => {
    const s = await TestServer.start();
    await s.put('k', 1);
    const replies: Reply[] = [];
    for (const path of [
      '/',
      '/v1',
      ENTITY,
      `${ENTITY}/history`,
      '/v1/records/x',
      '/v1/records',
      '/v1/collections',
      '/v1/shards/9',
      '/v1/shards/1/root',
    ])
      for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'TRACE'])
        for (const query of ['', '?asOf=x', '?cursor=!!', '?limit=-1', '?__proto__=1', '?constructor=1', '?%ff'])
          for (const body of method === 'PUT' || method === 'POST' ? ['{', '\xff', '[', '1'] : [undefined])
            replies.push(await s.ask(method, path + query, body === undefined ? {} : { body }));
    expect(replies.length).toBeGreaterThan(400);
    for (const reply of replies) {
      expect(told(reply)).not.toMatch(TELLTALE);
      expect(reply.status).toBeLessThan(500);
    }
    await s.stop();
  });

  it('never hold anything of an error that nobody meant', () => {
    const error = Object.assign(new Error('ENOENT: no such file, open /home/someone/data/000000000001-0000.seg'), { code: 'ENOENT' });
    for (const thrown of [error, new TypeError('x is not a function'), 'a string', { path: '/etc' }, undefined]) {
      const problem = problemOf(thrown);
      expect(problem).toMatchObject({ status: 500, slug: 'internal' });
      expect(JSON.stringify(problem) + JSON.stringify(problem.headers)).not.toMatch(/someone|not a function|string|etc|stack/);
    }
  });

  it('never hold a path or a stack when the disk fails or lies', async () => {
    for (const kind of ['read', 'write', 'sync'] as const) {
      const s = await TestServer.start();
      await s.put('k', 'x'.repeat(5000));
      await s.db.checkpoint();
      s.platform.faults.failWhen((operation) => operation.kind === kind, { kind: 'error', code: 'EIO' });
      const replies = [
        await s.put('k', 2),
        await s.put('l', 2),
        await s.get(ENTITY),
        await s.get('/v1/collections/c/entities'),
        await s.get('/v1/collections'),
        await s.get('/v1/shards/1/root'),
        await s.get('/readyz?verbose'),
        await s.get('/v1/shards'),
        await s.lines('{"collection":"c","key":"k","body":1}\n'),
      ];
      for (const reply of replies) expect(told(reply), kind).not.toMatch(TELLTALE);
      if (kind !== 'read') expect(replies.some(({ status }) => status === 503)).toBe(true);
      s.platform.faults.clear();
      await s.stop();
    }
  });
});
