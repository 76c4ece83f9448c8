import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestServer, testServer, varve } from './cli.js';

let server: TestServer;

beforeAll(async () => {
  server = await testServer();
});
afterAll(() => server.remove());

const json = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const put = async (...args: string[]) =>
  json((await server.varve(['put', ...args, '--json'])).out)[0] as { id: string; supersedes: string | null; refs: string[]; time: string };

describe('exit codes', () => {
  it('are 2 for wrong usage, with a hint on stderr and nothing on stdout', async () => {
    for (const args of [
      ['put'],
      ['nope'],
      ['get', 'c'],
      ['history', 'c', 'k', '--limit', '0'],
      ['list', '--nope'],
      ['put', 'c', 'k', '{bad'],
      ['put', 'c', 'k', '@/nonexistent'],
      ['get', 'c', 'k', '--url', 'nonsense'],
      ['history', 'c', 'k', '--order', 'up'],
      ['check', '/nonexistent'],
      ['inspect', '/nonexistent'],
      ['load', '/nonexistent'],
      ['serve', '--shards', 'many'],
      ['import', 'git', '.', '--files', '_x'],
    ]) {
      const ran = await server.varve(args);
      expect([args, ran.code, ran.out]).toEqual([args, 2, '']);
      expect(ran.err).not.toBe('');
    }
  });

  it('are 0 for help, which shows examples of every verb', async () => {
    for (const verb of ['serve', 'put', 'delete', 'get', 'history', 'list', 'load', 'dump', 'inspect', 'check']) {
      const { code, out } = await varve([verb, '--help']);
      expect([verb, code]).toEqual([verb, 0]);
      expect(out).toContain(`$ varve ${verb}`);
    }
    expect((await varve(['import', 'git', '--help'])).out).toContain('$ varve import git .');
    expect((await varve(['--version'])).out).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('are 1 where nobody answers, with how to start a server', async () => {
    const ran = await varve(['get', 'c', 'k', '--url', 'http://127.0.0.1:1']);
    expect(ran).toEqual({ code: 1, out: '', err: 'varve: no server at http://127.0.0.1:1: start one with `varve serve`\n' });
  });

  it('are 1 for a problem, told in one line', async () => {
    const ran = await server.varve(['get', 'nothing', 'here']);
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/^varve: Not found: .*\n$/);
  });

  it('are 1 where an answer is cut short', async () => {
    const half = createServer((_, response) => response.end('{"id":"0001000000000001","key":"a"}\n'));
    await new Promise<void>((resolve) => half.listen(0, '127.0.0.1', resolve));
    const { port } = half.address() as { port: number };
    const ran = await varve(['list', 'c', '--no-bodies', '--json', '--url', `http://127.0.0.1:${port}`]);
    half.close();
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('cut short');
  });
});

describe('put, get, history, list, delete', () => {
  it('insert versions and find them again, now and then', async () => {
    const first = await put('people', 'alice', '{"city":"Oslo"}');
    const second = await put('people', 'alice', '{"city":"Rome"}', '--if-match', first.id);
    expect(second.supersedes).toBe(first.id);
    expect((await server.varve(['get', 'people', 'alice', '--body'])).out).toBe('{"city":"Rome"}\n');
    expect((await server.varve(['get', 'people', 'alice', '--body', '--as-of', first.id])).out).toBe('{"city":"Oslo"}\n');
    expect((await server.varve(['get', 'people', 'alice'])).out).toContain('"city": "Rome"');
    const { out } = await server.varve(['history', 'people', 'alice', '--bodies']);
    expect(out.split('\n').map((line) => line.split(/ {2,}/)[0])).toEqual(['ID', second.id, first.id, '']);
    expect(json((await server.varve(['history', 'people', 'alice', '--order', 'asc', '--json'])).out).map(({ id }) => id)).toEqual([
      first.id,
      second.id,
    ]);
    const limited = await server.varve(['history', 'people', 'alice', '--limit', '1']);
    expect(limited.out.trim().split('\n')).toHaveLength(2);
    expect(limited.err).toContain('more than 1 version');
    const refused = await server.varve(['put', 'people', 'alice', '1', '--if-match', first.id]);
    expect([refused.code, refused.err.includes('expected version')]).toEqual([1, true]);
    expect((await server.varve(['put', 'people', 'alice', '1', '--if-absent'])).code).toBe(1);
    expect((await server.varve(['delete', 'people', 'alice', '--if-match', second.id])).out).toContain('deleted');
    expect((await server.varve(['get', 'people', 'alice'])).err).toContain('deleted');
    expect((await server.varve(['put', 'people', 'alice', '--delete'])).code).toBe(1);
  });

  it('take bodies from stdin and files, refs, times and keys of any kind', async () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'varve-put-')), 'body.json');
    writeFileSync(file, '[1,2]');
    const key = 'a/b c%?#é"\'';
    const target = await put('odd', key, `@${file}`, '--time', '2001-02-03T04:05:06+01:00', '--url', server.url).catch(() => undefined);
    expect(target).toBeUndefined(); // not later than the newest
    const first = await put('odd', key, `@${file}`);
    const ran = await server.varve(['put', 'odd', 'stdin', '-', '--refs', first.id, '--idempotency-key', 'once', '--json'], {
      input: '"from stdin"',
    });
    const again = await server.varve(['put', 'odd', 'stdin', '--refs', first.id, '--idempotency-key', 'once', '--json'], {
      input: '"from stdin"',
    });
    expect(again.out).toBe(ran.out);
    expect(json(ran.out)[0]).toMatchObject({ refs: [first.id] });
    expect((await server.varve(['get', 'odd', key, '--body'])).out).toBe('[1,2]\n');
    rmSync(path.dirname(file), { recursive: true });
  });

  it('list collections and entities, streamed and by pages', async () => {
    const lines = Array.from({ length: 2500 }, (_, i) => `{"collection":"many","key":"k${String(i).padStart(5, '0')}","body":${i}}`);
    expect((await server.varve(['load', '-'], { input: lines.join('\n') })).out).toBe('inserted 2,500 records from 2,500 lines\n');
    const all = json((await server.varve(['list', 'many', '--json'])).out);
    expect(all.map(({ body }) => body)).toEqual(Array.from({ length: 2500 }, (_, i) => i));
    const some = json((await server.varve(['list', 'many', '--limit', '1200', '--after', 'k00099', '--no-bodies', '--json'])).out);
    expect([some.length, some[0]?.['key'], some[1199]?.['key']]).toEqual([1200, 'k00100', 'k01299']);
    const table = (await server.varve(['list', 'many', '--prefix', 'k0000'])).out.trim().split('\n');
    expect([table.length, table[0]?.split(/ {2,}/)]).toEqual([11, ['ID', 'TIME', 'KEY', 'BODY']]);
    expect((await server.varve(['list'])).out).toMatch(/many +key +2,500 +2,500\n/);
  });

  it('never let control characters from the data reach a terminal', async () => {
    await put('evil', 'key', JSON.stringify('\u001b[31mred\u0007'));
    expect((await server.varve(['list', 'evil'])).out).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });
});
