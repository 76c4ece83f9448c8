/** The feed as the `eventsource` package hears it, a client of the standard that nobody here wrote, through restarts of server and database. */
import { EventSource } from 'eventsource';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, open } from '../../engine/index.js';
import { type RunningServer, startServer } from '../../server/index.js';
import { temporaryDirectory } from '../tools/cli.js';

describe('an EventSource of others', () => {
  const folder = temporaryDirectory();
  let db: Database;
  let server: RunningServer;
  let listen = '127.0.0.1:0';

  async function start(): Promise<void> {
    db = await open(`${folder.path}/data`, { shards: 2 });
    server = await startServer({ db, listen });
    listen = new URL(server.url).host;
  }
  async function stop(): Promise<void> {
    await server.close();
    await db.close();
  }
  beforeAll(start);
  afterAll(async () => {
    await stop();
    folder.remove();
  });

  it('hears every record once, in order in each shard, and goes on from its last event after a restart', async () => {
    const heard: { shard: number; seq: number; body: number }[] = [];
    const sent: (string | null)[] = [];
    let wake = () => {};
    const source = new EventSource(`${server.url}/v1/changes?collection=c&after=now`, {
      fetch: (url, init) => {
        sent.push(new Headers(init?.headers).get('last-event-id'));
        return fetch(url, init);
      },
    });
    const opened = new Promise((resolve) => source.addEventListener('open', resolve, { once: true }));
    const closings: string[] = [];
    source.addEventListener('closing', ({ data }) => closings.push(data));
    source.addEventListener('message', ({ data, lastEventId }) => {
      expect(lastEventId).toMatch(/^1\.[0-9a-f]{8}\./);
      heard.push(JSON.parse(data));
      wake();
    });
    const heardAll = async (count: number) => {
      while (heard.length < count) await new Promise<void>((resolve) => (wake = resolve));
    };

    await opened;
    for (let n = 0; n < 10; n++) await db.put('c', `k${n}`, n);
    await heardAll(10);
    await stop();
    // While it has nobody to ask, there are more, and some that it did not ask for.
    db = await open(`${folder.path}/data`);
    for (let n = 10; n < 20; n++) await db.put('c', `k${n}`, n);
    await db.put('d', 'k', 0);
    await db.close();
    await start();
    await db.put('c', 'k20', 20);
    await heardAll(21);
    source.close();

    expect(heard.map(({ body }) => body).sort((a, b) => a - b)).toEqual(Array.from({ length: 21 }, (_, n) => n));
    for (const shard of [1, 2]) {
      const seqs = heard.filter((record) => record.shard === shard).map(({ seq }) => seq);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    }
    expect(sent[0]).toBeNull();
    expect(sent.at(-1)).toMatch(/^1\./);
    expect(closings.map((data) => JSON.parse(data))).toEqual([{ retryAfterMs: expect.any(Number) }]);
  });

  it('gives up where the server says that the feed cannot be had', async () => {
    const source = new EventSource(`${server.url}/v1/changes?shard=3`);
    const code = await new Promise((resolve) => source.addEventListener('error', (event) => resolve(event.code)));
    expect(code).toBe(400);
    expect(source.readyState).toBe(EventSource.CLOSED);
  });

  it('hears the end of a feed that is not to live, and its place', async () => {
    const source = new EventSource(`${server.url}/v1/changes?live=false`);
    const end = await new Promise<MessageEvent>((resolve) => source.addEventListener('done', resolve));
    source.close();
    expect(JSON.parse(end.data)).toEqual({ count: 22, more: false });
    expect(end.lastEventId).not.toBe('');
  });
});
