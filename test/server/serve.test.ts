/** `varve serve` from its first moment to its last: recovering, ready, draining, gone. */
import { EventEmitter, once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { type Database, type OpenOptions, openWith, VarveError } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { loadConfig, type ServeOptions, type Serving, serve, startServer } from '../../server/index.js';
import { readReply, TestServer } from './support.js';

class Signals extends EventEmitter {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

function config(env: Record<string, string> = {}) {
  return loadConfig({ flags: { listen: '127.0.0.1:0', logLevel: 'silent' }, env, readText: () => '' });
}

async function ask(
  url: string,
  path: string,
  agent?: Agent,
): Promise<{ status: number; json: { [name: string]: unknown }; headers: IncomingMessage['headers'] }> {
  const req = request(url, { path, ...(agent === undefined ? {} : { agent }) });
  req.end();
  return readReply(((await once(req, 'response')) as [IncomingMessage])[0]);
}

interface Opening {
  readonly options: OpenOptions;
  readonly signals: Signals;
  readonly serving: Serving;
  finish(): Promise<Database>;
  fail(error: Error): void;
}

/** Serves with a database that opens when told to. */
async function opening(options: Partial<ServeOptions> = {}, env: Record<string, string> = {}): Promise<Opening> {
  const signals = new Signals();
  let resolve = (_db: Database) => {};
  let fail = (_error: Error) => {};
  let asked: OpenOptions = {};
  const serving = await serve(config(env), {
    signals,
    openDatabase: (_dir, openOptions) => {
      asked = openOptions;
      return new Promise((yes, no) => {
        resolve = yes;
        fail = no;
      });
    },
    ...options,
  });
  return {
    options: asked,
    signals,
    serving,
    fail: (error) => fail(error),
    async finish() {
      const db = await openWith(new MemoryPlatform({ autoAdvanceMicros: 1 }), asked);
      resolve(db);
      return serving.ready;
    },
  };
}

describe('serving', () => {
  it('answers while the database is being opened, and is ready then', async () => {
    const { serving, finish, options } = await opening({}, { VARVE_SHARDS: '2' });
    expect(options.shards).toBe(2);
    expect((await ask(serving.url, '/livez')).status).toBe(200);
    expect(await ask(serving.url, '/readyz')).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:recovering', reasons: ['the database is being opened'] },
      headers: { 'retry-after': '1' },
    });
    expect(await ask(serving.url, '/v1/shards')).toMatchObject({ status: 503, json: { type: 'urn:varve:recovering' } });
    await finish();
    expect((await ask(serving.url, '/readyz')).status).toBe(200);
    expect((await ask(serving.url, '/v1/shards')).status).toBe(200);
    expect(await serving.stop()).toBe(0);
  });

  it('ends with 1 where the database cannot be opened', async () => {
    const { serving, fail, signals } = await opening();
    fail(new VarveError('LOCKED', 'held by another process', { path: 'lock.sqlite' }));
    await expect(serving.ready).rejects.toMatchObject({ code: 'LOCKED' });
    expect(await serving.stopped).toBe(1);
    expect(signals.listenerCount('SIGTERM')).toBe(0);
    await expect(fetch(serving.url)).rejects.toThrow();
  });

  it.each(['SIGTERM', 'SIGINT'])('ends with 0 on %s, with the database closed', async (signal) => {
    const { serving, finish, signals } = await opening();
    const db = await finish();
    signals.emit(signal);
    expect(await serving.stopped).toBe(0);
    expect(() => db.now()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    expect(signals.exits).toEqual([]);
    expect(signals.listenerCount('SIGTERM') + signals.listenerCount('SIGINT')).toBe(0);
  });

  it('waits for an opening under way before it ends, unless a second signal forces it', async () => {
    const { serving, finish, signals } = await opening();
    signals.emit('SIGTERM');
    expect(signals.exits).toEqual([]);
    signals.emit('SIGINT');
    expect(signals.exits).toEqual([1]);
    await finish();
    expect(await serving.stopped).toBe(0);
  });
});

describe('shutting down', () => {
  it('finishes what is under way, refuses what is new, and says it is not ready', async () => {
    const s = await TestServer.start();
    const agent = new Agent({ keepAlive: true });
    await ask(s.server.url, '/livez', agent);
    const req = request(s.server.url, {
      path: '/v1/collections/c/entities/k',
      method: 'PUT',
      headers: { 'Content-Type': 'application/json', 'Content-Length': 7, Expect: '100-continue' },
    });
    req.flushHeaders();
    await once(req, 'continue');
    const closed = s.server.close();
    expect(s.server.phase).toBe('draining');
    expect(await ask(s.server.url, '/readyz')).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:draining', reasons: ['the server is shutting down'] },
    });
    expect((await ask(s.server.url, '/livez')).status).toBe(200);
    const refused = await ask(s.server.url, '/v1/shards', agent);
    expect(refused).toMatchObject({
      status: 503,
      json: { type: 'urn:varve:draining' },
      headers: { connection: 'close', 'retry-after': '5' },
    });
    req.end('{"a":1}');
    expect(await readReply(((await once(req, 'response')) as [IncomingMessage])[0])).toMatchObject({ status: 201 });
    await closed;
    await expect(fetch(s.server.url)).rejects.toThrow();
    expect(s.db.now().get('c', 'k')?.body).toEqual({ a: 1 });
    agent.destroy();
    await s.stop();
  });

  it('ends a stream of inserts after the lines it has begun, without its last line', async () => {
    const s = await TestServer.start();
    const req = request(s.server.url, { path: '/v1/records', method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' } });
    req.on('error', () => {});
    req.write('{"collection":"c","key":"k","body":1}\n');
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    const answers = res[Symbol.asyncIterator]();
    expect(JSON.parse(String((await answers.next()).value))).toMatchObject({ line: 1 });
    await s.server.close();
    expect(await answers.next().catch(() => ({ done: true }))).toMatchObject({ done: true });
    expect(s.db.now().get('c', 'k')?.body).toBe(1);
    req.destroy();
    await s.stop();
  });

  it('does not wait for ever', async () => {
    const s = await TestServer.start({ limits: { shutdownTimeoutMs: 50 } });
    const req = request(s.server.url, {
      path: '/v1/collections/c/entities/k',
      method: 'PUT',
      headers: { 'Content-Type': 'application/json', 'Content-Length': 7, Expect: '100-continue' },
    });
    const cut = expect(once(req, 'response')).rejects.toThrow();
    req.flushHeaders();
    await once(req, 'continue');
    await s.server.close();
    await cut;
    await s.stop();
  });

  it('can be asked for twice, and before there is a database', async () => {
    const server = await startServer({ listen: '127.0.0.1:0' });
    await Promise.all([server.close(), server.close()]);
    expect(server.phase).toBe('draining');
  });
});
