/**
 * Every route × every method × every kind of caller, made from the table of routes itself: whoever may not is refused with 401 or 403,
 * and whoever may gets past the doors. Rights are looked at before anything else, so a parameter that no route knows (`nonsense`) ends
 * every permitted call before it does something.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../server/exchange.js';
import { Access } from '../../server/index.js';
import { ROUTES } from '../../server/routes/table.js';
import { token } from './doors-support.js';
import { linesOf, type Reply, TestServer } from './support.js';

const CALLERS = {
  nobody: undefined,
  read: token('read'),
  write: token('write'),
  admin: token('admin'),
  replica: token('replica'),
  'read of c': token('read', 'c'),
  'write of c': token('write', 'c'),
  'admin of c': token('admin', 'c'),
} as const;
type CallerName = keyof typeof CALLERS;

/** What each role reaches, written out here a second time on purpose. */
const REACHES: Readonly<Record<string, readonly string[]>> = {
  none: ['nobody', 'read', 'write', 'admin', 'replica'],
  read: ['read', 'write', 'admin'],
  write: ['write', 'admin'],
  admin: ['admin'],
  replica: ['admin', 'replica'],
};

interface Case {
  readonly method: string;
  readonly path: string;
  readonly endpoint: Endpoint;
  readonly scope: string;
}

const CASES: readonly Case[] = ROUTES.flatMap(({ path, endpoints }) =>
  Object.entries(endpoints).map(([method, endpoint]) => ({
    method,
    path,
    endpoint,
    scope: endpoint.scope ?? (/\/:collection(?:\/|$)/.test(path) ? 'path' : 'server'),
  })),
);
const label = ({ method, path }: Case) => `${method} ${path}`;

/** A path of the route, in a collection. */
function pathIn({ path }: Case, collection: string): string {
  return path
    .replace(/\{?\/\*\w+\}?/g, '/x')
    .replace(':collection', collection)
    .replace(':shard', '1')
    .replace(':id', '0001000000000001')
    .replace(/:\w+/g, 'k');
}

/** What a limited caller gets at endpoints that look for themselves: one request that must be refused to it, each. */
const PROBES: Readonly<
  Record<string, (ask: (method: string, path: string, body?: unknown) => Promise<Reply>, otherId: string) => Promise<void>>
> = {
  'GET /v1/collections': async (ask) => {
    const { collections } = (await ask('GET', '/v1/collections')).json;
    expect(collections.map(({ name }: { name: string }) => name)).toEqual(['c']);
  },
  'GET /v1/records/:id': async (ask, otherId) => {
    const reply = await ask('GET', `/v1/records/${otherId}`);
    expect(reply.status).toBe(403);
    expect(reply.text).not.toContain('secret');
  },
  'GET /v1/records/:id/proof': async (ask, otherId) => {
    const reply = await ask('GET', `/v1/records/${otherId}/proof`);
    expect(reply.status).toBe(403);
    expect(reply.text).not.toContain('secret');
  },
  'POST /v1/records': async (ask) => {
    const item = { collection: 'other', key: 'new', body: 1 };
    expect((await ask('POST', '/v1/records', { records: [{ ...item, collection: 'c' }, item] })).status).toBe(403);
    expect(linesOf(await ask('POST', '/v1/records', `${JSON.stringify(item)}\n`))[0]).toMatchObject({ error: { status: 403 } });
  },
};

let s: TestServer;
let otherId: string;
beforeAll(async () => {
  const tokens = Object.values(CALLERS).flatMap((made) => (made === undefined ? [] : [made.record]));
  s = await TestServer.start({ server: { access: new Access(tokens) } });
  await s.db.put('c', 'k', 1);
  otherId = (await s.db.put('other', 'k', 'secret')).id;
});
afterAll(() => s.stop());

/** `in`: let through the doors. */
async function outcome(caller: CallerName, method: string, path: string): Promise<string> {
  const headers = { ...(CALLERS[caller]?.headers ?? {}) };
  const reply = await s.ask(method, path, method === 'PUT' || method === 'POST' ? { headers, body: {} } : { headers });
  if (method === 'HEAD') return reply.status === 401 || reply.status === 403 ? String(reply.status) : 'in';
  if (reply.json?.type === 'urn:varve:unauthorized') return '401';
  return reply.json?.type === 'urn:varve:forbidden' ? '403' : 'in';
}

describe('the table of routes', () => {
  it('has a rule for every endpoint, and leaves nothing of the data open', () => {
    expect(CASES.length).toBeGreaterThan(10);
    for (const each of CASES) {
      const { role } = each.endpoint;
      expect(Object.keys(REACHES), label(each)).toContain(role);
      if (/^\/(?:v1|replication)\//.test(each.path)) expect(role, label(each)).not.toBe('none');
      if (each.path.startsWith('/replication/')) expect(['admin', 'replica'], label(each)).toContain(role);
      if (each.method !== 'GET') expect(['write', 'admin', 'replica'], label(each)).toContain(role);
      if (each.scope === 'handler')
        expect(Object.keys(PROBES), `${label(each)} looks for itself: a probe here shows that it does`).toContain(label(each));
      if (each.scope === 'path') expect(each.path, label(each)).toMatch(/:collection/);
    }
  });
});

describe.each(CASES.map((each) => [label(each), each] as const))('%s', (_label, each) => {
  const { role } = each.endpoint;
  const methods = each.method === 'GET' ? ['GET', 'HEAD'] : [each.method];

  it('lets in whom its role lets in, and nobody else', async () => {
    for (const method of methods) {
      for (const caller of ['nobody', 'read', 'write', 'admin', 'replica'] as const) {
        const expected = REACHES[role]!.includes(caller) ? 'in' : caller === 'nobody' ? '401' : '403';
        expect(await outcome(caller, method, `${pathIn(each, 'c')}?nonsense=1`), `${method} as ${caller}`).toBe(expected);
      }
    }
  });

  it('keeps callers that are limited to a collection within it', async () => {
    for (const method of methods) {
      for (const limited of ['read', 'write', 'admin'] as const) {
        const caller: CallerName = `${limited} of c`;
        const may = REACHES[role]!.includes(limited);
        const look = (collection: string, query = '') => outcome(caller, method, `${pathIn(each, collection)}?nonsense=1${query}`);
        const where = `${method} as ${caller}`;
        const inside = may && (role === 'none' || each.scope !== 'server') ? 'in' : '403';
        expect(await look('c', each.scope === 'query' ? '&collection=c' : ''), where).toBe(inside);
        if (role === 'none' || each.scope === 'handler') continue;
        expect(await look('other', '&collection=other'), where).toBe('403');
        expect(await look('_system', '&collection=_system'), where).toBe('403');
        if (each.scope === 'query') expect(await look('c'), where).toBe('403');
      }
    }
  });

  if (each.scope === 'handler') {
    it('looks for itself at what it touches', async () => {
      const { headers } = CALLERS['admin of c'];
      await PROBES[label(each)]?.((method, path, body) => {
        const type = typeof body === 'string' ? { 'Content-Type': 'application/x-ndjson' } : {};
        return s.ask(method, path, { headers: { ...headers, ...type }, ...(body === undefined ? {} : { body }) });
      }, otherId);
      expect(s.db.now().get('other', 'new')).toBeUndefined();
      expect(s.db.now().history('other', 'k').records).toHaveLength(1);
    });
  }
});
