/** `varve retain`, `snapshot`, `compact`, `erase` and `jobs` against a real server: what they say, to people and to machines, and exit codes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestServer, testServer } from './cli.js';

let server: TestServer;
beforeAll(async () => {
  server = await testServer({ segmentBytes: 8192, upkeep: { automatic: false } });
  for (let version = 0; version < 6; version++) await server.db.put('things', 'one', { version, pad: 'x'.repeat(200) });
});
afterAll(() => server.remove());

const varve = (...args: string[]) => server.varve(args);
const json = (text: string) =>
  text
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe('varve retain', () => {
  it('tells what a collection keeps, and decides it', async () => {
    expect(await varve('retain', 'things')).toEqual({ code: 0, out: 'things keeps everything\n', err: '' });
    expect((await varve('retain', 'things', '--for', 'P30D')).out).toBe('things keeps history for P30D\n');
    expect((await varve('retain', 'things', '--last', '1')).out).toBe('things keeps the last version of each entity\n');
    expect((await varve('retain', 'things', '--all', '--json')).out).toBe('{"keep":"all"}\n');
    expect(json((await varve('retain', 'things', '--last', '2', '--json')).out)).toEqual([{ keep: 'last', versions: 2 }]);
    expect(server.db.retention('things')).toEqual({ keep: 'last', versions: 2 });
  });

  it('is wrong usage with two answers or no number, and a failure where the server refuses', async () => {
    expect((await varve('retain', 'things', '--all', '--last', '2')).code).toBe(2);
    expect((await varve('retain', 'things', '--last', '0')).code).toBe(2);
    expect((await varve('retain')).code).toBe(2);
    const refused = await varve('retain', 'things', '--for', 'P1Y');
    expect([refused.code, refused.out]).toEqual([1, '']);
    expect(refused.err).toContain('duration');
    expect(server.db.retention('things')).toEqual({ keep: 'last', versions: 2 });
  });
});

describe('varve snapshot', () => {
  it('creates, lists and deletes', async () => {
    const asOf = server.db.newestTime()!;
    expect(json((await varve('snapshot', 'create', 'audit', '--as-of', asOf, '--json')).out)).toMatchObject([{ name: 'audit', asOf }]);
    expect((await varve('snapshot', 'create', 'now')).code).toBe(0);
    const listed = await varve('snapshot');
    expect(listed.out).toMatch(/^NAME +AS OF\naudit +\S+Z\nnow +\S+Z\n$/);
    expect(json((await varve('snapshot', 'list', '--json')).out).map(({ name }) => name)).toEqual(['audit', 'now']);
    expect((await varve('snapshot', 'delete', 'now')).code).toBe(0);
    expect(server.db.snapshots().map(({ name }) => name)).toEqual(['audit']);
  });

  it('fails with 1 for one that is not there or a name in use, and with 2 for what it does not know', async () => {
    const absent = await varve('snapshot', 'delete', 'nobody');
    expect([absent.code, absent.err]).toEqual([1, 'varve: there is no snapshot nobody\n']);
    expect((await varve('snapshot', 'create', 'audit', '--as-of', '2000-01-01T00:00:00Z')).code).toBe(1);
    expect((await varve('snapshot', 'create')).code).toBe(2);
    expect((await varve('snapshot', 'delete')).code).toBe(2);
    expect((await varve('snapshot', 'paint', 'x')).code).toBe(2);
  });
});

describe('varve compact', () => {
  it('waits for the end and tells what came of it', async () => {
    const ran = await varve('compact', '--force');
    expect([ran.code, ran.out]).toEqual([
      0,
      expect.stringMatching(/^4 records dropped, 1 segment rewritten: [\d,.\s]+ -> [\d,.\s]+ bytes\n$/),
    ]);
    expect((await varve('compact')).out).toMatch(/^nothing to give back/);
    expect(server.db.now().history('things', 'one').records).toHaveLength(2);
  });

  it('gives machines the certificate, and leaves at once when told to', async () => {
    const [job] = json((await varve('compact', '--force', '--json')).out);
    expect(job).toMatchObject({ kind: 'compaction', state: 'done', result: { certificates: [{ shard: 1 }] } });
    const left = await varve('compact', '--no-wait');
    expect([left.code, left.out]).toEqual([0, '']);
    const id = /varve jobs ([0-9a-f]{16})/.exec(left.err)?.[1] ?? '';
    expect(await server.db.jobEnded(id)).toMatchObject({ state: 'done' });
  });

  it('is 2 for a shard that is no number, and 1 for one that there is not', async () => {
    expect((await varve('compact', '--shard', 'one')).code).toBe(2);
    expect((await varve('compact', '--shard', '9')).code).toBe(1);
  });
});

describe('varve erase', () => {
  it('asks for a reason and a yes, and then does it', async () => {
    await server.db.put('people', 'alice', { name: 'Alice' });
    expect((await varve('erase', 'people', 'alice', '--yes')).code).toBe(2);
    expect((await varve('erase', 'people', 'alice', '--reason', 'r')).code).toBe(2);
    expect(server.db.now().get('people', 'alice')?.erased).toBeFalsy();
    expect(await varve('erase', 'people', 'alice', '--reason', 'request 4711', '--yes')).toMatchObject({
      code: 0,
      out: '1 version of people/alice erased\n',
    });
    const got = await varve('get', 'people', 'alice');
    expect([got.code, got.out]).toEqual([1, '']);
    expect(got.err).toContain('erased');
    expect((await varve('erase', 'people', 'nobody', '--reason', 'r', '--yes')).code).toBe(1);
  });
});

describe('varve jobs', () => {
  it('lists them, newest first; shows one; cancels what can be', async () => {
    const job = server.db.compact({ force: true });
    await server.db.jobEnded(job.id);
    const { out } = await varve('jobs');
    expect(out.split('\n')[0]).toMatch(/^ID +KIND +STATE +DONE +BEGAN +ENDED +ERROR *$/);
    expect(out.split('\n')[1]).toMatch(new RegExp(`^${job.id} +compaction +done +100%`));
    const all = json((await varve('jobs', '--json')).out);
    expect(all[0].id).toBe(job.id);
    expect(all.map(({ kind }) => kind)).toContain('erasure');
    expect(json((await varve('jobs', job.id, '--json')).out)).toEqual([all[0]]);
    // What has ended stays as it is.
    expect(json((await varve('jobs', job.id, '--cancel', '--json')).out)).toEqual([all[0]]);
    expect((await varve('jobs', '0000000000000000')).code).toBe(1);
    expect((await varve('jobs', '--cancel')).code).toBe(2);
  });

  it('holds one, lets it go on, and cancels it, each by its own word', async () => {
    for (let version = 0; version < 30; version++) await server.db.put('held', 'k', { version, pad: 'x'.repeat(500) });
    const { id } = server.db.compact({ force: true });
    server.db.pauseJob(id, true);
    expect((await varve('jobs', id)).out).toMatch(/(queued|running), paused/);
    expect(json((await varve('jobs', 'resume', id, '--json')).out)).toMatchObject([{ id, paused: false }]);
    await server.db.jobEnded(id);
    const next = server.db.compact({ force: true });
    expect(json((await varve('jobs', 'pause', next.id, '--json')).out)).toMatchObject([{ id: next.id }]);
    expect((await varve('jobs', 'cancel', next.id)).code).toBe(0);
    expect(['cancelled', 'done']).toContain((await server.db.jobEnded(next.id))?.state);
    for (const wrong of [['pause'], ['resume'], ['stop', id]]) expect((await varve('jobs', ...wrong)).code).toBe(2);
    expect((await varve('jobs', 'pause', '0000000000000000')).code).toBe(1);
  });
});

describe('all of them', () => {
  it('show examples, and say how to start a server where there is none', async () => {
    for (const verb of ['retain', 'snapshot', 'compact', 'erase', 'jobs']) {
      const { code, out } = await varve(verb, '--help');
      expect([verb, code]).toEqual([verb, 0]);
      expect(out).toContain(`$ varve ${verb}`);
    }
    expect(await varve('jobs', '--url', 'http://127.0.0.1:1')).toMatchObject({ code: 1, err: expect.stringContaining('varve serve') });
  });
});
