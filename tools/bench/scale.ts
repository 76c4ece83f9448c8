/**
 * Bulk loading at size: does the ten-millionth batch cost what the first did?
 *
 *   node dist/tools/bench/scale.js [--versions 500000,20000000] [--entities-per 5] [--batch 1000] [--dir DIR] [--out FILE.json] [--keep]
 *
 * For each size a new database takes that many versions of random keys (each entity has `--entities-per` versions on average),
 * one durable batch after the other, and then answers point reads. Printed a tenth at a time, so that a curve that falls is seen;
 * `slowdown` compares the last tenth with the rate over the first 500,000 versions of the same run. Build first: the engine's
 * worker thread runs from compiled files only.
 *
 * Point reads: uniformly over every entity there is (in the end: much more than memory holds), and over sets that fit in memory
 * whatever the size, read through once before: the entities of the last 100,000 versions, as many as half a million versions have, and
 * 2,000 entities of the first half million versions, scattered over everything, so that in the end each takes a block of the log to
 * itself. Both at half a million versions, too: `hotRatio` and `scatteredRatio` are the end's beside those.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Database, open } from '../../engine/index.js';
import { bodyAt, directoryBytes, keyOf, percentile, processorMs, randomInts } from './load.js';

const FIRST_VERSIONS = 500_000;
const READS = 50_000;
const HOT_VERSIONS = 100_000;
const SCATTERED = 2000;
/** Of sets that fit in memory. */
const HOT_READS = 200_000;

interface Tenth {
  readonly versions: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  /** Processor time a version, microseconds: of the main thread, and of all others together. Tells more than the clock on a busy machine. */
  readonly mainUs: number;
  readonly othersUs: number;
  readonly rssMB: number;
}

/** Reads a second, by processor time: the clock of a busy machine tells less. */
interface HotReads {
  readonly hot: number;
  readonly scattered: number;
}

interface ScaleResult {
  readonly versions: number;
  readonly tenths: readonly Tenth[];
  readonly firstPerSecond: number;
  readonly lastTenthPerSecond: number;
  readonly slowdown: number;
  /** The same by processor time of the main thread: what it cost a version in the first 500,000, and in the last tenth. */
  readonly firstMainUs: number;
  readonly lastMainUs: number;
  readonly peakRssMB: number;
  readonly readsPerSecond: number;
  /** Of sets that fit in memory: at half a million versions, in the end, and the end's share. */
  readonly firstHot: HotReads;
  readonly lastHot: HotReads;
  readonly hotRatio: number;
  readonly scatteredRatio: number;
  readonly checkpointMs: number;
  readonly closeMs: number;
  readonly openMs: number;
  readonly bytesPerVersion: number;
}

const { values: options } = parseArgs({
  options: {
    versions: { type: 'string', default: '500000' },
    'entities-per': { type: 'string', default: '5' },
    batch: { type: 'string', default: '1000' },
    dir: { type: 'string' },
    out: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

const results: ScaleResult[] = [];
for (const versions of options.versions.split(',').map(Number)) {
  const dir = mkdtempSync(join(options.dir ?? tmpdir(), 'varve-scale-'));
  try {
    results.push(await run(dir, versions, Number(options.batch), Number(options['entities-per'])));
  } finally {
    if (!options.keep) rmSync(dir, { recursive: true, force: true });
  }
}
if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify({ node: process.version, results }, undefined, 2)}\n`);

async function run(dir: string, versions: number, batch: number, perEntity: number): Promise<ScaleResult> {
  const entities = Math.max(1, Math.round(versions / perEntity));
  const random = randomInts(1);
  let db = await open(dir);
  const tenths: Tenth[] = [];
  const started = performance.now();
  const startedMs = processorMs().main;
  let firstPerSecond = 0;
  let firstMainUs = 0;
  let firstHot: HotReads | undefined;
  /** Entities of the last versions written, in turns. */
  const last = new Uint32Array(Math.min(HOT_VERSIONS, versions));
  /** Entities that are there at half a million versions. */
  const scattered = new Uint32Array(Math.min(SCATTERED, versions));
  const scatter = Math.max(1, Math.floor(Math.min(FIRST_VERSIONS, versions) / scattered.length));
  let done = 0;
  for (let tenth = 1; tenth <= 10; tenth++) {
    const upTo = Math.round((versions * tenth) / 10);
    const count = upTo - done;
    let began = performance.now();
    const before = { ...processorMs() };
    const times: number[] = [];
    while (done < upTo) {
      const items = [];
      for (let i = Math.min(batch, upTo - done); i > 0; i--) {
        const entity = random() % entities;
        last[done % last.length] = entity;
        if (done % scatter === 0 && done / scatter < scattered.length) scattered[done / scatter] = entity;
        items.push({ collection: 'bench', key: keyOf(entity), body: bodyAt(done++) });
      }
      const sent = performance.now();
      await db.insert(items);
      times.push(performance.now() - sent);
      if (firstPerSecond === 0 && done >= Math.min(FIRST_VERSIONS, versions)) {
        firstPerSecond = Math.round((done / (performance.now() - started)) * 1000);
        firstMainUs = Math.round(((processorMs().main - startedMs) / done) * 10_000) / 10;
        // Reading is no part of the tenth.
        const paused = performance.now();
        const cost = processorMs();
        firstHot = hotReads(db, last, scattered);
        const now = processorMs();
        began += performance.now() - paused;
        before.main += now.main - cost.main;
        before.all += now.all - cost.all;
      }
    }
    const after = processorMs();
    const main = after.main - before.main;
    const line: Tenth = {
      versions: done,
      perSecond: Math.round((count / (performance.now() - began)) * 1000),
      p50Ms: percentile(times, 0.5),
      p99Ms: percentile(times, 0.99),
      worstMs: percentile(times, 1),
      mainUs: Math.round((main / count) * 10_000) / 10,
      othersUs: Math.round(((after.all - before.all - main) / count) * 10_000) / 10,
      rssMB: Math.round(process.memoryUsage().rss / 2 ** 20),
    };
    tenths.push(line);
    process.stdout.write(
      `${line.versions} versions: ${line.perSecond}/s, batch p50 ${line.p50Ms} p99 ${line.p99Ms} worst ${line.worstMs} ms, cpu ${line.mainUs} + ${line.othersUs} us, ${line.rssMB} MB\n`,
    );
  }
  const lastHot = hotReads(db, last, scattered);
  const readsPerSecond = reads(db, entities, random);
  const closing = performance.now();
  await db.close();
  const closeMs = Math.round(performance.now() - closing);
  const bytesPerVersion = Math.round(directoryBytes(dir) / versions);
  const opening = performance.now();
  db = await open(dir);
  db.now().get('bench', keyOf(random() % entities));
  const openMs = Math.round((performance.now() - opening) * 10) / 10;
  const folding = performance.now();
  await db.checkpoint();
  const checkpointMs = Math.round(performance.now() - folding);
  await db.close();
  const lastTenthPerSecond = tenths.at(-1)?.perSecond ?? 0;
  const result = {
    versions,
    tenths,
    firstPerSecond,
    lastTenthPerSecond,
    slowdown: Math.round((lastTenthPerSecond / firstPerSecond) * 100) / 100,
    firstMainUs,
    lastMainUs: tenths.at(-1)?.mainUs ?? 0,
    // Linux counts it in KiB.
    peakRssMB: Math.round(process.resourceUsage().maxRSS / 1024),
    readsPerSecond,
    firstHot: firstHot ?? lastHot,
    lastHot,
    hotRatio: Math.round((lastHot.hot / (firstHot ?? lastHot).hot) * 100) / 100,
    scatteredRatio: Math.round((lastHot.scattered / (firstHot ?? lastHot).scattered) * 100) / 100,
    checkpointMs,
    closeMs,
    openMs,
    bytesPerVersion,
  };
  const { tenths: _, ...summary } = result;
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  return result;
}

function reads(db: Database, entities: number, random: () => number): number {
  const began = performance.now();
  const view = db.now();
  let sum = 0;
  for (let i = 0; i < READS; i++) if (view.get('bench', keyOf(random() % entities)) !== undefined) sum++;
  if (sum === 0) throw new Error('no key was found');
  return Math.round((READS / (performance.now() - began)) * 1000);
}

function hotReads(db: Database, last: Uint32Array, scattered: Uint32Array): HotReads {
  return { hot: readAgain(db, last), scattered: readAgain(db, scattered) };
}

/** Reads all of them once, then at random. */
function readAgain(db: Database, numbers: Uint32Array): number {
  const random = randomInts(2);
  const view = db.now();
  const keys = Array.from(numbers, keyOf);
  for (const key of keys) view.get('bench', key);
  const began = processorMs().main;
  let sum = 0;
  for (let i = 0; i < HOT_READS; i++) if (view.get('bench', keys[random() % keys.length]!) !== undefined) sum++;
  if (sum === 0) throw new Error('no key was found');
  return Math.round((HOT_READS / (processorMs().main - began)) * 1000);
}
