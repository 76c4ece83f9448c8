/** PostgreSQL over its protocol on loopback: the history table an application would write. */
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import type { Packages } from '../packages.js';
import { postgresPort, startPostgres, USER } from './postgres-server.js';

interface Result {
  readonly rows: unknown[];
}

interface Client {
  connect(): Promise<void>;
  end(): Promise<void>;
}

interface Pool {
  query(query: string | { name: string; text: string; values: unknown[] }, values?: unknown[]): Promise<Result>;
  end(): Promise<void>;
}

interface Pg {
  readonly types: { setTypeParser(oid: number, parse: (text: string) => unknown): void };
  readonly Pool: new (options: object) => Pool;
  readonly Client: new (options: object) => Client;
}

const BIGINT = 20;
const CLIENTS = 64;
/** Entities are compared in groups with this many first characters of the key in common. */
const GROUP = 14;

export const postgres: Adapter = {
  meta: {
    title: 'PostgreSQL',
    packages: ['pg'],
    design:
      'history(key COLLATE "C", seq bigint, body jsonb), unique index (key, seq desc); fsync and synchronous_commit on, 512 MB of shared ' +
      `buffers; prepared statements over TCP on loopback, ${CLIENTS} connections`,
    durable: true,
    sync: false,
    diffHow: 'sums of hashes of groups of keys by SQL on both sides, then rows of the groups that differ',
  },
  setup: (directory, packages) => startPostgres(directory, (port) => ping(packages, port)),
  async open(directory: string, packages: Packages): Promise<PostgresStore> {
    const pg = packages.require<Pg>('pg');
    pg.types.setTypeParser(BIGINT, Number);
    const pool = new pg.Pool({ ...connection(postgresPort(directory)), max: CLIENTS });
    await pool.query('CREATE TABLE IF NOT EXISTS history(key text COLLATE "C" NOT NULL, seq bigint NOT NULL, body jsonb NOT NULL)');
    await pool.query('CREATE UNIQUE INDEX IF NOT EXISTS history_versions ON history(key, seq DESC)');
    return new PostgresStore(pool);
  },
};

function connection(port: number) {
  return { host: '127.0.0.1', port, user: USER, database: 'postgres' };
}

async function ping(packages: Packages, port: number): Promise<void> {
  const client = new (packages.require<Pg>('pg').Client)(connection(port));
  await client.connect();
  await client.end();
}

class PostgresStore implements Store {
  readonly #pool: Pool;
  /** The server groups the commits of its connections. */
  readonly putConcurrent = (record: BenchRecord) => this.put(record);

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  putBatch(records: readonly BenchRecord[]): Promise<Result> {
    return this.#prepared('batch', 'INSERT INTO history SELECT * FROM unnest($1::text[], $2::bigint[], $3::jsonb[])', [
      records.map(({ key }) => key),
      records.map(({ seq }) => seq),
      records.map(({ body }) => JSON.stringify(body)),
    ]);
  }

  put({ key, seq, body }: BenchRecord): Promise<Result> {
    return this.#prepared('put', 'INSERT INTO history VALUES ($1, $2, $3)', [key, seq, JSON.stringify(body)]);
  }

  async newest(key: string): Promise<Version | undefined> {
    const { rows } = await this.#prepared('newest', 'SELECT seq, body FROM history WHERE key = $1 ORDER BY seq DESC LIMIT 1', [key]);
    return rows[0] as Version | undefined;
  }

  async asOf(key: string, seq: number): Promise<Version | undefined> {
    const text = 'SELECT seq, body FROM history WHERE key = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1';
    const { rows } = await this.#prepared('as-of', text, [key, seq]);
    return rows[0] as Version | undefined;
  }

  async history(key: string): Promise<Version[]> {
    const { rows } = await this.#prepared('history', 'SELECT seq, body FROM history WHERE key = $1 ORDER BY seq', [key]);
    return rows as { seq: number; body: JsonValue }[];
  }

  async scan(fromKey: string, count: number, seq = Number.MAX_SAFE_INTEGER): Promise<KeyedVersion[]> {
    const text = 'SELECT DISTINCT ON (key) key, seq, body FROM history WHERE key >= $1 AND seq <= $2 ORDER BY key, seq DESC LIMIT $3';
    const { rows } = await this.#prepared('scan', text, [fromKey, seq, count]);
    return rows as KeyedVersion[];
  }

  async compact(): Promise<{ into: boolean }> {
    await this.#pool.query(
      'DELETE FROM history h USING (SELECT key, max(seq) AS newest FROM history GROUP BY key) n WHERE h.key = n.key AND h.seq < n.newest',
    );
    await this.#pool.query('VACUUM FULL history');
    await this.checkpoint();
    return { into: false };
  }

  /** Stands for a second server: a second table in the same one. */
  async makeCopy(changes: readonly BenchRecord[]): Promise<void> {
    await this.#pool.query('CREATE TABLE history_copy AS TABLE history');
    for (const { key, seq, body } of changes) {
      await this.#pool.query('INSERT INTO history_copy VALUES ($1, $2, $3)', [key, seq, JSON.stringify(body)]);
    }
  }

  async dropCopy(): Promise<void> {
    await this.#pool.query('DROP TABLE IF EXISTS history_copy');
  }

  async diff(): Promise<string[]> {
    const group = `left(key, ${GROUP})`;
    const sums = async (table: string) => {
      const hash = "hashtextextended(key || ' ' || seq || ' ' || body::text, 0)";
      const { rows } = await this.#pool.query(`SELECT ${group} AS name, sum(${hash})::text AS sum FROM ${table} GROUP BY 1`);
      return rows as { name: string; sum: string }[];
    };
    const [ours, theirs] = await Promise.all([sums('history'), sums('history_copy')]);
    const known = new Map(ours.map(({ name, sum }) => [name, sum]));
    const names = theirs.filter(({ name, sum }) => known.get(name) !== sum).map(({ name }) => name);
    const rowsOf = (table: string) => `SELECT key, seq, body FROM ${table} WHERE ${group} = ANY($1)`;
    const text = `SELECT DISTINCT key FROM (${rowsOf('history_copy')} EXCEPT ${rowsOf('history')}) differing`;
    const { rows } = await this.#pool.query(text, [names]);
    return (rows as { key: string }[]).map(({ key }) => key);
  }

  async checkpoint(): Promise<void> {
    await this.#pool.query('CHECKPOINT');
  }

  async afterLoad(): Promise<void> {
    await this.#pool.query('VACUUM ANALYZE history');
    await this.checkpoint();
  }

  async bytes(): Promise<number> {
    const { rows } = await this.#pool.query("SELECT pg_total_relation_size('history') AS bytes");
    return (rows[0] as { bytes: number }).bytes;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  #prepared(name: string, text: string, values: unknown[]): Promise<Result> {
    return this.#pool.query({ name, text, values });
  }
}
