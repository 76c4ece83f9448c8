/**
 * What it costs to find out whether two copies are equal, and in what they differ.
 *
 *   node dist/tools/bench/verify.js [--versions 1000000] [--runs 50] [--dir DIR]
 *
 * Two databases with the same log in one process, and between them calls that cost nothing but the JSON and the bytes: what is left is the
 * work of both sides. In turns with it, in the same run, a bare call. Prints medians as one JSON object.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, nodePlatform, open } from '../../engine/index.js';
import { compare, createPeerService, type PeerService, type Transport, treeHandlers } from '../../replication/index.js';
import { bodyAt, percentile } from './load.js';

const BATCH = 1000;
const DIFFERENCES = 10;
const URL = 'http://there';
const PING = '/replication/v1/ping';

const { values } = parseArgs({ options: { versions: { type: 'string' }, runs: { type: 'string' }, dir: { type: 'string' } } });
const versions = Number(values.versions ?? 1_000_000);
const runs = Number(values.runs ?? 50);
const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'varve-verify-'));
const { clock } = nodePlatform('.');

try {
  const [here, there] = await copies();
  const transport = directly(createPeerService(there, { ...treeHandlers(there, clock), 'GET /ping': () => ({ status: 200, json: {} }) }));
  const peer = { transport, clock, url: URL, shard: 1, databaseId: here.databaseId };
  const ping = () => ask(transport);
  const equal = await alternate(ping, async () => {
    const { same } = await compare(here, peer);
    if (!same) throw new Error('equal copies were told apart');
  });
  const every = Math.floor(versions / DIFFERENCES);
  for (let i = 0; i < DIFFERENCES; i++) {
    await here.put('c', keyAt(i * every), 'here');
    await there.put('c', keyAt(i * every), 'there');
  }
  let nodes = 0;
  let questions = 0;
  const differing = await alternate(ping, async () => {
    const { walk } = await compare(here, peer);
    if (walk?.differences.length !== DIFFERENCES) throw new Error(`${walk?.differences.length} differences were found`);
    ({ nodes, questions } = walk);
  });
  process.stdout.write(
    `${JSON.stringify({ versions, runs, bareCallMs: equal.bare, equalMs: equal.work, tenDifferencesMs: differing.work, nodes, questions })}\n`,
  );
  await Promise.all([here.close(), there.close()]);
} finally {
  if (values.dir === undefined) rmSync(directory, { recursive: true, force: true });
}

function keyAt(i: number): string {
  return `k${i.toString().padStart(9, '0')}`;
}

/** The same log twice: neither knows of the other. */
async function copies(): Promise<[Database, Database]> {
  const [one, two] = [join(directory, 'here'), join(directory, 'there')];
  const db = await open(one);
  for (let from = 0; from < versions; from += BATCH) {
    const count = Math.min(BATCH, versions - from);
    await db.insert(Array.from({ length: count }, (_, i) => ({ collection: 'c', key: keyAt(from + i), body: bodyAt(from + i) })));
  }
  await db.close();
  cpSync(one, two, { recursive: true });
  return [await open(one), await open(two)];
}

/** Medians, in milliseconds. */
async function alternate(bare: () => Promise<unknown>, work: () => Promise<unknown>): Promise<{ bare: number; work: number }> {
  const times: [number[], number[]] = [[], []];
  for (let run = -3; run < runs; run++) {
    for (const [i, each] of [bare, work].entries()) {
      const from = performance.now();
      await each();
      if (run >= 0) times[i]!.push(performance.now() - from);
    }
  }
  const median = (each: number[]): number => Number(percentile(each, 0.5).toFixed(3));
  return { bare: median(times[0]), work: median(times[1]) };
}

async function ask(transport: Transport): Promise<void> {
  const { body } = await transport.request(URL, { method: 'GET', path: PING });
  for await (const _ of body);
}

function directly(service: PeerService): Transport {
  return {
    async request(_url, { method, path, json, signal = new AbortController().signal }) {
      const [bare = '', query = ''] = path.split('?');
      const sent = json === undefined ? undefined : JSON.parse(JSON.stringify(json));
      const answer = await service.handle({ method, path: bare, query: new URLSearchParams(query), headers: {}, json: sent, signal });
      const headers = Object.fromEntries(Object.entries(answer.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
      return { status: answer.status, headers, body: answer.stream ?? one(Buffer.from(JSON.stringify(answer.json))) };
    },
  };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
