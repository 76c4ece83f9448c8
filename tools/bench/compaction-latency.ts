/**
 * Do inserts and reads feel a compaction? Durable inserts of one record each and reads of newest versions, with and without a compaction
 * under way, in turns, so that a busy machine disturbs both alike.
 *
 *   node dist/tools/bench/compaction-latency.js [--versions 500000] [--rounds 4] [--clients 1] [--rate 0] [--dir DIR] [--out FILE.json]
 *
 * A database of so many versions, five an entity; then, a round: a fifth as many again are added, inserts and reads are timed while
 * nothing else runs, then everything but the newest versions is let go, and they are timed again from the moment the compaction (trim,
 * fold, segments, tree files) is asked for until its job has ended. `--rate`: bytes a second that it may read and write. `turns` are
 * the main thread's processor time from one turn of the reader to its next: what the engine takes at once, whatever else the machine does
 * (Linux only). Build first: threads run from compiled files only.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, open } from '../../engine/index.js';
import { bodyAt, keyOf, percentile, processorMs, randomInts } from './load.js';

const BATCH = 1000;
const QUIET_MS = 3000;
const READS_A_TURN = 20;

interface Latency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
}

/** What was met while one thing went on. */
class Met {
  readonly inserts: number[] = [];
  readonly reads: number[] = [];
  readonly turns: number[] = [];

  get told(): { readonly inserts: Latency; readonly reads: Latency; readonly turns: Latency } {
    return { inserts: latency(this.inserts), reads: latency(this.reads), turns: latency(this.turns) };
  }
}

function latency(times: readonly number[]): Latency {
  const at = (share: number): number => percentile(times, share);
  return { count: times.length, p50Ms: at(0.5), p99Ms: at(0.99), worstMs: at(1) };
}

const { values: options } = parseArgs({
  options: {
    versions: { type: 'string', default: '500000' },
    rounds: { type: 'string', default: '4' },
    clients: { type: 'string', default: '1' },
    rate: { type: 'string', default: '0' },
    dir: { type: 'string' },
    out: { type: 'string' },
  },
});
const versions = Number(options.versions);
const entities = Math.ceil(versions / 5);
const random = randomInts(3);
const dir = mkdtempSync(join(options.dir ?? tmpdir(), 'varve-compaction-latency-'));
let written = 0;

const rate = Number(options.rate);
const db = await open(dir, { upkeep: { automatic: false, ...(rate > 0 ? { bytesPerSecond: rate } : {}) } });
try {
  await bulk(db, versions);
  await db.checkpoint();
  const quiet = new Met();
  const compacting = new Met();
  const compactionMs: number[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    await bulk(db, versions / 5);
    await db.checkpoint();
    const until = performance.now() + QUIET_MS;
    await measureWhile(() => performance.now() < until, quiet);
    await db.setRetention('bench', { keep: 'last', versions: 1 });
    let isRunning = true;
    const began = performance.now();
    const ended = db.jobEnded(db.compact({ force: true }).id).then((job) => {
      isRunning = false;
      compactionMs.push(performance.now() - began);
      if (job?.state !== 'done') throw new Error(`the compaction ended as ${job?.state}: ${job?.error}`);
    });
    await measureWhile(() => isRunning, compacting);
    await ended;
  }
  const ratio = (a: Latency, b: Latency): number => Math.round((a.p99Ms / b.p99Ms) * 100) / 100;
  const result = {
    versions,
    clients: Number(options.clients),
    compactionMs: percentile(compactionMs, 0.5),
    quiet: quiet.told,
    compacting: compacting.told,
    p99Ratio: {
      inserts: ratio(latency(compacting.inserts), latency(quiet.inserts)),
      reads: ratio(latency(compacting.reads), latency(quiet.reads)),
    },
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify({ node: process.version, ...result }, undefined, 2)}\n`);
} finally {
  await db.close();
  rmSync(dir, { recursive: true, force: true });
}

async function bulk(into: Database, count: number): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) await into.insert(Array.from({ length: Math.min(BATCH, left) }, nextItem));
}

/** Clients insert one record after the other; another reads a few versions a turn. A read waits for its turn like anybody's. */
async function measureWhile(goesOn: () => boolean, met: Met): Promise<void> {
  const insert = async (): Promise<void> => {
    while (goesOn()) {
      const { collection, key, body } = nextItem();
      const sent = performance.now();
      await db.put(collection, key, body);
      met.inserts.push(performance.now() - sent);
    }
  };
  const read = async (): Promise<void> => {
    while (goesOn()) {
      const asked = performance.now();
      const spent = processorMs().main;
      await new Promise<void>((resolve) => setImmediate(resolve));
      met.turns.push(processorMs().main - spent);
      let before = asked;
      const view = db.now();
      for (let i = 0; i < READS_A_TURN; i++) {
        view.get('bench', keyOf(random() % entities));
        const after = performance.now();
        met.reads.push(after - before);
        before = after;
      }
    }
  };
  await Promise.all([read(), ...Array.from({ length: Number(options.clients) }, insert)]);
}

function nextItem(): { collection: string; key: string; body: ReturnType<typeof bodyAt> } {
  return { collection: 'bench', key: keyOf(random() % entities), body: bodyAt(written++) };
}
