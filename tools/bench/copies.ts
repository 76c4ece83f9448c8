/**
 * What copies cost and give, with real servers on this machine:
 *
 *   node dist/tools/bench/copies.js [--versions 1000000] [--load 300000] [--puts 2000] [--clients 16]
 *                                 [--only load,catch-up,acks] [--dir DIR] [--out FILE.json]
 *
 *   load      a bulk load (NDJSON) into an owner, alone and with a follower that tails it: versions/s of each, and how far behind the follower ends
 *   catch-up  of a copy that begins from nothing, its start included, and of one that was there all along and is that many versions behind: what
 *             is left when it first answers
 *   acks      PUTs of one client, and of several, durable on the owner, and on two of three
 *
 * All processes share this machine's processors: with a follower, an owner has that much less. Build first.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type ClientRequest, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServerProcess } from '../faults/server-process.js';
import { freePort } from '../free-port.js';
import { bodyAt, directoryBytes, keyOf, percentile, randomInts } from './load.js';

const LINES = 500;
const LOOK_MS = 5;

const { values: options } = parseArgs({
  options: {
    versions: { type: 'string', default: '1000000' },
    load: { type: 'string', default: '300000' },
    puts: { type: 'string', default: '2000' },
    clients: { type: 'string', default: '16' },
    only: { type: 'string', default: 'load,catch-up,acks' },
    dir: { type: 'string' },
    out: { type: 'string' },
  },
});
const root = mkdtempSync(join(options.dir ?? tmpdir(), 'varve-copies-'));
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const random = randomInts(7);
const running = new Set<ServerProcess>();

class Node {
  readonly directory: string;
  readonly url: string;
  #process: ServerProcess | undefined;

  private constructor(
    readonly name: string,
    readonly port: number,
  ) {
    this.directory = join(root, name);
    this.url = `http://127.0.0.1:${port}`;
  }

  static async make(name: string): Promise<Node> {
    return new Node(name, await freePort());
  }

  async start(flags: readonly string[] = []): Promise<this> {
    mkdirSync(this.directory, { recursive: true });
    this.#process = await ServerProcess.start(this.directory, undefined, flags, this.port);
    running.add(this.#process);
    await until(`${this.name} answers`, async () => (await this.seq().catch(() => -1)) >= 0);
    return this;
  }

  async stop(): Promise<void> {
    if (this.#process === undefined) return;
    running.delete(this.#process);
    await this.#process.stop();
  }

  async seq(): Promise<number> {
    if (this.#process?.alive !== true) throw new Error(`${this.name} ended:\n${this.#process?.output}`);
    const answer = await fetch(`${this.url}/v1/shards/1`);
    const body = (await answer.json()) as { durableSeq?: number };
    return answer.status === 200 ? (body.durableSeq ?? -1) : -1;
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 600_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(LOOK_MS);
  }
}

/** One stream of so many items; seconds until the last is durable on the owner. */
async function load(owner: Node, versions: number): Promise<number> {
  const began = performance.now();
  const call = request(`${owner.url}/v1/records`, { method: 'POST', agent, headers: { 'Content-Type': 'application/x-ndjson' } });
  const answered = once(call, 'response').then(async ([response]) => {
    let tail = '';
    for await (const chunk of response as AsyncIterable<Buffer>) tail = (tail + chunk.toString('latin1')).slice(-300);
    if (!tail.includes(`"inserted":${versions},"failed":0`)) throw new Error(`the load failed: ${tail}`);
  });
  const entities = Math.ceil(versions / 5);
  for (let sent = 0; sent < versions; sent += LINES) {
    let text = '';
    for (let i = sent; i < Math.min(versions, sent + LINES); i++)
      text += `${JSON.stringify({ collection: 'bench', key: keyOf(random() % entities), body: bodyAt(i) })}\n`;
    await send(call, text);
  }
  call.end();
  await answered;
  return (performance.now() - began) / 1000;
}

async function send(call: ClientRequest, text: string): Promise<void> {
  if (!call.write(text)) await once(call, 'drain');
}

/** Milliseconds of each of so many PUTs. */
async function puts(owner: Node, count: number, clients: number, acks: string): Promise<{ times: number[]; perSecond: number }> {
  const times: number[] = [];
  let left = count;
  const began = performance.now();
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const before = performance.now();
      const path = `/v1/collections/acks/entities/${keyOf(random() % 10_000)}?acks=${acks}`;
      const call = request(`${owner.url}${path}`, { method: 'PUT', agent, headers: { 'Content-Type': 'application/json' } });
      call.end(JSON.stringify(bodyAt(left)));
      const [response] = (await once(call, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
      for await (const _ of response);
      if (response.statusCode !== 201) throw new Error(`a PUT with acks=${acks} was answered ${response.statusCode}`);
      times.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { times, perSecond: Math.round((count / (performance.now() - began)) * 1000) };
}

const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));

async function benchLoad(versions: number): Promise<object> {
  const alone = await (await Node.make('alone')).start();
  const aloneSeconds = await load(alone, versions);
  await alone.stop();
  const owner = await (await Node.make('owner')).start();
  const follower = await (await Node.make('follower')).start(['--follow', owner.url]);
  const seconds = await load(owner, versions);
  const ended = performance.now();
  const goal = await owner.seq();
  await until('the follower has it all', async () => (await follower.seq()) >= goal);
  const behindMs = performance.now() - ended;
  await follower.stop();
  await owner.stop();
  return {
    aloneVersionsPerSecond: Math.round(versions / aloneSeconds),
    followedVersionsPerSecond: Math.round(versions / seconds),
    behindMsAtTheEnd: Math.round(behindMs),
  };
}

async function benchCatchUp(versions: number): Promise<object> {
  const owner = await (await Node.make('source')).start();
  const early = await (await Node.make('early')).start(['--follow', owner.url]);
  await early.stop();
  await load(owner, versions);
  const goal = await owner.seq();
  const mebibytes = directoryBytes(join(owner.directory, 'shards/0001/log')) / 1024 / 1024;
  const measure = async (node: Node, withStart: boolean): Promise<object> => {
    const began = performance.now();
    await node.start(['--follow', owner.url]);
    const answered = performance.now();
    const had = withStart ? 0 : await node.seq();
    await until(`${node.name} has it all`, async () => (await node.seq()) >= goal);
    const seconds = (performance.now() - (withStart ? began : answered)) / 1000;
    await node.stop();
    const share = (goal - had) / goal;
    return {
      startSeconds: rounded((answered - began) / 1000),
      seconds: rounded(seconds),
      versionsPerSecond: Math.round((versions * share) / seconds),
      mebibytesPerSecond: rounded((mebibytes * share) / seconds, 1),
    };
  };
  const fromStream = await measure(early, false);
  const fromNothing = await measure(await Node.make('late'), true);
  await owner.stop();
  return { versions, mebibytes: Math.round(mebibytes), fromStream, fromNothing };
}

async function benchAcks(count: number, clients: number): Promise<object> {
  const nodes = [await Node.make('one'), await Node.make('two'), await Node.make('three')];
  const replicas = nodes.map(({ url }) => url).join(',');
  const [owner, ...others] = nodes as [Node, ...Node[]];
  const starting = [owner.start(['--replicas', replicas, '--advertise', owner.url])];
  for (const node of others) starting.push(node.start(['--replicas', replicas, '--advertise', node.url, '--follow', owner.url]));
  await Promise.all(starting);
  await until('a quorum writes', async () => {
    const answer = await fetch(`${owner.url}/v1/collections/acks/entities/first?acks=quorum`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    });
    await answer.arrayBuffer();
    return answer.status === 201;
  });
  const results: Record<string, object> = {};
  for (const n of [1, clients]) {
    const times: Record<string, number[]> = { local: [], quorum: [] };
    const rates: Record<string, number[]> = { local: [], quorum: [] };
    // In turns, so that a busy machine disturbs both alike.
    for (let round = 0; round < 4; round++) {
      for (const acks of ['local', 'quorum']) {
        const measured = await puts(owner, Math.ceil((count * (n === 1 ? 1 : 4)) / 4), n, acks);
        times[acks]!.push(...measured.times);
        rates[acks]!.push(measured.perSecond);
      }
    }
    for (const acks of ['local', 'quorum']) {
      results[`${acks}, ${n} ${n === 1 ? 'client' : 'clients'}`] = {
        p50Ms: rounded(percentile(times[acks]!, 0.5)),
        p99Ms: rounded(percentile(times[acks]!, 0.99)),
        perSecond: Math.round(percentile(rates[acks]!, 0.5)),
      };
    }
  }
  for (const node of nodes) await node.stop();
  return results;
}

try {
  const only = new Set(options.only.split(','));
  const result = {
    ...(only.has('load') ? { load: await benchLoad(Number(options.load)) } : {}),
    ...(only.has('catch-up') ? { catchUp: await benchCatchUp(Number(options.versions)) } : {}),
    ...(only.has('acks') ? { acks: await benchAcks(Number(options.puts), Number(options.clients)) } : {}),
  };
  const text = `${JSON.stringify(result, null, 2)}\n`;
  process.stdout.write(text);
  if (options.out !== undefined) writeFileSync(options.out, text);
} finally {
  for (const server of running) await server.kill();
  agent.destroy();
  rmSync(root, { recursive: true, force: true });
}
