/** One entity over HTTP: inserting and ending; how it is read is in entity-reads.test.ts. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../../engine/index.js';
import { problemAnswer, recordHeader } from '../../server/schemas.js';
import { readReply, TestServer } from './support.js';

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start();
});
afterAll(() => s.stop());

const entity = (key: string) => `/v1/collections/c/entities/${encodeURIComponent(key)}`;

describe('PUT', () => {
  it('inserts a version and answers the record without its body', async () => {
    const reply = await s.put('alice', { b: 1, a: [true, null] });
    expect(reply.status).toBe(201);
    expect(recordHeader.parse(reply.json)).toMatchObject({
      shard: 1,
      collection: 'c',
      key: 'alice',
      supersedes: null,
      refs: [],
      deleted: false,
    });
    expect(reply.headers).toMatchObject({
      etag: `"${reply.json.id}"`,
      location: `/v1/records/${reply.json.id}`,
      'content-type': 'application/json',
    });
    expect((await s.get(String(reply.headers.location))).json.body).toEqual({ b: 1, a: [true, null] });
  });

  it('takes any JSON value, and gives its canonical bytes back', async () => {
    for (const value of [null, 0, -1.5, '', 'é漢😀', [], {}, [[], {}], { z: 1, a: { c: 'x', b: null } }, false]) {
      expect((await s.put('any', value)).status).toBe(201);
      expect((await s.get(`${entity('any')}?view=body`)).bytes.equals(canonicalJson(value))).toBe(true);
      expect((await s.get(entity('any'))).json.body).toEqual(value);
    }
  });

  it('takes every key there is, percent-encoded', async () => {
    for (const key of ['a/b', 'a b', 'ü', '漢/字', '%', '%2F', '?', '#', 'a+b', '...', '😀', 'history', '"', '\\', 'x'.repeat(512), ' ']) {
      expect((await s.put(key, { key })).json, key).toMatchObject({ key });
      expect((await s.get(entity(key))).json, key).toMatchObject({ key, body: { key } });
      expect((await s.get(`${entity(key)}/history`)).json.records, key).toHaveLength(1);
    }
  });

  it('refuses keys that are none', async () => {
    for (const path of ['%00', '%0a', 'x'.repeat(513), encodeURIComponent('漢'.repeat(171)), '%7f']) {
      const reply = await s.ask('PUT', `/v1/collections/c/entities/${path}`, { body: '1' });
      expect(reply.status, path).toBe(400);
      expect(problemAnswer.parse(reply.json)).toMatchObject({ type: 'urn:varve:invalid' });
    }
    for (const path of ['.', '..', '%2e', '%2E%2E'])
      expect((await s.ask('PUT', `/v1/collections/c/entities/${path}`, { body: '1' })).status, path).toBe(400);
    expect((await s.ask('PUT', '/v1/collections/c/entities/', { body: '1' })).status).toBe(404);
    for (const path of ['%', '%zz', '%ff', '%c3%28', '%ed%a0%80']) {
      expect((await s.ask('PUT', `/v1/collections/c/entities/${path}`, { body: '1' })).json, path).toMatchObject({
        status: 400,
        path: 'path',
      });
    }
  });

  it("refuses collections that are none, and the system's own", async () => {
    for (const name of ['1c', 'c.d', 'x'.repeat(65), '-', 'c%2Fd']) {
      expect((await s.ask('PUT', `/v1/collections/${name}/entities/k`, { body: '1' })).json, name).toMatchObject({
        type: 'urn:varve:invalid',
      });
    }
    expect((await s.ask('PUT', '/v1/collections/_collections/entities/k', { body: '1' })).json).toMatchObject({
      status: 403,
      type: 'urn:varve:system-collection',
    });
  });

  it('refuses bodies that are not exactly JSON, naming the place', async () => {
    for (const body of [
      '',
      '{',
      '{"a":1,"a":2}',
      '[1e400]',
      '9007199254740993',
      '"\\ud800"',
      '1 2',
      "{'a':1}",
      '\ufeff1',
      '['.repeat(65) + ']'.repeat(65),
    ]) {
      const reply = await s.ask('PUT', entity('bad'), { body });
      expect(reply.json, body).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
      expect(reply.json.path, body).toBeTruthy();
    }
    const reply = await s.ask('PUT', entity('bad'), { body: Buffer.from([0x22, 0xff, 0x22]) });
    expect(reply.json).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    expect((await s.get(entity('bad'))).status).toBe(404);
  });

  it('stores __proto__ as a property like any other', async () => {
    await s.ask('PUT', entity('proto'), { body: '{"__proto__":{"a":1},"b":2}' });
    expect((await s.get(`${entity('proto')}?view=body`)).text).toBe('{"__proto__":{"a":1},"b":2}');
  });

  it('knows media types', async () => {
    const put = (headers: Record<string, string>) => s.ask('PUT', entity('typed'), { headers, body: '1' });
    expect((await put({ 'Content-Type': 'application/json; charset=UTF-8' })).status).toBe(201);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1', 'multipart/form-data']) {
      expect((await put({ 'Content-Type': type })).json, type).toMatchObject({ status: 415, type: 'urn:varve:unsupported-media-type' });
    }
    expect((await put({ 'Content-Encoding': 'gzip' })).status).toBe(415);
  });

  it('holds to If-Match and If-None-Match', async () => {
    const first = (await s.put('cond', 1, { 'If-None-Match': '*' })).json;
    expect((await s.put('cond', 2, { 'If-None-Match': '*' })).json).toMatchObject({
      status: 412,
      type: 'urn:varve:precondition-failed',
      current: first.id,
    });
    const second = (await s.put('cond', 2, { 'If-Match': `"${first.id}"` })).json;
    expect(second.supersedes).toBe(first.id);
    for (const tag of [`"${first.id}"`, `W/"${second.id}"`, '"nothing"']) {
      expect((await s.put('cond', 3, { 'If-Match': tag })).json, tag).toMatchObject({ status: 412, current: second.id });
    }
    expect((await s.put('cond', 3, { 'If-Match': `"${first.id}", "${second.id}"` })).status).toBe(201);
    expect((await s.put('cond', 4, { 'If-Match': '*' })).status).toBe(201);
    expect((await s.put('never', 4, { 'If-Match': '*' })).json).toMatchObject({ status: 412, current: null });
    expect((await s.put('cond', 4, { 'If-Match': 'unquoted' })).status).toBe(400);
  });

  it('keeps refs, and refuses those that name nothing earlier', async () => {
    const target = (await s.put('target', 1)).json.id;
    const reply = await s.put('refs', 1, { 'Varve-Refs': `${target}, ${target}` });
    expect(reply.status).toBe(201);
    expect((await s.get(entity('refs'))).json.refs).toContain(target);
    expect((await s.put('refs', 1, { 'Varve-Refs': '0001ffffffffffff' })).json).toMatchObject({
      status: 422,
      type: 'urn:varve:bad-ref',
      reason: 'unknown',
    });
    expect((await s.put('refs', 1, { 'Varve-Refs': 'x' })).status).toBe(400);
  });

  it('gives the first answer again for the same idempotency key', async () => {
    const headers = { 'Idempotency-Key': 'once' };
    const first = await s.put('idem', { a: 1 }, headers);
    const again = await s.put('idem', { a: 1 }, headers);
    expect(first.headers['idempotent-replay']).toBeUndefined();
    expect(again).toMatchObject({ status: 201, json: first.json, headers: { 'idempotent-replay': 'true', etag: first.headers.etag } });
    expect((await s.put('idem', { a: 2 }, headers)).json).toMatchObject({ status: 422, type: 'urn:varve:idempotency-mismatch' });
    const [one, two] = await Promise.all([s.put('race', 1, { 'Idempotency-Key': 'r' }), s.put('race', 1, { 'Idempotency-Key': 'r' })]);
    expect(one.json).toEqual(two.json);
    expect((await s.put('idem', 1, { 'Idempotency-Key': 'a b' })).status).toBe(400);
  });

  it('remembers no refusal under an idempotency key, and makes others wait for the first', async () => {
    const headers = { 'Idempotency-Key': 'later' };
    expect((await s.put('idem2', 1, { ...headers, 'If-Match': '*' })).status).toBe(412);
    expect((await s.ask('PUT', entity('idem2'), { headers, body: '{' })).status).toBe(400);
    const [first, same, other] = await Promise.all([1, 1, 2].map((body) => s.put('idem2', body, headers)));
    expect(first).toMatchObject({ status: 201, json: { supersedes: null } });
    expect(same).toMatchObject({ status: 201, json: first!.json });
    expect([first, same].filter((reply) => reply?.headers['idempotent-replay'] === 'true')).toHaveLength(1);
    expect(other!.json).toMatchObject({ status: 422, type: 'urn:varve:idempotency-mismatch' });
    expect((await s.get(`${entity('idem2')}/history`)).json.records).toHaveLength(1);
  });

  it('takes a body in as many pieces as it comes in, declared or not', async () => {
    const body = JSON.stringify({ text: 'é'.repeat(3000) });
    for (const declared of [true, false]) {
      const headers = { 'Content-Type': 'application/json', ...(declared ? { 'Content-Length': String(Buffer.byteLength(body)) } : {}) };
      const req = request(s.server.url, { path: entity('pieces'), method: 'PUT', headers });
      const bytes = Buffer.from(body);
      for (let at = 0; at < bytes.length; at += 1001) {
        req.write(bytes.subarray(at, at + 1001));
        await new Promise((resolve) => setImmediate(resolve));
      }
      req.end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      expect((await readReply(res)).status).toBe(201);
      expect((await s.get(`${entity('pieces')}?view=body`)).text).toBe(body);
    }
  });

  it('knows acks, and refuses what it does not know', async () => {
    for (const acks of ['local', 'quorum']) expect((await s.ask('PUT', `${entity('acks')}?acks=${acks}`, { body: '1' })).status).toBe(201);
    expect((await s.ask('PUT', `${entity('acks')}?acks=some`, { body: '1' })).json).toMatchObject({ status: 400, path: 'acks' });
    expect((await s.ask('PUT', `${entity('acks')}?fsync=no&x=1`, { body: '1' })).json).toMatchObject({
      type: 'urn:varve:unknown-parameter',
      parameters: ['fsync', 'x'],
    });
    expect((await s.ask('PUT', `${entity('acks')}?acks=local&acks=local`, { body: '1' })).status).toBe(400);
  });
});

describe('Varve-Time', () => {
  it('gives a version its own time, later than the newest and not in the future', async () => {
    const own = await TestServer.start();
    const put = (time: string) => own.put('k', 1, { 'Varve-Time': time });
    expect((await put('2001-02-03T04:05:06+01:00')).json.time).toBe('2001-02-03T03:05:06.000000Z');
    expect((await put('2001-02-03T03:05:06Z')).json).toMatchObject({
      status: 409,
      type: 'urn:varve:time-behind',
      newest: '2001-02-03T03:05:06.000000Z',
    });
    expect((await put('9999-01-01T00:00:00Z')).json).toMatchObject({ status: 400 });
    expect((await put('2200-01-01T00:00:00Z')).json).toMatchObject({ status: 400, type: 'urn:varve:time-ahead' });
    expect((await put('yesterday')).json).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    expect((await put('2001-02-03T03:05:06.000001Z')).status).toBe(201);
    await own.stop();
  });
});

describe('DELETE', () => {
  it('inserts a tombstone; afterwards the entity is gone, its past is not', async () => {
    const alive = (await s.put('gone', { a: 1 })).json;
    const reply = await s.ask('DELETE', entity('gone'));
    expect(reply.status).toBe(200);
    expect(recordHeader.parse(reply.json)).toMatchObject({ deleted: true, supersedes: alive.id });
    const now = await s.get(entity('gone'));
    expect(now).toMatchObject({ status: 410, json: { type: 'urn:varve:deleted', tombstone: reply.json } });
    expect(now.headers['cache-control']).toBe('no-cache');
    expect((await s.get(`${entity('gone')}?asOf=${alive.id}`)).json.body).toEqual({ a: 1 });
    expect((await s.get(`/v1/records/${reply.json.id}`)).json).toEqual(reply.json);
    expect((await s.put('gone', 2, { 'If-None-Match': '*' })).json.supersedes).toBe(reply.json.id);
  });

  it('is 404 where there is nothing to end', async () => {
    expect((await s.ask('DELETE', entity('nobody'))).json).toMatchObject({ status: 404, type: 'urn:varve:nothing-to-delete' });
    await s.put('twice', 1);
    await s.ask('DELETE', entity('twice'));
    expect((await s.ask('DELETE', entity('twice'))).status).toBe(404);
  });

  it('holds to the same conditions', async () => {
    const { id } = (await s.put('dcond', 1)).json;
    expect((await s.ask('DELETE', entity('dcond'), { headers: { 'If-Match': '"0001000000000001"' } })).json).toMatchObject({
      status: 412,
      current: id,
    });
    const headers = { 'If-Match': `"${id}"`, 'Idempotency-Key': 'd' };
    const first = await s.ask('DELETE', entity('dcond'), { headers });
    expect(first.status).toBe(200);
    expect(await s.ask('DELETE', entity('dcond'), { headers })).toMatchObject({
      status: 200,
      json: first.json,
      headers: { 'idempotent-replay': 'true' },
    });
  });
});
