import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Database, open } from '../../engine/index.js';
import { type TestServer, temporaryDirectory, testServer, varve } from './cli.js';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function start(options = {}): Promise<TestServer> {
  const server = await testServer({ segmentBytes: 20_000, ...options });
  cleanups.push(() => server.remove());
  return server;
}

function scratch(): string {
  const directory = temporaryDirectory();
  cleanups.push(() => directory.remove());
  return directory.path;
}

async function fill(db: Database, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await db.put('things', `k${i % 40}`, { i, pad: 'x'.repeat(200) });
}

async function roots(db: Database): Promise<unknown[]> {
  const all = [];
  for (let shard = 1; shard <= db.shardCount; shard++) all.push(await db.root(shard));
  return all;
}

/** Opens what was restored and compares it with the original, to the root. */
async function sameAs(target: string, original: Database): Promise<void> {
  const restored = await open(target);
  cleanups.push(() => restored.close());
  expect(await roots(restored)).toEqual(await roots(original));
  expect(restored.databaseId).toBe(original.databaseId);
  expect(restored.nodeId).not.toBe(original.nodeId);
  await restored.put('things', 'after', { restored: true });
}

function segmentsOf(directory: string): string[] {
  return (readdirSync(directory, { recursive: true }) as string[]).filter((name) => /\.seg(\.\d+)?$/.test(name)).sort();
}

describe('backup and restore', () => {
  it('copy a running database to the same roots, under load', async () => {
    const server = await start({ shards: 3 });
    await fill(server.db, 0, 300);
    const target = scratch();
    const writing = fill(server.db, 300, 500);
    expect(await server.varve(['backup', `${target}/copy`])).toMatchObject({ code: 0 });
    await writing;
    // Everything acknowledged before is in; what came meanwhile may be.
    expect((await varve(['restore', `${target}/copy`, `${target}/data`])).code).toBe(0);
    const restored = await open(`${target}/data`);
    const found = new Map((await restored.collections()).map(({ name, versions }) => [name, versions]));
    expect(found.get('things')).toBeGreaterThanOrEqual(300);
    for (let shard = 1; shard <= 3; shard++) {
      const copied = await restored.root(shard);
      expect(copied?.seq).toBeLessThanOrEqual((await server.db.root(shard))?.seq ?? 0);
    }
    await restored.close();
  });

  it('fetch only what is new the next time', async () => {
    const server = await start();
    await fill(server.db, 0, 400);
    const target = scratch();
    const first = JSON.parse((await server.varve(['backup', `${target}/copy`, '--json'])).out);
    expect(first.bytesFetched).toBe(first.bytes);
    expect(first.segments).toBeGreaterThan(4);
    await fill(server.db, 400, 420);
    const second = JSON.parse((await server.varve(['backup', `${target}/copy`, '--json'])).out);
    expect(second.bytesFetched).toBeLessThan(first.bytesFetched / 4);
    expect(second.segmentsKept).toBeGreaterThanOrEqual(first.segments - 2);
    const third = JSON.parse((await server.varve(['backup', `${target}/copy`, '--json'])).out);
    expect(third.bytesFetched).toBeLessThan(200);
    expect((await varve(['restore', `${target}/copy`, `${target}/data`])).code).toBe(0);
    await sameAs(`${target}/data`, server.db);
  });

  it('work on a directory that no server holds', async () => {
    const server = await start();
    await fill(server.db, 0, 100);
    const before = await roots(server.db);
    await server.close();
    const target = scratch();
    expect((await varve(['backup', `${target}/copy`, '--data', server.data])).code).toBe(0);
    expect((await varve(['restore', `${target}/copy`, `${target}/data`])).code).toBe(0);
    const restored = await open(`${target}/data`);
    cleanups.push(() => restored.close());
    expect(await restored.root(1, (before[0] as { seq: number }).seq).catch(() => undefined)).toBeDefined();
    expect((await restored.root(1))?.root).toBe((before[0] as { root: string }).root);
  });

  it('replace a copy that recovery of the source has left behind, without touching the old backup before the new one stands', async () => {
    const server = await start();
    await fill(server.db, 0, 30);
    const target = scratch();
    await server.varve(['backup', `${target}/copy`]);
    const [name] = segmentsOf(`${target}/copy`);
    // As if the source's segment had been cut and gone on otherwise: a byte of ours differs.
    const bytes = readFileSync(`${target}/copy/${name}`);
    bytes[300] = bytes[300]! ^ 1;
    writeFileSync(`${target}/copy/${name}`, bytes);
    await fill(server.db, 30, 60);
    const ran = await server.varve(['backup', `${target}/copy`]);
    expect(ran).toMatchObject({ code: 0 });
    expect((await varve(['restore', `${target}/copy`, `${target}/data`])).code).toBe(0);
    await sameAs(`${target}/data`, server.db);
  });

  it('refuse a damaged backup, a foreign directory, another database, and a target that is not empty', async () => {
    const server = await start();
    await fill(server.db, 0, 100);
    const target = scratch();
    await server.varve(['backup', `${target}/copy`]);
    const name = segmentsOf(`${target}/copy`)[0]!;
    const bytes = readFileSync(`${target}/copy/${name}`);
    bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 0x10;
    writeFileSync(`${target}/copy/${name}`, bytes);
    const damaged = await varve(['restore', `${target}/copy`, `${target}/data`]);
    expect(damaged.code).toBe(1);
    expect(damaged.err).toContain(path.basename(name));
    expect(existsSync(`${target}/data/node.json`)).toBe(false);

    writeFileSync(`${target}/notes.txt`, 'mine');
    expect(await server.varve(['backup', target])).toMatchObject({ code: 1, err: expect.stringContaining('something else') });
    const other = await start();
    expect(await other.varve(['backup', `${target}/copy`])).toMatchObject({ code: 1, err: expect.stringContaining('another database') });
    expect(await varve(['restore', `${target}/copy`, target])).toMatchObject({ code: 1, err: expect.stringContaining('not empty') });
    expect(await varve(['restore', `${target}/nowhere`, `${target}/x`])).toMatchObject({ code: 2 });
  });

  it('does not count bytes that a cut run has left behind', async () => {
    const server = await start();
    await fill(server.db, 0, 30);
    const target = scratch();
    await server.varve(['backup', `${target}/copy`]);
    const before = await roots(server.db);
    const name = segmentsOf(`${target}/copy`)[0]!;
    appendFileSync(`${target}/copy/${name}`, Buffer.alloc(5000, 7));
    expect((await varve(['restore', `${target}/copy`, `${target}/data`])).code).toBe(0);
    const restored = await open(`${target}/data`);
    expect(await roots(restored)).toEqual(before);
    await restored.close();
    // Shorter than the manifest says: fetched anew.
    truncateSync(`${target}/copy/${name}`, statSync(`${target}/copy/${name}`).size - 5200);
    expect((await server.varve(['backup', `${target}/copy`])).code).toBe(0);
    expect((await varve(['restore', `${target}/copy`, `${target}/data2`])).code).toBe(0);
  });
});
