/** Inserting many: one batch, all or nothing; a stream of lines, each a batch of its own, answered in order. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchAnswer } from '../../server/schemas.js';
import { linesOf, TestServer } from './support.js';

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start();
});
afterAll(() => s.stop());

const item = (key: string, body: unknown = 1) => ({ collection: 'c', key, body });
const bodyOf = async (key: string) => (await s.get(`/v1/collections/c/entities/${key}`)).json.body;

describe('a batch', () => {
  it('goes in whole, at one time, answered in order', async () => {
    const reply = await s.post({ records: [item('b1', { n: 1 }), item('b2', null), { ...item('b3'), refs: ['#0', '#1'] }] });
    expect(reply.status).toBe(201);
    const { records } = batchAnswer.parse(reply.json);
    expect(records.map(({ key }) => key)).toEqual(['b1', 'b2', 'b3']);
    expect(new Set(records.map(({ time }) => time)).size).toBe(1);
    expect(records[2]!.refs).toEqual([records[0]!.id, records[1]!.id]);
    expect(await bodyOf('b2')).toBeNull();
  });

  it('is answered with its own keys, however many large ones come at a time', async () => {
    const batch = (name: string) => {
      const keys = Array.from({ length: 300 }, (_, i) => `${name}/${i}/${'k'.repeat(i % 7)}`);
      return { keys, records: keys.map((key) => item(key, { text: `${key} ${'x'.repeat(400)}` })) };
    };
    for (let round = 0; round < 3; round++) {
      const batches = [0, 1, 2, 3, 4, 5].map((n) => batch(`large/${round}/${n}`));
      // On one connection at once, every second one twice under one idempotency key: all are there before the first is answered.
      const sent = batches.flatMap((each, n) => (n % 2 === 0 ? [each] : [each, each]));
      const requests = sent.map(({ keys, records }, n) => {
        const body = JSON.stringify({ records });
        const key = batches.indexOf(sent[n]!) % 2 === 0 ? '' : `Idempotency-Key: ${keys[0]}\r\n`;
        const last = n === sent.length - 1 ? 'Connection: close\r\n' : '';
        const length = `Content-Length: ${body.length}\r\n`;
        return `POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${length}${key}${last}\r\n${body}`;
      });
      const answers = (await s.raw(requests.join(''))).split('HTTP/1.1 201 Created\r\n').slice(1);
      expect(answers.length).toBe(sent.length);
      const keysOf = (answer: string) =>
        batchAnswer.parse(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).records.map(({ key }) => key);
      for (const [n, { keys }] of sent.entries()) expect(keysOf(answers[n]!)).toEqual(keys);
      for (const { keys, records } of batches) expect(await bodyOf(encodeURIComponent(keys[7]!))).toEqual(records[7]!.body);
    }
  });

  it('goes in whole or not at all', async () => {
    await s.put('b4', 1);
    for (const bad of [
      { ...item('b4'), expect: null },
      { ...item('b4'), expect: '0001000000000001' },
      { ...item('b5'), refs: ['#1'] },
      { collection: 'c', key: 'nobody', deleted: true },
    ]) {
      const reply = await s.post({ records: [item('b6'), bad] });
      expect(reply.status, JSON.stringify(bad)).toBeGreaterThanOrEqual(400);
      expect((await s.get('/v1/collections/c/entities/b6')).status).toBe(404);
    }
  });

  it('takes expectations and tombstones', async () => {
    const { id } = (await s.put('b7', 1)).json;
    expect(
      (
        await s.post({
          records: [
            { ...item('b7', 2), expect: id },
            { ...item('b8'), expect: null },
          ],
        })
      ).status,
    ).toBe(201);
    expect((await s.post({ records: [{ ...item('b7', 2), expect: id }] })).json).toMatchObject({
      status: 412,
      type: 'urn:varve:precondition-failed',
    });
    expect((await s.post({ records: [{ collection: 'c', key: 'b8', deleted: true }] })).json.records[0].deleted).toBe(true);
  });

  it('gives the first answer again for the same idempotency key', async () => {
    const headers = { 'Idempotency-Key': 'batch-1' };
    const first = await s.post({ records: [item('i1'), item('i2')] }, headers);
    const again = await s.post({ records: [item('i1'), item('i2')] }, headers);
    expect(again).toMatchObject({ status: 201, json: first.json, headers: { 'idempotent-replay': 'true' } });
    expect((await s.post({ records: [item('i1'), item('i3')] }, headers)).status).toBe(422);
  });

  it.each([
    [{}, 'records'],
    [{ records: [] }, 'records'],
    [{ records: {} }, 'records'],
    [[], 'request'],
    [{ records: [{ collection: 'c', key: 'k' }] }, 'records[0].body'],
    [{ records: [item('k'), { ...item('k'), deleted: true }] }, 'records[1].body'],
    [{ records: [{ collection: 'c', key: 'k', deleted: false }] }, 'records[0].deleted'],
    [{ records: [item('k'), { ...item('k'), refs: 'x' }] }, 'records[1].refs'],
    [{ records: [{ ...item('k'), expect: 'x' }] }, 'records[0].expect'],
    [{ records: [{ collection: 1, key: 'k', body: 1 }] }, 'records[0].collection'],
    [{ time: 7, records: [item('k')] }, 'time'],
  ])('refuses %j at %s', async (envelope, path) => {
    expect((await s.post(envelope)).json).toMatchObject({ status: 400, type: 'urn:varve:invalid', path });
  });

  it('names every unknown field', async () => {
    expect((await s.post({ sync: true, records: [item('k'), { ...item('k'), ttl: 1 }] })).json).toMatchObject({
      status: 400,
      type: 'urn:varve:unknown-field',
      fields: expect.arrayContaining(['sync', 'records[1].ttl']),
    });
    expect((await s.post('{"records":[{"collection":"c","key":"k","body":1,"__proto__":1}]}')).status).toBe(400);
  });

  it('names the item that the engine refuses', async () => {
    const reply = await s.post({ records: [item('k'), item('')] });
    expect(reply.json).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    expect(reply.json.path).toContain('[1].key');
  });

  it('refuses headers that say what the body should', async () => {
    for (const headers of [{ 'Varve-Time': '2001-01-01T00:00:00Z' }, { 'If-Match': '*' }, { 'Varve-Refs': '0001000000000001' }]) {
      expect((await s.post({ records: [item('k')] }, headers as Record<string, string>)).status).toBe(400);
    }
  });

  it('needs a media type it knows', async () => {
    expect((await s.post({ records: [item('k')] }, { 'Content-Type': 'text/plain' })).json).toMatchObject({
      status: 415,
      supported: ['application/json', 'application/x-ndjson'],
    });
  });

  it('stays in one shard', async () => {
    const own = await TestServer.start({ open: { shards: 4 } });
    const records = Array.from({ length: 20 }, (_, n) => item(`k${n}`));
    expect((await own.post({ records })).json).toMatchObject({ status: 422, type: 'urn:varve:cross-shard' });
    expect((await own.ask('PUT', '/v1/collections/c', { body: { placement: 'group:g' } })).status).toBe(200);
    expect((await own.post({ records })).status).toBe(201);
    await own.stop();
  });
});

describe('nesting', () => {
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
  const line = (levels: number) => `{"collection":"c","key":"deep","body":${nested(levels)}}`;
  const put = (levels: number) => s.ask('PUT', '/v1/collections/c/entities/deep', { body: nested(levels) });

  it('is counted in the body, the same way by every insert', async () => {
    expect((await put(64)).status).toBe(201);
    expect((await put(65)).status).toBe(400);
    expect((await s.post(`{"records":[${line(64)}]}`)).status).toBe(201);
    expect((await s.post(`{"records":[${line(65)}]}`)).json).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    expect((await s.post(`{"records":[${line(100_000)}]}`)).status).toBe(400);
    expect(linesOf(await s.lines(`${line(64)}\n${line(65)}\n`)).map((answer) => answer.error?.status ?? 'fine')).toEqual([
      'fine',
      400,
      'fine',
    ]);
  });
});

describe('a stream', () => {
  it('answers line by line in order, and says when it is done', async () => {
    const reply = await s.lines(
      [item('s1', { n: 1 }), item('s2'), { collection: 'c', key: 's1', deleted: true }].map((line) => JSON.stringify(line)).join('\n'),
    );
    expect(reply).toMatchObject({ status: 200, headers: { 'content-type': 'application/x-ndjson' } });
    const lines = linesOf(reply);
    expect(lines.slice(0, 3).map(({ line }) => line)).toEqual([1, 2, 3]);
    expect(lines[3]).toEqual({ done: true, inserted: 3, failed: 0 });
    expect((await s.get(`/v1/records/${lines[0].id}`)).json).toMatchObject({ key: 's1', body: { n: 1 } });
    expect((await s.get(`/v1/records/${lines[2].id}`)).json).toMatchObject({ key: 's1', deleted: true, supersedes: lines[0].id });
  });

  it('reports a bad line and goes on with the rest', async () => {
    const { id } = (await s.put('s3', 1)).json;
    const bad: [string, string][] = [
      ['{', 'invalid'],
      ['{"collection":"c","key":"k"}', 'invalid'],
      ['{"collection":"c","key":"k","body":1,"body":2}', 'invalid'],
      ['{"collection":"c","key":"k","body":1,"ttl":2}', 'unknown-field'],
      ['{"collection":"c","key":"k","body":1,"__proto__":{"a":1}}', 'unknown-field'],
      ['{"collection":"c","key":"k","bodyBytes":"1"}', 'unknown-field'],
      ['{"collection":1,"key":"k","body":1}', 'invalid'],
      ['{"collection":"c","key":null,"body":1}', 'invalid'],
      ['{"collection":"_c","key":"k","body":1}', 'system-collection'],
      ['{"collection":"c","key":"\\u0000","body":1}', 'invalid'],
      ['{"collection":"c","key":"s3","body":1,"expect":null}', 'precondition-failed'],
      ['{"collection":"c","key":"nobody","deleted":true}', 'nothing-to-delete'],
      ['{"collection":"c","key":"k","body":1,"time":"2001-01-01T00:00:00Z"}', 'time-behind'],
      ['{"collection":"c","key":"k","body":1,"idempotencyKey":""}', 'invalid'],
      ['[]', 'invalid'],
    ];
    const text = bad.flatMap(([line], n) => [line, '', JSON.stringify(item(`ok${n}`))]).join('\n');
    const lines = linesOf(await s.lines(text));
    expect(lines.at(-1)).toEqual({ done: true, inserted: bad.length, failed: bad.length });
    expect(lines.slice(0, -1).map(({ line }) => line)).toEqual(bad.flatMap((_, n) => [3 * n + 1, 3 * n + 3]));
    for (const [n, [line, slug]] of bad.entries()) {
      expect(lines[2 * n].error, line).toMatchObject({ type: `urn:varve:${slug}` });
      expect(lines[2 * n].error.status).toBeGreaterThanOrEqual(400);
      expect(lines[2 * n]).not.toHaveProperty('id');
      // Told as the line's own, not as the item of a batch that nobody sent.
      if (line.includes('"collection":1')) expect(lines[2 * n].error.path).toBe('collection');
      expect(lines[2 * n + 1].id).toMatch(/^[0-9a-f]{16}$/);
    }
    expect((await s.get('/v1/collections/c/entities/s3')).json.id).toBe(id);
  });

  it('gives each line its own time and idempotency key', async () => {
    const own = await TestServer.start();
    const at = (key: string, time: string) => JSON.stringify({ ...item(key), time });
    const first = linesOf(
      await own.lines([at('a', '2001-01-01T00:00:00Z'), at('b', '2002-01-01T00:00:00Z'), at('c', '2001-06-01T00:00:00Z')].join('\n')),
    );
    expect(first.map((line) => line.error?.type ?? line.id?.length ?? line.done)).toEqual([16, 16, 'urn:varve:time-behind', true]);
    const keyed = JSON.stringify({ ...item('d'), idempotencyKey: 'x' });
    const twice = linesOf(await own.lines(`${keyed}\n${keyed}\n`));
    expect(twice[1]).toEqual({ ...twice[0], line: 2, replayed: true });
    expect((await own.lines(keyed, { 'Idempotency-Key': 'x' })).status).toBe(400);
    await own.stop();
  });

  it('answers an empty stream', async () => {
    for (const text of ['', '\n\n']) expect(linesOf(await s.lines(text))).toEqual([{ done: true, inserted: 0, failed: 0 }]);
  });

  it('keeps the order of thousands of lines with few in flight', async () => {
    const own = await TestServer.start({ limits: { linesInFlight: 7, lineBytesInFlight: 2000, answerBufferBytes: 500 } });
    const text = Array.from({ length: 3000 }, (_, n) => (n % 10 === 3 ? 'bad' : JSON.stringify(item(`k${n % 50}`, n)))).join('\n');
    const lines = linesOf(await own.lines(text));
    expect(lines.slice(0, -1).map(({ line }) => line)).toEqual(Array.from({ length: 3000 }, (_, n) => n + 1));
    expect(lines.at(-1)).toEqual({ done: true, inserted: 2700, failed: 300 });
    const ids = lines.flatMap(({ id }) => (id === undefined ? [] : [id]));
    expect(ids).toEqual([...ids].sort());
    expect((await own.get('/v1/collections/c')).json).toMatchObject({ entities: 45, versions: 2700 });
    await own.stop();
  });

  it('throws an overlong line away without holding it', async () => {
    const own = await TestServer.start({ limits: { maxLineBytes: 100 } });
    const lines = linesOf(await own.lines(`${JSON.stringify(item('a', 'x'.repeat(5000)))}\n${JSON.stringify(item('b'))}\n`));
    expect(lines[0]).toMatchObject({ line: 1, error: { type: 'urn:varve:too-large', limit: 100 } });
    expect(lines[1].id).toBeDefined();
    await own.stop();
  });

  it('answers a line as soon as it is durable, while the request goes on', async () => {
    const req = request(s.server.url, { path: '/v1/records', method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' } });
    req.flushHeaders();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    const answers = res[Symbol.asyncIterator]();
    for (let n = 1; n <= 3; n++) {
      req.write(`${JSON.stringify(item(`live${n}`))}\n`);
      expect(JSON.parse(String((await answers.next()).value))).toMatchObject({ line: n });
    }
    req.end();
    expect(JSON.parse(String((await answers.next()).value))).toEqual({ done: true, inserted: 3, failed: 0 });
  });

  it('keeps what was answered when the client goes away half way', async () => {
    const req = request(s.server.url, { path: '/v1/records', method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' } });
    req.write(`${JSON.stringify(item('away1'))}\n${JSON.stringify(item('away2')).slice(0, 10)}`);
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    const [chunk] = await once(res, 'data');
    expect(JSON.parse(String(chunk))).toMatchObject({ line: 1 });
    res.on('error', () => {});
    req.on('error', () => {});
    req.destroy();
    expect(await bodyOf('away1')).toBe(1);
    expect((await s.get('/v1/collections/c/entities/away2')).status).toBe(404);
  });

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const reply = await s.lines(bytes);
        const lines = linesOf(reply);
        expect(lines.at(-1)).toMatchObject({ done: true, inserted: 0 });
        for (const { error } of lines.slice(0, -1)) expect(error.status).toBe(400);
      }),
      { numRuns: 60 },
    );
  });

  it('stores what it answers for, whatever the bodies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 10 }), async (bodies) => {
        const lines = linesOf(await s.lines(bodies.map((body, n) => JSON.stringify(item(`p${n}`, body))).join('\r\n')));
        for (const [n, body] of bodies.entries()) {
          expect((await s.get(`/v1/records/${lines[n].id}`)).json.body).toEqual(JSON.parse(JSON.stringify(body)));
        }
      }),
      { numRuns: 25 },
    );
  });
});
