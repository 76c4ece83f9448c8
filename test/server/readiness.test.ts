/** /readyz while shards are in trouble: 503 with reasons that name no file, every check on request, and ready again by itself. */
import { afterEach, expect, it } from 'vitest';
import { TestServer } from './support.js';

const SECOND = 1_000_000;
let s: TestServer;
afterEach(() => s.stop());

const PHASE = { name: 'phase', state: 'ready', ok: true };

it('says which shard takes no writes, and that it does again', async () => {
  s = await TestServer.start({ open: { shards: 2 } });
  await s.put('a', 1);
  const stuck = s.db.shardOf('c', 'a');
  const sound = 3 - stuck;
  s.platform.failOn('sync', { kind: 'failed-sync' }, { times: 2 });
  expect((await s.put('a', 2)).status).toBe(503);
  const reason = `shard ${stuck} is read-only: a write to its disk failed`;
  const brief = await s.get('/readyz');
  expect(brief).toMatchObject({ status: 503, json: { type: 'urn:varve:read-only', reasons: [reason] } });
  expect(brief.headers['retry-after']).toMatch(/^\d+$/);
  expect(brief.json.checks).toBeUndefined();
  const verbose = await s.get('/readyz?verbose');
  expect(verbose.json.checks).toEqual(
    [PHASE, { name: `shard ${stuck}`, state: 'read-only', ok: false, reason }, { name: `shard ${sound}`, state: 'open', ok: true }].sort(
      (a, b) => (a.name < b.name ? -1 : 1),
    ),
  );
  expect((await s.get('/v1/collections/c/entities/a')).json.body).toBe(1);
  await s.platform.advanceAndSettle(30 * SECOND);
  expect((await s.get('/readyz')).json).toEqual({ status: 'ready' });
});

it('is not ready with a damaged shard, and tells neither file nor offset', async () => {
  s = await TestServer.start();
  await s.put('in the tree', 1);
  await s.db.checkpoint();
  await s.put('damaged', 'd'.repeat(2000));
  await s.put('behind', 1);
  await s.platform.advanceAndSettle(SECOND);
  const { path } = s.platform.fileList().find((file) => file.path.endsWith('.seg'))!;
  s.platform.flipBit(path, 8 * (s.platform.contents(path).indexOf('d'.repeat(100)) + 50));
  s.platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
  expect((await s.put('k', 1)).status).toBe(503);
  await s.platform.advanceAndSettle(30 * SECOND);
  const reason = 'shard 1 takes no writes: part of its log is damaged';
  const reply = await s.get('/readyz?verbose');
  expect(reply).toMatchObject({
    status: 503,
    json: { reasons: [reason], checks: [PHASE, { name: 'shard 1', state: 'damaged', ok: false, reason }] },
  });
  expect(reply.text).not.toMatch(/\.seg|shards\/|offset/);
});

it('stays ready while folds fail, and lists it', async () => {
  s = await TestServer.start();
  await s.put('a', 1);
  s.platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '/tree/' });
  await expect(s.db.checkpoint()).rejects.toThrow();
  const reply = await s.get('/readyz?verbose');
  expect(reply.status).toBe(200);
  expect(reply.json.checks).toEqual([
    PHASE,
    { name: 'shard 1', state: 'open', ok: true, reason: 'shard 1 could not fold its memory into the tree' },
  ]);
});
