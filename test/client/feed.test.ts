/** A feed that lasts: cut, refused, restarted underneath, and still every record once and in order. */
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../engine/engine.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { type Change, Client, VarveConnectionError, VarveProblem } from '../../server/client/index.js';
import { type RunningServer, startServer } from '../../server/index.js';
import { TestServer } from '../server/support.js';
import { all, Relay, rejection } from './support.js';

const FAST = { backoffMs: { first: 1, most: 5 } };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function served(options: Parameters<typeof TestServer.start>[0] = {}): Promise<{ s: TestServer; relay: Relay; varve: Client }> {
  const s = await TestServer.start(options);
  const relay = await Relay.start(s.server.url);
  stops.push(
    () => s.stop(),
    () => relay.stop(),
  );
  return { s, relay, varve: new Client({ url: relay.url, ...FAST }) };
}

/** Takes so many of a feed that goes on. */
async function take(feed: AsyncIterator<Change>, count: number): Promise<Change[]> {
  const told: Change[] = [];
  while (told.length < count) {
    const step = await feed.next();
    if (step.done === true) break;
    told.push(step.value);
  }
  return told;
}

describe('a feed', () => {
  it('ends where it is told not to live', async () => {
    const { s, varve } = await served({ open: { shards: 3 } });
    for (let n = 0; n < 20; n++) await s.put(`k${n}`, n);
    const told = await all(varve.changes<number>({ live: false }));
    expect(told.map(({ body }) => body).sort((a, b) => a! - b!)).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect((await all(varve.changes({ live: false, after: told[12]!.cursor }))).map(({ id }) => id)).toEqual(
      told.slice(13).map(({ id }) => id),
    );
    expect(await all(varve.changes({ live: false, collection: 'd' }))).toEqual([]);
    const { shard } = told[0]!;
    expect((await all(varve.changes({ live: false, shard }))).every((change) => change.shard === shard)).toBe(true);
  });

  it('goes on where it was cut, any number of times, each record once and in order', async () => {
    const { s, relay, varve } = await served();
    const feed = varve.changes<number>();
    const told: number[] = [];
    for (let n = 0; n < 30; n++) {
      await s.put('k', n);
      // Now before the record has come, now after it.
      if (n % 3 === 0) relay.cut();
      if (n % 2 === 0) told.push(...(await take(feed, n + 1 - told.length)).map(({ body }) => body as number));
      if (n % 5 === 0) relay.cut();
    }
    told.push(...(await take(feed, 30 - told.length)).map(({ body }) => body as number));
    expect(told).toEqual(Array.from({ length: 30 }, (_, n) => n));
    expect(relay.passed.length).toBeGreaterThan(8);
    await feed.return();
  });

  it('that begins now misses nothing that comes while it is cut off', async () => {
    const { s, relay } = await served();
    await s.put('before', 1);
    const { heard, fetch } = listening();
    const feed = new Client({ url: relay.url, ...FAST, fetch }).changes({ after: 'now' });
    const first = feed.next();
    // It has heard where it began; what comes next happens while nobody listens.
    await heard;
    await setImmediate();
    relay.target = undefined;
    relay.cut();
    await s.put('meanwhile', 1);
    relay.target = s.server.url;
    expect((await first).value).toMatchObject({ key: 'meanwhile' });
    await feed.return();
  });

  it('outlasts servers that are killed and started again, and those that shut down', { timeout: 120_000 }, async () => {
    let platform = new MemoryPlatform({ seed: 11 });
    let db = await openWith(platform, { shards: 2 });
    let server: RunningServer = await startServer({ db, listen: '127.0.0.1:0' });
    const relay = await Relay.start(server.url);
    stops.push(() => relay.stop());
    const varve = new Client({ url: relay.url, ...FAST });
    const feed = varve.changes<number>();
    const written: string[] = [];
    const told: string[] = [];
    for (let round = 0; round < 6; round++) {
      for (let n = 0; n < 4; n++) written.push((await db.put('c', `k${round}-${n}`, round)).id);
      told.push(...(await take(feed, 3)).map(({ id }) => id));
      relay.target = undefined;
      if (round % 2 === 0) {
        // Killed: sockets die, memory is gone, the disk is as it was.
        relay.cut();
        platform = platform.killProcess();
        const closing = server.close();
        await closing;
      } else {
        await server.close();
        await db.close();
      }
      db = await openWith(platform, { shards: 2 });
      server = await startServer({ db, listen: '127.0.0.1:0' });
      relay.target = server.url;
    }
    told.push(...(await take(feed, written.length - told.length)).map(({ id }) => id));
    expect([...told].sort()).toEqual([...written].sort());
    for (const shard of ['0001', '0002']) {
      const own = (ids: string[]) => ids.filter((id) => id.startsWith(shard));
      expect(own(told)).toEqual(own(written));
    }
    await feed.return();
    await server.close();
    await db.close();
  });

  it('lets go of its connection when it is given up', async () => {
    const { s, varve } = await served();
    await s.put('a', 1);
    for await (const change of varve.changes()) {
      expect(change.key).toBe('a');
      break;
    }
    while (s.server.figures.streams > 0) await s.get('/livez');
    const off = new AbortController();
    const feed = varve.changes({ after: 'now', signal: off.signal });
    const next = rejection(feed.next());
    const reason = new Error('enough');
    while (s.server.figures.streams === 0) await s.get('/livez');
    off.abort(reason);
    expect(await next).toBe(reason);
    while (s.server.figures.streams > 0) await s.get('/livez');
  });

  it('is over where the server says that it cannot go on', async () => {
    const { s, relay, varve } = await served();
    const first = (await s.put('k', 1)).json;
    const feed = varve.changes();
    expect((await take(feed, 1))[0]!.id).toBe(first.id);
    relay.target = undefined;
    relay.cut();
    const last = (await s.put('k', 2)).json;
    (s.db as Engine).shardList[0]!.exactness.raise('c', { seq: last.seq, time: 0 });
    relay.target = s.server.url;
    expect(await rejection(feed.next())).toMatchObject({ name: 'VarveProblem', slug: 'trimmed', fields: { horizon: last.id } });
    expect(await feed.next()).toEqual({ done: true, value: undefined });
    expect(await rejection(all(varve.changes({ shard: 7 })))).toBeInstanceOf(VarveProblem);
  });

  it('gives up where there never was a server, and where one that has an end is never heard to the end', async () => {
    const { relay } = await served();
    const varve = new Client({ url: relay.url, ...FAST, retries: 3 });
    relay.target = undefined;
    expect(await rejection(all(varve.changes()))).toBeInstanceOf(VarveConnectionError);
    expect(relay.passed.length).toBe(4);
  });

  it('waits for a server that it has heard, however long it is gone', async () => {
    const { s, relay } = await served();
    const varve = new Client({ url: relay.url, ...FAST, retries: 1 });
    await s.put('k', 1);
    const feed = varve.changes();
    await take(feed, 1);
    relay.target = undefined;
    relay.cut();
    const next = feed.next();
    while (relay.passed.length < 6) await s.get('/livez');
    await s.put('k', 2);
    relay.target = s.server.url;
    expect((await next).value).toMatchObject({ body: 2 });
    await feed.return();
  });

  it('takes silence for a dead server, and heartbeats for a living one', async () => {
    const { s, relay } = await served({ limits: { heartbeatMs: 5 } });
    const varve = new Client({ url: relay.url, ...FAST, timeoutMs: 200 });
    const feed = varve.changes();
    const next = feed.next();
    // Longer than its patience, were it not for the heartbeats.
    const until = performance.now() + 400;
    while (performance.now() < until) await s.get('/livez');
    expect(relay.passed.length).toBe(1);
    relay.meddle = (req, res) => {
      req.resume();
      res.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
      res.flushHeaders();
      return true;
    };
    relay.cut();
    // A server that says nothing is left and asked again.
    while (relay.passed.length < 3) await s.get('/livez');
    relay.meddle = undefined;
    await s.put('a', 1);
    expect((await next).value).toMatchObject({ key: 'a' });
    await feed.return();
  });
});

/** A fetch that says when something of an answer's body has come. */
function listening(): { heard: Promise<void>; fetch: typeof globalThis.fetch } {
  let tell = () => {};
  const heard = new Promise<void>((resolve) => {
    tell = resolve;
  });
  return {
    heard,
    async fetch(input, init) {
      const response = await fetch(input, init);
      const ear = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          controller.enqueue(chunk);
          tell();
        },
      });
      return new Response(response.body?.pipeThrough(ear) ?? null, response);
    },
  };
}
