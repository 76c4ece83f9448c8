/** What is kept and given back, over HTTP: retention, snapshots, compactions, erasures, jobs; and how reads tell what is gone. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Reader } from './feed-support.js';
import { linesOf, type Reply, TestServer } from './support.js';

let s: TestServer;
beforeEach(async () => {
  s = await TestServer.start({ open: { segmentBytes: 8000, upkeep: { automatic: false } } });
});
afterEach(() => s.stop());

const RETENTION = '/v1/collections/c/retention';
const put = (path: string, body: unknown) => s.ask('PUT', path, { body });
const post = (path: string, body: unknown) => s.ask('POST', path, { body });

/** Inserts versions 1 to `count` of a key; their ids. */
async function versions(key: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let version = 1; version <= count; version++) ids.push((await s.put(key, { version })).json.id);
  return ids;
}

/** What a job came to, told by its events. */
async function end(accepted: Reply) {
  expect(accepted.status).toBe(202);
  const reply = await s.get(accepted.headers.location!, { Accept: 'text/event-stream' });
  expect(reply.headers['content-type']).toBe('text/event-stream');
  const events = reply.text.trimEnd().split('\n\n');
  expect(events.at(-1)).toMatch(/^event: end\ndata: /);
  return JSON.parse(events.at(-1)!.split('data: ')[1]!);
}

describe('retention', () => {
  it('is everything until it is told otherwise, and answers what it was told', async () => {
    expect((await s.get(RETENTION)).json).toEqual({ keep: 'all' });
    for (const told of [
      { keep: 'last', versions: 5 },
      { keep: 'for', duration: 'P30D' },
      { keep: 'for', duration: 'PT90M' },
      { keep: 'all' },
    ]) {
      const reply = await put(RETENTION, told);
      expect([reply.status, reply.json]).toEqual([200, told]);
      expect((await s.get(RETENTION)).json).toEqual(told);
    }
  });

  it.each([
    [{ keep: 'some' }, 'keep'],
    [{}, 'keep'],
    [{ keep: 'last' }, 'versions'],
    [{ keep: 'last', versions: 0 }, 'versions'],
    [{ keep: 'last', versions: 1.5 }, 'versions'],
    [{ keep: 'last', versions: 2, duration: 'P1D' }, 'duration'],
    [{ keep: 'for', duration: 'P1Y' }, 'duration'],
    [{ keep: 'for', duration: 30 }, 'duration'],
    [{ keep: 'all', versions: 1 }, 'versions'],
  ])('refuses %j and names the field %s', async (body, path) => {
    const reply = await put(RETENTION, body);
    expect([reply.status, reply.json.type, reply.json.path]).toEqual([400, 'urn:varve:invalid', path]);
    expect((await s.get(RETENTION)).json).toEqual({ keep: 'all' });
  });

  it('is not for system collections, nor for what is no JSON object', async () => {
    expect((await put('/v1/collections/_retention/retention', { keep: 'all' })).status).toBe(403);
    expect((await put(RETENTION, [1])).status).toBe(400);
    expect((await put(RETENTION, '{"keep":')).status).toBe(400);
    expect((await s.ask('PUT', RETENTION, { body: '{}', headers: { 'Content-Type': 'text/plain' } })).status).toBe(415);
  });
});

describe('snapshots', () => {
  it('are made once for a name and a point, listed by name, and deleted once', async () => {
    const [first, second] = await versions('k', 2);
    const made = await put('/v1/snapshots/b', { asOf: first });
    expect([made.status, made.headers.location]).toEqual([201, '/v1/snapshots/b']);
    expect(made.json).toEqual({ name: 'b', asOf: first, positions: [first] });
    const again = await put('/v1/snapshots/b', { asOf: first });
    expect([again.status, again.json]).toEqual([200, made.json]);
    const other = await put('/v1/snapshots/b', { asOf: second });
    expect(other.status).toBe(409);
    expect(other.json).toMatchObject({ type: 'urn:varve:snapshot-exists', name: 'b', asOf: first });
    await put('/v1/snapshots/a', { asOf: second });
    expect((await s.get('/v1/snapshots')).json.snapshots.map(({ name }: { name: string }) => name)).toEqual(['a', 'b']);
    expect((await s.get('/v1/snapshots/b')).json).toEqual(made.json);
    expect((await s.ask('DELETE', '/v1/snapshots/b')).status).toBe(204);
    for (const method of ['DELETE', 'GET']) {
      const gone = await s.ask(method, '/v1/snapshots/b');
      expect([gone.status, gone.json.name]).toEqual([404, 'b']);
    }
  });

  it('refuse points that are none, that are still to come, and that lie before a horizon', async () => {
    const [first] = await versions('k', 3);
    expect((await put('/v1/snapshots/s', { asOf: 'yesterday' })).json).toMatchObject({ type: 'urn:varve:invalid' });
    expect((await put('/v1/snapshots/s', {})).json).toMatchObject({ type: 'urn:varve:invalid', path: 'asOf' });
    expect((await put('/v1/snapshots/s', { asOf: first, color: 'red' })).json).toMatchObject({ type: 'urn:varve:unknown-field' });
    expect((await put('/v1/snapshots/-s', { asOf: first })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'name' });
    expect((await put('/v1/snapshots/s', { asOf: '2200-01-01T00:00:00Z' })).json).toMatchObject({ type: 'urn:varve:time-ahead' });
    await put(RETENTION, { keep: 'last', versions: 1 });
    await end(await post('/v1/compactions', {}));
    const late = await put('/v1/snapshots/s', { asOf: first });
    expect(late.status).toBe(410);
    expect(late.json).toMatchObject({ type: 'urn:varve:trimmed', collection: 'c' });
    expect((await s.get('/v1/snapshots')).json).toEqual({ snapshots: [] });
  });
});

describe('compaction', () => {
  it('is a job that ends with a certificate; what it dropped is 410 with the horizon, and the rest is as before', async () => {
    const ids = await versions('k', 6);
    const started = (await s.get(`/v1/records/${ids[0]}`)).json.time;
    await put(RETENTION, { keep: 'last', versions: 2 });
    const accepted = await post('/v1/compactions', { force: true });
    expect(accepted.headers.location).toBe(`/v1/jobs/${accepted.json.id}`);
    expect(accepted.json).toMatchObject({ kind: 'compaction', result: null, ended: null, request: { force: true } });
    const job = await end(accepted);
    expect(job).toMatchObject({ id: accepted.json.id, state: 'done', progress: 1, error: null });
    expect(job.result).toMatchObject({ versionsDropped: 4, recordsDropped: 4, segmentsRewritten: 1 });
    expect(job.result.bytesAfter).toBeLessThan(job.result.bytesBefore);
    expect(job.result.certificates[0]).toMatchObject({
      shard: 1,
      rootBefore: { root: expect.any(String) },
      rootAfter: { root: expect.any(String) },
    });
    expect((await s.get(accepted.headers.location!)).json).toEqual(job);
    expect((await s.get('/v1/jobs')).json).toEqual({ jobs: [job] });

    const horizon = ids[4];
    for (const point of [ids[1], started]) {
      for (const path of ['/v1/collections/c/entities/k', '/v1/collections/c/entities/nobody', '/v1/collections/c/entities']) {
        const gone = await s.get(`${path}?asOf=${point}`);
        expect([path, gone.status, gone.json]).toEqual([path, 410, expect.objectContaining({ type: 'urn:varve:trimmed', horizon })]);
        // Of an id that is gone itself nobody knows what it was of.
        expect(gone.json.collection).toBe(point === started ? 'c' : undefined);
      }
    }
    expect((await s.get(`/v1/records/${ids[1]}`)).json).toMatchObject({ type: 'urn:varve:trimmed', horizon });
    expect((await s.get(`/v1/diff?from=${ids[1]}&to=${ids[5]}`)).json).toMatchObject({ type: 'urn:varve:trimmed' });
    expect((await s.get(`/v1/changes?live=false&shard=1&after=${ids[1]}`)).json).toMatchObject({ type: 'urn:varve:trimmed' });
    expect((await s.get(`/v1/collections/c/entities/k?asOf=${ids[4]}`)).json).toMatchObject({ id: ids[4], body: { version: 5 } });
    expect((await s.get('/v1/collections/c/entities/k')).json).toMatchObject({ id: ids[5], supersedes: ids[4] });
    const history = (await s.get('/v1/collections/c/entities/k/history')).json;
    expect(history.records.map(({ id }: { id: string }) => id)).toEqual([ids[5], ids[4]]);
    expect(history.complete).toBe(false);
  });

  it('leaves what a snapshot sees, and says so of points between', async () => {
    const ids = await versions('k', 5);
    await put('/v1/snapshots/s', { asOf: ids[1] });
    await put(RETENTION, { keep: 'last', versions: 1 });
    expect((await end(await post('/v1/compactions', { force: true }))).result).toMatchObject({ versionsDropped: 3 });
    expect((await s.get(`/v1/collections/c/entities/k?asOf=${ids[1]}`)).json).toMatchObject({ id: ids[1] });
    expect((await s.get(`/v1/collections/c/entities?asOf=${ids[1]}`)).json.records).toHaveLength(1);
    expect((await s.get(`/v1/collections/c/entities/k?asOf=${ids[2]}`)).status).toBe(410);
  });

  it('refuses what there is none of', async () => {
    expect((await post('/v1/compactions', { shard: 2 })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'shard' });
    expect((await post('/v1/compactions', { shard: 'one' })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'shard' });
    expect((await post('/v1/compactions', { collection: '9' })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'collection' });
    expect((await post('/v1/compactions', { forced: true })).json).toMatchObject({ type: 'urn:varve:unknown-field' });
    expect((await s.get('/v1/jobs')).json).toEqual({ jobs: [] });
  });
});

describe('erasure', () => {
  const CANARY = 'canary-4711';

  it('takes the bodies out of every answer at once and out of the files in the end; headers, hashes and proofs stay', async () => {
    const before = (await s.put('alice', { name: CANARY })).json;
    await s.put('alice', { name: CANARY, again: true });
    const other = (await s.put('bob', { name: 'Bob' })).json;
    const proof = (await s.get(`/v1/records/${other.id}/proof`)).json;
    const accepted = await post('/v1/erasures', { collection: 'c', key: 'alice', reason: 'asked to be forgotten' });
    expect(accepted.json).toMatchObject({ kind: 'erasure', request: { collection: 'c', key: 'alice' } });
    const newest = await s.get('/v1/collections/c/entities/alice');
    expect([newest.status, newest.json.type]).toEqual([410, 'urn:varve:erased']);
    expect(await end(accepted)).toMatchObject({ state: 'done', result: { versions: 2, outstanding: [] } });

    const entity = '/v1/collections/c/entities/alice';
    for (const path of [entity, `${entity}?view=body`, `${entity}?asOf=${before.id}`, `/v1/records/${before.id}`]) {
      const gone = await s.get(path);
      expect([path, gone.status, gone.json.type]).toEqual([path, 410, 'urn:varve:erased']);
    }
    expect((await s.get(`/v1/records/${before.id}`)).json.id).toBe(before.id);
    const { records } = (await s.get(`${entity}/history?order=asc`)).json;
    expect(records[0]).toEqual({ ...before, erased: true });
    const listed = (await s.get('/v1/collections/c/entities')).json.records;
    expect(listed.map(({ key, erased, body }: Record<string, unknown>) => [key, erased, body])).toEqual([
      ['alice', true, undefined],
      ['bob', undefined, { name: 'Bob' }],
    ]);
    const changes = linesOf(await s.get('/v1/changes?live=false')).filter(({ key }) => key === 'alice');
    expect(changes).toHaveLength(2);
    for (const change of changes) expect(change).toMatchObject({ erased: true });
    const erasedProof = (await s.get(`/v1/records/${before.id}/proof`)).json;
    expect(JSON.stringify(erasedProof)).toContain('bodyHash');
    expect(erasedProof.salt).toBeUndefined();
    expect((await s.get(`/v1/records/${other.id}/proof`)).json.salt).toBe(proof.salt);
    for (const file of s.platform.files.list('shards/0001/log')) {
      const bytes = Buffer.alloc(1 << 20);
      const opened = s.platform.files.open(`shards/0001/log/${file}`, 'read');
      expect([file, bytes.subarray(0, opened.read(bytes, 0, bytes.length, 0)).includes(CANARY)]).toEqual([file, false]);
      opened.close();
    }
    // Life goes on after it.
    const next = await s.put('alice', { name: 'new' });
    expect(next.status).toBe(201);
    expect((await s.get(entity)).json.body).toEqual({ name: 'new' });
  });

  it('needs an entity and a reason', async () => {
    await s.put('alice', 1);
    const ask = (body: unknown) => post('/v1/erasures', body);
    expect((await ask({ collection: 'c', key: 'nobody', reason: 'r' })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'key' });
    expect((await ask({ collection: 'c', key: 'alice', reason: '' })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'reason' });
    expect((await ask({ collection: 'c', key: 'alice' })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'reason' });
    expect((await ask({ collection: '_retention', key: 'c', reason: 'r' })).status).toBe(403);
    expect((await s.get('/v1/collections/c/entities/alice')).status).toBe(200);
  });
});

describe('jobs', () => {
  it('can be cancelled, and one that has ended stays as it is', async () => {
    await versions('k', 3);
    await put(RETENTION, { keep: 'last', versions: 1 });
    // Two at once: the second waits, and is cancelled before it begins.
    const [first, second] = await Promise.all([post('/v1/compactions', { force: true }), post('/v1/compactions', { force: true })]);
    await end(first);
    const done = await end(second);
    const cancelled = await s.ask('DELETE', `/v1/jobs/${second.json.id}`);
    expect([cancelled.status, cancelled.json]).toEqual([200, done]);
    expect((await s.get('/v1/jobs')).json.jobs.map(({ id }: { id: string }) => id).sort()).toEqual([first.json.id, second.json.id].sort());
    const held = s.db.compact({ force: true });
    const cancelling = s.db.compact({});
    const reply = await s.ask('DELETE', `/v1/jobs/${cancelling.id}`);
    expect(reply.status).toBe(200);
    expect(['cancelled', 'done']).toContain(reply.json.state);
    await s.db.jobEnded(held.id);
  });

  it('can be paused and resumed', async () => {
    for (let version = 0; version < 40; version++) await s.put('k', { version, pad: 'x'.repeat(500) });
    await put(RETENTION, { keep: 'last', versions: 1 });
    const { id } = s.db.compact({ force: true });
    const pause = (paused: unknown) => put(`/v1/jobs/${id}`, { paused });
    const paused = await pause(true);
    expect([paused.status, paused.json]).toEqual([200, expect.objectContaining({ id, paused: true, ended: null })]);
    expect((await s.get(`/v1/jobs/${id}`)).json).toMatchObject({ paused: true, ended: null });
    expect((await pause(false)).json).toMatchObject({ id, paused: false });
    await s.db.jobEnded(id);
    expect((await pause(true)).json).toMatchObject({ state: 'done', paused: false, result: { versionsDropped: 39 } });
    expect((await pause('yes')).json).toMatchObject({ type: 'urn:varve:invalid', path: 'paused' });
    expect((await put(`/v1/jobs/${id}`, {})).json).toMatchObject({ type: 'urn:varve:invalid', path: 'paused' });
    expect((await put(`/v1/jobs/${id}`, { paused: true, state: 'done' })).json).toMatchObject({ type: 'urn:varve:unknown-field' });
    expect((await put('/v1/jobs/0000000000000000', { paused: true })).status).toBe(404);
  });

  it('tell each change to who listens from the start, and the end once', async () => {
    await versions('k', 3);
    await put(RETENTION, { keep: 'last', versions: 1 });
    const job = s.db.compact({ force: true });
    const reader = await Reader.open(s, `/v1/jobs/${job.id}`, { Accept: 'text/event-stream' });
    const events: Record<string, string>[] = [];
    for (let event = await reader.event(); event !== undefined; event = await reader.event()) events.push(event);
    expect(events.filter(({ event }) => event === 'end')).toHaveLength(1);
    expect(events.at(-1)?.['event']).toBe('end');
    const shares = events.map(({ data }) => JSON.parse(data!).progress as number);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
  });

  it('show that the connection lives while nothing changes', async () => {
    const own = await TestServer.start({ limits: { heartbeatMs: 5 }, open: { upkeep: { automatic: false, bytesPerSecond: 1 } } });
    for (let version = 0; version < 300; version++) await own.put('k', { version, pad: 'x'.repeat(500) });
    await own.db.setRetention('c', { keep: 'last', versions: 1 });
    const job = own.db.compact({ force: true });
    const reader = await Reader.open(own, `/v1/jobs/${job.id}`, { Accept: 'text/event-stream' });
    for (let block = await reader.next(); block !== ':'; block = await reader.next()) expect(block).toMatch(/^event: progress/);
    expect((await own.ask('DELETE', `/v1/jobs/${job.id}`)).json.ended).toBeNull();
    for (let block = await reader.next(); block !== undefined; block = await reader.next()) {
      if (block.startsWith('event: end')) expect(block).toContain('"state":"cancelled"');
    }
    expect(own.db.job(job.id)).toMatchObject({ state: 'cancelled' });
    await own.stop();
  });

  it('are refused once a hundred wait, with when to come back', async () => {
    for (let version = 0; version < 40; version++) await s.put('k', { version, pad: 'x'.repeat(500) });
    await put(RETENTION, { keep: 'last', versions: 1 });
    const { id } = s.db.compact({ force: true });
    expect((await put(`/v1/jobs/${id}`, { paused: true })).json).toMatchObject({ paused: true, ended: null });
    const waiting = Array.from({ length: 99 }, () => s.db.compact({}).id);
    expect(await post('/v1/compactions', {})).toMatchObject({ status: 503, headers: { 'retry-after': '10' } });
    for (const each of [...waiting, id]) expect((await s.ask('DELETE', `/v1/jobs/${each}`)).status).toBe(200);
    await s.db.jobEnded(id);
    await end(await post('/v1/compactions', {}));
  });

  it('are 404 where there is none', async () => {
    for (const method of ['GET', 'DELETE']) expect((await s.ask(method, '/v1/jobs/0000000000000000')).status).toBe(404);
  });
});

describe('a compaction that fails', () => {
  it('is visible in its job, in /readyz?verbose and in the metrics until one succeeds; nothing is lost', async () => {
    const ids = await versions('k', 4);
    await put(RETENTION, { keep: 'last', versions: 1 });
    const figures = async () => /^varve_upkeep_failing (\d)$/m.exec((await s.get('/metrics')).text)?.[1];
    expect(await figures()).toBe('0');
    s.platform.faults.failWhen(({ kind, path }) => kind === 'write' && path.includes('-0001.seg'), { kind: 'error', code: 'ENOSPC' });
    const failed = await end(await post('/v1/compactions', { force: true }));
    expect(failed).toMatchObject({ state: 'failed', error: expect.any(String), result: null });
    const ready = await s.get('/readyz?verbose');
    expect([ready.status, ready.json.checks.at(-1)]).toEqual([
      200,
      expect.objectContaining({ name: 'upkeep', state: 'failing', ok: true }),
    ]);
    expect(await figures()).toBe('1');
    expect((await s.get('/v1/collections/c/entities/k')).json).toMatchObject({ id: ids[3], body: { version: 4 } });
    s.platform.faults.clear();
    expect(await end(await post('/v1/compactions', { force: true }))).toMatchObject({ state: 'done', result: { recordsDropped: 3 } });
    expect((await s.get('/readyz?verbose')).text).not.toContain('upkeep');
    expect(await figures()).toBe('0');
  });
});
