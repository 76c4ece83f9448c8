/**
 * `catalog.sqlite`: what would otherwise be found out again by reading much of the log or the tree: past
 * checkpoints, collection counts, and trims of other nodes that are not carried out here yet. Derived (law 2): deleting it costs time, never an answer.
 *
 * SQLite keeps no checksums, so every row carries its own; whatever looks odd (a bad row, a file that is not a
 * database) makes the whole catalog be thrown away and begun anew. It is opened when first needed, not at open.
 * A crash may lose its newest rows or all of them: what is missing is derived again.
 */
import type Database from 'better-sqlite3';
import { crc32 } from './format/checksum.js';
import type { CheckpointEvent } from './log/types.js';
import type { Platform } from './platform/platform.js';
import type { Counts } from './shard-counts.js';

export const CATALOG_FILE = 'catalog.sqlite';

export type LoggedCheckpoint = CheckpointEvent & { readonly seq: number };

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS checkpoints(
    shard INTEGER NOT NULL, seq INTEGER NOT NULL, through_seq INTEGER NOT NULL, root BLOB NOT NULL, entries INTEGER NOT NULL,
    previous BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY(shard, seq)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS checkpoint_chains(shard INTEGER PRIMARY KEY, complete_through INTEGER NOT NULL, rows INTEGER NOT NULL, checksum INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS counts(shard INTEGER PRIMARY KEY, tree_seq INTEGER NOT NULL, counts TEXT NOT NULL, checksum INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS trims(shard INTEGER PRIMARY KEY, through_seq INTEGER NOT NULL, events TEXT NOT NULL, checksum INTEGER NOT NULL);
`;

interface CheckpointRow {
  seq: number;
  through_seq: number;
  root: Buffer;
  entries: number;
  previous: Buffer;
  checksum: number;
}

export class Catalog {
  readonly #platform: Platform;
  readonly #databaseId: Uint8Array;
  #sqlite: Database.Database | undefined;
  #closed = false;

  constructor(platform: Platform, databaseId: Uint8Array) {
    this.#platform = platform;
    this.#databaseId = databaseId;
  }

  /** Notes the event that follows the one at `previousEventSeq` (0: it is the first). */
  addCheckpoint(shard: number, event: LoggedCheckpoint, previousEventSeq: number): void {
    this.#use((db) => {
      const chain = this.#chain(db, shard);
      if ((chain?.completeThrough ?? 0) !== previousEventSeq) return; // some are missing before it: derived when asked for
      this.#insertCheckpoint(db, shard, event);
      this.#setChain(db, shard, event.seq, (chain?.rows ?? 0) + 1);
    }, undefined);
  }

  replaceCheckpoints(shard: number, events: readonly LoggedCheckpoint[]): void {
    this.#use((db) => {
      db.prepare('DELETE FROM checkpoints WHERE shard = ?').run(shard);
      for (const event of events) this.#insertCheckpoint(db, shard, event);
      this.#setChain(db, shard, events.at(-1)?.seq ?? 0, events.length);
    }, undefined);
  }

  /** Oldest first; undefined unless it is complete up to the event at `throughEventSeq`. */
  checkpoints(shard: number, throughEventSeq: number): LoggedCheckpoint[] | undefined {
    return this.#use((db) => {
      const chain = this.#chain(db, shard);
      if (chain === undefined || chain.completeThrough !== throughEventSeq) return undefined;
      const rows = db.prepare<[number], CheckpointRow>('SELECT * FROM checkpoints WHERE shard = ? ORDER BY seq').all(shard);
      if (rows.length !== chain.rows) throw new Error('rows are missing');
      return rows.map((row) => {
        if (row.checksum !== this.#checksum(shard, row.seq, row.through_seq, row.root, row.entries, row.previous))
          throw new Error('a row fails its checksum');
        return {
          type: 'checkpoint',
          seq: row.seq,
          throughSeq: row.through_seq,
          root: row.root,
          entries: row.entries,
          previous: row.previous,
        };
      });
    }, undefined);
  }

  saveCounts(shard: number, treeSeq: number, counts: Counts): void {
    const text = JSON.stringify([...counts].map(([collection, { alive, versions }]) => [collection, alive, versions]));
    this.#use((db) => {
      const checksum = this.#checksum(shard, treeSeq, text);
      db.prepare('INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)').run(shard, treeSeq, text, checksum);
    }, undefined);
  }

  /** The counts of the tree that covers exactly up to `treeSeq`, if they were saved. */
  counts(shard: number, treeSeq: number): Counts | undefined {
    return this.#use((db) => {
      const row = db
        .prepare<[number], { tree_seq: number; counts: string; checksum: number }>('SELECT * FROM counts WHERE shard = ?')
        .get(shard);
      if (row === undefined) return undefined;
      if (row.checksum !== this.#checksum(shard, row.tree_seq, row.counts)) throw new Error('a row fails its checksum');
      if (row.tree_seq !== treeSeq) return undefined;
      const entries = JSON.parse(row.counts) as [string, number, number][];
      return new Map(entries.map(([collection, alive, versions]) => [collection, { alive, versions }]));
    }, undefined);
  }

  /** Events of trims up to `throughSeq` whose drops may be in the files still. */
  saveTrims(shard: number, throughSeq: number, events: readonly number[]): void {
    const text = JSON.stringify(events);
    this.#use((db) => {
      const checksum = this.#checksum(shard, throughSeq, text, 'trims');
      db.prepare('INSERT OR REPLACE INTO trims VALUES (?, ?, ?, ?)').run(shard, throughSeq, text, checksum);
    }, undefined);
  }

  trims(shard: number): { readonly throughSeq: number; readonly events: readonly number[] } | undefined {
    return this.#use((db) => {
      const row = db
        .prepare<[number], { through_seq: number; events: string; checksum: number }>('SELECT * FROM trims WHERE shard = ?')
        .get(shard);
      if (row === undefined) return undefined;
      if (row.checksum !== this.#checksum(shard, row.through_seq, row.events, 'trims')) throw new Error('a row fails its checksum');
      return { throughSeq: row.through_seq, events: JSON.parse(row.events) as number[] };
    }, undefined);
  }

  /** Reads all of it back: pages, and every row's own checksum. False where it was bad, and thrown away. */
  check(): boolean {
    return this.#use((db) => {
      if (db.pragma('quick_check', { simple: true }) !== 'ok') throw new Error('a page is bad');
      for (const { shard, seq, through_seq, root, entries, previous, checksum } of db
        .prepare<[], CheckpointRow & { shard: number }>('SELECT * FROM checkpoints')
        .iterate()) {
        if (checksum !== this.#checksum(shard, seq, through_seq, root, entries, previous)) throw new Error('a row fails its checksum');
      }
      for (const { shard, tree_seq, counts, checksum } of db
        .prepare<[], { shard: number; tree_seq: number; counts: string; checksum: number }>('SELECT * FROM counts')
        .iterate()) {
        if (checksum !== this.#checksum(shard, tree_seq, counts)) throw new Error('a row fails its checksum');
      }
      for (const { shard } of db.prepare<[], { shard: number }>('SELECT shard FROM checkpoint_chains').all()) this.#chain(db, shard);
      return true;
    }, false);
  }

  close(): void {
    this.#closed = true;
    try {
      this.#sqlite?.close();
    } catch {
      // derived data: nothing is lost
    }
    this.#sqlite = undefined;
  }

  /** Runs `work` in a transaction; a catalog that cannot do it is thrown away, and the answer is `otherwise`. */
  #use<T>(work: (db: Database.Database) => T, otherwise: T): T {
    if (this.#closed) return otherwise;
    try {
      this.#sqlite ??= this.#open();
      const db = this.#sqlite;
      return db.transaction(() => work(db))();
    } catch {
      this.#discard();
      return otherwise;
    }
  }

  #open(): Database.Database {
    const db = this.#platform.files.openSqlite(CATALOG_FILE);
    // Losing the newest rows in a crash is fine, so nothing is synced for it.
    db.pragma('journal_mode = MEMORY');
    db.pragma('synchronous = OFF');
    db.exec(SCHEMA);
    return db;
  }

  #discard(): void {
    try {
      this.#sqlite?.close();
    } catch {
      // it is being thrown away
    }
    this.#sqlite = undefined;
    try {
      if (this.#platform.files.exists(CATALOG_FILE)) this.#platform.files.remove(CATALOG_FILE);
    } catch {
      this.#closed = true; // cannot be replaced either: go on without
    }
  }

  #chain(db: Database.Database, shard: number): { completeThrough: number; rows: number } | undefined {
    const row = db
      .prepare<[number], { complete_through: number; rows: number; checksum: number }>('SELECT * FROM checkpoint_chains WHERE shard = ?')
      .get(shard);
    if (row === undefined) return undefined;
    if (row.checksum !== this.#checksum(shard, row.complete_through, row.rows)) throw new Error('a row fails its checksum');
    return { completeThrough: row.complete_through, rows: row.rows };
  }

  #setChain(db: Database.Database, shard: number, completeThrough: number, rows: number): void {
    db.prepare('INSERT OR REPLACE INTO checkpoint_chains VALUES (?, ?, ?, ?)').run(
      shard,
      completeThrough,
      rows,
      this.#checksum(shard, completeThrough, rows),
    );
  }

  #insertCheckpoint(db: Database.Database, shard: number, event: LoggedCheckpoint): void {
    const { seq, throughSeq, root, entries, previous } = event;
    const checksum = this.#checksum(shard, seq, throughSeq, root, entries, previous);
    db.prepare('INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      shard,
      seq,
      throughSeq,
      root,
      entries,
      previous,
      checksum,
    );
  }

  #checksum(...fields: (number | string | Uint8Array)[]): number {
    const text = fields.map((field) => (typeof field === 'object' ? Buffer.from(field).toString('hex') : String(field))).join('|');
    return crc32(Buffer.from(text), crc32(this.#databaseId));
  }
}
