/**
 * What compressing rewritten segments gives and costs, on the benchmark's data: bytes a version, the processor's time of a rewrite and of a
 * point read, compressed beside not, in one process.
 *
 *   npx tsx tools/bench/compress.ts [--entities 40000] [--versions-per 5] [--dir DIR]
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, open, recordId } from '../../engine/index.js';
import { synthetic } from './data/synthetic.js';
import { directoryBytes, percentile, randomInts } from './load.js';

const { values } = parseArgs({
  options: { entities: { type: 'string', default: '40000' }, 'versions-per': { type: 'string', default: '5' }, dir: { type: 'string' } },
});
const entities = Number(values.entities);
const versions = entities * Number(values['versions-per']);
const BATCH = 1000;
const READS = 20_000;
const ROUNDS = 5;
const MIB = 1024 * 1024;

const parent = mkdtempSync(join(values.dir ?? tmpdir(), 'varve-compress-'));

/** Microseconds of the whole process, threads included. */
function processorMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function load(directory: string): Promise<void> {
  const source = synthetic(entities, Number(values['versions-per']), 1);
  const db = await open(directory, { upkeep: { automatic: false } });
  for (let at = 0; at < versions; at += BATCH) {
    const items = Array.from(source.order.subarray(at, at + BATCH), (entity, i) => ({
      collection: 'bench',
      key: source.keyOf(entity),
      body: source.bodyOf(entity, at + i),
    }));
    await db.insert(items);
  }
  await db.close();
}

/** Rewrites everything, which drops nothing; `varve compact --force` does the same. */
async function compact(directory: string): Promise<{ processorMs: number; wallMs: number }> {
  const db = await open(directory, { upkeep: { automatic: false } });
  const [processor, wall] = [processorMicros(), performance.now()];
  const job = await db.jobEnded(db.compact({ force: true }).id);
  if (job?.state !== 'done') throw new Error(`the compaction failed: ${job?.error}`);
  const took = { processorMs: Math.round((processorMicros() - processor) / 1000), wallMs: Math.round(performance.now() - wall) };
  await db.close();
  return took;
}

interface Reading {
  /** Microseconds of processor time a read, the best of the rounds. */
  readonly newest: number;
  readonly byId: number;
  readonly p99: number;
}

function read(db: Database): Reading {
  const source = synthetic(entities, Number(values['versions-per']), 1);
  const newest: number[] = [];
  const byId: number[] = [];
  const latencies: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const random = randomInts(1);
    const view = db.now();
    let started = processorMicros();
    for (let i = 0; i < READS; i++) {
      const before = performance.now();
      if (view.get('bench', source.keyOf(random() % entities)) === undefined) throw new Error('an entity is not there');
      latencies.push((performance.now() - before) * 1000);
    }
    newest.push((processorMicros() - started) / READS);
    started = processorMicros();
    for (let i = 0; i < READS; i++) if (db.record(recordId(1, 1 + (random() % versions)))?.id === undefined) latencies.push(0);
    byId.push((processorMicros() - started) / READS);
  }
  const least = (all: readonly number[]) => Math.round(Math.min(...all) * 10) / 10;
  return { newest: least(newest), byId: least(byId), p99: percentile(latencies, 0.99) };
}

async function measure(directory: string): Promise<Record<string, Reading>> {
  const readings: Record<string, Reading> = {};
  for (const [name, blockCacheBytes] of [
    ['no cache', 0],
    ['small cache', 8 * MIB],
    ['all cached', 1024 * MIB],
  ] as const) {
    const db = await open(directory, { blockCacheBytes, upkeep: { automatic: false } });
    readings[name] = read(db);
    await db.close();
  }
  return readings;
}

function bytesAVersion(directory: string) {
  const shard = join(directory, 'shards/0001');
  const [log, tree] = ['log', 'tree'].map((part) => directoryBytes(join(shard, part)));
  const all = directoryBytes(directory);
  return { log: log! / versions, tree: tree! / versions, all: all / versions, segments: readdirSync(join(shard, 'log')).length };
}

try {
  const directory = join(parent, 'db');
  await load(directory);
  process.stdout.write(`${versions} versions of ${entities} entities\n`);
  const show = (what: string, told: unknown) =>
    process.stdout.write(
      `${what}: ${JSON.stringify(told, (_, value) => (typeof value === 'number' ? Math.round(value * 10) / 10 : value))}\n`,
    );
  show('bytes a version, as written', bytesAVersion(directory));
  const plain = await measure(directory);
  show('compaction', await compact(directory));
  show('bytes a version, compressed', bytesAVersion(directory));
  const packed = await measure(directory);
  for (const [name, reading] of Object.entries(plain)) show(`microseconds a read, ${name}`, { plain: reading, compressed: packed[name] });
} finally {
  rmSync(parent, { recursive: true, force: true });
}
