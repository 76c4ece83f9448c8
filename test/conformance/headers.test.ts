/**
 * Heads of answers, as strict parsers of others read them (llhttp in node:http and, built apart, in undici), and by the rules of the RFCs
 * that a linter would hold them to. The bytes come from a bare socket, so nothing has been made good on the way.
 */
import { request as nodeRequest } from 'node:http';
import { Client } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReply, TestServer } from '../server/support.js';

type Field = readonly [name: string, value: string];
interface Head {
  readonly status: number;
  readonly fields: readonly Field[];
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAMETER = `${TOKEN}=(?:${TOKEN}|"(?:[^"\\\\]|\\\\.)*")`;
const HTTP_DATE =
  '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \\d{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \\d{4} \\d{2}:\\d{2}:\\d{2} GMT';
const list = (item: string) => `${item}(?:\\s*,\\s*${item})*`;

/** Fields that may stand once, and what they may hold (RFC 9110, 9111, 9112, 6265, 7089, 8288). Any other: visible text. */
const GRAMMAR: Readonly<Record<string, string>> = {
  'accept-encoding': list(TOKEN),
  'accept-ranges': TOKEN,
  allow: list(TOKEN),
  'cache-control': list(`${TOKEN}(?:=(?:${TOKEN}|"[^"]*"))?`),
  connection: list(TOKEN),
  'content-length': '\\d+',
  'content-location': '/[!-~]*',
  'content-range': 'bytes (?:\\d+-\\d+/(?:\\d+|\\*)|\\*/\\d+)',
  'content-security-policy': '[ -~]+',
  'content-type': `${TOKEN}/${TOKEN}(?:\\s*;\\s*${PARAMETER})*`,
  'cross-origin-resource-policy': 'same-origin',
  date: HTTP_DATE,
  etag: '"[!#-~]*"',
  'idempotent-replay': 'true',
  'keep-alive': list(PARAMETER),
  link: list(`<[!-;=?-~]*>(?:\\s*;\\s*${PARAMETER})+`),
  location: '/[!-~]*',
  'memento-datetime': HTTP_DATE,
  'retry-after': '\\d+',
  'transfer-encoding': 'chunked',
  vary: list(TOKEN),
  'www-authenticate': `${TOKEN} ${list(PARAMETER)}`,
  'x-content-type-options': 'nosniff',
};

/** What must stand beside a status. */
const REQUIRED: Readonly<Record<number, readonly string[]>> = {
  201: ['location', 'etag'],
  206: ['content-range'],
  304: ['etag'],
  401: ['www-authenticate'],
  405: ['allow'],
  416: ['content-range'],
  429: ['retry-after'],
  503: ['retry-after'],
};

function headOf(bytes: string): Head {
  const [line = '', ...lines] = bytes.slice(0, bytes.indexOf('\r\n\r\n')).split('\r\n');
  expect(line).toMatch(/^HTTP\/1\.1 [1-5]\d\d [ -~]*$/);
  return {
    status: Number(line.slice(9, 12)),
    fields: lines.map((each) => [each.slice(0, each.indexOf(':')), each.slice(each.indexOf(':') + 1).trim()]),
  };
}

/** Everything wrong with a head, in words. */
function lint({ status, fields }: Head): string[] {
  const wrong: string[] = [];
  const seen = new Map<string, string>();
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (!new RegExp(`^${TOKEN}$`).test(name)) wrong.push(`${name} is no name of a field`);
    if (seen.has(lower)) wrong.push(`${name} stands twice`);
    seen.set(lower, value);
    const grammar = GRAMMAR[lower] ?? (lower.startsWith('varve-') ? '[!-~](?:[ -~]*[!-~])?' : undefined);
    if (grammar === undefined) wrong.push(`${name} is not known`);
    else if (!new RegExp(`^(?:${grammar})$`).test(value)) wrong.push(`${name}: ${value}`);
  }
  if (!seen.has('date')) wrong.push('no Date');
  for (const name of REQUIRED[status] ?? []) if (!seen.has(name)) wrong.push(`${status} without ${name}`);
  if (seen.has('content-length') && seen.has('transfer-encoding')) wrong.push('Content-Length and Transfer-Encoding');
  const bare = status === 204 || status === 304;
  if (status === 204 && (seen.has('content-length') || seen.has('transfer-encoding'))) wrong.push('204 with a length');
  if (!bare && !seen.has('content-length') && !seen.has('transfer-encoding')) wrong.push('no length');
  if (!bare && seen.get('content-length') !== '0' && !seen.has('content-type')) wrong.push('a body without Content-Type');
  const date = Date.parse(seen.get('date') ?? '');
  if (Math.abs(date - Date.now()) > 600_000) wrong.push(`Date: ${seen.get('date')}`);
  return wrong;
}

describe('heads of answers', () => {
  let s: TestServer;
  let id: string;
  const asked: { method: string; path: string; headers: Record<string, string>; body: string; status: number }[] = [];
  const add = (status: number, method: string, path: string, headers: Record<string, string> = {}, body = '') =>
    asked.push({ status, method, path, headers, body });

  beforeAll(async () => {
    s = await TestServer.start({ limits: { maxBodyBytes: 100 } });
    id = (await s.put('k/é', { a: 1 })).json.id;
    await s.put('ended', 1);
    await s.ask('DELETE', '/v1/collections/c/entities/ended');
    const json = { 'Content-Type': 'application/json' };
    const entity = '/v1/collections/c/entities';
    const key = `${entity}/k%2F%C3%A9`;
    add(200, 'GET', key);
    add(200, 'GET', `${key}?view=body`);
    add(200, 'HEAD', key);
    add(200, 'GET', key, { 'Accept-Datetime': new Date(s.platform.clock.nowMicros() / 1000).toUTCString() });
    add(200, 'GET', `${key}/history`);
    add(200, 'GET', `${key}/diff?from=${id}`);
    add(200, 'GET', entity);
    add(200, 'GET', entity, { Accept: 'application/x-ndjson' });
    add(200, 'GET', `/v1/diff?from=${id}`);
    add(200, 'GET', '/v1/changes?live=false');
    add(200, 'GET', '/v1/changes?live=false', { Accept: 'text/event-stream' });
    for (const path of [
      '/v1/collections',
      '/v1/collections/c',
      `/v1/records/${id}`,
      `/v1/records/${id}/proof`,
      '/v1/shards',
      '/v1/shards/1',
      '/v1/shards/1/root',
    ])
      add(200, 'GET', path);
    for (const path of ['/', '/livez', '/readyz', '/metrics', '/openapi.json', '/docs']) add(200, 'GET', path);
    add(201, 'PUT', `${entity}/new`, json, '1');
    add(200, 'POST', '/v1/records', { 'Content-Type': 'application/x-ndjson' }, '{"collection":"c","key":"line","body":1}\n');
    add(204, 'OPTIONS', key);
    add(304, 'GET', key, { 'If-None-Match': `"${id}"` });
    add(304, 'GET', `/v1/records/${id}`, { 'If-None-Match': `"${id}"` });
    add(400, 'GET', `${key}?x=%22%3C%C3%A9`);
    add(403, 'GET', key, { Host: 'evil.example' });
    add(404, 'GET', `${entity}/nobody`);
    add(404, 'GET', '/nowhere/%0d%0aX-Y:%20z');
    add(405, 'PATCH', key);
    add(406, 'GET', '/v1/changes', { Accept: 'text/html' });
    add(410, 'GET', `${entity}/ended`);
    add(412, 'PUT', key, { ...json, 'If-None-Match': '*' }, '1');
    add(413, 'PUT', key, json, `"${'x'.repeat(200)}"`);
    add(415, 'PUT', key, { 'Content-Type': 'text/plain' }, '1');
    add(422, 'PUT', key, { ...json, 'Varve-Refs': '0001ffffffffffff' }, '1');
  });
  afterAll(() => s.stop());

  it('keep to the grammar and the rules of every field, as they are sent', async () => {
    const wrong: string[] = [];
    for (const { method, path, headers, body, status } of asked) {
      const fields = Object.entries({
        Host: new URL(s.server.url).host,
        Connection: 'close',
        'Content-Length': String(body.length),
        ...headers,
      });
      const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      // GETs that declare a body of none are as good as those that do not.
      const sent = `${method} ${path} HTTP/1.1\r\n${body === '' ? head.replace(/Content-Length: 0\r\n/, '') : head}\r\n${body}`;
      const got = headOf(await s.raw(sent));
      if (got.status !== status) wrong.push(`${method} ${path}: ${got.status}, not ${status}`);
      wrong.push(...lint(got).map((each) => `${method} ${path} ${got.status}: ${each}`));
    }
    expect(wrong).toEqual([]);
  });

  it('of requests that are no HTTP keep to them too', async () => {
    for (const [sent, status] of [
      ['nonsense\r\n\r\n', 400],
      [`GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
      ['GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ] as const) {
      const head = headOf(await s.raw(sent));
      expect(head.status, sent.slice(0, 40)).toBe(status);
      expect(lint(head), sent.slice(0, 40)).toEqual([]);
    }
  });

  it('are read alike by two strict parsers, on connections that go on', async () => {
    const client = new Client(s.server.url);
    for (const { method, path, headers, body, status } of asked) {
      if (method === 'PUT' && status === 201) continue;
      const place = `${method} ${path}`;
      const other = await client.request({
        method: method as 'GET',
        path,
        headers,
        ...(body === '' ? {} : { body }),
      });
      const text = await other.body.text();
      const req = nodeRequest(s.server.url, { method, path, headers, insecureHTTPParser: false });
      const reply = new Promise<Awaited<ReturnType<typeof readReply>>>((resolve, reject) => {
        req.on('response', (res) => resolve(readReply(res))).on('error', reject);
      });
      req.end(body);
      const ours = await reply;
      expect([other.statusCode, ours.status], place).toEqual([status, status]);
      const steady = (all: Record<string, unknown>) =>
        Object.fromEntries(
          Object.entries(all).filter(
            ([name]) => !['date', 'varve-request-id', 'content-length', 'connection', 'keep-alive'].includes(name),
          ),
        );
      expect(steady(other.headers), place).toEqual(steady(ours.headers));
      if (other.headers['content-length'] !== undefined && method !== 'HEAD')
        expect(Buffer.byteLength(text), place).toBe(Number(other.headers['content-length']));
    }
    await client.close();
  });

  it.each([
    [
      'a field twice',
      [
        ['ETag', '"a"'],
        ['ETag', '"b"'],
      ],
    ],
    ['a weak form of an entity tag', [['ETag', 'x']]],
    ['a name that is none', [['E Tag', '"a"']]],
    ['a field nobody knows', [['Color', 'red']]],
    [
      'two lengths',
      [
        ['Content-Length', '1'],
        ['Transfer-Encoding', 'chunked'],
      ],
    ],
    ['a link without brackets', [['Link', 'x; rel="self"']]],
    ['a date of another form', [['Memento-Datetime', '2026-11-21T08:00:00Z']]],
  ] as [string, Field[]][])('with %s would be seen', (_what, more) => {
    const good: Field[] = [
      ['Date', new Date().toUTCString()],
      ['Content-Type', 'application/json'],
      ['Content-Length', '2'],
    ];
    expect(lint({ status: 200, fields: good })).toEqual([]);
    const names = new Set(more.map(([name]) => name));
    expect(lint({ status: 200, fields: [...good.filter(([name]) => !names.has(name)), ...more] })).not.toEqual([]);
  });
});
