/** `varve promote` and `varve shards` against copies. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Client } from '../../server/client/index.js';
import { loadConfig, type Serving, serve } from '../../server/index.js';
import { freePort } from '../../tools/free-port.js';
import { temporaryDirectory, varve } from './cli.js';

const directories = [temporaryDirectory(), temporaryDirectory()] as const;
const running: Serving[] = [];
let urls: string[] = [];

beforeAll(async () => {
  const ports = [await freePort(), await freePort()];
  urls = ports.map((port) => `http://127.0.0.1:${port}`);
  for (const [n, follow] of [{ shards: '2' }, { follow: urls[0]! }].entries()) {
    const flags = {
      listen: `127.0.0.1:${ports[n]}`,
      data: directories[n]!.path,
      replicas: urls.join(),
      advertise: urls[n]!,
      logLevel: 'silent',
      ...follow,
    };
    const serving = await serve(loadConfig({ flags, env: {}, readText: () => '' }), { signals: null });
    running.push(serving);
    await serving.ready;
  }
});
afterAll(async () => {
  for (const serving of running) await serving.stop();
  for (const directory of directories) directory.remove();
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let n = 0; !(await isSo()); n++) {
    if (n > 2000) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

it('makes the server that is asked the owner, one shard or all; a table shows who follows whom', async () => {
  const [first, second] = urls.map((url) => new Client({ url })) as [Client, Client];
  const mayVote = async () => {
    const { states } = (await (await fetch(`${urls[1]}/replication/v1/state`)).json()) as { states: { caughtUp: boolean }[] };
    return states.every(({ caughtUp }) => caughtUp);
  };
  await until(async () => (await first.shards()).every(({ role }) => role === 'owner') && (await mayVote()));
  const written = await second.put('c', 'k', 1);
  expect((await second.get('c', 'k', { minIds: [written.id] }))?.body).toBe(1);

  expect(await varve(['promote', '--url', urls[1]!])).toMatchObject({ code: 2, err: expect.stringContaining('there are 2 shards') });
  expect(await varve(['promote', '1', '--all', '--url', urls[1]!])).toMatchObject({ code: 2 });
  expect(await varve(['promote', '1', '--url', urls[1]!])).toMatchObject({ code: 0, out: 'shard 1: owner in epoch 2\n' });
  // The shards have two owners now: every item goes to its own, wherever it comes.
  for (let n = 0; n < 8; n++) {
    expect((await second.put('c', `k${n}`, n)).key).toBe(`k${n}`);
    expect((await first.insert([{ collection: 'c', key: `k${n}`, body: n }]))[0]?.key).toBe(`k${n}`);
  }
  const shards = new Set<number>();
  for (const client of [first, second]) {
    for await (const outcome of client.insertMany([{ collection: 'c', key: 'k3', body: 1 }]))
      if ('id' in outcome) shards.add(Number(outcome.id.slice(0, 4)));
  }
  expect(shards.size).toBe(1);
  const all = await varve(['promote', '--all', '--json', '--url', urls[1]!]);
  expect(
    all.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toMatchObject([
    { shard: 1, role: 'owner', epoch: 2 },
    { shard: 2, role: 'owner', epoch: 2 },
  ]);
  await until(async () => (await first.shards()).every(({ role }) => role === 'follower'));
  expect((await varve(['shards', '--url', urls[0]!])).out).toContain(urls[1]);
  await until(async () => (await varve(['shards', '--url', urls[1]!])).out.includes(`${urls[0]}  follower`));
  expect(await second.promote(1)).toMatchObject({ shard: 1, role: 'owner', epoch: 2 });

  await running[0]!.stop();
  await running[1]!.stop();
  const refused = await varve(['promote', '1', '--url', urls[1]!]);
  expect(refused.code).toBe(1);
});
