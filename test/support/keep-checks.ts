/**
 * What `keep-driver.ts` insists on: an answer is the model's or a refusal that the model allows (law 6), a snapshot's point is never refused, histories
 * are in order and tell whether they are whole, and the root is that of a fresh build from the live set (law 3).
 */
import assert from 'node:assert/strict';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import type { VersionRecord } from '../../engine/types.js';
import type { Random } from './random.js';
import { freshRoot } from './root.js';

export const COLLECTIONS = ['a', 'ab', 'b'];

export interface Version {
  readonly id: string;
  readonly shard: number;
  readonly seq: number;
  readonly micros: number;
  readonly time: string;
  readonly deleted: boolean;
  readonly body: string;
  readonly refs: readonly string[];
  erased: boolean;
  /** Retention has let it go at some time, as far as the model can tell from outside. */
  mayBeGone: boolean;
}

/** A database and the model that it is held to. */
export interface KeepWorld {
  readonly db: Database;
  readonly shards: number;
  readonly random: Random;
  /** By entity, oldest first. */
  readonly histories: ReadonlyMap<string, readonly Version[]>;
  readonly byId: ReadonlyMap<string, Version>;
  readonly snapshots: ReadonlyMap<string, { readonly time: string; readonly micros: number }>;
  readonly stats: { refused: number; exact: number };
}

/** Everything that can be asked now, asked: each answer is the model's, or a refusal that the model allows. */
export async function checkKept(world: KeepWorld): Promise<void> {
  const { db, byId, histories, snapshots, random, shards } = world;
  for (const version of byId.values()) checkVersion(world, version);
  const all = [...byId.values()];
  const points = [undefined, ...[...snapshots.values()].map(({ time }) => time)];
  for (let i = 0; i < 4 && all.length > 0; i++) points.push(random.pick(all).time);
  for (const time of points) await checkPoint(world, time);
  for (const [entity, history] of histories) checkHistory(world, entity, history);
  for (const { time, micros } of snapshots.values()) await checkSnapshot(world, time, micros);
  for (const collection of COLLECTIONS) {
    const alive = [...histories].filter(([entity, history]) => entity.startsWith(`${collection}/`) && history.at(-1)?.deleted === false);
    assert.equal((await db.collection(collection))?.entities ?? 0, alive.length, `entities alive in ${collection}`);
  }
  for (let shard = 1; shard <= shards; shard++) {
    const root = await db.root(shard);
    assert.deepEqual({ root: root?.root, entries: root?.entries }, await freshRoot(db, shard, root?.seq ?? 0), `root of shard ${shard}`);
  }
}

function checkVersion({ db }: KeepWorld, version: Version): void {
  let found: VersionRecord | undefined;
  try {
    found = db.record(version.id);
  } catch (error) {
    if (!isVarveError(error, 'TRIMMED')) throw error;
    assert.ok(version.mayBeGone, `${version.id} was never let go, and is gone`);
    return;
  }
  assert.ok(found !== undefined, `${version.id} was given out, and is unknown`);
  same(found, version);
}

function same(found: VersionRecord, version: Version): void {
  assert.equal(found.id, version.id);
  assert.equal(found.deleted, version.deleted);
  assert.equal(found.erased, version.erased, `${version.id} erased`);
  if (!version.deleted) assert.equal(found.body, version.erased ? undefined : version.body);
}

async function checkPoint(world: KeepWorld, time: string | undefined): Promise<void> {
  const { db, histories } = world;
  const view = time === undefined ? db.now() : await db.asOf(time);
  const micros = time === undefined ? Number.POSITIVE_INFINITY : microsOf(time);
  const then = (history: readonly Version[]) => history.filter((version) => version.micros <= micros).at(-1);
  for (const [entity, history] of histories) {
    const [collection = '', key = ''] = entity.split('/');
    exactOrRefused(
      world,
      time,
      () => view.get(collection, key),
      (found) => {
        const truth = then(history);
        // An entity that ended and was forgotten is as one that never was.
        if (found === undefined) assert.ok(truth === undefined || (truth.deleted && truth.mayBeGone), `${entity} as of ${time} is missing`);
        else {
          assert.ok(truth !== undefined, `${entity} as of ${time} was not there`);
          same(found, truth);
        }
      },
    );
  }
  for (const collection of COLLECTIONS) {
    exactOrRefused(
      world,
      time,
      () => view.list(collection, { limit: 100 }),
      (found) => {
        const truth = [...histories].filter(([entity]) => entity.startsWith(`${collection}/`)).map(([, history]) => then(history));
        const alive = truth.filter((version) => version !== undefined && !version.deleted).map((version) => version!.id);
        assert.deepEqual(found.map(({ id }) => id).sort(), alive.sort(), `listing of ${collection} as of ${time}`);
      },
    );
  }
}

function exactOrRefused<T>({ stats }: KeepWorld, time: string | undefined, ask: () => T, check: (answer: T) => void): void {
  let answer: T;
  try {
    answer = ask();
  } catch (error) {
    if (!isVarveError(error, 'TRIMMED')) throw error;
    assert.ok(time !== undefined, 'the present is never refused');
    stats.refused++;
    return;
  }
  check(answer);
  stats.exact++;
}

/** A live snapshot's point is never refused. */
async function checkSnapshot({ db, histories }: KeepWorld, time: string, micros: number): Promise<void> {
  const view = await db.asOf(time);
  for (const [entity, history] of histories) {
    const [collection = '', key = ''] = entity.split('/');
    const truth = history.filter((version) => version.micros <= micros).at(-1);
    const found = view.get(collection, key);
    const wasForgotten = found === undefined && truth?.deleted === true && truth.mayBeGone;
    if (!wasForgotten) assert.equal(found?.id, truth?.id, `${entity} in the snapshot of ${time}`);
  }
}

function checkHistory({ db }: KeepWorld, entity: string, history: readonly Version[]): void {
  const [collection = '', key = ''] = entity.split('/');
  const { records, complete } = db.now().history(collection, key, { order: 'asc', limit: 1000 });
  const ids = records.map(({ id }) => id);
  assert.deepEqual(
    ids,
    history.filter(({ id }) => (ids as string[]).includes(id)).map(({ id }) => id),
    `history of ${entity} in order`,
  );
  if (!complete) return;
  // Complete: nothing is missing since the entity began, or began anew.
  const first = history.findIndex(({ id }) => id === ids[0]);
  if (ids.length > 0)
    assert.deepEqual(
      ids,
      history.slice(first).map(({ id }) => id),
      `history of ${entity} is not complete`,
    );
  if (first > 0) assert.ok(history[first - 1]!.deleted && records[0]?.supersedes === null, `history of ${entity} begins in the middle`);
}

export function microsOf(time: string): number {
  const [, fraction = ''] = /\.(\d{6})Z$/.exec(time) ?? [];
  return Date.parse(`${time.slice(0, 19)}Z`) * 1000 + Number(fraction);
}
