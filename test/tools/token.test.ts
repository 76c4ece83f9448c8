/** `varve token`: the file it keeps, what it shows, and that a server started with it asks for tokens. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Access, readTokens, startServer } from '../../server/index.js';
import { nodeDisk } from '../../tools/disk.js';
import { temporaryDirectory, varve } from './cli.js';

let directory: ReturnType<typeof temporaryDirectory>;
let data: string;
let file: string;
beforeEach(() => {
  directory = temporaryDirectory();
  data = path.join(directory.path, 'data');
  file = path.join(data, 'tokens.json');
});
afterEach(() => directory.remove());

const token = (...args: string[]) => varve(['token', ...args, '--data', data]);

describe('varve token', () => {
  it('makes a token, shows it once, and keeps its hash in a file for nobody else', async () => {
    const made = await token('create', '--role', 'write', '--collection', 'b', '--collection', 'a', '--name', 'the shop');
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^varve_[0-9a-f]{8}_[A-Za-z0-9_-]{43}\n$/) });
    expect(made.err).toMatch(/only time.*role write, only a, b/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(data).mode & 0o777).toBe(0o700);
    const secret = made.out.trim().slice(-43);
    expect(readFileSync(file, 'utf8')).not.toContain(secret);
    const listed = await token('list');
    expect(listed.out).toMatch(/write +a, b .* the shop/);
    expect(listed.out).not.toContain(secret);
    expect(JSON.parse((await token('list', '--json')).out)).toEqual({
      id: made.out.slice(6, 14),
      name: 'the shop',
      role: 'write',
      collections: ['a', 'b'],
      created: expect.any(String),
    });
    expect(readdirSync(data)).toEqual(['tokens.json']);
  });

  it('is what a server asks for, until it is revoked', async () => {
    const made = JSON.parse((await token('create', '--role', 'read', '--json')).out);
    const server = await startServer({ listen: '127.0.0.1:0', access: new Access(readTokens(nodeDisk, file)) });
    const status = async (text: string) =>
      (await fetch(`${server.url}/v1/shards`, { headers: { authorization: `Bearer ${text}` } })).status;
    expect(await status(made.token)).toBe(503); // let in: there is no database yet
    const other = (await token('create', '--role', 'admin')).out.trim();
    expect(await token('revoke', made.token)).toMatchObject({ code: 0, err: expect.stringContaining('1 token left') });
    server.setTokens(readTokens(nodeDisk, file));
    expect([await status(made.token), await status(other)]).toEqual([401, 503]);
    expect(await token('revoke', made.id)).toMatchObject({ code: 1, err: `varve: there is no token ${made.id}\n` });
    await server.close();
  });

  it('refuses wrong use with 2, and changes nothing', async () => {
    await token('create', '--role', 'read');
    const before = readFileSync(file, 'utf8');
    for (const args of [
      ['create'],
      ['create', '--role', 'root'],
      ['create', '--role', 'read', '--collection', 'a/b'],
      ['create', '--role', 'replica', '--collection', 'a'],
      ['create', '--role', 'read', '--name', 'x'.repeat(201)],
      ['revoke'],
    ])
      expect((await token(...args)).code, args.join(' ')).toBe(2);
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(readdirSync(data)).toEqual(['tokens.json']);
  });

  it('does not touch a file it cannot trust, nor one that another is at', async () => {
    await token('create', '--role', 'read');
    chmodSync(file, 0o644);
    expect(await token('create', '--role', 'read')).toMatchObject({ code: 2, err: expect.stringMatching(/mode 0644.*chmod 600/) });
    chmodSync(file, 0o600);
    writeFileSync(`${file}.new`, '');
    expect(await token('revoke', 'x')).toMatchObject({ code: 1, err: expect.stringContaining('another varve token is at work') });
    expect(readdirSync(data)).toEqual(['tokens.json', 'tokens.json.new']);
  });

  it('finds the file where the environment says it is', async () => {
    const elsewhere = path.join(directory.path, 'elsewhere.json');
    const run = (env: Record<string, string>) => varve(['token', 'create', '--role', 'read'], { env });
    expect((await run({ VARVE_TOKENS: elsewhere })).code).toBe(0);
    mkdirSync(data, { mode: 0o700 });
    expect((await run({ VARVE_DATA: data })).code).toBe(0);
    expect([readTokens(nodeDisk, elsewhere)?.length, readTokens(nodeDisk, file)?.length]).toEqual([1, 1]);
  });

  it('does not stand in the way of a new database in the same directory', async () => {
    await token('create', '--role', 'read');
    const { open } = await import('../../engine/index.js');
    const db = await open(data);
    await db.put('c', 'k', 1);
    await db.close();
    const checked = await varve(['check', data]);
    expect(checked.code, checked.out + checked.err).toBe(0);
    expect((await token('list')).code).toBe(0);
  });
});
