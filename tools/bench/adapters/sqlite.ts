/** SQLite through better-sqlite3: what most people would take for this on one machine. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import { groupCommit } from '../group-commit.js';
import { differingKeys, type MergeEntry, type MergeSource } from '../merge.js';
import type { Packages } from '../packages.js';

interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
  iterate(...values: unknown[]): IterableIterator<unknown>;
  raw(): Statement;
}

interface Sqlite {
  pragma(text: string): unknown;
  exec(text: string): unknown;
  prepare(text: string): Statement;
  transaction<T>(work: (argument: T) => void): (argument: T) => void;
  close(): void;
}

interface Row {
  key: string;
  seq: number;
  body: string;
}

/** The default of 1000 pages makes bulk loading slower by half. */
const CHECKPOINT_PAGES = 20_000;
const BLOCK = 1000;

export const sqlite: Adapter = {
  meta: {
    title: 'SQLite',
    packages: ['better-sqlite3'],
    design:
      'better-sqlite3; history(key, seq, body), primary key (key, seq), WITHOUT ROWID; WAL, synchronous=FULL, 64 MB of cache, ' +
      `1 GB mapped, checkpoints at ${CHECKPOINT_PAGES} pages`,
    durable: true,
    sync: true,
    diffHow: 'both read in order, bodies compared',
  },
  open: openSqlite,
};

async function openSqlite(directory: string, packages: Packages): Promise<SqliteStore> {
  const Database = packages.require<new (file: string) => Sqlite>('better-sqlite3');
  const db = new Database(path.join(directory, 'history.sqlite'));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('cache_size = -65536');
  db.pragma('mmap_size = 1073741824');
  db.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  db.exec(
    'CREATE TABLE IF NOT EXISTS history(key TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(key, seq)) WITHOUT ROWID',
  );
  return new SqliteStore(db);
}

class SqliteStore implements Store {
  readonly #db: Sqlite;
  readonly #insert: Statement;
  readonly #newest: Statement;
  readonly #asOf: Statement;
  readonly #history: Statement;
  readonly #historyBytes: Statement;
  readonly #scan: Statement;
  readonly putBatch: (records: readonly BenchRecord[]) => void;
  readonly putConcurrent: (record: BenchRecord) => Promise<void>;

  constructor(db: Sqlite) {
    this.#db = db;
    this.#insert = db.prepare('INSERT INTO history VALUES (?, ?, ?)');
    this.#newest = db.prepare('SELECT key, seq, body FROM history WHERE key = ? ORDER BY seq DESC LIMIT 1');
    this.#asOf = db.prepare('SELECT key, seq, body FROM history WHERE key = ? AND seq <= ? ORDER BY seq DESC LIMIT 1');
    this.#history = db.prepare('SELECT key, seq, body FROM history WHERE key = ? ORDER BY seq');
    this.#historyBytes = db.prepare('SELECT seq, CAST(body AS BLOB) AS bytes FROM history WHERE key = ? ORDER BY seq');
    // SQLite takes the other columns of a max() from the row that has it.
    this.#scan = db.prepare('SELECT key, max(seq) AS seq, body FROM history WHERE key >= ? AND seq <= ? GROUP BY key ORDER BY key LIMIT ?');
    this.putBatch = db.transaction((records: readonly BenchRecord[]) => {
      for (const record of records) this.put(record);
    });
    this.putConcurrent = groupCommit(this.putBatch);
  }

  put({ key, seq, body }: BenchRecord): void {
    this.#insert.run(key, seq, JSON.stringify(body));
  }

  newest(key: string): Version | undefined {
    return version(this.#newest.get(key));
  }

  asOf(key: string, seq: number): Version | undefined {
    return version(this.#asOf.get(key, seq));
  }

  history(key: string): Version[] {
    return this.#history.all(key).map((row) => version(row)!);
  }

  historyBytes(key: string): { seq: number; bytes: Uint8Array }[] {
    return this.#historyBytes.all(key) as { seq: number; bytes: Uint8Array }[];
  }

  scan(fromKey: string, count: number, seq = Number.MAX_SAFE_INTEGER): KeyedVersion[] {
    return this.#scan.all(fromKey, seq, count).map((row) => version(row)!);
  }

  compact(): { into: boolean } {
    this.#db.exec(
      'DELETE FROM history WHERE EXISTS (SELECT 1 FROM history newer WHERE newer.key = history.key AND newer.seq > history.seq)',
    );
    this.#db.exec('VACUUM');
    this.checkpoint();
    return { into: false };
  }

  diff(other: SqliteStore): Promise<Set<string>> {
    return differingKeys(this.#all(), other.#all(), (x, y) => x === y);
  }

  checkpoint(): void {
    this.#db.pragma('wal_checkpoint(TRUNCATE)');
  }

  beforeCopy(): void {
    this.checkpoint();
  }

  close(): void {
    this.#db.close();
  }

  #all(): MergeSource {
    const rows = this.#db.prepare('SELECT key, seq, body FROM history ORDER BY key, seq').raw().iterate();
    return {
      next: () => {
        const block: MergeEntry[] = [];
        for (let step = rows.next(); !step.done; step = rows.next()) {
          const [key, seq, value] = step.value as [string, number, string];
          block.push({ key, seq, value });
          if (block.length === BLOCK) break;
        }
        return block;
      },
    };
  }
}

/** The row itself, its body parsed. */
function version(found: unknown): KeyedVersion | undefined {
  if (found === undefined) return undefined;
  const row = found as { key: string; seq: number; body: JsonValue };
  row.body = JSON.parse((found as Row).body) as JsonValue;
  return row;
}
