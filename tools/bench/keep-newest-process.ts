/** One step of keep-newest for one peer, in a process of its own: the step comes as the first argument, the answer goes to the parent. */
import { isDeepStrictEqual } from 'node:util';
import { loadAdapter, type Store } from './adapter.js';
import { type BenchRecord, type DataSet, dataSet, picker } from './data/index.js';
import { peakRssMB } from './measure.js';
import { Packages } from './packages.js';

export interface KeepNewestStep {
  /** All versions; everything but the newest goes; only the newest, into an empty directory. */
  readonly step: 'load' | 'give-back' | 'fresh';
  readonly peer: string;
  readonly versions: number;
  readonly versionsPer: number;
  readonly data: string;
  /** For a peer that gives space back by writing a copy. */
  readonly into: string;
  readonly peersDirectory: string | undefined;
}

export type KeepNewestAnswer =
  | { readonly seconds: number; readonly cpuSeconds: number; readonly into: boolean; readonly peakRssMB: number | undefined }
  | { readonly error: string };

const BATCH = 1000;
const SEED = 7;
const CHECKED = 300;

async function run(request: KeepNewestStep): Promise<KeepNewestAnswer> {
  const { step, peer, versions, versionsPer, data, into, peersDirectory } = request;
  const packages = new Packages(peersDirectory);
  const adapter = await loadAdapter(peer);
  const set = dataSet({ data: 'synthetic', entities: Math.ceil(versions / versionsPer), versionsPer, seed: SEED });
  const store = await adapter.open(data, packages);
  let done = { into: false };
  const before = performance.now();
  const cpuBefore = process.cpuUsage();
  if (step === 'give-back') {
    if (store.compact === undefined) throw new Error('this peer does not give space back');
    done = await store.compact(into);
  } else await load(store, set, step === 'fresh');
  const seconds = (performance.now() - before) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  // A copy is the peer's own business.
  if (step === 'give-back' && !done.into) await checkAnswers(store, set);
  await store.close();
  return { seconds, cpuSeconds: (user + system) / 1e6, ...done, peakRssMB: peakRssMB() };
}

async function load(store: Store, set: DataSet, isNewestOnly: boolean): Promise<void> {
  let records: BenchRecord[] = [];
  for (let version = 0; version < set.versions; version++) {
    const record = set.record(version);
    if (!isNewestOnly || set.newest(set.entityOf(version)) === record.seq) records.push(record);
    if (records.length < BATCH && version < set.versions - 1) continue;
    if (records.length > 0) await store.putBatch(records);
    records = [];
  }
}

/** Newest versions as they were, and, of what has several, nothing older. */
async function checkAnswers(store: Store, set: DataSet): Promise<void> {
  const pick = picker(SEED + 1);
  for (let i = 0; i < CHECKED; i++) {
    const entity = pick(set.entities);
    const newest = set.newest(entity);
    const key = set.keyOf(entity);
    const record = set.record(newest - set.record(0).seq);
    if (!isDeepStrictEqual((await store.newest(key))?.body, record.body)) throw new Error(`wrong answer: newest of ${key}`);
    if ((await store.history(key)).length !== 1) throw new Error(`wrong answer: more than the newest of ${key}`);
  }
}

function answer(message: KeepNewestAnswer): void {
  process.send?.(message, () => process.exit(0));
}

run(JSON.parse(process.argv[2] ?? '') as KeepNewestStep).then(answer, (error: unknown) =>
  answer({ error: error instanceof Error ? error.message : String(error) }),
);
