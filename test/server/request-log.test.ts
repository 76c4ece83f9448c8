/** The lines of requests in the log, and the ids that answers share with them. */
import { afterEach, describe, expect, it } from 'vitest';
import { Access } from '../../server/index.js';
import type { RequestLogging } from '../../server/request-log.js';
import { memoryLog, token } from './doors-support.js';
import { TestServer } from './support.js';

let s: TestServer;
afterEach(() => s.stop());

// biome-ignore lint/suspicious/noExplicitAny: lines are looked into as they are
type Line = any;

async function start(logging?: RequestLogging, options: Parameters<typeof TestServer.start>[0] = {}): Promise<() => Line[]> {
  const log = memoryLog('info');
  s = await TestServer.start({
    ...options,
    server: { ...options.server, logger: log.logger, ...(logging === undefined ? {} : { requestLogging: logging }) },
  });
  return () => log.lines.map((line) => JSON.parse(line)).filter((line) => line.route !== undefined);
}

const ENTITY = '/v1/collections/:collection/entities/:key';
const found = () => s.get('/v1/collections/c/entities/a');

describe('lines of requests', () => {
  it('are written for every problem by default, with the id of the answer, and for nothing else', async () => {
    const lines = await start();
    await s.put('a', 1);
    const good = await found();
    expect(good.headers['varve-request-id']).toBeUndefined();
    const bad = await s.get('/v1/collections/c/entities/nobody?asOf=2020-01-01T00:00:00Z');
    expect(bad.json.requestId).toBe(bad.headers['varve-request-id']);
    await s.get('/livez');
    expect(lines()).toEqual([
      expect.objectContaining({
        level: 30,
        id: bad.json.requestId,
        method: 'GET',
        route: ENTITY,
        path: '/v1/collections/c/entities/nobody',
        status: 404,
        slug: 'not-found',
        caller: 'anyone',
        ms: expect.any(Number),
        msg: 'request refused',
      }),
    ]);
  });

  it('are written for all, with the bytes that left', async () => {
    const lines = await start('all');
    await s.put('a', 'x'.repeat(1000));
    const reply = await found();
    expect(lines().map(({ status }) => status)).toEqual([201, 200]);
    expect(lines()[1]).toMatchObject({ id: reply.headers['varve-request-id'], route: ENTITY, msg: 'request' });
    expect(lines()[1].bytes).toBeGreaterThan(1000);
    expect(lines()[1].bytes).toBeLessThan(2500);
  });

  it('are written for one in so many of what went well, and for every problem', async () => {
    const lines = await start(4);
    await s.put('a', 1);
    for (let n = 0; n < 8; n++) await found();
    for (let n = 0; n < 3; n++) await s.get('/nowhere');
    expect(lines().filter(({ status }) => status < 400)).toHaveLength(3);
    expect(lines().filter(({ status, route }) => status === 404 && route === 'unmatched')).toHaveLength(3);
  });

  it('are off where they are off, but for what went wrong inside', async () => {
    const lines = await start('off');
    await s.get('/nowhere');
    expect(lines()).toEqual([]);
    s.db.collections = () => Promise.reject(new Error('a bug, at /secret/place'));
    const reply = await s.get('/v1/collections');
    expect(reply.status).toBe(500);
    expect(reply.text).not.toContain('secret');
    expect(lines()).toEqual([
      expect.objectContaining({ level: 50, status: 500, slug: 'internal', msg: 'request failed', id: reply.json.requestId }),
    ]);
    expect(lines()[0].err.message).toContain('a bug');
  });

  it('have the public id of a token, and nothing that is secret', async () => {
    const admin = token('admin');
    const lines = await start('all', { server: { access: new Access([admin.record]) } });
    const secret = admin.text.slice(-20);
    await s.put('a', { password: 'hunter2' }, { ...admin.headers, 'Idempotency-Key': 'private-key' });
    await s.get('/v1/collections/c/entities/a?view=body', admin.headers);
    await s.get('/v1/collections', { Authorization: `${admin.headers.Authorization}x` });
    const text = JSON.stringify(lines());
    expect(lines().map(({ caller }) => caller)).toEqual([admin.record.id, admin.record.id, 'unknown']);
    for (const hidden of [secret, 'hunter2', 'private-key', 'Bearer']) expect(text).not.toContain(hidden);
  });

  it('keep what strangers write on one line, and short', async () => {
    const log = memoryLog('info');
    s = await TestServer.start({ server: { logger: log.logger } });
    await s.get(`/v1/x${'%0A%1b'.repeat(500)}?token=never-logged`);
    const lines = log.lines.filter((line) => line.includes('"unmatched"'));
    expect(lines).toHaveLength(1);
    expect(lines[0]!.slice(0, -1)).not.toMatch(/[\n\u001b]/);
    expect(lines[0]!.length).toBeLessThan(600);
    expect(lines[0]).not.toContain('never-logged');
  });

  it('give every request another id', async () => {
    await start('all');
    const ids = new Set<unknown>();
    for (let n = 0; n < 20; n++) ids.add((await s.get('/livez')).headers['varve-request-id']);
    expect(ids.size).toBe(20);
  });
});
