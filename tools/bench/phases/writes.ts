/** Durable inserts: one client, sixty-four, beside reads, and beside a checkpoint. */
import { isDeepStrictEqual } from 'node:util';
import type { Store } from '../adapter.js';
import { type BenchRecord, picker } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { isThenable, type Latencies, latencies, round, timed } from '../measure.js';
import { type Context, EXTRA, expect } from './context.js';

const CLIENTS = 64;
const MIXED_CLIENTS = 16;
/** Of ten operations, one writes. */
const WRITES_IN = 10;
const WARM_UP = 50;
const MIXED_WARM_UP_MS = 500;
/** Waiting to be moved when the checkpoint begins. */
const PENDING = 30_000;
const BATCH = 1000;

/** Updates of random entities, made ahead: making one is not the store's work. */
class Updates {
  readonly #context: Context;
  readonly #pick: (below: number) => number;
  #nth: number;
  #ready: BenchRecord[] = [];
  last: BenchRecord | undefined;

  constructor(context: Context, firstNth: number) {
    this.#context = context;
    this.#pick = picker(context.job.data.seed + 99 + firstNth);
    this.#nth = firstNth;
  }

  prepare(count: number): void {
    const { set } = this.#context;
    this.#ready = Array.from({ length: count }, () => set.extra(this.#pick(set.entities), this.#nth++)).reverse();
  }

  next(): BenchRecord {
    if (this.#ready.length === 0) this.prepare(BATCH);
    this.last = this.#ready.pop()!;
    return this.last;
  }

  batch(count: number): BenchRecord[] {
    return Array.from({ length: count }, () => this.next());
  }
}

/** A process's first inserts start threads and compile code. */
async function warmUp(store: Store, updates: Updates): Promise<void> {
  for (let i = 0; i < WARM_UP; i++) await store.put(updates.next());
  const together = () => store.putConcurrent(updates.next());
  await timed(together, { maxOps: 4 * MIXED_CLIENTS, maxMs: 1000, clients: MIXED_CLIENTS });
  for (let i = 0; i < 10 * WARM_UP; i++) await store.newest(updates.last!.key);
}

export async function insert(context: Context): Promise<Measured> {
  const store = await context.open();
  const updates = new Updates(context, EXTRA.insert);
  updates.prepare(60_000);
  await warmUp(store, updates);
  const one = await timed(() => store.put(updates.next()), { maxOps: 10_000, maxMs: context.job.capMs });
  // Connections and code become warm.
  await timed(() => store.putConcurrent(updates.next()), { maxOps: 10 * CLIENTS, maxMs: context.job.capMs, clients: CLIENTS });
  const last = updates.last!;
  const found = await store.newest(last.key);
  expect(found !== undefined && isDeepStrictEqual(found.body, last.body), `newest of ${last.key} after an insert`);
  const many = await timed(() => store.putConcurrent(updates.next()), {
    maxOps: 45_000,
    maxMs: context.job.capMs,
    clients: CLIENTS,
  });
  await store.close();
  return { insert: { ...one }, insertMany: { ...many, clients: CLIENTS } };
}

export async function mixed(context: Context): Promise<Measured> {
  const store = await context.open();
  const updates = new Updates(context, EXTRA.mixed);
  await warmUp(store, updates);
  await mixedFor(Math.min(context.job.capMs, MIXED_WARM_UP_MS), context, store, updates);
  updates.prepare(20_000);
  const { read, write } = await mixedFor(context.job.capMs, context, store, updates);
  await store.close();
  return {
    mixed: {
      perSecond: round(read.perSecond + write.perSecond),
      readP50Us: read.p50Us,
      readP99Us: read.p99Us,
      writeP50Us: write.p50Us,
      writeP99Us: write.p99Us,
      clients: MIXED_CLIENTS,
    },
  };
}

async function mixedFor(ms: number, { set, job }: Context, store: Store, updates: Updates): Promise<{ read: Latencies; write: Latencies }> {
  const pick = picker(job.data.seed + 41);
  const readTimes: number[] = [];
  const writeTimes: number[] = [];
  const started = performance.now();
  const end = started + ms;
  const client = async () => {
    for (let before = performance.now(); before < end; ) {
      const writes = pick(WRITES_IN) === 0;
      const answer = writes ? store.putConcurrent(updates.next()) : store.newest(set.keyOf(pick(set.entities)));
      if (isThenable(answer)) await answer;
      const after = performance.now();
      (writes ? writeTimes : readTimes).push(after - before);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: MIXED_CLIENTS }, client));
  const wall = performance.now() - started;
  return { read: latencies(readTimes, wall), write: latencies(writeTimes, wall) };
}

/** Inserts by a few clients with nothing else going on, then while a checkpoint of PENDING versions runs. */
export async function checkpoint(context: Context): Promise<Measured> {
  const store = await context.open();
  if (store.checkpoint === undefined) {
    await store.close();
    return {};
  }
  const updates = new Updates(context, EXTRA.checkpoint);
  await warmUp(store, updates);
  await store.checkpoint();
  updates.prepare(20_000);
  const { capMs } = context.job;
  const alone = await timed(() => store.putConcurrent(updates.next()), { maxOps: 15_000, maxMs: capMs, clients: MIXED_CLIENTS });
  const pending = Math.max(BATCH, Math.min(PENDING, Math.floor(context.set.versions / 5)));
  updates.prepare(pending + 60_000);
  for (let done = 0; done < pending; done += BATCH) await store.putBatch(updates.batch(BATCH));
  const beside = await whileCheckpointing(store, updates);
  await store.close();
  const figures: Figures = { aloneP99Us: alone.p99Us, aloneMaxUs: alone.maxUs, alonePerSecond: alone.perSecond, pending, ...beside };
  return { checkpoint: figures };
}

async function whileCheckpointing(store: Store, updates: Updates): Promise<Figures> {
  const times: number[] = [];
  let running = true;
  const started = performance.now();
  const client = async () => {
    do {
      const before = performance.now();
      await store.putConcurrent(updates.next());
      times.push(performance.now() - before);
    } while (running);
  };
  // Clients have their first insert under way when it begins: one that blocks the thread is felt by all of them.
  const clients = Array.from({ length: MIXED_CLIENTS }, client);
  await store.checkpoint?.();
  const checkpointMs = performance.now() - started;
  running = false;
  await Promise.all(clients);
  const { p99Us, maxUs, perSecond } = latencies(times, performance.now() - started);
  return { besideP99Us: p99Us, besideMaxUs: maxUs, besidePerSecond: perSecond, checkpointMs: round(checkpointMs) };
}
