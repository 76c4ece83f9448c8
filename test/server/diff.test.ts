/** GET /v1/diff: what is another entity at one point than at the other, page by page or as a stream. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../engine/engine.js';
import { diffAnswer, diffLine } from '../../server/schemas.js';
import { linesOf, TestServer } from './support.js';

const NDJSON = { Accept: 'application/x-ndjson' };

interface Difference {
  readonly collection: string;
  readonly key: string;
  readonly from: string | null;
  readonly to: string | null;
}

describe.each([1, 3])('the difference of two points over %i shards', (shards) => {
  let s: TestServer;
  let start: string;
  let middle: string;
  const ids: Record<string, string> = {};
  beforeAll(async () => {
    s = await TestServer.start({ open: { shards } });
    start = (await s.put('kept', 1)).json.time;
    for (const key of ['changed', 'gone', 'anew', 'both']) {
      const { id, time } = (await s.put(key, 1)).json;
      ids[key] = id;
      middle = time;
    }
    await s.put('both', 2);
    ids['changed now'] = (await s.put('changed', 2)).json.id;
    await s.ask('DELETE', '/v1/collections/c/entities/gone');
    await s.ask('DELETE', '/v1/collections/c/entities/anew');
    ids['anew now'] = (await s.put('anew', 1)).json.id;
    ids['both now'] = (await s.put('both', 3)).json.id;
    await s.put('brief', 1);
    await s.ask('DELETE', '/v1/collections/c/entities/brief');
    ids['d'] = (await s.ask('PUT', '/v1/collections/d/entities/x', { body: '1' })).json.id;
  });
  afterAll(() => s.stop());

  const expected = (): Difference[] => [
    { collection: 'c', key: 'anew', from: ids['anew']!, to: ids['anew now']! },
    { collection: 'c', key: 'both', from: ids['both']!, to: ids['both now']! },
    { collection: 'c', key: 'changed', from: ids['changed']!, to: ids['changed now']! },
    { collection: 'c', key: 'gone', from: ids['gone']!, to: null },
    { collection: 'd', key: 'x', from: null, to: ids['d']! },
  ];
  const sorted = (list: Difference[]) => [...list].sort((a, b) => (a.collection + a.key < b.collection + b.key ? -1 : 1));
  const at = (time: string) => encodeURIComponent(time);

  it('names each entity once, with the versions alive there', async () => {
    const { json } = await s.get(`/v1/diff?from=${at(middle)}`);
    diffAnswer.parse(json);
    expect(sorted(json.differences)).toEqual(expected());
    expect(json.next).toBeNull();
  });

  it('goes backwards too', async () => {
    const now = (await s.get('/v1/records/' + ids['d'])).json.time;
    const { json } = await s.get(`/v1/diff?from=${at(now)}&to=${at(middle)}`);
    expect(sorted(json.differences)).toEqual(expected().map(({ from, to, ...rest }) => ({ ...rest, from: to, to: from })));
    expect((await s.get(`/v1/diff?from=${at(middle)}&to=${at(middle)}`)).json).toEqual({ differences: [], next: null });
  });

  it('keeps to a collection', async () => {
    expect((await s.get(`/v1/diff?from=${at(middle)}&collection=d`)).json.differences).toEqual(expected().slice(4));
    expect((await s.get(`/v1/diff?from=${at(start)}&collection=nothing`)).json.differences).toEqual([]);
  });

  it('comes in pages that see nothing newer than the first of them', async () => {
    const own = await TestServer.start({ open: { shards } });
    const { time } = (await own.put('zero', 0)).json;
    for (let n = 0; n < 9; n++) await own.put(`k${n % 5}`, n);
    for (const limit of [1, 2, 5]) {
      const seen: Difference[] = [];
      for (let query = `from=${at(time)}`; ; ) {
        const { json } = await own.get(`/v1/diff?limit=${limit}&${query}`);
        expect(json.differences.length).toBeLessThanOrEqual(limit);
        seen.push(...json.differences);
        if (json.next === null) break;
        await own.put(`late ${limit}`, 1);
        query = `cursor=${json.next}`;
      }
      expect(
        seen
          .map(({ key }) => key)
          .filter((key) => /^k\d$/.test(key))
          .sort(),
      ).toEqual(['k0', 'k1', 'k2', 'k3', 'k4']);
      expect(seen.map(({ key }) => key)).not.toContain(`late ${limit}`);
    }
    await own.stop();
  });

  it('streams all of it, and says when it is whole', async () => {
    const lines = linesOf(await s.get(`/v1/diff?from=${at(middle)}`, NDJSON));
    for (const line of lines) diffLine.parse(line);
    expect(lines.pop()).toEqual({ done: true, count: 5 });
    expect(sorted(lines)).toEqual(expected());
    expect(linesOf(await s.get(`/v1/diff?from=${at(middle)}&limit=2`, NDJSON)).length).toBe(3);
  });

  it('of records reaches their shard alone', async () => {
    const reply = await s.get(`/v1/diff?from=${ids['changed']}&to=${ids['changed now']}`);
    if (shards === 1) expect(reply.json.differences.map(({ key }: Difference) => key)).toContain('changed');
    else expect(reply.json).toMatchObject({ status: 422, type: 'urn:varve:cross-shard' });
  });

  it('refuses what it cannot mean', async () => {
    const { next } = (await s.get(`/v1/diff?from=${at(middle)}&limit=1`)).json;
    for (const query of [
      '',
      'to=2001-01-01T00:00:00Z',
      'from=x',
      'from=2001-01-01T00:00:00Z&to=y',
      'cursor=!',
      `cursor=${next}&collection=c`,
      'from=2001-01-01T00:00:00Z&collection=1',
    ]) {
      expect((await s.get(`/v1/diff?${query}`)).json, query).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    }
    expect((await s.get(`/v1/diff?from=2199-01-01T00:00:00Z`)).json).toMatchObject({ status: 400, type: 'urn:varve:time-ahead' });
    expect((await s.get(`/v1/diff?since=1`)).json).toMatchObject({ type: 'urn:varve:unknown-parameter' });
    expect((await s.get(`/v1/diff?cursor=${next}`, NDJSON)).status).toBe(400);
    const [version, question, place] = JSON.parse(Buffer.from(next, 'base64url').toString());
    for (const forged of [
      [Array(shards).fill(2 ** 40), place[1], place[2], place[3]],
      [place[0], [], place[2], place[3]],
      [place[0], place[1], shards + 1, 1],
      [place[0], place[1], place[2], 2 ** 40],
    ]) {
      const cursor = Buffer.from(JSON.stringify([version, question, forged])).toString('base64url');
      expect((await s.get(`/v1/diff?cursor=${cursor}`)).json, cursor).toMatchObject({ status: 400, path: 'cursor' });
    }
  });
});

describe('the difference from before a horizon', () => {
  it('is 410 before the first byte, unless a snapshot stands there', async () => {
    const s = await TestServer.start();
    const first = (await s.put('a', 1)).json;
    const kept = (await s.put('a', 'kept')).json;
    await s.db.createSnapshot('kept', kept.id);
    const second = (await s.put('a', 2)).json;
    const { exactness } = (s.db as Engine).shardList[0]!;
    exactness.raise('c', { seq: second.seq, time: 0 });
    for (const headers of [{}, NDJSON]) {
      expect((await s.get(`/v1/diff?from=${first.id}&to=${second.id}`, headers)).json).toMatchObject({
        status: 410,
        type: 'urn:varve:trimmed',
        horizon: second.id,
      });
      expect((await s.get(`/v1/diff?from=${second.id}`, headers)).status).toBe(200);
    }
    const { json } = await s.get(`/v1/diff?from=${kept.id}&to=${second.id}`);
    expect(json.differences).toEqual([{ collection: 'c', key: 'a', from: kept.id, to: second.id }]);
    await s.stop();
  });
});
