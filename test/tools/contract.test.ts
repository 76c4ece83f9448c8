/** What the contract says of the command line and the library as they are installed, and no other test holds. */
import { execFileSync } from 'node:child_process';
import { PassThrough, Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../engine/index.js';
import { Access, readTokens, startServer } from '../../server/index.js';
import { nodeDisk } from '../../tools/disk.js';
import { run } from '../../tools/program.js';
import { manifest, ROOT } from '../house/repository.js';
import { type TestServer, temporaryDirectory, testServer, varve } from './cli.js';

const ESCAPE = '\u001b[';

describe('online verbs', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await testServer();
    for (const n of [1, 2]) await server.varve(['put', 'c', 'k', String(n)]);
  });
  afterAll(() => server.remove());

  it('take --url, --token and --json, each of them', async () => {
    for (const verb of ['put', 'get', 'delete', 'history', 'list', 'changes', 'diff', 'shards', 'load', 'dump']) {
      const { code, out } = await varve([verb, '--help']);
      expect(code, verb).toBe(0);
      for (const flag of ['--url', '--token', '--json', 'VARVE_URL', 'VARVE_TOKEN']) expect(out, verb).toContain(flag);
    }
  });

  it('show a token, of the flag before that of the environment', async () => {
    const folder = temporaryDirectory();
    const data = `${folder.path}/data`;
    const db = await open(data);
    const { token } = JSON.parse((await varve(['token', 'create', '--role', 'write', '--data', data, '--json'])).out);
    const guarded = await startServer({ db, listen: '127.0.0.1:0', access: new Access(readTokens(nodeDisk, `${data}/tokens.json`)) });
    const env = { VARVE_URL: guarded.url };
    expect(await varve(['put', 'c', 'k', '1'], { env })).toMatchObject({ code: 1, out: '' });
    expect(await varve(['put', 'c', 'k', '1'], { env: { ...env, VARVE_TOKEN: token } })).toMatchObject({ code: 0 });
    expect(await varve(['put', 'c', 'k', '2', '--token', token], { env: { ...env, VARVE_TOKEN: 'wrong' } })).toMatchObject({ code: 0 });
    expect(await varve(['get', 'c', 'k', '--token', 'wrong'], { env: { ...env, VARVE_TOKEN: token } })).toMatchObject({ code: 1 });
    await guarded.close();
    await db.close();
    folder.remove();
  });

  it('write JSON alone where asked to, and colour for a terminal that has not said no', async () => {
    const onTerminal = async (args: string[], env: Record<string, string> = {}) => {
      const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
      const stderr = Object.assign(new PassThrough(), { isTTY: true });
      const code = await run(args, { stdin: Readable.from([]), stdout, stderr, env: { VARVE_URL: server.url, ...env } });
      stdout.end();
      return { code, out: String(Buffer.concat((await stdout.toArray()) as Buffer[])) };
    };
    const diff = ['history', 'c', 'k'];
    expect((await onTerminal(diff)).out).toContain(ESCAPE);
    expect((await onTerminal(diff, { NO_COLOR: '1' })).out).not.toContain(ESCAPE);
    expect((await server.varve(diff)).out).not.toContain(ESCAPE);
    const { out } = await onTerminal([...diff, '--json']);
    expect(out).not.toContain(ESCAPE);
    for (const line of out.trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
  });
});

describe('the library', { timeout: 120_000 }, () => {
  it('is imported by its name and that of the client, and reads synchronously', () => {
    execFileSync(process.execPath, ['tools/build/bootstrap.mjs', 'build'], { cwd: ROOT, stdio: 'pipe' });
    const folder = temporaryDirectory();
    const program = `
      import { open } from 'varve';
      import { Client } from 'varve/client';
      const db = await open(process.argv[1]);
      const { id } = await db.put('c', 'k', { n: 1 });
      await db.put('c', 'k', { n: 2 });
      const [now, then] = [db.now(), await db.asOf(id)];
      const told = [now.get('c', 'k').body.n, then.get('c', 'k').body.n, Buffer.from(now.get('c', 'k').bodyBytes).toString(), typeof Client];
      await db.close();
      console.log(JSON.stringify(told));
    `;
    const told = execFileSync(process.execPath, ['--input-type=module', '-e', program, `${folder.path}/data`], { cwd: ROOT });
    folder.remove();
    expect(JSON.parse(told.toString())).toEqual([2, 1, '{"n":2}', 'function']);
    expect(Object.keys(manifest().exports)).toEqual(expect.arrayContaining(['.', './client']));
    expect(manifest().bin).toHaveProperty('varve');
  });
});
