/** Tokens: what they are, what each role may do, where a limit to collections ends, and how soon a revoked one does. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { Access, createToken, formatTokens, loadConfig, readTokens, type Serving, serve, startServer } from '../../server/index.js';
import { MapDisk, memoryLog, sha256, type Token, token } from './doors-support.js';
import { linesOf, readReply, TestServer } from './support.js';

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

const FILE = 'varve-data/tokens.json';
const ENTITY = '/v1/collections/c/entities/k';

describe('a token', () => {
  it('is 256 random bits behind a public id, of which only the hash is kept', () => {
    const { text, record } = token('write');
    const [, id, secret = ''] = /^varve_([0-9a-f]{8})_([A-Za-z0-9_-]{43})$/.exec(text) ?? [];
    expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
    expect(record).toEqual({ id, name: '', role: 'write', collections: null, sha256: sha256(secret), created: '1970-01-01T00:00:00.000Z' });
    expect(formatTokens([record])).not.toContain(secret);
    expect(new Set(Array.from({ length: 100 }, () => token('read').text)).size).toBe(100);
  });

  it('has rights that make sense', () => {
    const now = new Date(0);
    expect(() => createToken({ role: 'read', collections: ['no/name'] }, now)).toThrow(/'no\/name' is no name of a collection/);
    expect(() => createToken({ role: 'read', collections: ['_jobs'] }, now)).toThrow(/system collections/);
    expect(() => createToken({ role: 'replica', collections: ['c'] }, now)).toThrow(/cannot be limited/);
    expect(createToken({ role: 'read', collections: ['b', 'a', 'b'] }, now).record.collections).toEqual(['a', 'b']);
  });
});

describe('a token file', () => {
  const good = formatTokens([token('read').record]);
  it.each([
    ['others can read', good, 0o640, /mode 0640.*chmod 600 varve-data\/tokens\.json/],
    ['others can write', good, 0o602, /mode 0602/],
    ['is no JSON', '{"version":1', 0o600, /tokens\.json is not JSON/],
    ['is of another version', '{"version":2,"tokens":[]}', 0o600, /tokens\.json cannot be used: version/],
    ['says what is not understood', '{"version":1,"tokens":[],"more":1}', 0o600, /cannot be used: the whole.*more/],
    ['has a role nobody knows', good.replace('"read"', '"root"'), 0o600, /cannot be used: tokens\.0\.role/],
    ['has a hash that is none', good.replace(/"sha256": "../, '"sha256": "x'), 0o600, /cannot be used: tokens\.0\.sha256/],
    ['has an id twice', good.replace(/\[\n([\s\S]*)\n {2}\]/, '[$1,$1]'), 0o600, /tokens\.1\.id: [0-9a-f]{8} is there twice/],
    ['is limited to no collection', good.replace('"collections": null', '"collections": []'), 0o600, /tokens\.0\.collections/],
    ['is limited to what is none', good.replace('"collections": null', '"collections": ["a b"]'), 0o600, /'a b' is no name/],
    ['says a thing twice', good.replace('"version"', '"version": 1, "version"'), 0o600, /is not JSON/],
  ])('that %s is refused, naming the place, and the server does not start', async (_what, text, mode, message) => {
    const disk = new MapDisk();
    disk.write(FILE, text, mode);
    expect(() => readTokens(disk, FILE)).toThrow(message);
    const config = loadConfig({ flags: { listen: '127.0.0.1:0', data: 'varve-data', logLevel: 'silent' }, env: {}, readText: () => '' });
    await expect(serve(config, { signals: null, disk, openDatabase: () => Promise.reject(new Error('not reached')) })).rejects.toThrow(
      message,
    );
  });
});

describe('access', () => {
  it('compares the secret by its hash, and the id alone opens nothing', () => {
    const a = token('read');
    const b = token('read');
    const access = new Access([a.record, b.record]);
    const secret = (made: Token) => made.text.slice('varve_00000000_'.length);
    expect(access.identify(`Bearer ${a.text}`).id).toBe(a.record.id);
    expect(access.identify(`bearer  ${a.text} `).id).toBe(a.record.id);
    const wrong = [
      `Bearer varve_${a.record.id}_${secret(b)}`,
      `Bearer varve_${a.record.id}_${a.record.sha256.slice(0, 43)}`,
      `Bearer varve_${a.record.id}_`,
      `Bearer ${a.text}x`,
      `Bearer ${a.text.slice(0, -1)}`,
      `Bearer ${a.text} ${a.text}`,
      `Basic ${a.text}`,
      a.text,
      'Bearer',
      '',
    ];
    for (const header of wrong) expect(access.identify(header), header).toMatchObject({ id: 'unknown', role: 'none' });
    expect(access.identify(undefined)).toMatchObject({ id: 'stranger', role: 'none' });
  });

  it('ranks roles: read, write, admin; replicas apart', () => {
    const caller = (role: Parameters<typeof token>[0]) => {
      const made = token(role);
      return new Access([made.record]).identify(made.headers.Authorization);
    };
    const may = (role: Parameters<typeof token>[0]) =>
      (['none', 'read', 'write', 'admin', 'replica'] as const).filter((needed) => caller(role).has(needed));
    expect(may('read')).toEqual(['none', 'read']);
    expect(may('write')).toEqual(['none', 'read', 'write']);
    expect(may('admin')).toEqual(['none', 'read', 'write', 'admin', 'replica']);
    expect(may('replica')).toEqual(['none', 'replica']);
  });

  it('once asked for is asked for until the end, also after the last token and the file are gone', () => {
    const made = token('admin');
    const access = new Access();
    const anyone = access.identify(undefined);
    expect(anyone.has('admin')).toBe(true);
    access.replace([made.record]);
    expect(anyone.signal.aborted).toBe(true);
    expect(access.identify(undefined).has('read')).toBe(false);
    access.replace([]);
    expect(access.identify(undefined).has('read')).toBe(false);
    expect(access.identify(made.headers.Authorization).has('read')).toBe(false);
  });

  it('ends exactly those whose rights have changed', () => {
    const [kept, gone, changed] = [token('read'), token('read'), token('write', 'c')];
    const access = new Access([kept.record, gone.record, changed.record]);
    const before = [kept, gone, changed].map((made) => access.identify(made.headers.Authorization));
    access.replace([
      { ...kept.record, name: 'renamed' },
      { ...changed.record, collections: ['d'] },
    ]);
    expect(before.map(({ signal }) => signal.aborted)).toEqual([false, true, true]);
    expect(access.identify(changed.headers.Authorization).mayUse('c')).toBe(false);
  });
});

describe('a server with tokens', () => {
  const admin = token('admin');
  const reader = token('read');
  const writer = token('write', 'c', 'd');
  const narrow = token('read', 'c');
  const start = () => TestServer.start({ server: { access: new Access([admin, reader, writer, narrow].map(({ record }) => record)) } });

  it('asks for one, and says so as RFC 6750 does', async () => {
    const s = await start();
    for (const path of ['/', '/livez', '/readyz']) expect((await s.get(path)).status, path).toBe(200);
    expect(await s.get(ENTITY)).toMatchObject({
      status: 401,
      json: { type: 'urn:varve:unauthorized', needs: { role: 'read' } },
      headers: { 'www-authenticate': 'Bearer realm="varve"' },
    });
    expect(await s.get(ENTITY, { Authorization: `Bearer ${token('admin').text}` })).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Bearer realm="varve", error="invalid_token"' },
    });
    // A prober with a revoked token still hears whether the server lives.
    expect((await s.get('/livez', { Authorization: 'Bearer nonsense' })).status).toBe(200);
    expect((await s.get(`${ENTITY}?access_token=${admin.text}`)).status).toBe(401);
    expect((await s.get(ENTITY, { Cookie: `token=${admin.text}; Authorization=Bearer ${admin.text}` })).status).toBe(401);
    await s.stop();
  });

  it('refuses what the role does not allow, naming what is needed', async () => {
    const s = await start();
    expect(await s.put('k', 1, reader.headers)).toMatchObject({
      status: 403,
      json: { type: 'urn:varve:forbidden', needs: { role: 'write' } },
      headers: { 'www-authenticate': 'Bearer realm="varve", error="insufficient_scope"' },
    });
    expect((await s.put('k', 1, writer.headers)).status).toBe(201);
    expect((await s.get(ENTITY, reader.headers)).json.body).toBe(1);
    expect((await s.ask('PUT', '/v1/collections/e', { headers: writer.headers, body: { placement: 'key' } })).json).toMatchObject({
      status: 403,
      needs: { role: 'admin' },
    });
    await s.stop();
  });

  it('keeps a limited token to its collections, in whatever way they are named', async () => {
    const s = await start();
    const other = (await s.ask('PUT', '/v1/collections/other/entities/k', { headers: admin.headers, body: '1' })).json.id;
    const own = (await s.put('k', 1, writer.headers)).json.id;
    for (const path of [
      '/v1/collections/other',
      '/v1/collections/other/entities',
      '/v1/collections/other/entities/k',
      '/v1/collections/_jobs',
    ])
      expect((await s.get(path, narrow.headers)).json, path).toMatchObject({
        status: 403,
        needs: { role: 'read', collection: path.split('/')[3] },
      });
    expect((await s.get(`/v1/collections/%6fther/entities/k`, narrow.headers)).status).toBe(403);
    expect((await s.get(`/v1/records/${other}`, narrow.headers)).json).toMatchObject({ status: 403, needs: { collection: 'other' } });
    expect((await s.get(`/v1/records/${own}`, narrow.headers)).status).toBe(200);
    expect((await s.get('/v1/shards', narrow.headers)).json).toMatchObject({ status: 403, needs: { collections: 'all' } });
    const names = async (headers: Record<string, string>) =>
      (await s.get('/v1/collections', headers)).json.collections.map(({ name }: { name: string }) => name);
    expect(await names(narrow.headers)).toEqual(['c']);
    expect(await names(reader.headers)).toEqual(expect.arrayContaining(['c', 'other']));
    await s.stop();
  });

  it('checks every item of a batch and every line of a stream', async () => {
    const s = await start();
    const item = (collection: string) => ({ collection, key: 'k', body: 1 });
    expect((await s.post({ records: [item('c'), item('other')] }, writer.headers)).json).toMatchObject({
      status: 403,
      needs: { collection: 'other' },
    });
    expect((await s.get(ENTITY, admin.headers)).status).toBe(404);
    expect((await s.post({ records: [item('c'), item('d')] }, writer.headers)).status).toBe(201);
    const lines = linesOf(await s.lines(['c', 'other', 'd'].map((name) => `${JSON.stringify(item(name))}\n`).join(''), writer.headers));
    expect(lines).toMatchObject([
      { line: 1, id: expect.any(String) },
      { line: 2, error: { status: 403 } },
      { line: 3 },
      { inserted: 2, failed: 1 },
    ]);
    await s.stop();
  });

  it('never writes a token into its log, and escapes what strangers send', async () => {
    const log = memoryLog();
    const s = await TestServer.start({ server: { access: new Access([admin.record]), logger: log.logger } });
    await s.put('k', 1, admin.headers);
    await s.get(`/v1/collections/c?token=${admin.text}`, { Authorization: `Bearer ${admin.text}x` });
    await s.get(ENTITY, { Authorization: `Basic ${admin.text}`, Host: 'evil.example' });
    await s.raw('GET /a\x9b31m\x1b[2J HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    await s.raw('GET /a\xe2\x80\xae\x85\x9b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    log.logger.warn({ key: 'a\u0085b\u202ec\u2028d\u001b[2J\ne' }, 'shown');
    expect(log.lines.length).toBeGreaterThan(2);
    expect(log.text()).not.toContain(admin.text.slice(-43));
    expect(log.text()).toContain('\\u0085b\\u202ec\\u2028d\\u001b[2J\\ne');
    for (const line of log.lines) expect(line).toMatch(/^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]*\n$/);
    await s.stop();
  });
});

describe('a token that is revoked', () => {
  async function serving(disk: MapDisk): Promise<{ running: Serving; log: ReturnType<typeof memoryLog> }> {
    const log = memoryLog('info');
    const config = loadConfig({ flags: { listen: '127.0.0.1:0', data: 'varve-data' }, env: {}, readText: () => '' });
    const openDatabase = () => openWith(new MemoryPlatform({ autoAdvanceMicros: 1 }));
    const running = await serve(config, { signals: null, logger: log.logger, disk, openDatabase });
    await running.ready;
    return { running, log };
  }

  async function beginStream(url: string, headers: Record<string, string>) {
    const type = { 'Content-Type': 'application/x-ndjson' };
    const req = request(`${url}/v1/records`, { method: 'POST', headers: { ...type, ...headers }, agent: false });
    req.on('error', () => {});
    req.write('{"collection":"c","key":"k","body":1}\n');
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    res.on('error', () => {});
    await once(res, 'data');
    return { req, ended: new Promise<void>((resolve) => res.on('close', resolve)) };
  }

  const ask = async (url: string, headers: Record<string, string>): Promise<number> => {
    const req = request(`${url}/v1/shards`, { headers, agent: false });
    req.end();
    return (await readReply(((await once(req, 'response')) as [IncomingMessage])[0])).status;
  };

  it('is cut off in the middle of what it does, as soon as the file says so', async () => {
    const [kept, gone] = [token('admin'), token('admin')];
    const disk = new MapDisk();
    disk.tokens(FILE, kept, gone);
    const { running } = await serving(disk);
    const [goneStream, keptStream] = [await beginStream(running.url, gone.headers), await beginStream(running.url, kept.headers)];
    expect(await ask(running.url, gone.headers)).toBe(200);
    disk.tokens(FILE, kept);
    await goneStream.ended;
    expect(await ask(running.url, gone.headers)).toBe(401);
    expect(await ask(running.url, kept.headers)).toBe(200);
    keptStream.req.end();
    await keptStream.ended;
    expect(await running.stop()).toBe(0);
  });

  it('shuts out whoever came in without one when the first one is made', async () => {
    const disk = new MapDisk();
    const { running, log } = await serving(disk);
    const anonymous = await beginStream(running.url, {});
    const first = token('admin');
    disk.tokens(FILE, first);
    await anonymous.ended;
    expect(await ask(running.url, {})).toBe(401);
    expect(await ask(running.url, first.headers)).toBe(200);
    expect(log.text()).toContain('the access tokens were read again');
    // Without the file nobody comes in, rather than everybody.
    const last = await beginStream(running.url, first.headers);
    disk.remove(FILE);
    await last.ended;
    expect(await ask(running.url, {})).toBe(401);
    expect(await running.stop()).toBe(0);
  });

  it('is asked for anew on a connection that has shown it before', async () => {
    const [kept, gone, made] = [token('admin'), token('read'), token('read')];
    const s = await TestServer.start({ server: { access: new Access([kept.record, gone.record]) } });
    expect((await s.get('/v1/shards', gone.headers)).status).toBe(200);
    const { connections } = s.server.figures;
    s.server.setTokens([kept.record]);
    expect((await s.get('/v1/shards', gone.headers)).status).toBe(401);
    expect((await s.get('/v1/shards', made.headers)).status).toBe(401);
    s.server.setTokens([kept.record, made.record]);
    expect((await s.get('/v1/shards', made.headers)).status).toBe(200);
    expect(s.server.figures.connections).toBe(connections);
    await s.stop();
  });

  it('stays in force where the new file cannot be used', async () => {
    const made = token('admin');
    const disk = new MapDisk();
    disk.tokens(FILE, made);
    const { running, log } = await serving(disk);
    disk.write(FILE, '{', 0o600);
    while (!log.text().includes('stay as they were')) await ask(running.url, made.headers);
    expect(await ask(running.url, made.headers)).toBe(200);
    expect(await running.stop()).toBe(0);
  });
});

describe('addresses beyond this machine', () => {
  it('are listened on with a token, with a warning where that goes in the clear', async () => {
    await expect(startServer({ listen: '0.0.0.0:0', access: new Access([]) })).rejects.toThrow(
      /refusing to listen on '0\.0\.0\.0'.*varve token create/,
    );
    const made = token('read');
    const log = memoryLog('warn');
    const server = await startServer({
      listen: '0.0.0.0:0',
      access: new Access([made.record]),
      hostNames: ['db.example'],
      logger: log.logger,
    });
    expect(log.text()).toContain('in the clear');
    const port = new URL(server.url).port;
    const status = async (host: string) => {
      const req = request({ host: '127.0.0.1', port, path: '/livez', headers: { Host: host }, agent: false });
      req.end();
      return (await readReply(((await once(req, 'response')) as [IncomingMessage])[0])).status;
    };
    for (const host of ['db.example', 'DB.example:7411', '10.1.2.3', '[2001:db8::1]:7411', 'localhost'])
      expect(await status(host), host).toBe(200);
    const known = connect(Number(port), '127.0.0.1');
    known.write('GET /livez HTTP/1.1\r\nHost: db.example\r\n\r\nGET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
    const none = connect(Number(port), '127.0.0.1');
    none.write('GET /livez HTTP/1.0\r\n\r\n');
    expect((await readAll(known)).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403']);
    expect((await readAll(none)).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403']);
    for (const host of ['evil.example', 'db.example.evil', 'xdb.example', '10.1.2.3.evil']) expect(await status(host), host).toBe(403);
    await server.close();
  });
});
