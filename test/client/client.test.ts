/** The client against a real server: every call, what it retries and what it must not, and what it says when things go wrong. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Client,
  isProblem,
  PROBLEM_SLUGS,
  type ProblemSlug,
  VarveConnectionError,
  VarveProblem,
  verifyProof,
} from '../../server/client/index.js';
import { KINDS } from '../../server/index.js';
import { TestServer } from '../server/support.js';
import { all, Relay, rejection } from './support.js';

const FAST = { backoffMs: { first: 1, most: 5 } };

describe('a client', () => {
  let s: TestServer;
  let varve: Client;
  beforeAll(async () => {
    s = await TestServer.start({ open: { shards: 2 } });
    varve = new Client({ url: `${s.server.url}/`, ...FAST });
  });
  afterAll(() => s.stop());

  it('inserts, reads, deletes', async () => {
    const first = await varve.put('people', 'a/b é', { city: 'Oslo' });
    expect(await varve.get<{ city: string }>('people', 'a/b é')).toEqual({ ...first, body: { city: 'Oslo' } });
    const second = await varve.put('people', 'a/b é', null, { expect: first.id, refs: [first.id] });
    expect(second).toMatchObject({ supersedes: first.id, refs: [first.id], deleted: false });
    expect((await varve.get('people', 'a/b é', { asOf: first.time }))?.body).toEqual({ city: 'Oslo' });
    expect(await varve.record(first.id)).toEqual({ ...first, body: { city: 'Oslo' } });
    const end = await varve.delete('people', 'a/b é', { expect: '*' });
    expect(end).toMatchObject({ deleted: true, supersedes: second.id });
    expect(await varve.get('people', 'a/b é')).toBeUndefined();
    expect(await varve.get('people', 'nobody')).toBeUndefined();
    expect(await varve.record('00010000000fffff')).toBeUndefined();
  });

  it('says what must be so, and hears when it is not', async () => {
    const first = await varve.put('cas', 'k', 1, { expect: null });
    const error = await rejection(varve.put('cas', 'k', 2, { expect: null }));
    expect(error).toBeInstanceOf(VarveProblem);
    expect(error).toMatchObject({ status: 412, slug: 'precondition-failed', fields: { current: first.id, collection: 'cas', key: 'k' } });
    expect(isProblem(await rejection(varve.put('cas', 'k', 2, { expect: ['0001000000000001'] })), 'precondition-failed')).toBe(true);
    await varve.put('cas', 'k', 2, { expect: ['0001000000000001', first.id] });
    expect(await rejection(varve.delete('cas', 'nothing'))).toMatchObject({ slug: 'nothing-to-delete' });
    expect(await rejection(varve.put('cas', 'k', 1, { time: '2001-01-01T00:00:00Z' }))).toMatchObject({ status: 409, slug: 'time-behind' });
  });

  it('inserts batches, all or nothing', async () => {
    await varve.setPlacement('orders', 'group:g');
    const records = await varve.insert([
      { collection: 'orders', key: '1', body: { n: 1 } },
      { collection: 'orders', key: '2', body: 2, refs: ['#0'], expect: null },
    ]);
    expect(records[1]!.refs).toEqual([records[0]!.id]);
    expect(records[0]!.time).toBe(records[1]!.time);
    expect(await rejection(varve.insert([{ collection: 'orders', key: '2', body: 3, expect: null }]))).toMatchObject({
      slug: 'precondition-failed',
    });
    expect(await varve.collection('orders')).toMatchObject({ placement: 'group:g', versions: 2 });
    expect(await varve.collection('none')).toBeUndefined();
    expect((await varve.collections()).map(({ name }) => name)).toContain('orders');
  });

  it('inserts many, in order, and tells what became of each', async () => {
    const items = function* () {
      for (let n = 0; n < 1203; n++) yield { collection: 'many', key: n === 700 ? '..' : `k${n}`, body: n };
    };
    const outcomes = await all(varve.insertMany(items()));
    expect(outcomes.map(({ index }) => index)).toEqual(Array.from({ length: 1203 }, (_, n) => n));
    for (const outcome of outcomes) {
      if (outcome.index === 700) expect(outcome).toMatchObject({ error: { slug: 'invalid', status: 400 } });
      else expect('id' in outcome && outcome.id).toMatch(/^[0-9a-f]{16}$/);
    }
    expect((await all(varve.list('many'))).length).toBe(1202);
  });

  it('walks histories and listings page by page, whatever their size', async () => {
    for (let n = 0; n < 7; n++) await varve.put('walk', 'k', n);
    for (let n = 0; n < 5; n++) await varve.put('walk', `l${n}`, n);
    for (const pageSize of [1, 3, 1000]) {
      expect((await all(varve.history<number>('walk', 'k', { pageSize }))).map(({ body }) => body)).toEqual([6, 5, 4, 3, 2, 1, 0]);
      expect((await all(varve.history('walk', 'k', { pageSize, order: 'asc' }))).map(({ body }) => body)).toEqual([0, 1, 2, 3, 4, 5, 6]);
      expect((await all(varve.list('walk', { pageSize, prefix: 'l', after: 'l0' }))).map(({ key }) => key)).toEqual([
        'l1',
        'l2',
        'l3',
        'l4',
      ]);
      expect((await all(varve.listKeys('walk', { pageSize }))).map(({ key }) => key)).toEqual(['k', 'l0', 'l1', 'l2', 'l3', 'l4']);
    }
    const page = await varve.historyPage('walk', 'k', { pageSize: 2 });
    expect(page).toMatchObject({ complete: true, next: expect.any(String) });
    expect((await varve.historyPage('walk', 'k', { cursor: page.next!, pageSize: 2 })).records.map(({ body }) => body)).toEqual([4, 3]);
    expect(Object.keys((await all(varve.listKeys('walk')))[0]!)).toEqual(['id', 'key']);
  });

  it('tells what differs between two points', async () => {
    const { time } = await varve.put('points', 'a', 1);
    const later = await varve.put('points', 'b', 1);
    await varve.put('points', 'c', 1);
    const told = await all(varve.diff({ from: time, collection: 'points', pageSize: 1 }));
    expect(told.map(({ key }) => key).sort()).toEqual(['b', 'c']);
    expect(await all(varve.diff({ from: later.time, to: time, collection: 'points' }))).toEqual([
      { collection: 'points', key: 'b', from: later.id, to: null },
    ]);
  });

  it('asks shards for roots, and checks proofs under them', async () => {
    const { id, shard } = await varve.put('proven', 'é', { ok: [1.5, 'ü'] });
    const { root } = (await varve.root(shard))!;
    const proof = (await varve.proof(id))!;
    expect(verifyProof(proof, root)).toBe(true);
    expect(await varve.proof('00010000000fffff')).toBeUndefined();
    expect((await varve.shards()).map((info) => info.shard)).toEqual([1, 2]);
    expect((await varve.shard(2))?.shard).toBe(2);
    expect(await varve.shard(9)).toBeUndefined();
    expect(await varve.root(1, { seq: 1 })).toBeUndefined();
  });

  it('tells how one version of an entity becomes another', async () => {
    const first = await varve.put('patched', 'k', { a: 1, b: [1] });
    await varve.put('patched', 'k', { a: 2, b: [1] });
    expect(await varve.entityDiff('patched', 'k', first.id)).toEqual([{ op: 'replace', path: '/a', value: 2 }]);
    expect(await varve.entityDiff('patched', 'k', first.id, first.time)).toEqual([]);
  });

  it('decides what is kept, and sees jobs to their end', async () => {
    const { keep } = varve;
    for (let n = 0; n < 3; n++) await varve.put('kept', 'k', n);
    const { time } = (await varve.get('kept', 'k'))!;
    expect(await keep.retention('kept')).toEqual({ keep: 'all' });
    expect(await keep.setRetention('kept', { keep: 'last', versions: 1 })).toEqual({ keep: 'last', versions: 1 });
    expect(await keep.createSnapshot('now', time)).toMatchObject({ name: 'now', asOf: time });
    expect((await keep.snapshots()).map(({ name }) => name)).toEqual(['now']);
    expect(await keep.snapshot('then')).toBeUndefined();
    const job = await keep.compact({ force: true });
    expect(await keep.pauseJob(job.id)).toMatchObject({ id: job.id });
    expect(await keep.resumeJob(job.id)).toMatchObject({ id: job.id, paused: false });
    expect(await keep.jobEnded(job.id)).toMatchObject({ id: job.id, kind: 'compaction', state: 'done', progress: 1 });
    expect((await keep.jobs()).map(({ id }) => id)).toContain(job.id);
    expect((await varve.historyPage('kept', 'k')).complete).toBe(false);
    expect(isProblem(await rejection(keep.createSnapshot('early', '2001-01-01T00:00:00Z')), 'snapshot-exists')).toBe(false);
    const erasing = await keep.erase({ collection: 'kept', key: 'k', reason: 'asked to' });
    expect(await keep.jobEnded(erasing.id)).toMatchObject({ state: 'done' });
    expect(isProblem(await rejection(varve.get('kept', 'k')), 'erased')).toBe(true);
    const told = await all(varve.changes({ collection: 'kept', live: false, partial: true }));
    expect(told.map((change) => 'body' in change)).toEqual([false]);
    const { root } = (await varve.root(told[0]!.shard))!;
    const proof = (await varve.proof(told[0]!.id))!;
    expect('salt' in proof).toBe(false);
    expect(verifyProof(proof, root)).toBe(true);
    await keep.deleteSnapshot('now');
    expect(await keep.snapshot('now')).toBeUndefined();
    expect(await rejection(keep.cancelJob('0000000000000000'))).toMatchObject({ slug: 'not-found' });
    expect(await keep.job('0000000000000000')).toBeUndefined();
  });

  it('knows every problem the server knows', () => {
    const known: readonly ProblemSlug[] = PROBLEM_SLUGS;
    expect(Object.keys(KINDS).filter((slug) => !known.includes(slug))).toEqual([]);
  });

  it('refuses a URL that is none', () => {
    expect(() => new Client({ url: 'ftp://x' })).toThrow(TypeError);
    expect(() => new Client({ url: 'x' })).toThrow(TypeError);
  });
});

describe('a client that is not heard', () => {
  let s: TestServer;
  let relay: Relay;
  beforeAll(async () => {
    s = await TestServer.start();
    relay = await Relay.start(s.server.url);
  });
  afterAll(async () => {
    await relay.stop();
    await s.stop();
  });

  /** The first `times` requests go wrong: what the server says is lost on the way back, or is a 503. */
  function lose(times: number, how: 'answer' | 'request' | 503 | 429 | 504): void {
    let left = times;
    relay.passed.length = 0;
    relay.meddle = async (req, res) => {
      if (left-- <= 0) return false;
      if (how === 'answer') {
        // The server hears it and answers; nobody hears the answer.
        const chunks: Buffer[] = [];
        for await (const chunk of req) chunks.push(chunk as Buffer);
        const { host: _, 'content-length': __, ...headers } = req.headers;
        const body = chunks.length === 0 ? undefined : Buffer.concat(chunks);
        await (
          await fetch(s.server.url + req.url, {
            method: req.method!,
            headers: headers as Record<string, string>,
            ...(body === undefined ? {} : { body }),
          })
        ).text();
        res.destroy();
      } else if (how === 'request') res.destroy();
      else {
        req.resume();
        const slug = how === 503 ? 'not-written' : how === 429 ? 'too-many-requests' : 'acks-timeout';
        res.writeHead(how, { 'Content-Type': 'application/problem+json' });
        res.end(JSON.stringify({ type: `urn:varve:${slug}`, title: 't', status: how, detail: 'd' }));
      }
      return true;
    };
  }

  it('writes once, however often it has to send', async () => {
    const varve = new Client({ url: relay.url, ...FAST });
    for (const how of ['answer', 'request', 503, 429] as const) {
      lose(2, how);
      const { id } = await varve.put('c', `put ${how}`, 1);
      expect((await all(varve.history('c', `put ${how}`))).map((version) => version.id)).toEqual([id]);
      const keys = new Set(relay.passed.filter(({ method }) => method === 'PUT').map(({ headers }) => headers['idempotency-key']));
      expect(keys.size).toBe(1);
      expect([...keys][0]).toMatch(/^[0-9a-f-]{36}$/);
      lose(2, how);
      await varve.insert([{ collection: 'c', key: `batch ${how}`, body: 1 }]);
      expect((await all(varve.history('c', `batch ${how}`))).length).toBe(1);
      lose(2, how);
      expect((await all(varve.insertMany([{ collection: 'c', key: `many ${how}`, body: 1 }]))).length).toBe(1);
      expect((await all(varve.history('c', `many ${how}`))).length).toBe(1);
      lose(1, how);
      await varve.delete('c', `put ${how}`);
      expect((await all(varve.history('c', `put ${how}`))).length).toBe(2);
    }
  });

  it('keeps the key it is given', async () => {
    const varve = new Client({ url: relay.url, ...FAST });
    lose(0, 'request');
    const { id } = await varve.put('c', 'own key', 1, { idempotencyKey: 'mine' });
    expect((await varve.put('c', 'own key', 1, { idempotencyKey: 'mine' })).id).toBe(id);
    expect(await rejection(varve.put('c', 'own key', 2, { idempotencyKey: 'mine' }))).toMatchObject({ slug: 'idempotency-mismatch' });
  });

  it('sends a write without a key once, and no more', async () => {
    const varve = new Client({ url: relay.url, ...FAST });
    for (const how of ['answer', 503] as const) {
      lose(1, how);
      const error = await rejection(varve.put('c', 'keyless', 1, { idempotencyKey: false }));
      if (how === 'answer') expect(error).toMatchObject({ name: 'VarveConnectionError', reason: 'unreachable' });
      else expect(error).toMatchObject({ slug: 'not-written' });
      expect(relay.passed.length).toBe(1);
      lose(1, how);
      await rejection(all(varve.insertMany([{ collection: 'c', key: 'keyless', body: 1 }], { idempotencyKey: false })));
      expect(relay.passed.length).toBe(1);
      expect(relay.passed[0]!.headers['idempotency-key']).toBeUndefined();
    }
  });

  it('asks again for what it may ask twice, and gives up at last', async () => {
    const varve = new Client({ url: relay.url, ...FAST, retries: 3 });
    lose(3, 'request');
    expect(await varve.get('c', 'none')).toBeUndefined();
    expect(relay.passed.length).toBe(4);
    lose(4, 'request');
    expect(await rejection(varve.get('c', 'none'))).toBeInstanceOf(VarveConnectionError);
    expect(relay.passed.length).toBe(4);
    lose(4, 503);
    expect(await rejection(varve.shards())).toMatchObject({ slug: 'not-written' });
    expect(relay.passed.length).toBe(4);
  });

  it('asks once where asking again cannot help', async () => {
    const varve = new Client({ url: relay.url, ...FAST });
    lose(0, 'request');
    expect(await rejection(varve.put('_x', 'k', 1))).toBeInstanceOf(VarveProblem);
    expect(relay.passed.length).toBe(1);
    lose(1, 504);
    expect(await rejection(varve.put('c', 'slow quorum', 1, { acks: 'quorum' }))).toMatchObject({ slug: 'acks-timeout' });
    expect(relay.passed.length).toBe(1);
    expect(relay.passed[0]!.url).toContain('acks=quorum');
  });

  it('waits no longer than it was told, nor after it was called off', async () => {
    const hanging: (() => void)[] = [];
    relay.meddle = () => new Promise((resolve) => hanging.push(() => resolve(true)));
    const impatient = new Client({ url: relay.url, ...FAST, timeoutMs: 20, retries: 1 });
    expect(await rejection(impatient.get('c', 'k'))).toMatchObject({ name: 'VarveConnectionError', reason: 'timeout' });
    expect(hanging.length).toBe(2);
    const patient = new Client({ url: relay.url });
    const reason = new Error('never mind');
    const off = new AbortController();
    const calls = [
      patient.get('c', 'k', { signal: off.signal }),
      patient.put('c', 'k', 1, { signal: off.signal }),
      all(patient.changes({ signal: off.signal })),
      all(patient.list('c', { signal: off.signal })),
      all(patient.insertMany([{ collection: 'c', key: 'k', body: 1 }], { signal: off.signal })),
    ].map(rejection);
    off.abort(reason);
    expect(await Promise.all(calls)).toEqual([reason, reason, reason, reason, reason]);
    expect(await rejection(patient.get('c', 'k', { signal: AbortSignal.abort(reason) }))).toBe(reason);
    for (const resolve of hanging) resolve();
    relay.cut();
    relay.meddle = undefined;
  });

  it('takes an answer for what it is only where it is whole', async () => {
    const varve = new Client({ url: relay.url, ...FAST, retries: 0 });
    relay.meddle = (req, res) => {
      req.resume();
      res.writeHead(200, { 'Content-Type': 'application/json' });
      res.end('{"id":"00');
      return true;
    };
    expect(await rejection(varve.get('c', 'k'))).toMatchObject({ reason: 'cut-short' });
    relay.meddle = (req, res) => {
      req.resume();
      res.writeHead(502, { 'Content-Type': 'text/html' });
      res.end('<h1>Bad Gateway</h1>');
      return true;
    };
    expect(await rejection(varve.get('c', 'k'))).toMatchObject({ status: 502, slug: '', message: 'the server answered 502' });
    relay.meddle = undefined;
  });
});
