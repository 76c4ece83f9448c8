/**
 * One server's questions, slice by slice. First it is loaded and its answers are checked, then time is taken; each workload has one
 * tally for all its slices. Everything written has a key of its own: a document store would want the revision of an old one.
 */
import { connect } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { JsonValue } from '../../../engine/index.js';
import { dataSet, picker } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { closedLoop, openLoop } from './load.js';
import type { Shape, Step } from './plan.js';
import type { HttpJob } from './result.js';
import { DIALECTS, type Keyed } from './servers.js';
import { OpenTally, Tally } from './tally.js';
import { ResponseReader } from './wire.js';

/** Documents of a request; fewer where there are fewer entities, and so with lines of a stream. */
const BULK = 1000;
const STREAMED = 40_000;
const CHECKED = 50;
const CONNECTIONS = 64;
const GETS = 5000;
const LOAD_MS = 60_000;
/** Before time is taken: no longer than this, and where operations are counted, so much of them. */
const WARM_UP_MS = 250;
const WARM_UP_SHARE = 0.25;
/** A slow server's slice takes longer than it was given, by what was in flight: at so many times a workload's time it has been asked enough. */
const OVERRUN = 3;

export class Workloads {
  readonly #port: number;
  readonly #seed: number;
  readonly #dialect;
  readonly #set;
  readonly #pick;
  readonly #inRequest: number;
  readonly #streamed: number;
  readonly #tallies = new Map<string, { readonly shape: Shape; readonly tally: Tally }>();
  readonly #gets: readonly Buffer[];
  /** Made ahead and not sent yet: the next slice goes on with them. */
  readonly #bulks: Buffer[] = [];
  #asked = 0;
  #written = 0;

  constructor({ kind, port, entities, seed }: HttpJob) {
    this.#port = port;
    this.#seed = seed;
    this.#dialect = DIALECTS[kind];
    this.#set = dataSet({ data: 'synthetic', entities, versionsPer: 1, seed });
    this.#pick = picker(seed + 7);
    this.#inRequest = Math.min(BULK, this.#set.entities);
    this.#streamed = Math.min(STREAMED, 4 * this.#set.entities);
    this.#gets = Array.from({ length: GETS }, () => this.#dialect.get(this.#set.keyOf(this.#pick(this.#set.entities))));
  }

  /** Loads what GET asks for, and makes sure that answers are right. */
  async prepare(): Promise<void> {
    if (this.#dialect.prepare !== undefined) await this.#ask(this.#dialect.prepare());
    const items = Array.from({ length: this.#set.entities }, (_, entity) => this.#item(entity));
    const requests: Buffer[] = [];
    for (let at = 0; at < items.length; at += BULK) requests.push(this.#dialect.bulk(items.slice(at, at + BULK)));
    const maxOps = requests.length;
    const { ops, failed } = await closedLoop(() => requests.pop()!, { port: this.#port, connections: 1, depth: 1, ms: LOAD_MS, maxOps });
    if (failed > 0 || ops < maxOps) throw new Error(`load: of ${maxOps} requests ${failed} failed and ${maxOps - ops} were not sent`);
    await this.#check();
  }

  /** One that is not timed warms the server up. */
  async slice({ workload, shape, slices, sliceMs }: Step, timed: boolean): Promise<void> {
    // A server without streams is not asked for one.
    if (shape.kind === 'stream' && this.#dialect.stream === undefined) return;
    const tally = timed ? (this.#tallies.get(workload)?.tally ?? this.#tallyOf(shape)) : this.#tallyOf(shape);
    if (tally.wallMs > OVERRUN * slices * sliceMs) return;
    if (timed) this.#tallies.set(workload, { shape, tally });
    await this.#run(shape, timed ? sliceMs : Math.min(WARM_UP_MS, sliceMs), timed ? 1 : WARM_UP_SHARE, tally);
    if (tally.failed > 0) throw new Error(`${tally.failed} answers were no success`);
  }

  measured(): Measured {
    return Object.fromEntries([...this.#tallies].map(([workload, { shape, tally }]) => [workload, figuresOf(shape, tally)]));
  }

  #tallyOf(shape: Shape): Tally {
    if (shape.kind === 'open') return new OpenTally(shape.rate);
    if (shape.kind === 'bulk') return new Tally(this.#inRequest);
    return new Tally(shape.kind === 'stream' ? this.#streamed : 1);
  }

  async #run(shape: Shape, ms: number, share: number, tally: Tally): Promise<void> {
    const port = this.#port;
    switch (shape.kind) {
      case 'closed':
        await closedLoop(this.#makerOf(shape.asks), { port, ms, connections: shape.connections, depth: shape.depth }, tally);
        return;
      case 'open':
        await openLoop(this.#makerOf(shape.asks), { port, ms, connections: CONNECTIONS, rate: shape.rate }, tally as OpenTally);
        return;
      case 'bulk': {
        const maxOps = Math.ceil(shape.requests * share);
        while (this.#bulks.length < maxOps) this.#bulks.push(this.#dialect.bulk(this.#unwritten('bulk', this.#inRequest)));
        await closedLoop(() => this.#bulks.pop()!, { port, ms, connections: shape.connections, depth: 1, maxOps }, tally);
        return;
      }
      case 'stream':
        await this.#stream(Math.ceil(this.#streamed * share), tally);
    }
  }

  #makerOf(asks: 'get' | 'put'): () => Buffer {
    if (asks === 'get') return () => this.#gets[this.#asked++ % this.#gets.length]!;
    return () => this.#dialect.put(this.#unwritten('put', 1)[0]!);
  }

  /** One request of so many lines. */
  async #stream(count: number, tally: Tally): Promise<void> {
    const bytes = this.#dialect.stream!(this.#unwritten('stream', count));
    const before = performance.now();
    const { status, text } = await this.#ask(bytes);
    const ms = performance.now() - before;
    const last = JSON.parse(text.trim().split('\n').at(-1) ?? '') as { done?: boolean; inserted?: number };
    if (status >= 300 || last.done !== true || last.inserted !== count)
      throw new Error(`wrong answer: the stream ended with ${JSON.stringify(last)}`);
    tally.record(ms);
    tally.took(ms);
  }

  async #check(): Promise<void> {
    const wrong = (what: string) => new Error(`wrong answer: ${what}`);
    const bodyIn = (text: string) => this.#dialect.bodyOf(JSON.parse(text) as JsonValue);
    for (let i = 0; i < CHECKED; i++) {
      const { key, body } = this.#item(this.#pick(this.#set.entities));
      const { status, text } = await this.#ask(this.#dialect.get(key));
      if (status !== 200 || !isDeepStrictEqual(bodyIn(text), body)) throw wrong(`GET of ${key}: ${status} ${text}`);
    }
    const written = { key: 'put/checked', body: this.#set.bodyAt(0) };
    const put = await this.#ask(this.#dialect.put(written));
    const { text } = await this.#ask(this.#dialect.get(written.key));
    if (put.status !== 201 || !isDeepStrictEqual(bodyIn(text), written.body)) throw wrong(`PUT: ${put.status} ${put.text}`);
  }

  /** Every entity has one version here. */
  #item(entity: number): Keyed {
    const version = this.#set.seqsOf(entity)[0]! - 2 ** 48 - 1;
    return { key: this.#set.keyOf(entity), body: this.#set.bodyAt(version) };
  }

  #unwritten(name: string, count: number): Keyed[] {
    const from = this.#written;
    this.#written += count;
    return Array.from({ length: count }, (_, i) => ({
      key: `${name}/${this.#seed}/${from + i}`,
      body: this.#set.bodyAt((from + i) % this.#set.versions),
    }));
  }

  /** One request on a connection of its own. */
  #ask(bytes: Buffer): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
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
}

function figuresOf(shape: Shape, tally: Tally): Figures {
  const figures = tally.figures();
  // Of a stream the lines are told, and no latency: it is one request.
  return shape.kind === 'stream' ? { ops: figures.ops * tally.each, perSecond: figures.perSecond } : figures;
}
