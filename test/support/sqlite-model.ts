/**
 * The same questions as model.ts, asked of a history table in SQLite: what a user without Varve would have
 * built. It keeps the trivial model honest: two answers arrived at in different ways must agree.
 */
import Database from 'better-sqlite3';
import type { HistoryModel, ModelList, ModelVersion, Positions } from './model.js';

interface Row {
  shard: number;
  seq: number;
  time: string;
  batch_end: number;
  collection: string;
  key: string;
  supersedes: number;
  refs: string;
  deleted: number;
  body: string;
}

function fromRow(row: Row | undefined): ModelVersion | undefined {
  if (row === undefined) return undefined;
  const { batch_end: batchEnd, refs, deleted, ...rest } = row;
  return { ...rest, batchEnd, refs: JSON.parse(refs) as string[], deleted: deleted === 1 };
}

function fromRows(rows: readonly unknown[]): ModelVersion[] {
  return rows.map((row) => fromRow(row as Row) as ModelVersion);
}

export class SqliteModel implements HistoryModel {
  readonly #db = new Database(':memory:');

  constructor() {
    // Text compares by its UTF-8 bytes (BINARY collation), as Varve's keys do.
    this.#db.exec(`CREATE TABLE history (
      shard INTEGER, seq INTEGER, time TEXT, batch_end INTEGER, collection TEXT, key TEXT,
      supersedes INTEGER, refs TEXT, deleted INTEGER, body TEXT, PRIMARY KEY (shard, seq));
      CREATE INDEX by_entity ON history (collection, key, seq);
      CREATE TABLE position (shard INTEGER PRIMARY KEY, seq INTEGER);`);
  }

  add(versions: readonly ModelVersion[]): void {
    const insert = this.#db.prepare(
      `INSERT INTO history VALUES (@shard, @seq, @time, @batchEnd, @collection, @key, @supersedes, @refs, @deleted, @body)`,
    );
    for (const version of versions) {
      insert.run({ ...version, refs: JSON.stringify(version.refs), deleted: version.deleted ? 1 : 0 });
    }
  }

  versionAt(collection: string, key: string, at: number): ModelVersion | undefined {
    const query = this.#db.prepare('SELECT * FROM history WHERE collection = ? AND key = ? AND seq <= ? ORDER BY seq DESC LIMIT 1');
    return fromRow(query.get(collection, key, at) as Row | undefined);
  }

  history(collection: string, key: string, fromSeq: number, toSeq: number): ModelVersion[] {
    const query = this.#db.prepare('SELECT * FROM history WHERE collection = ? AND key = ? AND seq BETWEEN ? AND ? ORDER BY seq DESC');
    return fromRows(query.all(collection, key, fromSeq, toSeq));
  }

  list(collection: string, positions: Positions, options: ModelList = {}): ModelVersion[] {
    this.#db.exec('DELETE FROM position');
    const set = this.#db.prepare('INSERT INTO position VALUES (?, ?)');
    positions.forEach((seq, index) => {
      set.run(index + 1, seq);
    });
    const query = this.#db.prepare(
      `SELECT h.* FROM history h JOIN
         (SELECT g.shard, max(g.seq) AS seq FROM history g JOIN position p ON p.shard = g.shard
          WHERE g.collection = @collection AND g.seq <= p.seq GROUP BY g.key) newest
       ON h.shard = newest.shard AND h.seq = newest.seq
       WHERE h.deleted = 0 AND (@prefix IS NULL OR substr(h.key, 1, length(@prefix)) = @prefix) AND (@after IS NULL OR h.key > @after)
       ORDER BY h.key LIMIT @limit`,
    );
    const { prefix = null, after = null, limit = -1 } = options;
    return fromRows(query.all({ collection, prefix, after, limit }));
  }

  positionAt(shard: number, time: string): number {
    const query = this.#db.prepare('SELECT coalesce(max(seq), 0) AS seq FROM history WHERE shard = ? AND time <= ?');
    return (query.get(shard, time) as { seq: number }).seq;
  }

  byId(shard: number, seq: number): ModelVersion | undefined {
    return fromRow(this.#db.prepare('SELECT * FROM history WHERE shard = ? AND seq = ?').get(shard, seq) as Row | undefined);
  }

  counts(collection: string): { entities: number; versions: number } {
    const versions = this.#db.prepare('SELECT count(*) AS n FROM history WHERE collection = ?').get(collection) as { n: number };
    const entities = this.#db
      .prepare(
        `SELECT count(*) AS n FROM history h WHERE collection = ? AND deleted = 0 AND seq =
           (SELECT max(seq) FROM history g WHERE g.collection = h.collection AND g.key = h.key)`,
      )
      .get(collection) as { n: number };
    return { entities: entities.n, versions: versions.n };
  }

  collections(): string[] {
    const rows = this.#db.prepare('SELECT DISTINCT collection FROM history ORDER BY collection').all() as { collection: string }[];
    return rows.map((row) => row.collection);
  }

  close(): void {
    this.#db.close();
  }
}
