import { PassThrough, Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../tools/program.js';
import { type TestServer, testServer, varve } from './cli.js';

let server: TestServer;
const ids: string[] = [];
beforeAll(async () => {
  server = await testServer();
  const { db } = server;
  ids.push((await db.put('customers', 'alice', { city: 'Oslo', tags: [1] })).id);
  ids.push((await db.put('customers', 'bob', 1)).id);
  ids.push((await db.put('customers', 'alice', { city: 'Bergen', tags: [1, 2] })).id);
  ids.push((await db.delete('customers', 'bob')).id);
  ids.push((await db.put('orders', 'o1', null)).id);
});
afterAll(() => server.remove());

const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('varve changes', () => {
  it('tells every record in order, with the cursor to go on from', async () => {
    const all = lines((await server.varve(['changes', '--json'])).out);
    expect(all.map(({ id }) => id)).toEqual(ids);
    const rest = lines((await server.varve(['changes', '--json', '--after', String(all[2]?.['cursor'])])).out);
    expect(rest.map(({ id }) => id)).toEqual(ids.slice(3));
    const two = lines((await server.varve(['changes', '--json', '--collection', 'customers', '--limit', '2'])).out);
    expect(two.map(({ id }) => id)).toEqual(ids.slice(0, 2));
  });

  it('says for people what happened', async () => {
    const { out } = await server.varve(['changes', '--bodies']);
    expect(out).toContain(`${ids[0]}  created  customers/alice  {"city":"Oslo","tags":[1]}`);
    expect(out).toContain(`${ids[3]}  deleted  customers/bob`);
  });

  it('goes on with what comes', async () => {
    const stdout = new PassThrough();
    const seen: string[] = [];
    const io = { stdin: Readable.from([]), stdout, stderr: new PassThrough(), env: { VARVE_URL: server.url } };
    const following = run(['changes', '--follow', '--json', '--after', ids[4]!, '--limit', '2'], io);
    stdout.on('data', (chunk: Buffer) => seen.push(chunk.toString('utf8')));
    const one = await server.db.put('later', 'x', 1);
    const two = await server.db.put('later', 'y', 2);
    expect(await following).toBe(0);
    expect(lines(seen.join('')).map(({ id }) => id)).toEqual([one.id, two.id]);
  });

  it("fails with the server's words", async () => {
    expect(await server.varve(['changes', '--after', 'nonsense'])).toMatchObject({ code: 1, err: expect.stringContaining('after') });
    expect(await varve(['changes', '--url', 'nonsense'])).toMatchObject({ code: 2 });
  });
});

describe('varve diff', () => {
  it('tells entities that differ, and exits with 1 where any does', async () => {
    const { code, out } = await server.varve(['diff', 'customers', '--from', ids[1]!, '--to', ids[3]!]);
    expect(code).toBe(1);
    expect(out.trim().split('\n').sort()).toEqual([`- customers/bob  ${ids[1]}`, `~ customers/alice  ${ids[0]} -> ${ids[2]}`]);
    expect(await server.varve(['diff', '--from', ids[3]!, '--to', ids[3]!])).toMatchObject({ code: 0, out: '' });
  });

  it('tells how one body changed', async () => {
    const { code, out } = await server.varve(['diff', 'customers', 'alice', '--from', ids[0]!, '--to', ids[2]!, '--json']);
    expect(code).toBe(1);
    expect(lines(out)).toEqual(
      expect.arrayContaining([
        { op: 'replace', path: '/city', value: 'Bergen' },
        { op: 'add', path: '/tags/-', value: 2 },
      ]),
    );
  });

  it('wants to know from where', async () => {
    expect(await server.varve(['diff'])).toMatchObject({ code: 2, err: expect.stringContaining('--from') });
  });
});

describe('varve shards', () => {
  it('tells positions and roots', async () => {
    const [shard] = lines((await server.varve(['shards', '--roots', '--json'])).out);
    const root = await server.db.root(1);
    expect(shard).toMatchObject({ shard: 1, role: 'owner', state: 'open', root: root?.root });
    const { out } = await server.varve(['shards', '--roots']);
    expect(out).toContain(root?.root);
  });
});
