/** One entity over HTTP, read: the newest and as of, history, what changed; and what was erased or trimmed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { historyAnswer, record } from '../../server/schemas.js';
import { TestServer } from './support.js';

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start();
});
afterAll(() => s.stop());

const entity = (key: string) => `/v1/collections/c/entities/${encodeURIComponent(key)}`;

describe('GET', () => {
  it('answers the newest version, and any earlier one by time and by id', async () => {
    const versions = [];
    for (let n = 1; n <= 3; n++) versions.push((await s.put('past', { n })).json);
    for (const [index, version] of versions.entries()) {
      for (const point of [version.id, version.time]) {
        const reply = await s.get(`${entity('past')}?asOf=${point}`);
        expect(record.parse(reply.json)).toEqual({ ...version, body: { n: index + 1 } });
        expect(reply.headers.etag).toBe(`"${version.id}"`);
      }
    }
    expect((await s.get(entity('past'))).json).toEqual({ ...versions[2], body: { n: 3 } });
    expect((await s.get(`${entity('past')}?asOf=2001-01-01T00:00:00Z`)).json).toMatchObject({ status: 404, type: 'urn:varve:not-found' });
    expect((await s.get(`${entity('past')}?asOf=2001-01-01T00:00:00+02:00`)).status).toBe(404);
    expect((await s.get(`${entity('past')}?asOf=2200-01-01T00:00:00Z`)).json).toMatchObject({ status: 400, type: 'urn:varve:time-ahead' });
    for (const point of ['', 'now', '0001ffffffffffff', '0000000000000000', '2026-13-01T00:00:00Z']) {
      expect((await s.get(`${entity('past')}?asOf=${point}`)).json, point).toMatchObject({ status: 400, path: 'asOf' });
    }
  });

  it('is 422 as of a record of another shard, as is a diff from there', async () => {
    const own = await TestServer.start({ open: { shards: 4 } });
    const records: { id: string; shard: number; time: string }[] = [];
    for (let n = 0; n < 12; n++) records.push((await own.put(`k${n}`, n)).json);
    const other = records.find(({ shard }) => shard !== records[0]!.shard)!;
    for (const path of [`${entity('k0')}?asOf=${other.id}`, `${entity('k0')}/diff?from=${records[0]!.id}&to=${other.id}`])
      expect((await own.get(path)).json, path).toMatchObject({ status: 422, type: 'urn:varve:cross-shard' });
    expect((await own.get(`${entity('k0')}?asOf=${other.time}`)).json.body).toBe(0);
    await own.stop();
  });

  it('answers 304 to whoever has this version', async () => {
    const { id } = (await s.put('etag', 1)).json;
    for (const path of [entity('etag'), `/v1/records/${id}`]) {
      const reply = await s.get(path, { 'If-None-Match': `W/"${id}"` });
      expect(reply).toMatchObject({ status: 304, text: '', headers: { etag: `"${id}"`, 'cache-control': 'no-cache' } });
    }
    expect((await s.get(entity('etag'), { 'If-None-Match': '"0001000000000001"' })).status).toBe(200);
  });

  it('gives the bare body with the rest in headers', async () => {
    const target = (await s.put('bare', 0)).json;
    const version = (await s.put('bare', { a: 1 }, { 'Varve-Refs': target.id })).json;
    const reply = await s.get(`${entity('bare')}?view=body`);
    expect(reply).toMatchObject({ status: 200, text: '{"a":1}' });
    expect(reply.headers).toMatchObject({
      etag: `"${version.id}"`,
      'varve-id': version.id,
      'varve-time': version.time,
      'varve-seq': String(version.seq),
      'varve-supersedes': target.id,
      'varve-refs': target.id,
      'varve-hash': version.hash,
    });
  });

  it('answers HEAD as GET without the body', async () => {
    await s.put('head', { a: 1 });
    const [get, head] = [await s.get(entity('head')), await s.ask('HEAD', entity('head'))];
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
  });

  it('is never cached', async () => {
    for (const path of [entity('head'), entity('nobody'), '/v1/collections', '/v1/shards', '/nowhere']) {
      expect((await s.get(path)).headers['cache-control'], path).toBe('no-cache');
    }
    expect((await s.get(entity('nobody'))).headers.vary).toBe('Accept-Datetime');
  });

  it('finds records by id', async () => {
    expect((await s.get('/v1/records/0001ffffffffffff')).json).toMatchObject({ status: 404, type: 'urn:varve:not-found' });
    expect((await s.get('/v1/records/0007000000000001')).status).toBe(404);
    for (const id of ['x', '0001000000000A3F', '00010000000000001'])
      expect((await s.get(`/v1/records/${id}`)).json, id).toMatchObject({ status: 400 });
  });
});

describe('Accept-Datetime', () => {
  it('works as asOf, and says which moment it got', async () => {
    const own = await TestServer.start();
    await own.put('k/1', 1, { 'Varve-Time': '2001-02-03T04:05:06.5Z' });
    await own.put('k/1', 2, { 'Varve-Time': '2002-02-03T04:05:06Z' });
    const at = (date: string) => own.get(entity('k/1'), { 'Accept-Datetime': date });
    const reply = await at('Sat, 03 Feb 2001 04:05:07 GMT');
    expect(reply).toMatchObject({
      status: 200,
      json: { body: 1 },
      headers: { vary: 'Accept-Datetime', 'memento-datetime': 'Sat, 03 Feb 2001 04:05:06 GMT' },
    });
    expect(reply.headers.link).toContain(`<${entity('k/1')}/history>; rel="timemap"`);
    expect((await at('Sun, 03 Feb 2002 04:05:06 GMT')).json.body).toBe(2);
    expect((await at('Sat, 03 Feb 2001 04:05:06 GMT')).status).toBe(404);
    expect((await at('Sat, 01 Jan 2200 00:00:00 GMT')).status).toBe(400);
    expect((await at('Wed, 01 Jan 2200 00:00:00 GMT')).json).toMatchObject({ type: 'urn:varve:time-ahead' });
    for (const date of ['2001-02-03T04:05:06Z', 'Thu, 31 Feb 2001 00:00:00 GMT', 'Sat, 3 Feb 2001 04:05:06 GMT', 'yesterday']) {
      expect((await at(date)).json, date).toMatchObject({ status: 400, path: 'Accept-Datetime' });
    }
    expect(
      (await own.get(`${entity('k/1')}?asOf=2001-02-03T04:05:07Z`, { 'Accept-Datetime': 'Sat, 03 Feb 2001 04:05:07 GMT' })).status,
    ).toBe(400);
    expect((await own.get(entity('k/1'))).headers).toMatchObject({ vary: 'Accept-Datetime' });
    expect((await own.get(entity('k/1'))).headers).not.toHaveProperty('memento-datetime');
    await own.stop();
  });
});

describe('history', () => {
  const history = (query = '') => s.get(`${entity('h')}/history${query}`);
  let versions: { id: string; time: string }[];
  beforeAll(async () => {
    versions = [];
    for (let n = 0; n < 7; n++) versions.push(n === 3 ? (await s.ask('DELETE', entity('h'))).json : (await s.put('h', { n })).json);
  });
  const ids = (reply: { json: { records: { id: string }[] } }) =>
    reply.json.records.map(({ id }) => versions.findIndex((version) => version.id === id));

  it('lists every version, newest first, tombstones too', async () => {
    const reply = await history();
    const answer = historyAnswer.parse(reply.json);
    expect(ids(reply)).toEqual([6, 5, 4, 3, 2, 1, 0]);
    expect(answer).toMatchObject({ next: null, complete: true });
    expect(reply.json.records[0].body).toEqual({ n: 6 });
    expect(reply.json.records[3]).not.toHaveProperty('body');
    expect(ids(await history('?order=asc'))).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('goes through pages of any size in both orders', async () => {
    for (const order of ['desc', 'asc']) {
      for (const limit of [1, 2, 3, 7, 8]) {
        const seen: number[] = [];
        let query = `?order=${order}&limit=${limit}`;
        for (;;) {
          const reply = await history(query);
          expect(reply.status).toBe(200);
          seen.push(...ids(reply));
          if (reply.json.next === null) break;
          expect(reply.json.records).toHaveLength(limit);
          query = `?limit=${limit}&cursor=${reply.json.next}`;
        }
        expect(seen, `${order} ${limit}`).toEqual(order === 'asc' ? [0, 1, 2, 3, 4, 5, 6] : [6, 5, 4, 3, 2, 1, 0]);
      }
    }
  });

  it('keeps to a range of points, both ends included', async () => {
    for (const point of ['id', 'time'] as const) {
      const at = (n: number) => versions[n]![point];
      expect(ids(await history(`?from=${at(2)}&to=${at(4)}`)), point).toEqual([4, 3, 2]);
      expect(ids(await history(`?from=${at(5)}`)), point).toEqual([6, 5]);
      expect(ids(await history(`?to=${at(0)}&order=asc`)), point).toEqual([0]);
      expect(ids(await history(`?from=${at(4)}&to=${at(2)}`)), point).toEqual([]);
    }
    expect(ids(await history('?from=1970-01-01T00:00:00Z'))).toHaveLength(7);
    expect(ids(await history('?to=1970-01-01T00:00:00Z'))).toEqual([]);
  });

  it('pages see no version that came after the first of them', async () => {
    await s.put('h2', 0);
    await s.put('h2', 1);
    const path = `${entity('h2')}/history`;
    const first = (await s.get(`${path}?order=asc&limit=1`)).json;
    await s.put('h2', 2);
    const second = (await s.get(`${path}?cursor=${first.next}`)).json;
    expect(second.records.map(({ body }: { body: number }) => body)).toEqual([1]);
    expect(second.next).toBeNull();
  });

  it('refuses what it cannot mean', async () => {
    const { next } = (await history('?limit=2')).json;
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=x',
      'order=up',
      'from=x',
      'to=0001ffffffffffff',
      'cursor=x',
      `cursor=${next}&order=asc`,
      `cursor=${next.slice(2)}`,
    ]) {
      expect((await history(`?${query}`)).json, query).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    }
    expect((await s.get(`${entity('h2')}/history?cursor=${next}`)).json).toMatchObject({ status: 400, path: 'cursor' });
    expect((await history('?before=1')).json).toMatchObject({ type: 'urn:varve:unknown-parameter', parameters: ['before'] });
    expect((await s.get(`${entity('nobody')}/history`)).status).toBe(404);
  });

  it('ends a page of large bodies early', async () => {
    const own = await TestServer.start({ limits: { maxPageBytes: 3000 } });
    for (let n = 0; n < 70; n++) await own.put('big', 'x'.repeat(100));
    const seen: number[] = [];
    let query = '';
    for (;;) {
      const { records, next } = (await own.get(`${entity('big')}/history${query}`)).json;
      seen.push(records.length);
      if (next === null) break;
      query = `?cursor=${next}`;
    }
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.reduce((a, b) => a + b)).toBe(70);
    await own.stop();
  });
});

describe('diff', () => {
  const diff = (key: string, query: string) => s.get(`${entity(key)}/diff${query}`);

  it('is a JSON Patch from one version to another, by id, by time and to the newest', async () => {
    const first = (await s.put('diff/1', { city: 'Bergen', tags: ['a', 'b', 'c'] })).json;
    const second = (await s.put('diff/1', { city: 'Oslo', tags: ['a', 'c'], vip: true })).json;
    const expected = [
      { op: 'add', path: '/vip', value: true },
      { op: 'replace', path: '/city', value: 'Oslo' },
      { op: 'remove', path: '/tags/1' },
    ];
    for (const query of [`?from=${first.id}&to=${second.id}`, `?from=${first.time}&to=${second.time}`, `?from=${first.id}`]) {
      const reply = await diff('diff/1', query);
      expect(reply.status, query).toBe(200);
      expect(reply.headers, query).toMatchObject({
        'content-type': 'application/json-patch+json',
        'cache-control': 'no-cache',
        'varve-from': first.id,
        'varve-to': second.id,
      });
      expect(JSON.parse(reply.text), query).toEqual(expected);
    }
    expect(JSON.parse((await diff('diff/1', `?from=${second.id}&to=${first.id}`)).text)).toHaveLength(3);
    expect(JSON.parse((await diff('diff/1', `?from=${first.id}&to=${first.id}`)).text)).toEqual([]);
  });

  it('names the end that has no body to compare', async () => {
    const first = (await s.put('diff2', 1)).json;
    const gone = (await s.ask('DELETE', entity('diff2'))).json;
    expect((await diff('diff2', `?from=2001-01-01T00:00:00Z&to=${first.id}`)).json).toMatchObject({ status: 404, parameter: 'from' });
    expect((await diff('diff2', `?from=${first.id}`)).json).toMatchObject({
      status: 410,
      type: 'urn:varve:deleted',
      parameter: 'to',
      tombstone: { id: gone.id },
    });
    expect((await diff('diff2', '')).json).toMatchObject({ status: 400, path: 'from' });
    expect((await diff('diff2', '?from=yesterday')).json).toMatchObject({ status: 400, path: 'from' });
    expect((await diff('diff2', `?from=${first.id}&to=2200-01-01T00:00:00Z`)).json).toMatchObject({ type: 'urn:varve:time-ahead' });
    expect((await diff('diff2', `?from=${first.id}&until=x`)).json).toMatchObject({ status: 400, parameters: ['until'] });
  });
});

describe('an erased entity', () => {
  it('is 410 erased, for each of its versions too; its history tells that they were', async () => {
    const own = await TestServer.start();
    const first = (await own.put('p', { name: 'Alice' })).json;
    const second = (await own.put('p', { name: 'Alicia' })).json;
    await own.put('other', 1);
    const job = await own.db.erase({ collection: 'c', key: 'p', reason: 'asked for it' });
    await own.db.jobEnded(job.id);
    const then = `?asOf=${first.id}`;
    for (const path of [
      entity('p'),
      `${entity('p')}?view=body`,
      entity('p') + then,
      `/v1/records/${first.id}`,
      `/v1/records/${second.id}`,
    ]) {
      const reply = await own.get(path);
      expect(reply.json, path).toMatchObject({ status: 410, type: 'urn:varve:erased' });
      expect(reply.text, path).not.toContain('Alic');
      expect(reply.headers['cache-control'], path).toBe('no-cache');
    }
    expect((await own.get(`${entity('p')}/diff?from=${first.id}`)).json).toMatchObject({ type: 'urn:varve:erased', parameter: 'from' });
    const history = (await own.get(`${entity('p')}/history`)).json;
    expect(historyAnswer.parse(history).records).toEqual([
      { ...second, erased: true },
      { ...first, erased: true },
    ]);
    expect((await own.get(entity('other'))).json.body).toBe(1);
    await own.stop();
  });
});

describe('a trimmed entity', () => {
  it('is 410 trimmed where an exact answer is gone, with the point from which all is there', async () => {
    const own = await TestServer.start();
    const versions = [];
    for (let n = 1; n <= 4; n++) versions.push((await own.put('t', { n })).json);
    const late = (await own.put('late', 1)).json;
    await own.db.setRetention('c', { keep: 'last', versions: 2 });
    await own.db.jobEnded(own.db.compact({ force: true }).id);
    for (const path of [
      `${entity('t')}?asOf=${versions[0].id}`,
      `${entity('late')}?asOf=${versions[0].id}`,
      `/v1/records/${versions[0].id}`,
    ]) {
      const reply = await own.get(path);
      expect(reply.json, path).toMatchObject({ status: 410, type: 'urn:varve:trimmed', horizon: expect.stringMatching(/^[0-9a-f]{16}$/) });
      expect(reply.headers['cache-control'], path).toBe('no-cache');
    }
    expect((await own.get(`${entity('t')}?asOf=${versions[2].id}`)).json.body).toEqual({ n: 3 });
    expect((await own.get(entity('t'))).json.body).toEqual({ n: 4 });
    expect((await own.get(entity('late'))).json.id).toBe(late.id);
    const history = historyAnswer.parse((await own.get(`${entity('t')}/history`)).json);
    expect(history).toMatchObject({ complete: false, next: null, records: [{ body: { n: 4 } }, { body: { n: 3 } }] });
    expect((await own.get(`/v1/collections/c/entities?asOf=${versions[0].id}`)).json).toMatchObject({ type: 'urn:varve:trimmed' });
    await own.stop();
  });
});
