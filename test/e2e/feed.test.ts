/**
 * A client that writes and one that follows, over a real server that is killed (SIGKILL) and started again under both: what was
 * acknowledged is told, once and in order, and nothing else but what was asked to be written.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Change, Client } from '../../server/client/index.js';
import { ServerProcess } from '../../tools/faults/server-process.js';
import { Relay } from '../client/support.js';

const KILLS = 4;
const BETWEEN = 12;

test('a feed outlasts servers that are killed, and writes that were cut off count once', { timeout: 240_000 }, async () => {
  const data = mkdtempSync(join(tmpdir(), 'varve-feed-'));
  const relay = await Relay.start();
  const varve = new Client({ url: relay.url, retries: 1000, backoffMs: { first: 5, most: 100 } });
  const told: Change<number>[] = [];
  const feed = varve.changes<number>();
  const following = (async () => {
    for await (const change of feed) {
      told.push(change);
      if (change.body === KILLS * BETWEEN) return;
    }
  })();
  let server: ServerProcess | undefined;
  const start = async () => {
    server = await ServerProcess.start(data, 1);
    await server.ready();
    relay.target = server.url;
  };
  await start();
  const acknowledged: string[] = [];
  for (let n = 1; n <= KILLS * BETWEEN; n++) {
    // Under way while the server dies: before it is heard, while it is written, or on the way back.
    const writing = varve.put('c', `k${n % 5}`, n);
    if (n % BETWEEN === 0) {
      await server!.kill();
      await start();
    }
    acknowledged.push((await writing).id);
  }
  await following;
  expect(told.map(({ id }) => id)).toEqual(acknowledged);
  expect(told.map(({ body }) => body)).toEqual(Array.from({ length: KILLS * BETWEEN }, (_, n) => n + 1));
  await server!.kill();
  await relay.stop();
  rmSync(data, { recursive: true, force: true });
});
