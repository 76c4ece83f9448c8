/** What was erased does not come back by way of a backup: looked for in every byte, and in what packed blocks unpack to. */
import { cpSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Database, open } from '../../engine/index.js';
import { decodedBytes } from '../support/decoded.js';
import { type TestServer, temporaryDirectory, testServer, varve } from './cli.js';

const CANARY = 'canary-of-the-erased-4711';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function scratch(): string {
  const directory = temporaryDirectory();
  cleanups.push(() => directory.remove());
  return directory.path;
}

/** Ann has versions in sealed segments and in the active one; half of the segments are packed. */
async function started(): Promise<TestServer> {
  const server = await testServer({ segmentBytes: 20_000, shards: 2, upkeep: { automatic: false } });
  cleanups.push(() => server.remove());
  await fill(server.db, 0, 200);
  await server.db.setRetention('things', { keep: 'last', versions: 2 });
  await server.db.jobEnded(server.db.compact({ force: true }).id);
  await fill(server.db, 200, 300);
  return server;
}

async function fill(db: Database, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    await db.put('things', `k${i % 40}`, { i, pad: 'x'.repeat(200) });
    if (i % 9 === 0) await db.put('people', 'ann', { i, name: CANARY });
  }
  await db.put('people', 'ann', { name: CANARY, last: to });
}

async function erase(db: Database): Promise<void> {
  const { id } = await db.erase({ collection: 'people', key: 'ann', reason: 'asked to' });
  expect((await db.jobEnded(id))?.state).toBe('done');
}

/** Files below `directory` that say it. */
function whoSays(directory: string, text: string): string[] {
  const found = (readdirSync(directory, { recursive: true }) as string[]).map((name) => path.join(directory, name));
  const files = { contents: (file: string) => readFileSync(file) };
  return found.filter((file) => statSync(file).isFile() && decodedBytes(files, file).some((bytes) => bytes.includes(text)));
}

async function bodiesOf(directory: string): Promise<readonly unknown[]> {
  const db = await open(directory, { upkeep: { automatic: false } });
  const bodies = db
    .now()
    .history('people', 'ann')
    .records.map(({ body, erased }) => (erased ? 'erased' : body));
  expect(db.now().list('things')).toHaveLength(40);
  await db.close();
  return bodies;
}

describe('after an erasure', () => {
  it('a backup that is brought up to date holds none of the bodies any more', async () => {
    const server = await started();
    const copy = path.join(scratch(), 'copy');
    expect((await server.varve(['backup', copy])).code).toBe(0);
    expect(whoSays(copy, CANARY).length).toBeGreaterThan(1);
    await erase(server.db);
    expect((await server.varve(['backup', copy])).code).toBe(0);
    expect(whoSays(copy, CANARY)).toEqual([]);
    const manifest = JSON.parse(readFileSync(path.join(copy, 'backup.json'), 'utf8'));
    expect(manifest.erasures).toEqual([{ collection: 'people', key: 'ann', reason: 'asked to', seq: expect.any(Number), done: true }]);
    const target = path.join(scratch(), 'data');
    expect(await varve(['restore', copy, target])).toMatchObject({ code: 0 });
    expect(new Set(await bodiesOf(target))).toEqual(new Set(['erased']));
  });

  it.each(['a server', 'a newer backup', 'a data directory'])(
    'an older backup is restored without the bodies, as %s tells',
    async (from) => {
      const server = await started();
      const directory = scratch();
      const copy = path.join(directory, 'copy');
      expect((await server.varve(['backup', copy])).code).toBe(0);
      await erase(server.db);
      // Whoever never lived in the backup does it no harm.
      await server.db.put('people', 'bob', { name: 'bob' });
      await server.db.jobEnded((await server.db.erase({ collection: 'people', key: 'bob', reason: 'too' })).id);
      let where = server.url;
      if (from === 'a newer backup') {
        where = path.join(directory, 'newer');
        expect((await server.varve(['backup', where])).code).toBe(0);
      }
      if (from === 'a data directory') {
        await server.close();
        where = server.data;
      }
      const target = path.join(directory, 'data');
      const ran = await varve(['restore', copy, target, '--erasures-from', where, '--json']);
      expect([ran.code, ran.err, JSON.parse(ran.out).erased]).toEqual([0, '', 1]);
      expect(whoSays(target, CANARY)).toEqual([]);
      expect(new Set(await bodiesOf(target))).toEqual(new Set(['erased']));
      expect(readdirSync(directory).some((name) => name.endsWith('.restoring'))).toBe(false);
    },
  );

  it('a restore that hears of none says so, and brings the bodies back', async () => {
    const server = await started();
    const directory = scratch();
    const copy = path.join(directory, 'copy');
    await server.varve(['backup', copy]);
    await erase(server.db);
    const ran = await varve(['restore', copy, path.join(directory, 'data')]);
    expect(ran.code).toBe(0);
    expect(ran.err + ran.out).toContain('is not known here: see --erasures-from');
    expect(whoSays(path.join(directory, 'data'), CANARY).length).toBeGreaterThan(0);
  });

  it('one that its backup knows of as begun is carried out by the restore', async () => {
    const server = await started();
    const directory = scratch();
    const copy = path.join(directory, 'copy');
    // The event is logged and the job has not done its work: as after a crash between the two.
    const { id } = await server.db.erase({ collection: 'people', key: 'ann', reason: 'asked to' });
    server.db.cancelJob(id);
    await server.db.jobEnded(id);
    await server.varve(['backup', copy]);
    expect(whoSays(copy, CANARY).length).toBeGreaterThan(0);
    const target = path.join(directory, 'data');
    expect((await varve(['restore', copy, target])).code).toBe(0);
    expect(whoSays(target, CANARY)).toEqual([]);
  });

  it('erasures of another database, or of nowhere, are refused before anything is copied', async () => {
    const server = await started();
    const other = await testServer();
    cleanups.push(() => other.remove());
    const directory = scratch();
    const copy = path.join(directory, 'copy');
    await server.varve(['backup', copy]);
    const target = path.join(directory, 'data');
    expect(await varve(['restore', copy, target, '--erasures-from', other.url])).toMatchObject({ code: 1 });
    expect(await varve(['restore', copy, target, '--erasures-from', directory])).toMatchObject({ code: 2 });
    expect(existsSync(target)).toBe(false);
    // What is there already stays, whatever it is.
    cpSync(copy, target, { recursive: true });
    await erase(server.db);
    expect((await varve(['restore', copy, target, '--erasures-from', server.url])).code).not.toBe(0);
    expect(existsSync(path.join(target, 'backup.json'))).toBe(true);
  });
});
