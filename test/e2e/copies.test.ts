/** Three servers in processes of their own, as a person runs them: what is acknowledged stays, whoever is killed, wiped or promoted meanwhile. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Node, until } from './nodes.js';

let nodes: Node[] = [];
let a: Node;
let b: Node;
let c: Node;

beforeAll(async () => {
  nodes = await Node.make(3);
  [a, b, c] = nodes as [Node, Node, Node];
});
afterAll(() => Promise.all(nodes.map((node) => node.close())));

const flags = (node: Node, source?: Node) => [
  '--replicas',
  nodes.map(({ url }) => url).join(','),
  '--advertise',
  node.url,
  ...(source === undefined ? [] : ['--follow', source.url]),
];
const lines = (from: number, count: number) =>
  Array.from(
    { length: count },
    (_, n) => `${JSON.stringify({ collection: 'c', key: `k${(from + n) % 500}`, body: { n: from + n } })}\n`,
  ).join('');
const is = async (node: Node, role: string) => (await node.shard().catch(() => undefined))?.role === role;

async function sameRoots(): Promise<void> {
  let roots: unknown[] = [];
  await until('all have one root', async () => {
    roots = await Promise.all(nodes.map((node) => node.root().catch((error: unknown) => error)));
    return new Set(roots.map((each) => JSON.stringify((each as { root?: string }).root ?? Math.random()))).size === 1;
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(roots)}\n${nodes.map((node) => node.output.slice(-2000)).join('\n---\n')}`);
  });
}

test('three copies keep what was acknowledged, whoever is killed, wiped or promoted', { timeout: 180_000 }, async () => {
  // An owner waits for a majority before it writes.
  const starting = a.start(flags(a));
  await b.start(flags(b, a), () =>
    b.ask('GET', '/livez').then(
      (answer) => answer.status === 200,
      () => false,
    ),
  );
  await starting;
  await until('the owner leads', () => is(a, 'owner'));
  expect((await a.ask('POST', '/v1/records', lines(0, 2000))).status).toBe(200);
  await c.start(flags(c, a));
  await until('both follow', async () => (await is(b, 'follower')) && (await is(c, 'follower')));

  // A write that comes to a copy goes to the owner; who wrote reads it wherever they like.
  const forwarded = await b.put('forwarded', { via: 'b' }, '', { 'Idempotency-Key': 'one' });
  expect(forwarded.status).toBe(201);
  const read = await c.ask('GET', '/v1/collections/c/entities/forwarded', undefined, { 'Varve-Min-Id': forwarded.json.id });
  expect(read.json).toMatchObject({ id: forwarded.json.id, body: { via: 'b' } });
  const replayed = await c.put('forwarded', { via: 'b' }, '', { 'Idempotency-Key': 'one' });
  expect(replayed.headers.get('idempotent-replay')).toBe('true');
  expect(replayed.json.id).toBe(forwarded.json.id);
  expect((await b.put('forwarded', 1, '', { 'If-None-Match': '*' })).json).toMatchObject({ status: 412, current: forwarded.json.id });
  const streamed = await c.ask('POST', '/v1/records?acks=quorum', lines(2000, 300));
  expect(streamed.json).toContain('"inserted":300,"failed":0');
  const now = new Date().toISOString();
  const [byOwner, byCopy] = await Promise.all([a, b].map((node) => node.ask('GET', `/v1/collections/c/entities/forwarded?asOf=${now}`)));
  expect(byCopy!.json).toEqual(byOwner!.json);

  // A follower killed in the middle, and one on an empty disk.
  const load = a.ask('POST', '/v1/records', lines(3000, 5000));
  await b.kill();
  expect((await a.put('safe', 1, '?acks=quorum')).status).toBe(201);
  await load;
  await b.start(flags(b, a));
  await c.kill();
  c.wipe();
  await c.start(flags(c, a));
  await sameRoots();
  await until('the wiped one may vote', async () => {
    const state = await c.ask('GET', '/replication/v1/shards/1/state');
    return state.json.caughtUp === true;
  });

  // Another owner while writes go on; whatever was acknowledged is there afterwards.
  let writing = true;
  const acknowledged = new Map<string, string>();
  const writer = (async () => {
    for (let n = 0; writing; n++) {
      const answer = await c.put(`w${n}`, n, '?acks=quorum').catch(() => undefined);
      if (answer?.status === 201) acknowledged.set(`w${n}`, answer.json.id);
    }
  })();
  await until('writes go through', async () => acknowledged.size > 20);
  const promoted = await b.ask('POST', '/v1/shards/1/promotion', {});
  expect(promoted.json).toMatchObject({ role: 'owner', epoch: 2, owner: { url: b.url } });
  const before = acknowledged.size;
  await until('writes go on', async () => acknowledged.size > before + 20);
  await until('the old owner follows', () => is(a, 'follower'));

  // The owner dies; the third takes over; what the dead one wrote alone is set aside when it is back.
  await Promise.all([a.kill(), c.kill()]);
  writing = false;
  await writer;
  const alone = await b.put('alone', 1);
  expect(alone.status).toBe(201);
  expect((await b.put('alone2', 1, '?acks=quorum')).json).toMatchObject({ status: 504, type: 'urn:varve:acks-timeout' });
  await b.kill();
  await Promise.all([a.start(flags(a, b)), c.start(flags(c, b))]);
  const refused = await c.ask('POST', '/v1/shards/1/promotion', {});
  const [ahead, other] = refused.status === 409 ? [a, c] : [c, a];
  if (refused.status === 409) expect((await ahead.ask('POST', '/v1/shards/1/promotion', {})).status).toBe(200);
  const fresh = await ahead.put('new', 1, '?acks=quorum');
  expect(fresh.status, other.output.slice(-3500)).toBe(201);
  await b.start(flags(b, a), () => is(b, 'follower'));
  await sameRoots();
  expect((await b.ask('GET', '/v1/collections/c/entities/alone')).status).toBe(404);
  expect(b.output).toContain('set aside');
  for (const [key, id] of acknowledged) {
    const found = await other.ask('GET', `/v1/collections/c/entities/${key}`);
    expect(found.json.id, key).toBe(id);
  }
  expect(await Promise.all([a, b, c].map((node) => node.stop()))).toEqual([0, 0, 0]);
});
