/**
 * Varve for the peers harness (see run.mjs beside this file): copied into its `adapters/` folder, with this
 * package linked into its node_modules.
 *
 * The harness numbers versions itself; Varve gives out its own seqs, and its events (checkpoints) take some
 * too. Between two events the difference is constant, so a short list of runs maps one to the other. It is
 * kept in a file beside the database, read at open and written at close: harness bookkeeping, not data.
 */
import fs from 'node:fs';
import path from 'node:path';
import { open as openVarve } from 'varve';

export const meta = {
  name: 'varve',
  packages: ['varve'],
  durable: true,
  sync: true,
  design:
    'one shard, default options but for 256 MB of block cache; a resolved write has been fdatasynced; bodies parsed on every read; as-of by position',
};

const COLLECTION = 'bench';
/** The other peers map their files into memory (SQLite here: up to 1 GB); this is the like of it. */
const BLOCK_CACHE_BYTES = 256 * 1024 * 1024;
const HARNESS_BASE = 2 ** 48;

class SeqRuns {
  /** Ascending: from harness number `n` on, our seq is `n + shift`. */
  #runs = [];

  constructor(file) {
    this.file = file;
    if (fs.existsSync(file)) this.#runs = JSON.parse(fs.readFileSync(file, 'utf8'));
  }

  note(harnessSeq, ourSeq) {
    const n = harnessSeq - HARNESS_BASE;
    const shift = ourSeq - n;
    const last = this.#runs.at(-1);
    if (last === undefined || last.shift !== shift) this.#runs.push({ n, shift });
  }

  /** Position that shows every version up to this harness number. */
  toOurs(harnessSeq) {
    const n = harnessSeq - HARNESS_BASE;
    return n + this.#find((run) => run.n <= n).shift;
  }

  toHarness(ourSeq) {
    return HARNESS_BASE + ourSeq - this.#find((run) => run.n + run.shift <= ourSeq).shift;
  }

  #find(covers) {
    let low = 0;
    let high = this.#runs.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (covers(this.#runs[middle])) low = middle;
      else high = middle;
    }
    return this.#runs[low];
  }

  save() {
    fs.writeFileSync(this.file, JSON.stringify(this.#runs));
  }
}

export async function open(dir) {
  const seqs = new SeqRuns(path.join(dir, 'harness-seqs.json'));
  const db = await openVarve(path.join(dir, 'varve'), { blockCacheBytes: BLOCK_CACHE_BYTES });
  const result = (record) => record && { key: record.key, seq: seqs.toHarness(record.seq), body: record.body };
  const view = (seq) => (seq === undefined ? db.now() : db.at([seqs.toOurs(seq)]));
  // Harness numbers must arrive in the order they were given: note each one as its insert resolves.
  const put = (record) => db.put(COLLECTION, record.key, record.body).then((header) => seqs.note(record.seq, header.seq));
  return {
    db,
    async putBatch(records) {
      const done = await db.insert(records.map(({ key, body }) => ({ collection: COLLECTION, key, body })));
      seqs.note(records[0].seq, done.records[0].seq);
    },
    put,
    putConcurrent: put,
    getLatest: (key) => result(db.now().get(COLLECTION, key)),
    getAsOf: (key, seq) => result(view(seq).get(COLLECTION, key)),
    history: (key) => {
      const records = [];
      let fromSeq;
      do {
        const page = db.now().history(COLLECTION, key, { order: 'asc', limit: 1000, ...(fromSeq === undefined ? {} : { fromSeq }) });
        for (const record of page.records) records.push(result(record));
        fromSeq = page.nextSeq;
      } while (fromSeq !== undefined);
      return records;
    },
    scan: (from, count, seq) => {
      // A listing begins after a key; the harness wants the key itself too.
      const at = view(seq);
      const first = at.get(COLLECTION, from);
      const records = first && !first.deleted ? [result(first)] : [];
      for (const record of at.list(COLLECTION, { after: from, limit: count - records.length })) records.push(result(record));
      return records;
    },
    equalHow: 'root hashes of both, which must differ here: the copy has been changed',
    equal: async (other) => (await db.root(1)).root !== (await other.db.root(1)).root,
    diffHow: 'listing of both, record hashes of the newest versions compared (no diff of trees in the public face yet)',
    async diff(other) {
      const hashes = new Map();
      for await (const record of db.now().entities(COLLECTION)) hashes.set(record.key, record.hash);
      const keys = [];
      for await (const record of other.db.now().entities(COLLECTION)) {
        if (hashes.get(record.key) !== record.hash) keys.push(record.key);
        hashes.delete(record.key);
      }
      return [...keys, ...hashes.keys()];
    },
    compact() {
      throw new Error('compaction is not there yet');
    },
    async close() {
      seqs.save();
      await db.close();
    },
  };
}
