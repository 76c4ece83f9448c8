/**
 * Who was told what: every batch issued, its answer, and what must therefore be found after a crash.
 *
 *   acknowledged      there, with its ids and bytes (I1, I9)
 *   NOT_WRITTEN       absent (law 11)
 *   anything else     absent or whole (I4), and per shard a prefix of what was issued (I2)
 */
import assert from 'node:assert/strict';
import stringify from 'fast-json-stable-stringify';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { type InsertItem, type InsertOptions, type InsertResult, recordId, type VersionRecord } from '../../engine/types.js';
import { freshRoot } from './root.js';

export interface Entry {
  readonly shard: number;
  readonly items: readonly InsertItem[];
  readonly options: InsertOptions;
  /** Undefined while on its way. */
  readonly result: InsertResult | undefined;
  readonly error: unknown;
}

export type LedgerState = readonly Entry[];

export class Ledger {
  readonly #entries: Entry[] = [];
  readonly #onAcknowledged: () => void;

  constructor(onAcknowledged: () => void = () => undefined) {
    this.#onAcknowledged = onAcknowledged;
  }

  /** Inserts, and notes what comes of it. Never rejects. */
  insert(db: Database, items: readonly InsertItem[], options: InsertOptions = {}): Promise<void> {
    const first = items[0];
    if (first === undefined) throw new Error('a batch has items');
    const index = this.#entries.length;
    const entry: Entry = { shard: db.shardOf(first.collection, first.key), items, options, result: undefined, error: undefined };
    this.#entries.push(entry);
    return db.insert(items, options).then(
      (result) => {
        this.#entries[index] = { ...entry, result };
        this.#onAcknowledged();
      },
      (error: unknown) => {
        this.#entries[index] = { ...entry, error };
      },
    );
  }

  put(db: Database, key: string, body: InsertItem['body'] = key, options: InsertOptions = {}): Promise<void> {
    return this.insert(db, [{ collection: 'c', key, ...(body === undefined ? {} : { body }) }], options);
  }

  get state(): LedgerState {
    return [...this.#entries];
  }
}

/** All records of users' collections, by shard, in order of seq. */
export function readAll(db: Database): VersionRecord[][] {
  return db.shards().map((info) => {
    const records: VersionRecord[] = [];
    for (let seq = 1; seq <= info.durableSeq; seq++) {
      const record = db.record(recordId(info.shard, seq));
      if (record !== undefined && !record.collection.startsWith('_')) records.push(record);
    }
    return records;
  });
}

/** Holds what the database has now against what was told. Returns a description of everything there. */
export async function checkAgainst(db: Database, state: LedgerState): Promise<string[]> {
  for (const info of db.shards()) assert.equal(info.state, 'open', `shard ${info.shard}: ${info.reason}`);
  const all = readAll(db);
  for (const [index, records] of all.entries())
    checkShard(
      records,
      state.filter((entry) => entry.shard === index + 1),
    );
  checkIndex(db, all.flat());
  for (const info of db.shards()) {
    const root = await db.root(info.shard);
    assert.deepEqual(
      { root: root?.root, entries: root?.entries },
      await freshRoot(db, info.shard, root?.seq ?? 0),
      'the tree equals a rebuild from the log (I7)',
    );
  }
  return all.flat().map(describe);
}

export function describe(record: VersionRecord): string {
  return `${record.id} ${record.time} ${record.hash}`;
}

function checkShard(records: readonly VersionRecord[], entries: LedgerState): void {
  const byId = new Map(records.map((record) => [record.id, record]));
  const there = new Set<Entry>();
  for (const entry of entries) {
    if (entry.result === undefined) continue;
    const found = entry.result.records.map(({ id }) => byId.get(id));
    assert.ok(
      found.every((record, i) => record !== undefined && sameRecord(record, entry, i, found)),
      `acknowledged '${nameOf(entry)}' is lost (I1)`,
    );
    for (const { id } of entry.result.records) byId.delete(id);
    there.add(entry);
  }
  // What is left must be of the unacknowledged: whole, in the order issued.
  const left = [...byId.values()];
  for (const entry of entries) {
    if (entry.result !== undefined || isVarveError(entry.error, 'NOT_WRITTEN')) continue;
    const found = left.slice(0, entry.items.length);
    if (found.length < entry.items.length || !found.every((record, i) => sameRecord(record, entry, i, found))) continue;
    left.splice(0, found.length);
    there.add(entry);
  }
  const extra = left.map((record) => `${record.id} ${record.key}`);
  assert.deepEqual(extra, [], 'records that are half a batch, twice, or were said not to be written (I2, I4)');
  const gone = entries.findIndex((entry) => entry.error === undefined && !there.has(entry));
  const later = entries.find((entry, i) => gone >= 0 && i > gone && there.has(entry));
  assert.equal(later && nameOf(later), undefined, `what was issued after '${nameOf(entries[gone])}', which is gone (I2)`);
}

function nameOf(entry: Entry | undefined): string {
  return entry?.items.map((item) => item.key).join() ?? '';
}

function sameRecord(
  record: VersionRecord | undefined,
  entry: Entry,
  index: number,
  found: readonly (VersionRecord | undefined)[],
): boolean {
  const item = entry.items[index];
  const first = found[0];
  if (item === undefined || first === undefined || record === undefined) return false;
  const body = record.bodyBytes === undefined ? undefined : Buffer.from(record.bodyBytes).toString('utf8');
  const same = record.collection === item.collection && record.key === item.key && record.deleted === (item.deleted === true);
  const whole = record.seq === first.seq + index && record.time === first.time;
  return same && whole && body === (item.deleted === true ? undefined : stringify(item.body));
}

/** The index agrees with the log: newest and history of every entity. */
function checkIndex(db: Database, records: readonly VersionRecord[]): void {
  const view = db.now();
  const entities = new Map<string, VersionRecord[]>();
  for (const record of records) {
    const name = `${record.collection}/${record.key}`;
    entities.set(name, [record, ...(entities.get(name) ?? [])]);
  }
  for (const versions of entities.values()) {
    const [newest] = versions;
    if (newest === undefined) continue;
    assert.equal(view.get(newest.collection, newest.key)?.id, newest.id, 'newest');
    const page = view.history(newest.collection, newest.key, { limit: 1000 });
    assert.deepEqual(
      page.records.map((record) => record.hash),
      versions.map((record) => record.hash),
      'history',
    );
    versions.forEach((version, i) => {
      assert.equal(version.supersedes, versions[i + 1]?.id ?? null, 'supersedes');
    });
  }
}
