/**
 * Asks the engine and a model the same questions and insists on the same answers: newest, as of an id, as
 * of a time, histories both ways and in pages, listings in pages, records by id, counts.
 */
import assert from 'node:assert/strict';
import type { Database, View } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { type RecordHeader, recordId, type VersionRecord } from '../../engine/types.js';
import type { HistoryModel, ModelList, ModelVersion, Positions } from './model.js';
import type { Random } from './random.js';

/** What both sides can be reduced to. Text, so that a failure reads well. */
export function describeRecord(record: VersionRecord | undefined): string {
  if (record === undefined) return 'none';
  const bytes = record.bodyBytes;
  const body = record.deleted ? '' : Buffer.from(bytes ?? []).toString('utf8');
  if (record.deleted) assert.equal(bytes, undefined, 'a tombstone has no body');
  else assert.deepEqual(record.body, JSON.parse(body));
  return `${describeHeader(record)} body=${body}`;
}

export function describeHeader(record: RecordHeader): string {
  assert.equal(record.id, recordId(record.shard, record.seq));
  const { id, time, collection, key, supersedes, refs, deleted } = record;
  return `${id} ${time} ${collection}/${key} after=${supersedes ?? 'none'} refs=[${refs.join()}] ${deleted ? 'deleted' : 'alive'}`;
}

export function describeModel(version: ModelVersion | undefined): string {
  if (version === undefined) return 'none';
  const { shard, seq, time, collection, key, refs, deleted, body } = version;
  const supersedes = version.supersedes === 0 ? 'none' : recordId(shard, version.supersedes);
  return `${recordId(shard, seq)} ${time} ${collection}/${key} after=${supersedes} refs=[${refs.join()}] ${deleted ? 'deleted' : 'alive'} body=${body}`;
}

const describeModels = (versions: readonly ModelVersion[]): string[] => versions.map(describeModel);
const describeRecords = (records: readonly VersionRecord[]): string[] => records.map(describeRecord);

export interface World {
  readonly db: Database;
  readonly models: readonly HistoryModel[];
  readonly random: Random;
  /** Every entity ever written, plus some that never were. */
  readonly entities: readonly { collection: string; key: string; shard: number }[];
  /** Every acknowledged version. */
  readonly versions: readonly ModelVersion[];
}

/** Positions that see everything. */
const ALL = Number.MAX_SAFE_INTEGER;

function everything(db: Database): Positions {
  return new Array<number>(db.shardCount).fill(ALL);
}

/** All questions about now, for every entity and collection. */
export function compareNewest(world: World): void {
  const view = world.db.now();
  for (const { collection, key, shard } of world.entities) {
    compareEntity(world, view, collection, key, ALL, 'now');
    assert.equal(world.db.shardOf(collection, key), shard, `shard of ${collection}/${key}`);
  }
  for (const collection of collectionsOf(world)) compareListing(world, view, collection, everything(world.db), 'now');
}

/** As of a random record id. */
export async function compareAtId(world: World): Promise<void> {
  if (world.versions.length === 0) return;
  const version = world.random.pick(world.versions);
  const id = recordId(version.shard, version.seq);
  const view = await world.db.asOf(id);
  for (const { collection, key, shard } of world.entities) {
    if (shard === version.shard) compareEntity(world, view, collection, key, version.batchEnd, `as of ${id}`);
    else
      assert.throws(
        () => view.get(collection, key),
        (error) => isVarveError(error, 'CROSS_SHARD'),
        `${collection}/${key} as of ${id}`,
      );
  }
  const positions = everything(world.db).map((_, index) => (index + 1 === version.shard ? version.batchEnd : 0));
  for (const collection of collectionsOf(world)) {
    const elsewhere = world.entities.some((entity) => entity.collection === collection && entity.shard !== version.shard);
    if (world.db.shardCount === 1) compareListing(world, view, collection, positions, `as of ${id}`);
    else if (elsewhere)
      assert.throws(
        () => view.list(collection),
        (error) => isVarveError(error, 'CROSS_SHARD'),
        `list as of ${id}`,
      );
  }
}

/** As of the time of a random record, or just beside it. */
export async function compareAtTime(world: World): Promise<void> {
  if (world.versions.length === 0) return;
  const time = shiftMicros(world.random.pick(world.versions).time, world.random.pick([-1, 0, 0, 1]));
  let view: View;
  try {
    view = await world.db.asOf(time);
  } catch (error) {
    // One microsecond past the newest record may be past the clock too.
    if (isVarveError(error, 'TIME_AHEAD') && world.versions.every((version) => version.time < time)) return;
    throw error;
  }
  for (const model of world.models) {
    const positions = everything(world.db).map((_, index) => model.positionAt(index + 1, time));
    for (const { collection, key, shard } of world.entities) {
      compareEntity(world, view, collection, key, positions[shard - 1] ?? 0, `as of ${time}`);
    }
    for (const collection of collectionsOf(world)) compareListing(world, view, collection, positions, `as of ${time}`);
  }
  const again = world.db.at(view.positions);
  assert.deepEqual(again.positions, view.positions);
}

/** Every acknowledged id names its record; the seqs between them name none. */
export function compareById(world: World): void {
  for (const version of world.versions) {
    assert.equal(describeRecord(world.db.record(recordId(version.shard, version.seq))), describeModel(version), 'record by id');
  }
}

export async function compareCounts(world: World): Promise<void> {
  const infos = (await world.db.collections()).filter((info) => !info.name.startsWith('_') && info.versions > 0);
  for (const model of world.models) {
    const want = model.collections().map((name) => ({ name, ...model.counts(name) }));
    const got = infos.map(({ name, entities, versions }) => ({ name, entities, versions }));
    assert.deepEqual(
      got.sort((a, b) => (a.name < b.name ? -1 : 1)),
      want,
      'collections',
    );
  }
}

function collectionsOf(world: World): string[] {
  return [...new Set(world.entities.map((entity) => entity.collection))];
}

function compareEntity(world: World, view: View, collection: string, key: string, at: number, label: string): void {
  const place = `${label}: ${collection}/${key}`;
  const got = describeRecord(view.get(collection, key));
  for (const model of world.models) assert.equal(got, describeModel(model.versionAt(collection, key, at)), place);
  compareHistory(world, view, collection, key, at, place);
}

function compareHistory(world: World, view: View, collection: string, key: string, at: number, place: string): void {
  const { random } = world;
  const whole = random.chance(0.5);
  const seqs = world.versions.map((version) => version.seq);
  const fromSeq = whole || seqs.length === 0 ? 1 : random.pick(seqs) + random.below(2);
  const toSeq = whole || seqs.length === 0 ? 2 ** 48 - 1 : random.pick(seqs) - random.below(2);
  if (fromSeq > toSeq || toSeq < 1) return;
  const order = random.chance(0.5) ? 'asc' : 'desc';
  const limit = random.pick([1, 2, 3, 100]);
  const got: string[] = [];
  let from = fromSeq;
  let to = toSeq;
  for (;;) {
    const range = whole && got.length === 0 ? {} : { fromSeq: from, toSeq: to };
    const page = view.history(collection, key, { order, limit, ...range });
    assert.ok(page.complete, `${place}: nothing was trimmed`);
    assert.ok(page.records.length <= limit, `${place}: page within its limit`);
    got.push(...describeRecords(page.records));
    if (page.nextSeq === undefined) break;
    assert.ok(page.records.length > 0, `${place}: a page that goes on is not empty`);
    if (order === 'desc') to = page.nextSeq;
    else from = page.nextSeq;
  }
  for (const model of world.models) {
    const want = describeModels(model.history(collection, key, fromSeq, Math.min(toSeq, at)));
    if (order === 'asc') want.reverse();
    assert.deepEqual(got, want, `${place}: history ${order} ${fromSeq}…${toSeq} by ${limit}`);
  }
}

function compareListing(world: World, view: View, collection: string, positions: Positions, label: string): void {
  const { random } = world;
  const keys = world.entities.filter((entity) => entity.collection === collection).map((entity) => entity.key);
  const options: ModelList = {};
  if (random.chance(0.4)) options.prefix = [...random.pick(keys)].slice(0, 1 + random.below(2)).join('');
  if (random.chance(0.3)) options.after = random.pick(keys);
  const limit = random.pick([1, 2, 5, 1000]);
  const got: string[] = [];
  let after = options.after;
  for (;;) {
    const page = view.list(collection, { ...options, ...(after === undefined ? {} : { after }), limit });
    got.push(...describeRecords(page));
    const last = page.at(-1);
    if (page.length < limit || last === undefined) break;
    after = last.key;
  }
  for (const model of world.models) {
    assert.deepEqual(
      got,
      describeModels(model.list(collection, positions, options)),
      `${label}: list ${collection} ${JSON.stringify(options)} by ${limit}`,
    );
  }
}

/** Moves a timestamp by a few microseconds. */
export function shiftMicros(time: string, by: number): string {
  const base = Date.parse(`${time.slice(0, 19)}Z`);
  const micros = base * 1000 + Number(time.slice(20, 26)) + by;
  return microsToTime(micros);
}

export function microsToTime(micros: number): string {
  const seconds = Math.floor(micros / 1e6);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros - seconds * 1e6).padStart(6, '0')}Z`;
}

export function timeToMicros(time: string): number {
  return Date.parse(`${time.slice(0, 19)}Z`) * 1000 + Number(time.slice(20, 26));
}
