/**
 * Do inserts feel a fold? Durable inserts of one record each, with and without a fold under way, in turns, so that a busy machine
 * disturbs both alike.
 *
 *   node dist/tools/bench/fold-latency.js [--versions 500000] [--fold 60000] [--rounds 6] [--clients 1] [--dir DIR] [--out FILE.json]
 *
 * A database of so many versions; then, a round: `--fold` more versions of random keys go into memory, inserts are timed while nothing
 * else runs, and timed again from the moment a checkpoint is asked for until it is there. Build first: the folding thread runs
 * from compiled files only.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, open } from '../../engine/index.js';
import { bodyAt, keyOf, percentile, randomInts } from './load.js';

const BATCH = 1000;
const QUIET_MS = 1500;
/** No fold but those asked for. */
const NEVER = 1e9;

interface Latency {
  readonly inserts: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly worstMs: number;
}

class Timed {
  readonly times: number[] = [];
  spentMs = 0;

  latency(): Latency {
    const { times, spentMs } = this;
    return {
      inserts: times.length,
      perSecond: Math.round((times.length / spentMs) * 1000),
      p50Ms: percentile(times, 0.5),
      p99Ms: percentile(times, 0.99),
      p999Ms: percentile(times, 0.999),
      worstMs: percentile(times, 1),
    };
  }
}

const { values: options } = parseArgs({
  options: {
    versions: { type: 'string', default: '500000' },
    fold: { type: 'string', default: '60000' },
    rounds: { type: 'string', default: '6' },
    clients: { type: 'string', default: '1' },
    dir: { type: 'string' },
    out: { type: 'string' },
  },
});
const versions = Number(options.versions);
const entities = Math.ceil(versions / 5);
const clients = Number(options.clients);
const random = randomInts(2);
const dir = mkdtempSync(join(options.dir ?? tmpdir(), 'varve-fold-latency-'));
let written = 0;

const db = await open(dir, { checkpointRecords: NEVER, memtableBytes: NEVER * 8 });
try {
  await bulk(db, versions);
  await db.checkpoint();
  const quiet = new Timed();
  const folding = new Timed();
  const foldMs: number[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    await bulk(db, Number(options.fold));
    const until = performance.now() + QUIET_MS;
    await insertWhile(() => performance.now() < until, quiet);
    let isFolding = true;
    const began = performance.now();
    const folded = db.checkpoint().then(() => {
      isFolding = false;
      foldMs.push(performance.now() - began);
    });
    await insertWhile(() => isFolding, folding);
    await folded;
  }
  const result = {
    versions,
    clients,
    foldMs: percentile(foldMs, 0.5),
    quiet: quiet.latency(),
    folding: folding.latency(),
    p99Ratio: Math.round((folding.latency().p99Ms / quiet.latency().p99Ms) * 100) / 100,
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify({ node: process.version, ...result }, undefined, 2)}\n`);
} finally {
  await db.close();
  rmSync(dir, { recursive: true, force: true });
}

async function bulk(into: Database, count: number): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const items = Array.from({ length: Math.min(BATCH, left) }, nextItem);
    await into.insert(items);
  }
}

async function insertWhile(goesOn: () => boolean, timed: Timed): Promise<void> {
  const began = performance.now();
  const client = async () => {
    while (goesOn()) {
      const { collection, key, body } = nextItem();
      const sent = performance.now();
      await db.put(collection, key, body);
      timed.times.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  timed.spentMs += performance.now() - began;
}

function nextItem() {
  return { collection: 'bench', key: keyOf(random() % entities), body: bodyAt(written++) };
}
