/** `varve verify`, `scrub` and `repair` against real servers: what they say, to people and to machines, and exit codes. */

import { closeSync, cpSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordId } from '../../engine/index.js';
import { loadConfig, type Serving, serve } from '../../server/index.js';
import { varve as runVarve, type TestServer, temporaryDirectory, testServer } from './cli.js';

let server: TestServer;
beforeAll(async () => {
  server = await testServer({ segmentBytes: 8192, upkeep: { automatic: false } });
  for (let version = 0; version < 60; version++) await server.db.put('things', `k${version}`, { version, pad: 'x'.repeat(200) });
});
afterAll(() => server.remove());

const varve = (...args: string[]) => server.varve(args);

describe('varve verify, scrub and repair', () => {
  it('says that all is well, and exits with 0', async () => {
    for (const verb of ['verify', 'scrub', 'repair']) expect(await varve(verb)).toEqual({ code: 0, out: 'nothing is damaged\n', err: '' });
    const { code, out } = await varve('verify', '--deep', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ state: 'done', result: { replicas: [], damaged: 0, findings: [] } });
  });

  it('tells a copy that does not answer, and exits with 1', async () => {
    const told = await varve('verify', '--peer', 'http://127.0.0.1:1');
    expect(told.code).toBe(1);
    expect(told.out).toContain('shard 1 unreachable: http://127.0.0.1:1');
  });

  it('is wrong usage with a shard that is no number, and fails for one that is not there', async () => {
    expect((await varve('verify', '--shard', 'x')).code).toBe(2);
    expect((await varve('verify', '--shard', '7')).code).toBe(1);
  });

  it('tells damage, and exits with 1', async () => {
    flipBit(path.join(server.data, 'shards/0001/log'), 2000);
    const told = await varve('scrub');
    expect(told.code).toBe(1);
    expect(told.out).toMatch(/^shard 1 damaged: .+\.seg: bytes fail their checksum$/m);
    expect(told.out).toMatch(/1 place damaged, 0 repaired: varve repair\n$/);
    const repair = await varve('repair');
    expect(repair.code).toBe(1);
    expect(repair.out).toMatch(/^shard 1 unrepairable 0001[0-9a-f]{12}.*: there is no other copy to ask$/m);
  });
});

describe('varve verify of two servers', () => {
  const directory = temporaryDirectory();
  const servings: Serving[] = [];
  afterAll(async () => {
    for (const serving of servings) await serving.stop();
    directory.remove();
  });

  const start = async (name: string, more: Record<string, string> = {}): Promise<Serving> => {
    const data = path.join(directory.path, name);
    const config = loadConfig({ flags: { data, listen: '127.0.0.1:0', logLevel: 'silent', ...more }, env: {}, readText: () => '' });
    const serving = await serve(config, { signals: null });
    await serving.ready;
    servings.push(serving);
    return serving;
  };

  it('tells which records differ, and exits with 1', async () => {
    const first = await start('a');
    for (let i = 0; i < 50; i++) await (await first.ready).put('things', `k${i}`, i);
    await first.stop();
    cpSync(path.join(directory.path, 'a'), path.join(directory.path, 'b'), { recursive: true });
    const [a, b] = [await start('a'), await start('b')];
    const verify = (...args: string[]) => runVarve(['verify', '--peer', b.url, ...args], { env: { VARVE_URL: a.url } });
    const same = await verify();
    expect(same.out).toMatch(/^COPY .+\n\S+ +1 +\d+ +same .+\nnothing is damaged\n$/);
    expect(same.code).toBe(0);
    const { id } = await (await a.ready).put('things', 'k7', 'here');
    await (await b.ready).put('things', 'k7', 'there');
    const told = await verify();
    expect(told.code).toBe(1);
    expect(told.out).toContain('1 differ');
    expect(told.out).toContain(`${b.url} differs in ${id}\n`);
    const { code, out } = await verify('--json');
    expect(code).toBe(1);
    expect(JSON.parse(out).result.replicas).toMatchObject([{ url: b.url, same: false, differing: [id] }]);
  });

  it('mends a copy from the server that it follows', async () => {
    const owner = await start('owner', { segmentBytes: '4096' });
    for (let i = 0; i < 80; i++) await (await owner.ready).put('things', `k${i}`, { i, pad: 'x'.repeat(100) });
    const first = await start('copy', { follow: owner.url, segmentBytes: '4096' });
    await until(async () => (await first.ready).replica(1).visibleSeq >= (await owner.ready).replica(1).visibleSeq);
    await first.stop();
    flipBit(path.join(directory.path, 'copy/shards/0001/log'), 1500);
    const copy = await start('copy', { follow: owner.url, segmentBytes: '4096' });
    const env = { VARVE_URL: copy.url };
    const told = await runVarve(['repair', '--deep'], { env });
    expect(told.out).toMatch(/(?:1 place damaged, 1 repaired|nothing is damaged)\n$/);
    expect(told.code).toBe(0);
    expect((await runVarve(['verify', '--deep'], { env })).out).toMatch(/ same .+\nnothing is damaged\n$/);
    const db = await copy.ready;
    for (let seq = 1; seq <= 80; seq++) expect(db.record(recordId(1, seq))?.body).toMatchObject({ i: seq - 1 });
  });
});

/** Of the first segment there. */
function flipBit(log: string, at: number): void {
  const file = openSync(path.join(log, readdirSync(log).sort()[0]!), 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  writeSync(file, Buffer.of(byte[0]! ^ 4), 0, 1, at);
  closeSync(file);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}
