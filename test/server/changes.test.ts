/** GET /v1/changes: everything durable, in order, once, as it comes, through restarts of whoever reads. */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../engine/engine.js';
import { changeLine, record } from '../../server/schemas.js';
import { Reader } from './feed-support.js';
import { linesOf, TestServer } from './support.js';

const FEED = '/v1/changes';
const SSE = { Accept: 'text/event-stream' };

describe('the feed', () => {
  let s: TestServer;
  const ids: string[] = [];
  beforeAll(async () => {
    s = await TestServer.start();
    ids.push((await s.put('a', { n: 1 })).json.id);
    await s.ask('PUT', '/v1/collections/d', { body: { placement: 'group:d' } });
    ids.push((await s.ask('PUT', '/v1/collections/d/entities/%C3%A9', { body: '"x"' })).json.id);
    ids.push((await s.ask('DELETE', '/v1/collections/c/entities/a')).json.id);
  });
  afterAll(() => s.stop());

  it('ends at the newest where it is not to live, each record as everywhere and with its cursor', async () => {
    const reply = await s.get(`${FEED}?live=false`);
    expect(reply.headers['content-type']).toBe('application/x-ndjson');
    const lines = linesOf(reply);
    for (const line of lines) changeLine.parse(line);
    expect(lines.slice(0, -1).map(({ id }) => id)).toEqual(ids);
    const { cursor, ...first } = lines[0];
    expect(record.parse(first)).toEqual((await s.get(`/v1/records/${ids[0]}`)).json);
    expect(lines.at(-1)).toEqual({ done: true, count: 3, more: false, cursor: expect.any(String) });
    expect(linesOf(await s.get(`${FEED}?live=false&after=${cursor}`)).map(({ id }) => id)).toEqual([ids[1], ids[2], undefined]);
  });

  it('begins after a record, after a cursor, or now', async () => {
    const behind = async (text: string) => linesOf(await s.get(`${FEED}?live=false&after=${text}`)).slice(0, -1);
    expect((await behind(ids[0]!)).map(({ id }) => id)).toEqual([ids[1], ids[2]]);
    expect(await behind(ids[2]!)).toEqual([]);
    expect(await behind('now')).toEqual([]);
  });

  it('keeps to a collection, of the system too where it is asked for', async () => {
    const keys = async (query: string) => linesOf(await s.get(`${FEED}?live=false&${query}`)).map(({ key }) => key);
    expect(await keys('collection=d')).toEqual(['é', undefined]);
    expect(await keys('collection=_collections')).toEqual(['d', undefined]);
    expect(await keys('collection=nothing')).toEqual([undefined]);
    expect(await keys('shard=1&collection=c')).toEqual(['a', 'a', undefined]);
  });

  it('comes in pages where a limit is given, and each says whether there is more', async () => {
    const seen: string[] = [];
    for (let query = 'limit=2'; ; ) {
      const lines = linesOf(await s.get(`${FEED}?live=false&${query}`));
      const end = lines.pop();
      seen.push(...lines.map(({ id }) => id));
      expect(end.count).toBe(lines.length);
      if (!end.more) break;
      query = `limit=2&after=${end.cursor}`;
    }
    expect(seen).toEqual(ids);
  });

  it('answers HEAD without a body', async () => {
    expect(await s.ask('HEAD', FEED)).toMatchObject({ status: 200, text: '' });
  });

  it('refuses what it cannot mean', async () => {
    const { cursor } = linesOf(await s.get(`${FEED}?live=false`))[0];
    const forged = `${cursor.slice(0, cursor.lastIndexOf('.'))}.zzzzzz`;
    const foreign = `1.00000000${cursor.slice(10)}`;
    for (const query of [
      'shard=0',
      'shard=2',
      'shard=x',
      'live=maybe',
      'limit=0',
      'after=',
      'after=x',
      'after=000100000000ffff',
      `after=${forged}`,
      `after=${foreign}`,
      `after=${cursor}.1`,
      'after=0002000000000001',
      'collection=!',
    ]) {
      expect((await s.get(`${FEED}?${query}`)).json, query).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    }
    expect((await s.get(`${FEED}?since=1`)).json).toMatchObject({ type: 'urn:varve:unknown-parameter', parameters: ['since'] });
    expect((await s.get(FEED, { Accept: 'text/html' })).status).toBe(406);
    expect((await s.ask('POST', FEED, { body: {} })).status).toBe(405);
  });
});

describe('a living feed', () => {
  it('tells where it begins, then each record once it is durable', async () => {
    const s = await TestServer.start();
    const reader = await Reader.open(s, FEED);
    expect(changeLine.parse(await reader.json())).toEqual({ cursor: expect.any(String) });
    for (let n = 0; n < 3; n++) {
      const { id } = (await s.put('k', n)).json;
      expect(await reader.json()).toMatchObject({ id, body: n });
    }
    reader.stop();
    await s.stop();
  });

  it('is an event stream where one is wanted, and goes on from its last event', async () => {
    const s = await TestServer.start({ open: { shards: 3 } });
    for (let n = 0; n < 6; n++) await s.put(`k${n}`, n);
    const reader = await Reader.open(s, FEED, SSE);
    expect(reader.res.headers['content-type']).toBe('text/event-stream');
    const seen: string[] = [];
    let last = '';
    expect(await reader.event()).toEqual({ id: expect.any(String) });
    for (let n = 0; n < 4; n++) {
      const event = (await reader.event())!;
      last = event['id']!;
      seen.push(record.parse(JSON.parse(event['data']!)).key);
    }
    reader.stop();
    await s.put('later', 1);
    // A browser asks for the same again, whatever `after` it began with.
    const again = await Reader.open(s, `${FEED}?after=now`, { ...SSE, 'Last-Event-ID': last });
    expect(await again.event()).toEqual({ id: last });
    for (let n = 0; n < 3; n++) seen.push(JSON.parse((await again.event())!['data']!).key);
    expect(seen.sort()).toEqual(['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'later']);
    again.stop();
    await s.stop();
  });

  it('ends an event stream that is not to live with an event', async () => {
    const s = await TestServer.start();
    await s.put('a', 1);
    const reply = await s.get(`${FEED}?live=false`, SSE);
    expect(reply.text).toMatch(/\n\nid: [^\n]+\nevent: done\ndata: \{"count":1,"more":false\}\n\n$/);
    await s.stop();
  });

  it('says that it is there while it has nothing to tell, and moves its cursor past what it lets pass', async () => {
    const s = await TestServer.start({ limits: { heartbeatMs: 5 } });
    const [lines, events] = [await Reader.open(s, `${FEED}?collection=d`), await Reader.open(s, `${FEED}?collection=d`, SSE)];
    const first = changeLine.parse(await lines.json()).cursor;
    expect(await events.event()).toEqual({ id: first });
    expect(await events.next()).toBe(':');
    await s.put('noise', 1);
    let moved = first;
    while (moved === first) moved = (await lines.json()).cursor;
    let id: string | undefined;
    while (id === undefined) id = (await events.event())?.['id'];
    expect(id).toBe(moved);
    expect(linesOf(await s.get(`${FEED}?live=false&after=${moved}`)).length).toBe(1);
    lines.stop();
    events.stop();
    await s.stop();
  });

  it('says when to come back and ends when the server shuts down', async () => {
    const s = await TestServer.start();
    await s.put('a', 1);
    const [lines, events] = [await Reader.open(s, FEED), await Reader.open(s, FEED, SSE)];
    for (let n = 0; n < 2; n++) await Promise.all([lines.next(), events.next()]);
    const closing = s.server.close();
    const last = changeLine.parse(await lines.json());
    expect(last).toEqual({ closing: true, retryAfterMs: 2000, cursor: expect.any(String) });
    expect(await events.event()).toEqual({ id: last.cursor, event: 'closing', retry: '2000', data: '{"retryAfterMs":2000}' });
    expect([await lines.next(), await events.next()]).toEqual([undefined, undefined]);
    await closing;
    await s.stop();
  });

  it('shutting down does not wait for a reader who does not read', { timeout: 30_000 }, async () => {
    const s = await TestServer.start({ limits: { answerBufferBytes: 64 * 1024, shutdownTimeoutMs: 500 } });
    for (let n = 0; n < 30; n++) await s.put(`k${n}`, 'x'.repeat(1_000_000));
    const reader = await Reader.open(s, FEED);
    reader.res.pause();
    await s.stop();
    reader.stop();
  });

  it('is bounded in number', async () => {
    const s = await TestServer.start({ limits: { maxStreams: 2 } });
    const open = [await Reader.open(s, FEED), await Reader.open(s, FEED)];
    const third = await s.get(FEED);
    expect([429, 503]).toContain(third.status);
    expect(third.headers['retry-after']).toBeDefined();
    const closed = once(open[0]!.req, 'close');
    open[0]!.stop();
    await closed;
    // The server hears of it a moment later.
    let status = 503;
    while (status !== 200) status = (await s.get(`${FEED}?live=false`)).status;
    open[1]!.stop();
    await s.stop();
  });

  it('costs a slow reader no memory: what waits for it stays in the log', async () => {
    const s = await TestServer.start({ limits: { answerBufferBytes: 64 * 1024 } });
    const reader = await Reader.open(s, FEED);
    reader.res.pause();
    for (let n = 0; n < 40; n++) await s.put(`k${n}`, 'x'.repeat(500_000));
    // One record over the buffer, and what the kernel holds.
    expect(s.server.figures.unreadBytes).toBeLessThan(2_000_000);
    reader.res.resume();
    await reader.next();
    const keys: string[] = [];
    while (keys.length < 40) keys.push((await reader.json()).key);
    expect(keys).toEqual(Array.from({ length: 40 }, (_, n) => `k${n}`));
    reader.stop();
    await s.stop();
  });
});

describe('a feed over several shards', () => {
  it('is in order in each of them, and of one alone where that is asked for', async () => {
    const s = await TestServer.start({ open: { shards: 4 } });
    const bySeq = new Map<number, number[]>();
    for (let n = 0; n < 40; n++) {
      const { shard, seq } = (await s.put(`k${n % 9}`, n)).json;
      bySeq.set(shard, [...(bySeq.get(shard) ?? []), seq]);
    }
    const all = linesOf(await s.get(`${FEED}?live=false`)).slice(0, -1);
    expect(all.length).toBe(40);
    for (const [shard, seqs] of bySeq) {
      expect(all.filter((line) => line.shard === shard).map(({ seq }) => seq)).toEqual(seqs);
      const own = linesOf(await s.get(`${FEED}?live=false&shard=${shard}`)).slice(0, -1);
      expect(own.map(({ seq }) => seq)).toEqual(seqs);
      // The cursor of a shard is one of its own; the cursor of all will do for one.
      expect((await s.get(`${FEED}?live=false&after=${own[0].cursor}`)).json).toMatchObject({ status: 400, path: 'after' });
      expect((await s.get(`${FEED}?live=false&shard=${(shard % 4) + 1}&after=${own[0].cursor}`)).status).toBe(400);
      expect(linesOf(await s.get(`${FEED}?live=false&shard=${shard}&after=${own[0].cursor}`)).length).toBe(seqs.length);
      expect(linesOf(await s.get(`${FEED}?live=false&shard=${shard}&after=${all.at(-1).cursor}`)).length).toBe(1);
      expect(linesOf(await s.get(`${FEED}?live=false&shard=${shard}&after=${own.at(-1).id}`)).length).toBe(1);
      expect((await s.get(`${FEED}?live=false&after=${own[0].id}`)).json).toMatchObject({ status: 422, type: 'urn:varve:cross-shard' });
    }
    // Any cursor of all goes on exactly behind its record.
    for (const at of [0, 13, 38]) {
      const rest = linesOf(await s.get(`${FEED}?live=false&after=${all[at].cursor}`)).slice(0, -1);
      expect([...all.slice(0, at + 1), ...rest].map(({ id }) => id).sort()).toEqual(all.map(({ id }) => id).sort());
    }
    await s.stop();
  });

  it('names its shard where there are more than 64', async () => {
    const s = await TestServer.start({ open: { shards: 65 } });
    await s.put('a', 1);
    expect((await s.get(`${FEED}?live=false`)).json).toMatchObject({ status: 422, type: 'urn:varve:cross-shard', limit: 64 });
    expect((await s.get(`${FEED}?live=false&shard=65`)).status).toBe(200);
    await s.stop();
  });
});

describe('a feed from before a horizon', () => {
  it('is 410 before the first byte; one that a trim overtakes is cut off, and told why when it comes back', async () => {
    const s = await TestServer.start({ limits: { answerBufferBytes: 64 * 1024 } });
    const slow = await Reader.open(s, FEED);
    slow.res.pause();
    for (let n = 0; n < 30; n++) await s.put('k', 'x'.repeat(1_000_000));
    const last = (await s.put('k', 1)).json;
    const shard = (s.db as Engine).shardList[0]!;
    shard.exactness.raise('c', { seq: last.seq, time: 0 });
    expect((await s.get(`${FEED}?live=false`)).json).toMatchObject({ status: 410, type: 'urn:varve:trimmed', horizon: last.id });
    expect((await s.get(`${FEED}?live=false&collection=d`)).status).toBe(200);
    expect((await s.get(`${FEED}?live=false&after=${last.id}`)).status).toBe(200);
    slow.res.resume();
    let cursor = '';
    for (let line = await slow.json(); line !== undefined; line = await slow.json()) cursor = line.cursor;
    expect(cursor).not.toBe('');
    expect((await s.get(`${FEED}?after=${cursor}`)).json).toMatchObject({ status: 410, type: 'urn:varve:trimmed' });
    await s.stop();
  });
});
