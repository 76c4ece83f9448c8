/** Listings: pages that keep their point in time, and streams that say when they are whole. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectionsAnswer, listAnswer, record } from '../../server/schemas.js';
import { linesOf, readReply, TestServer } from './support.js';

const KEYS = ['a', 'a/1', 'a/2', 'b', 'b c', 'é', '漢', '😀'];
const LIST = '/v1/collections/c/entities';
const NDJSON = { Accept: 'application/x-ndjson' };

describe.each([1, 3])('listings over %i shards', (shards) => {
  let s: TestServer;
  let before: string;
  beforeAll(async () => {
    s = await TestServer.start({ open: { shards } });
    for (const key of [...KEYS].reverse()) await s.put(key, { key });
    await s.put('gone', 1);
    before = (await s.ask('DELETE', `${LIST}/gone`)).json.time;
    await s.put('a', { key: 'a', second: true });
    await s.put('zz', 1);
  });
  afterAll(() => s.stop());

  const keys = (reply: { json: { records: { key: string }[] } }) => reply.json.records.map(({ key }) => key);
  const byBytes = (list: string[]) => [...list].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));

  async function pages(query: string): Promise<string[]> {
    const seen: string[] = [];
    for (let at = query; ; ) {
      const reply = await s.get(`${LIST}?${at}`);
      expect(reply.status).toBe(200);
      listAnswer.parse(reply.json);
      seen.push(...keys(reply));
      if (reply.json.next === null) return seen;
      at = `${new URLSearchParams(query).has('limit') ? `limit=${new URLSearchParams(query).get('limit')}&` : ''}cursor=${reply.json.next}`;
    }
  }

  it("hold what is alive, in the order of the keys' bytes", async () => {
    const reply = await s.get(LIST);
    expect(keys(reply)).toEqual(byBytes([...KEYS, 'zz']));
    expect(reply.json.next).toBeNull();
    expect(record.parse(reply.json.records[0])).toMatchObject({ key: 'a', body: { key: 'a', second: true } });
  });

  it('hold what was alive then', async () => {
    const reply = await s.get(`${LIST}?asOf=${encodeURIComponent(before)}`);
    expect(keys(reply)).toEqual(byBytes(KEYS));
    expect(reply.json.records[0].body).toEqual({ key: 'a' });
    expect(keys(await s.get(`${LIST}?asOf=2001-01-01T00:00:00Z`))).toEqual([]);
  });

  it('go page by page, whatever their size', async () => {
    for (const limit of [1, 2, 3, 9, 10]) expect(await pages(`limit=${limit}`), String(limit)).toEqual(byBytes([...KEYS, 'zz']));
    expect(await pages(`limit=2&asOf=${encodeURIComponent(before)}`)).toEqual(byBytes(KEYS));
  });

  it('keep to a prefix and begin after a key', async () => {
    expect(await pages('limit=1&prefix=a')).toEqual(['a', 'a/1', 'a/2']);
    expect(await pages(`prefix=${encodeURIComponent('a/')}`)).toEqual(['a/1', 'a/2']);
    expect(await pages('limit=1&prefix=a&after=a')).toEqual(['a/1', 'a/2']);
    expect(await pages('after=b')).toEqual(byBytes([...KEYS, 'zz']).slice(4));
    expect(await pages('after=b+c')).toEqual(byBytes([...KEYS, 'zz']).slice(5));
    expect(await pages('prefix=nothing')).toEqual([]);
  });

  it('give keys and ids only', async () => {
    const [whole, short] = [await s.get(LIST), await s.get(`${LIST}?bodies=false&limit=2`)];
    expect(short.json.records).toEqual(whole.json.records.slice(0, 2).map(({ id, key }: { id: string; key: string }) => ({ id, key })));
    const next = await s.get(`${LIST}?cursor=${short.json.next}&limit=1`);
    expect(next.json.records).toEqual(whole.json.records.slice(2, 3).map(({ id, key }: { id: string; key: string }) => ({ id, key })));
  });

  it('pages see nothing that came after the first of them', async () => {
    const own = await TestServer.start({ open: { shards } });
    for (const key of ['a', 'b', 'c']) await own.put(key, 1);
    const first = (await own.get(`${LIST}?limit=1`)).json;
    await own.put('b', 2);
    await own.put('bb', 2);
    await own.ask('DELETE', `${LIST}/c`);
    const second = (await own.get(`${LIST}?cursor=${first.next}`)).json;
    expect(second.records.map(({ key, body }: { key: string; body: number }) => [key, body])).toEqual([
      ['b', 1],
      ['c', 1],
    ]);
    await own.stop();
  });

  it('stream everything, and say when it is whole', async () => {
    const reply = await s.get(LIST, NDJSON);
    expect(reply.headers['content-type']).toBe('application/x-ndjson');
    const lines = linesOf(reply);
    expect(lines.at(-1)).toEqual({ done: true, count: KEYS.length + 1 });
    expect(lines.slice(0, -1)).toEqual((await s.get(LIST)).json.records);
    expect(linesOf(await s.get(`${LIST}?prefix=a/&bodies=false`, NDJSON)).slice(0, -1)).toEqual(
      (await s.get(`${LIST}?prefix=a/&bodies=false`)).json.records,
    );
    expect(linesOf(await s.get('/v1/collections/nothing/entities', NDJSON))).toEqual([{ done: true, count: 0 }]);
  });

  it('refuse what they cannot mean', async () => {
    const { next } = (await s.get(`${LIST}?limit=1`)).json;
    for (const query of ['limit=0', 'bodies=maybe', 'asOf=x', 'cursor=!', `cursor=${next}&prefix=x`, `cursor=${next}x`]) {
      expect((await s.get(`${LIST}?${query}`)).json, query).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    }
    expect((await s.get(`/v1/collections/d/entities?cursor=${next}`)).json).toMatchObject({ status: 400, path: 'cursor' });
    expect((await s.get(`${LIST}?sort=key`)).json).toMatchObject({ type: 'urn:varve:unknown-parameter', parameters: ['sort'] });
    expect((await s.get(`${LIST}?cursor=${next}`, NDJSON)).status).toBe(400);
    expect((await s.get('/v1/collections/1/entities')).status).toBe(400);
    expect((await s.get('/v1/collections/1/entities', NDJSON)).status).toBe(400);
    expect((await s.get(LIST, { Accept: 'text/html' })).json).toMatchObject({ status: 406 });
  });

  it('refuse a cursor that points beyond what exists', async () => {
    const { next } = (await s.get(`${LIST}?limit=1`)).json;
    const cursor = JSON.parse(Buffer.from(next, 'base64url').toString());
    for (const positions of [Array(shards).fill(2 ** 40), Array(shards + 1).fill(0), []]) {
      const forged = Buffer.from(JSON.stringify([cursor[0], cursor[1], [positions, 'a']])).toString('base64url');
      expect((await s.get(`${LIST}?cursor=${forged}`)).json).toMatchObject({ status: 400, path: 'cursor' });
    }
  });

  it('as of a record reach its shard alone', async () => {
    const { id } = (await s.put('zz', 2)).json;
    const reply = await s.get(`${LIST}?asOf=${id}`);
    if (shards === 1) expect(keys(reply)).toContain('zz');
    else expect(reply.json).toMatchObject({ status: 422, type: 'urn:varve:cross-shard' });
    expect((await s.get(`${LIST}?asOf=${id}`, NDJSON)).status).toBe(shards === 1 ? 200 : 422);
  });
});

describe('large listings', () => {
  it('end a page early when its bodies are large', async () => {
    const s = await TestServer.start({ limits: { maxPageBytes: 2000 } });
    for (let n = 10; n < 40; n++) await s.put(`k${n}`, 'x'.repeat(300));
    const { records, next } = (await s.get(LIST)).json;
    expect(records.length).toBeLessThan(10);
    expect((await s.get(`${LIST}?cursor=${next}`)).json.records[0].key).toBe(`k${10 + records.length}`);
    await s.stop();
  });

  it('wait for a slow reader, and hold little meanwhile', async () => {
    const s = await TestServer.start({ limits: { answerBufferBytes: 10_000 } });
    const text = Array.from({ length: 3000 }, (_, n) => JSON.stringify({ collection: 'c', key: `k${n}`, body: 'x'.repeat(3000) })).join(
      '\n',
    );
    expect(linesOf(await s.lines(text)).at(-1)).toMatchObject({ inserted: 3000 });
    const req = request(s.server.url, { path: LIST, headers: NDJSON });
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    // Reads nothing while others are served.
    res.pause();
    for (let n = 0; n < 20; n++) expect((await s.get(`${LIST}/k${n}`)).status).toBe(200);
    expect(linesOf(await readReply(res)).at(-1)).toEqual({ done: true, count: 3000 });
    await s.stop();
  });
});

describe('collections', () => {
  it('come into being with their first record, with counts', async () => {
    const s = await TestServer.start({ open: { shards: 2 } });
    for (const key of ['a', 'b', 'c']) await s.put(key, 1);
    await s.put('a', 2);
    await s.ask('DELETE', `${LIST}/b`);
    const { collections } = collectionsAnswer.parse((await s.get('/v1/collections')).json);
    expect(collections.find(({ name }) => name === 'c')).toEqual({ name: 'c', placement: 'key', entities: 2, versions: 5 });
    expect((await s.get('/v1/collections/c')).json).toEqual({ name: 'c', placement: 'key', entities: 2, versions: 5 });
    expect((await s.get('/v1/collections/d')).json).toMatchObject({ status: 404, type: 'urn:varve:not-found' });
    expect((await s.get('/v1/collections/4')).status).toBe(400);
    await s.stop();
  });

  it('are placed before they have records', async () => {
    const s = await TestServer.start({ open: { shards: 2 } });
    const put = (name: string, body: unknown) => s.ask('PUT', `/v1/collections/${name}`, { body });
    expect((await put('d', { placement: 'group:g' })).json).toMatchObject({ name: 'd', placement: 'group:g', entities: 0, versions: 0 });
    expect((await put('d', { placement: 'group:g' })).status).toBe(200);
    await s.put('a', 1);
    expect((await put('c', { placement: 'key' })).status).toBe(200);
    expect((await put('c', { placement: 'group:g' })).json).toMatchObject({
      status: 409,
      type: 'urn:varve:placement-fixed',
      placement: 'key',
    });
    for (const body of [{}, { placement: 'group:' }, { placement: 'near' }, { placement: 'group:1' }, []])
      expect((await put('e', body)).status, JSON.stringify(body)).toBe(400);
    expect((await put('e', { placement: 'key', shards: 2 })).json).toMatchObject({ type: 'urn:varve:unknown-field', fields: ['shards'] });
    expect((await put('_e', { placement: 'key' })).json).toMatchObject({ status: 403 });
    await s.stop();
  });
});
