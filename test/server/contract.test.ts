/**
 * What the contract promises and no other test holds: defaults, edges and the words around calls. docs/CONTRACT.md says of every promise
 * which test holds it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../server/index.js';
import { record } from '../../server/schemas.js';
import { TestServer } from './support.js';

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start();
});
afterAll(() => s.stop());

const MIB = 1 << 20;

describe('by default', () => {
  it('a body is at most 1 MiB, in every insert', async () => {
    const [fits, over] = ['x'.repeat(MIB - 2), 'x'.repeat(MIB - 1)];
    expect((await s.put('large', fits)).status).toBe(201);
    expect((await s.put('large', over)).json).toMatchObject({ status: 413, type: 'urn:varve:too-large', limit: MIB });
    expect((await s.post({ records: [{ collection: 'c', key: 'large', body: fits }] })).status).toBe(201);
    expect((await s.post({ records: [{ collection: 'c', key: 'large', body: over }] })).json).toMatchObject({ status: 413, limit: MIB });
    const lines = [fits, over].map((body) => `${JSON.stringify({ collection: 'c', key: 'large', body })}\n`).join('');
    expect((await s.lines(lines)).text).toMatch(
      /^\{"line":1,"id":"[0-9a-f]{16}"\}\n\{"line":2,"error":\{[^\n]*"status":413[^\n]*\n\{"done":true/,
    );
  });

  it('a page of history has 100 versions, and 1000 where so many are asked for', async () => {
    const lines = Array.from({ length: 1001 }, (_, n) => `{"collection":"h","key":"k","body":${n}}\n`);
    await s.lines(lines.join(''));
    const history = async (query: string) => (await s.get(`/v1/collections/h/entities/k/history${query}`)).json;
    expect((await history('')).records).toHaveLength(100);
    expect((await history('?limit=1000')).records).toHaveLength(1000);
    expect(await history('?limit=1001')).toMatchObject({ status: 400, path: 'limit' });
  });

  it('a feed says every 15 seconds that it is there', () => {
    expect(DEFAULT_LIMITS.heartbeatMs).toBe(15_000);
  });
});

describe('a point in time', () => {
  it('is of any offset and precision, wherever one is taken', async () => {
    const own = await TestServer.start();
    const version = (await own.put('k', 1, { 'Varve-Time': '2001-02-03T04:05:06.7Z' })).json;
    await own.put('k', 2);
    expect(version.time).toBe('2001-02-03T04:05:06.700000Z');
    const entity = '/v1/collections/c/entities/k';
    for (const point of ['2001-02-03T05:05:06.700000999%2B01:00', '2001-02-02T20:05:07-08:00']) {
      expect((await own.get(`${entity}?asOf=${point}`)).json.id, point).toBe(version.id);
      expect((await own.get(`/v1/collections/c/entities?asOf=${point}`)).json.records[0].id, point).toBe(version.id);
      expect((await own.get(`${entity}/history?to=${point}`)).json.records, point).toHaveLength(1);
      expect((await own.get(`${entity}/diff?from=${point}`)).headers['varve-from'], point).toBe(version.id);
      expect((await own.get(`/v1/diff?from=${point}`)).text, point).toContain(version.id);
    }
    await own.stop();
  });

  it('that is later than now is 400 at every call that takes one', async () => {
    const late = '2200-01-01T00:00:00Z';
    const { id } = (await s.put('k', 1)).json;
    for (const path of [
      `/v1/collections/c/entities/k?asOf=${late}`,
      `/v1/collections/c/entities/k/history?from=${late}`,
      `/v1/collections/c/entities/k/history?to=${late}`,
      `/v1/collections/c/entities/k/diff?from=${late}`,
      `/v1/collections/c/entities/k/diff?from=${id}&to=${late}`,
      `/v1/collections/c/entities?asOf=${late}`,
      `/v1/diff?from=${late}`,
      `/v1/diff?from=${id}&to=${late}`,
    ])
      expect((await s.get(path)).json, path).toMatchObject({ status: 400, type: 'urn:varve:time-ahead' });
  });

  it('asked again gives the same bytes, whatever came since', async () => {
    const own = await TestServer.start();
    const points: string[] = [];
    for (let n = 0; n < 5; n++) {
      const { id, time } = (await own.put(`k${n % 2}`, n)).json;
      points.push(id, time);
    }
    const paths = points.flatMap((point) => [
      `/v1/collections/c/entities/k0?asOf=${point}`,
      `/v1/collections/c/entities?asOf=${point}`,
      `/v1/collections/c/entities/k0/history?to=${point}`,
      `/v1/diff?from=1970-01-01T00:00:00Z&to=${point}`,
    ]);
    const ask = () => Promise.all(paths.map(async (path) => (await own.get(path)).text));
    const before = await ask();
    for (let n = 0; n < 5; n++) await own.put(`k${n % 3}`, -n);
    await own.ask('DELETE', '/v1/collections/c/entities/k0');
    await own.db.checkpoint(1);
    expect(await ask()).toEqual(before);
    await own.stop();
  });
});

describe('names', () => {
  it('of collections may have 64 characters: letters first, then digits, _ and - too', async () => {
    for (const name of ['a', 'Z', `a${'9_-Z'.repeat(15)}xyz`]) {
      expect((await s.ask('PUT', `/v1/collections/${name}/entities/k`, { body: '1' })).status, name).toBe(201);
      expect((await s.get(`/v1/collections/${name}/entities/k`)).json.collection).toBe(name);
    }
  });

  it("of the system's collections are read like any other, and never written", async () => {
    await s.ask('PUT', '/v1/collections/placed', { body: { placement: 'group:g' } });
    expect(record.parse((await s.get('/v1/collections/_collections/entities/placed')).json).body).toMatchObject({ placement: 'group:g' });
    const write = { collection: '_collections', key: 'placed' };
    const path = '/v1/collections/_collections/entities/placed';
    for (const reply of [
      await s.ask('PUT', path, { body: '1' }),
      await s.ask('DELETE', path),
      await s.post({ records: [{ ...write, body: 1 }] }),
      await s.post({ records: [{ ...write, deleted: true }] }),
    ])
      expect(reply.json).toMatchObject({ status: 403, type: 'urn:varve:system-collection' });
  });
});

describe('a batch', () => {
  it('has the time it gives, once for all of it, and is refused with the newest where that is behind', async () => {
    const own = await TestServer.start();
    const batch = (time: string) => own.post({ time, records: ['a', 'b'].map((key) => ({ collection: 'c', key, body: 1 })) });
    const { records } = (await batch('2001-02-03T04:05:06+01:00')).json;
    expect(records.map(({ time }: { time: string }) => time)).toEqual(Array(2).fill('2001-02-03T03:05:06.000000Z'));
    expect((await batch('2001-02-03T03:05:06Z')).json).toMatchObject({ status: 409, newest: '2001-02-03T03:05:06.000000Z' });
    expect((await batch('2200-01-01T00:00:00Z')).json).toMatchObject({ status: 400, type: 'urn:varve:time-ahead' });
    await own.stop();
  });

  it('answers records without bodies, with everything else of theirs', async () => {
    const { records } = (await s.post({ records: [{ collection: 'c', key: 'whole', body: { a: 1 } }] })).json;
    const { body, ...rest } = (await s.get(`/v1/records/${records[0].id}`)).json;
    expect(records).toEqual([rest]);
    expect(body).toEqual({ a: 1 });
  });
});

describe('an idempotency key', () => {
  it('brings the first answer of a request that has not been answered yet, to a batch and a line as well', async () => {
    const headers = { 'Idempotency-Key': 'flight' };
    const batch = () => s.post({ records: [{ collection: 'c', key: 'flight', body: 1 }] }, headers);
    const [one, two] = await Promise.all([batch(), batch()]);
    expect(one.json).toEqual(two.json);
    expect([one, two].filter((reply) => reply.headers['idempotent-replay'] === 'true')).toHaveLength(1);
    expect((await s.get('/v1/collections/c/entities/flight/history')).json.records).toHaveLength(1);
  });

  it('is known to the server that opens the database next', async () => {
    const { openWith } = await import('../../engine/index.js');
    const { startServer } = await import('../../server/index.js');
    const own = await TestServer.start();
    const headers = { 'Idempotency-Key': 'over' };
    const first = await own.put('k', 1, headers);
    await own.stop();
    const db = await openWith(own.platform, {});
    const server = await startServer({ db, listen: '127.0.0.1:0' });
    const again = await fetch(`${server.url}/v1/collections/c/entities/k`, {
      method: 'PUT',
      body: '1',
      headers: { ...headers, 'Content-Type': 'application/json' },
    });
    expect(again.headers.get('idempotent-replay')).toBe('true');
    expect(await again.json()).toEqual(first.json);
    await server.close();
    await db.close();
  });
});

describe('Accept-Datetime', () => {
  it('negotiates refusals too: each says that it varies', async () => {
    await s.ask('PUT', '/v1/collections/c/entities/ended', { body: '1' });
    await s.ask('DELETE', '/v1/collections/c/entities/ended');
    for (const [key, status] of [
      ['ended', 410],
      ['nobody', 404],
    ] as const)
      expect(await s.get(`/v1/collections/c/entities/${key}`), key).toMatchObject({
        status,
        headers: { vary: 'Accept-Datetime', 'cache-control': 'no-cache' },
      });
  });
});
