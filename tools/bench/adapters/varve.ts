/** Varve as its users embed it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Database, VersionRecord } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store } from '../adapter.js';
import { BASE, type BenchRecord } from '../data/index.js';
import type { Packages } from '../packages.js';

const COLLECTION = 'bench';
const PAGE = 1000;
/** Peers keep their files mapped (SQLite here: up to 1 GB) or have memory of their own for them; this is the like of it. */
const BLOCK_CACHE_BYTES = 256 * 1024 * 1024;

export const varve: Adapter = {
  meta: {
    title: 'Varve',
    packages: ['varve'],
    design: 'one shard, default options but for 256 MB of block cache; a body is parsed on every read; as of a point by its position',
    durable: true,
    sync: true,
    diffHow: 'listing of both, hashes of the newest versions compared',
    equalHow: 'root hashes of both',
  },
  open: openVarve,
  prepare: (directory) => void seqRunsOf(directory),
};

async function openVarve(directory: string, packages: Packages): Promise<VarveStore> {
  const { open } = await packages.varve();
  const db = await open(path.join(directory, 'varve'), { blockCacheBytes: BLOCK_CACHE_BYTES });
  return new VarveStore(db, seqRunsOf(directory));
}

class VarveStore implements Store {
  readonly #db: Database;
  readonly #seqs: SeqRuns;
  readonly putConcurrent = (record: BenchRecord) => this.put(record);

  constructor(db: Database, seqs: SeqRuns) {
    this.#db = db;
    this.#seqs = seqs;
  }

  async putBatch(records: readonly BenchRecord[]): Promise<void> {
    const items = records.map(({ key, body }) => ({ collection: COLLECTION, key, body }));
    const inserted = await this.#db.insert(items);
    this.#seqs.note(records[0]!.seq, inserted.records[0]!.seq);
  }

  async put(record: BenchRecord): Promise<void> {
    const { seq } = await this.#db.put(COLLECTION, record.key, record.body);
    this.#seqs.note(record.seq, seq);
  }

  newest(key: string): KeyedVersion | undefined {
    const record = this.#db.now().get(COLLECTION, key);
    return record && this.#version(record);
  }

  asOf(key: string, seq: number): KeyedVersion | undefined {
    const record = this.#db.at([this.#seqs.toOurs(seq)]).get(COLLECTION, key);
    return record && this.#version(record);
  }

  history(key: string): KeyedVersion[] {
    return this.#history(key, (record) => this.#version(record));
  }

  historyBytes(key: string): { seq: number; bytes: Uint8Array }[] {
    return this.#history(key, (record) => ({ seq: this.#seqs.toBench(record.seq), bytes: record.bodyBytes! }));
  }

  scan(fromKey: string, count: number, seq?: number): KeyedVersion[] {
    const view = seq === undefined ? this.#db.now() : this.#db.at([this.#seqs.toOurs(seq)]);
    // A listing begins after a key; the first key is wanted too.
    const first = view.get(COLLECTION, fromKey);
    const found = first === undefined || first.deleted ? [] : [this.#version(first)];
    const rest = view.list(COLLECTION, { after: fromKey, limit: count - found.length });
    for (const record of rest) found.push(this.#version(record));
    return found;
  }

  async equal(other: VarveStore): Promise<boolean> {
    const [a, b] = await Promise.all([this.#db.root(1), other.#db.root(1)]);
    return a?.root === b?.root;
  }

  async diff(other: VarveStore): Promise<Set<string>> {
    const hashes = new Map<string, string>();
    for await (const record of this.#db.now().entities(COLLECTION)) hashes.set(record.key, record.hash);
    const differing = new Set<string>();
    for await (const record of other.#db.now().entities(COLLECTION)) {
      if (hashes.get(record.key) !== record.hash) differing.add(record.key);
      hashes.delete(record.key);
    }
    for (const key of hashes.keys()) differing.add(key);
    return differing;
  }

  async compact(): Promise<{ into: boolean }> {
    await this.#db.setRetention(COLLECTION, { keep: 'last', versions: 1 });
    const ended = await this.#db.jobEnded(this.#db.compact({ force: true }).id);
    if (ended?.state !== 'done') throw new Error(`compaction ended as ${ended?.state ?? 'nothing'}`);
    return { into: false };
  }

  checkpoint(): Promise<void> {
    return this.#db.checkpoint();
  }

  async close(): Promise<void> {
    this.#seqs.save();
    await this.#db.close();
  }

  #history<T>(key: string, take: (record: VersionRecord) => T): T[] {
    const taken: T[] = [];
    const view = this.#db.now();
    let page = view.history(COLLECTION, key, { order: 'asc', limit: PAGE });
    for (;;) {
      for (const record of page.records) taken.push(take(record));
      if (page.nextSeq === undefined) return taken;
      page = view.history(COLLECTION, key, { order: 'asc', limit: PAGE, fromSeq: page.nextSeq });
    }
  }

  #version(record: VersionRecord): KeyedVersion {
    return { key: record.key, seq: this.#seqs.toBench(record.seq), body: record.body! };
  }
}

const seqRuns = new Map<string, SeqRuns>();

function seqRunsOf(directory: string): SeqRuns {
  let runs = seqRuns.get(directory);
  if (runs === undefined) seqRuns.set(directory, (runs = new SeqRuns(path.join(directory, 'bench-seqs.json'))));
  return runs;
}

/**
 * The bench numbers versions itself; Varve gives out its own seqs, and its events (checkpoints) take some too. Between two
 * events the difference is constant, so a short list of runs maps one to the other. Kept in a file beside the database and
 * written at close: bookkeeping of the bench, not data.
 */
class SeqRuns {
  readonly #file: string;
  /** Ascending: from the bench's number `from` on, our seq is `from + shift`. */
  readonly #runs: { readonly from: number; readonly shift: number }[];

  constructor(file: string) {
    this.#file = file;
    this.#runs = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { from: number; shift: number }[]) : [];
  }

  note(benchSeq: number, ourSeq: number): void {
    const from = benchSeq - BASE;
    const shift = ourSeq - from;
    if (this.#runs.at(-1)?.shift !== shift) this.#runs.push({ from, shift });
  }

  /** The position that shows every version up to this number. */
  toOurs(benchSeq: number): number {
    const number = benchSeq - BASE;
    return number + this.#shift(number, 0);
  }

  toBench(ourSeq: number): number {
    return BASE + ourSeq - this.#shift(ourSeq, 1);
  }

  save(): void {
    writeFileSync(this.#file, JSON.stringify(this.#runs));
  }

  /** Of the last run that begins at or before this number: ours where `ours` is 1, the bench's where it is 0. */
  #shift(number: number, ours: 0 | 1): number {
    let low = 0;
    let high = this.#runs.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      const { from, shift } = this.#runs[middle]!;
      if (from + ours * shift <= number) low = middle;
      else high = middle;
    }
    return this.#runs[low]?.shift ?? 0;
  }
}
