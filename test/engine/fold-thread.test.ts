/**
 * The real folding thread, which only compiled files have: each test runs a small program on the built package and asks what it saw.
 * `npm test` has built by then; run alone, this builds first.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../engine/index.js';

const ROOT = join(import.meta.dirname, '../..');
const DIRECTORY = mkdtempSync(join(tmpdir(), 'varve-fold-thread-'));

const ITEMS = `(from, count) => Array.from({ length: count }, (_, i) => ({
  collection: 'c', key: 'k' + ((from + i) * 7919) % 5003, body: { n: from + i },
}))`;

/** Runs a program over `db`; what it leaves in \`said\` comes back. It may or may not close. */
function run(name: string, program: string): Record<string, unknown> {
  const source = `
    import { open } from ${JSON.stringify(pathToFileURL(join(ROOT, 'dist/engine/index.js')).href)};
    const said = { threads: 0 };
    let onThread = () => {};
    process.on('worker', (worker) => { said.threads++; onThread(worker); });
    process.on('exit', () => console.log(JSON.stringify(said)));
    const items = ${ITEMS};
    const db = await open(${JSON.stringify(join(DIRECTORY, name))}, { checkpointRecords: 8192 });
    const load = async (from, upTo) => { for (; from < upTo; from += 1000) await db.insert(items(from, Math.min(1000, upTo - from))); };
    ${program}`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8', timeout: 60_000 });
  return JSON.parse(output) as Record<string, unknown>;
}

/** The root of the same records folded in this process, from sources: without a thread. */
async function rootHere(name: string): Promise<{ root: string | undefined; entries: number | undefined }> {
  const db = await open(join(DIRECTORY, name));
  try {
    const found = await db.root(1);
    return { root: found?.root, entries: found?.entries };
  } finally {
    await db.close();
  }
}

beforeAll(() => {
  execFileSync(process.execPath, ['tools/build/bootstrap.mjs', 'build'], { cwd: ROOT, stdio: 'pipe' });
});

afterAll(() => rmSync(DIRECTORY, { recursive: true, force: true }));

describe('the folding thread', () => {
  it('makes the root that a fold without it makes, and is gone after close', async () => {
    const said = run(
      'same',
      `await load(0, 20000);
       await db.checkpoint();
       said.root = (await db.root(1)).root;
       said.checkpoint = db.shards()[0].checkpoint.root;
       said.read = db.now().get('c', 'k0').body.n;
       await db.close();
       said.left = process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort' || kind === 'Worker').length;`,
    );
    expect(said).toMatchObject({ threads: 1, left: 0, read: 15009 });
    expect(said['checkpoint']).toBe(said['root']);
    expect(await rootHere('same')).toEqual({ root: said['root'], entries: 20000 });
    // The tree it left is thrown away; the log alone must give the same root.
    rmSync(join(DIRECTORY, 'same/shards/0001/tree'), { recursive: true });
    expect((await rootHere('same')).root).toBe(said['root']);
  });

  it('is not started for little', () => {
    expect(run('little', `await load(0, 1000); await db.checkpoint(); await db.close();`)).toMatchObject({ threads: 0 });
  });

  it('does not keep a process alive that forgets to close', async () => {
    const said = run('forgotten', `await load(0, 20000); await db.checkpoint(); said.root = (await db.root(1)).root;`);
    expect(said).toMatchObject({ threads: 1 });
    expect(await rootHere('forgotten')).toEqual({ root: said['root'], entries: 20000 });
  });

  it('may be killed in the middle of a fold: the fold is done without it', async () => {
    const said = run(
      'killed',
      `onThread = (worker) => worker.terminate();
       await load(0, 40000);
       await db.checkpoint();
       said.root = (await db.root(1)).root;
       said.reason = db.shards()[0].reason ?? null;
       await db.close();`,
    );
    expect(said['threads']).toBeGreaterThan(0);
    expect(said['reason']).toBe(null);
    expect(await rootHere('killed')).toEqual({ root: said['root'], entries: 40000 });
  });
});
