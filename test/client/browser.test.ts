/**
 * The client where it was never bundled: compiled as it is published, loaded by a browser as modules, on one origin with a real server.
 * And what browsers bring of their own: an EventSource on the feed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifest, ROOT, readText, repositoryFiles } from '../house/repository.js';
import { importsOf } from '../house/source-text.js';
import { TestServer } from '../server/support.js';
import { launchBrowser } from './browser.js';
import { Relay } from './support.js';

const CLIENT = 'server/client';

/** Compiles the client alone, against the types of a browser and none of Node. */
function compile(into: string): void {
  const config = join(into, 'tsconfig.json');
  const compilerOptions = {
    rootDir: join(ROOT, CLIENT),
    outDir: join(into, 'client'),
    lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'],
    types: [],
    incremental: false,
    tsBuildInfoFile: null,
  };
  writeFileSync(config, JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: [join(ROOT, CLIENT)] }));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', config], { stdio: 'pipe' });
}

describe('the client package', () => {
  it('imports nothing but its own files, by paths that a browser resolves', () => {
    const wrong = repositoryFiles()
      .filter((path) => path.startsWith(`${CLIENT}/`))
      .flatMap((path) => importsOf(readText(path)).map(({ specifier }) => ({ path, specifier })))
      .filter(({ specifier }) => !/^\.\/[a-z0-9-]+\.js$/.test(specifier));
    expect(wrong).toEqual([]);
  });

  it('is what `varve/client` names', () => {
    expect(manifest().exports['./client']).toEqual({ types: `./dist/${CLIENT}/index.d.ts`, default: `./dist/${CLIENT}/index.js` });
  });
});

describe('in a browser', { timeout: 120_000 }, () => {
  let folder: string;
  let browser: Browser;
  let s: TestServer;
  let relay: Relay;
  let page: Page;
  const errors: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'varve-client-'));
    compile(folder);
    s = await TestServer.start({ open: { shards: 2 } });
    relay = await Relay.start(s.server.url);
    const files = new Map(
      readdirSync(join(folder, 'client')).map((name) => [`/client/${name}`, readFileSync(join(folder, 'client', name))]),
    );
    relay.meddle = (req, res) => {
      const file = req.url === '/page' ? Buffer.from('<!doctype html><title>client</title>') : files.get(req.url ?? '');
      if (file === undefined) return false;
      res.writeHead(200, { 'Content-Type': req.url === '/page' ? 'text/html' : 'text/javascript' });
      res.end(file);
      return true;
    };
    browser = await launchBrowser();
    page = await browser.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`${relay.url}/page`);
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await relay?.stop();
    await s?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the body of an async function in the page, `varve` being a client of its own origin. */
  function inPage<T>(body: string): Promise<T> {
    return page.evaluate(`(async () => {
      const { Client, isProblem, verifyProof } = await import('/client/index.js');
      const varve = new Client({ url: location.origin, backoffMs: { first: 1, most: 20 } });
      ${body}
    })()`);
  }

  it('inserts, reads and lists', async () => {
    const told = await inPage(`
      const first = await varve.put('people', 'é/1', { city: 'Oslo' }, { expect: null });
      const refused = await varve.put('people', 'é/1', 1, { expect: null }).catch((error) => isProblem(error, 'precondition-failed'));
      await varve.put('people', 'é/1', { city: 'Bergen' }, { expect: first.id });
      const outcomes = [];
      for await (const outcome of varve.insertMany([{ collection: 'people', key: 'a', body: 1 }, { collection: '!', key: 'b', body: 1 }])) outcomes.push(outcome);
      const keys = [];
      for await (const { key } of varve.list('people', { pageSize: 1 })) keys.push(key);
      const cities = [];
      for await (const { body } of varve.history('people', 'é/1')) cities.push(body.city);
      return { refused, keys, cities, outcomes: outcomes.map((outcome) => outcome.error?.slug ?? 'ok') };
    `);
    expect(told).toEqual({ refused: true, keys: ['a', 'é/1'], cities: ['Bergen', 'Oslo'], outcomes: ['ok', 'invalid'] });
  });

  it('checks proofs', async () => {
    const told = await inPage(`
      const { id, shard } = await varve.put('proven', 'ü', { n: [1, 0.1, 1e21], s: 'ü\\u2028' });
      const { root } = await varve.root(shard);
      const proof = await varve.proof(id);
      const forged = { ...proof, record: { ...proof.record, body: { n: [1, 0.1, 1e21], s: 'u' } } };
      return [verifyProof(proof, root), verifyProof(forged, root)];
    `);
    expect(told).toEqual([true, false]);
  });

  it('follows the feed through a connection that is cut', async () => {
    const following = inPage(`
      const told = [];
      for await (const { body } of varve.changes({ collection: 'live' })) {
        told.push(body);
        document.title = 'told ' + told.length;
        if (body === 'last') return told;
      }
    `);
    for (let n = 1; n <= 3; n++) {
      await s.db.put('live', 'k', n);
      await page.waitForFunction(`document.title === 'told ${n}'`);
      relay.cut();
    }
    await s.db.put('live', 'k', 'last');
    expect(await following).toEqual([1, 2, 3, 'last']);
  });

  it('hears the feed as an EventSource, which resumes by itself', async () => {
    const hearing = inPage(`
      const told = [];
      const source = new EventSource('/v1/changes?collection=sse');
      return new Promise((resolve) => {
        source.onmessage = ({ data, lastEventId }) => {
          const { body } = JSON.parse(data);
          told.push(body);
          document.title = 'heard ' + told.length;
          if (body !== 'last') return;
          source.close();
          resolve({ told, resumable: lastEventId !== '' });
        };
      });
    `);
    await s.db.put('sse', 'k', 1);
    await page.waitForFunction(`document.title === 'heard 1'`);
    relay.cut();
    await s.db.put('sse', 'k', 2);
    await s.db.put('sse', 'k', 'last');
    expect(await hearing).toEqual({ told: [1, 2, 'last'], resumable: true });
  });

  it('threw nothing on the way', () => {
    expect(errors).toEqual([]);
  });
});
