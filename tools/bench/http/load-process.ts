/** All the questions one server is asked, from a process of its own. First the answers are checked, then time is taken. */
import { connect } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { JsonValue } from '../../../engine/index.js';
import { dataSet, picker } from '../data/index.js';
import type { Answer, Measured } from '../job.js';
import { round } from '../measure.js';
import { closedLoop, openLoop } from './load.js';
import { type HttpJob, RATES } from './result.js';
import { DIALECTS, type Keyed } from './servers.js';
import { ResponseReader } from './wire.js';

const BULK = 1000;
const CHECKED = 50;
/** Before time is taken. */
const WARMING = 20_000;
const STREAMED = 100_000;
const CONNECTIONS = 64;
/** The same 64 in flight as the closed loop of in-process clients: pipelined, so that sockets are not what is measured. */
const PIPELINED = { connections: 16, depth: 4 };
const WARM_UP_MS = 500;

const job = JSON.parse(process.argv[2] ?? '') as HttpJob;
const dialect = DIALECTS[job.kind];
const set = dataSet({ data: 'synthetic', entities: job.entities, versionsPer: 1, seed: job.seed });
const pick = picker(job.seed + 7);

async function run(): Promise<Measured> {
  if (dialect.prepare !== undefined) await ask(dialect.prepare());
  const measured: Record<string, Measured[string]> = {};
  measured['httpBulk'] = await bulk();
  if (dialect.stream !== undefined) measured['httpStream'] = await stream(dialect.stream);
  await check();

  const gets = Array.from({ length: 5000 }, () => dialect.get(keyOf(pick(set.entities))));
  let asked = 0;
  const get = () => gets[asked++ % gets.length]!;
  let written = 0;
  // Keys nobody has written: a document store would want the revision of an old one.
  const put = () => dialect.put({ key: `put/${job.seed}/${written++}`, body: set.bodyAt(written % set.versions) });
  const { port, capMs: ms } = job;
  await closedLoop(get, { port, connections: 4, depth: 4, ms: Math.min(ms, WARM_UP_MS) });
  measured['httpGet1'] = await closedLoop(get, { port, connections: 1, depth: 1, ms });
  measured['httpGet64'] = await closedLoop(get, { port, ...PIPELINED, ms });
  await closedLoop(put, { port, connections: 4, depth: 4, ms: Math.min(ms, WARM_UP_MS) });
  measured['httpPut1'] = await closedLoop(put, { port, connections: 1, depth: 1, ms });
  measured['httpPut64'] = await closedLoop(put, { port, ...PIPELINED, ms });
  for (const rate of RATES.get) measured[`httpGetAt${rate}`] = await openLoop(get, { port, connections: CONNECTIONS, rate, ms: 2 * ms });
  for (const rate of RATES.put) measured[`httpPutAt${rate}`] = await openLoop(put, { port, connections: CONNECTIONS, rate, ms: 2 * ms });
  for (const [name, figures] of Object.entries(measured)) {
    if (typeof figures['failed'] === 'number' && figures['failed'] > 0)
      throw new Error(`${name}: ${figures['failed']} answers were no success`);
  }
  return measured;
}

/** Loads what GET asks for, and more behind it, once the server is warm, as GET and PUT are. */
async function bulk(): Promise<Measured[string]> {
  const versions = (key: string, count: number): Keyed[] =>
    Array.from({ length: count }, (_, i) => ({ key: `${key}/${i}`, body: set.bodyAt(i % set.versions) }));
  const inRequests = (items: readonly Keyed[]): Buffer[] =>
    Array.from({ length: Math.ceil(items.length / BULK) }, (_, i) => dialect.bulk(items.slice(i * BULK, (i + 1) * BULK)));
  const sendAll = async (items: readonly Keyed[], ms: number) => {
    const requests = inRequests(items);
    let next = 0;
    const figures = await closedLoop(() => requests[next++]!, {
      port: job.port,
      connections: 1,
      depth: 1,
      ms,
      maxOps: requests.length,
    });
    if (figures.failed > 0) throw new Error(`bulk: ${figures.failed} of ${requests.length} requests failed`);
    return { ...figures, perSecond: round((figures.perSecond * items.length) / requests.length) };
  };
  await sendAll(versions('warm', Math.min(WARMING, set.entities)), WARM_UP_MS);
  const entities = Array.from({ length: set.entities }, (_, entity) => item(entity));
  return sendAll([...entities, ...versions('bulk', 4 * set.entities)], 60_000);
}

/** One request of lines, once the server is warm for such. */
async function stream(make: (items: readonly Keyed[]) => Buffer): Promise<Measured[string]> {
  const send = async (name: string, count: number) => {
    const bytes = make(Array.from({ length: count }, (_, i) => ({ key: `${name}/${i}`, body: set.bodyAt(i % set.versions) })));
    const before = performance.now();
    const { status, text } = await ask(bytes);
    const ms = performance.now() - before;
    const last = JSON.parse(text.trim().split('\n').at(-1) ?? '') as { done?: boolean; inserted?: number };
    if (status >= 300 || last.done !== true || last.inserted !== count)
      throw new Error(`wrong answer: the stream ended with ${JSON.stringify(last)}`);
    return { ops: count, perSecond: round((count / ms) * 1000) };
  };
  await send('warm-stream', Math.min(WARMING, set.entities));
  return send('stream', Math.min(STREAMED, 10 * set.entities));
}

async function check(): Promise<void> {
  const wrong = (what: string) => new Error(`wrong answer: ${what}`);
  for (let i = 0; i < CHECKED; i++) {
    const { key, body } = item(pick(set.entities));
    const { status, text } = await ask(dialect.get(key));
    if (status !== 200 || !isDeepStrictEqual(dialect.bodyOf(JSON.parse(text) as JsonValue), body))
      throw wrong(`GET of ${key}: ${status} ${text}`);
  }
  const written = { key: 'put/checked', body: set.bodyAt(0) };
  const put = await ask(dialect.put(written));
  const { text } = await ask(dialect.get(written.key));
  if (put.status !== 201 || !isDeepStrictEqual(dialect.bodyOf(JSON.parse(text) as JsonValue), written.body))
    throw wrong(`PUT: ${put.status} ${put.text}`);
}

function item(entity: number): Keyed {
  const first = set.seqsOf(entity)[0]!;
  return { key: keyOf(entity), body: set.bodyAt(versionOf(first)) };
}

/** Every entity has one version here. */
function versionOf(seq: number): number {
  return seq - 2 ** 48 - 1;
}

function keyOf(entity: number): string {
  return set.keyOf(entity);
}

/** One request on a connection of its own. */
function ask(bytes: Buffer): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true });
    const reader = new ResponseReader((status, body) => {
      resolve({ status, text: body.toString() });
      socket.destroy();
    }, true);
    socket.on('data', (chunk) => reader.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection')));
    socket.write(bytes);
  });
}

let answer: Answer;
try {
  answer = { measured: await run() };
} catch (error) {
  answer = { error: error instanceof Error ? error.message : String(error) };
}
process.send?.(answer, () => process.exit(0));
