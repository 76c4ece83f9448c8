/**
 * What the database keeps: the retention of each collection, and snapshots, decided once and logged in every shard (law 7).
 *
 *   decide -> shard 1, shard 2, … -> in force           one cannot -> the others are told what was in force before
 *
 * Invariants: decisions, and trims that rest on them, take turns. A retention in force is what shard 1 says: it is told first
 * and, where a decision is undone, taken back last, so opening completes in the other shards what a crash left in some. A snapshot is one
 * where every shard has it. A decision that
 * could not be undone everywhere is undone before the next one.
 */
import type { BatchLimits } from '../batch.js';
import { VarveError } from '../errors.js';
import { checkCollection, isSystemCollection } from '../format/keys.js';
import { parseTime } from '../format/time.js';
import type { Shard } from '../shard.js';
import { forgetSystemEntity, logSystemItems, systemEntities } from '../system-records.js';
import type { JsonValue, Point } from '../types.js';
import type { SnapshotPoint } from './exactness.js';
import { KEEP_ALL, parseRetention, RETENTION, type Retention } from './policy.js';

export const SNAPSHOTS = '_snapshots';
const RECORD_ID = /^[0-9a-f]{16}$/;
const SNAPSHOT_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

export interface Snapshot {
  readonly name: string;
  /** As it was asked for. */
  readonly asOf: Point;
  /** Per shard the last seq it sees; undefined for a shard its point does not reach. */
  readonly positions: readonly (number | undefined)[];
}

export interface KeepingOptions {
  readonly shards: readonly Shard[];
  readonly limits: BatchLimits;
}

/** What is logged for one key, per shard; undefined: nothing stands there. */
type Decision = (shard: Shard) => JsonValue | undefined;

interface Undone {
  readonly collection: string;
  readonly key: string;
  readonly before: Decision;
  readonly shards: Set<Shard>;
}

export class Keeping {
  readonly #options: KeepingOptions;
  readonly #retention = new Map<string, Retention>();
  readonly #snapshots = new Map<string, Snapshot>();
  #last: Promise<unknown> = Promise.resolve();
  #undone: Undone[] = [];

  constructor(options: KeepingOptions) {
    this.#options = options;
  }

  retentionOf(collection: string): Retention {
    return this.#retention.get(collection) ?? KEEP_ALL;
  }

  /** Of every collection that was told what to keep. */
  get retentions(): ReadonlyMap<string, Retention> {
    return this.#retention;
  }

  /** Whether any collection lets anything go. */
  get dropsAnything(): boolean {
    for (const { keep } of this.#retention.values()) if (keep !== 'all') return true;
    return false;
  }

  /** By name. */
  get snapshots(): readonly Snapshot[] {
    return [...this.#snapshots.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  snapshot(name: string): Snapshot | undefined {
    return this.#snapshots.get(name);
  }

  /** Positions of live snapshots in one shard, ascending. */
  snapshotSeqs(shard: Shard): number[] {
    const seqs = [...this.#snapshots.values()].map(({ positions }) => positions[shard.id - 1]).filter((seq) => seq !== undefined);
    return [...new Set(seqs)].sort((a, b) => a - b);
  }

  #pointsIn(shard: Shard): SnapshotPoint[] {
    const points: SnapshotPoint[] = [];
    for (const { asOf, positions } of this.#snapshots.values()) {
      const seq = positions[shard.id - 1];
      if (seq === undefined) continue;
      const last = seq === 0 || shard.damaged ? undefined : shard.log.read(seq)?.time;
      const asked = RECORD_ID.test(asOf) ? undefined : parseTime(asOf, 'asOf');
      // Where a position was found between survivors, only the very time that was asked for is surely the same point.
      const fromTime = seq === 0 ? 0 : (last ?? asked ?? Number.POSITIVE_INFINITY);
      points.push({ seq, fromTime, toTime: asked ?? fromTime });
    }
    return points;
  }

  /** One after the other with every decision: what was decided stays so while `work` runs. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Throws INVALID, SYSTEM_COLLECTION, or what the logs say; then nothing has changed. */
  setRetention(collection: string, value: JsonValue): Promise<Retention> {
    return this.inTurn(async () => {
      checkCollection(collection);
      if (isSystemCollection(collection))
        throw new VarveError('SYSTEM_COLLECTION', `'${collection}' belongs to the system and keeps everything`, { collection });
      const retention = parseRetention(value);
      const before = this.#retention.get(collection);
      await this.#decide(
        RETENTION,
        collection,
        () => ({ ...retention }),
        () => before && { ...before },
      );
      this.#retention.set(collection, retention);
      this.#tellShards();
      return retention;
    });
  }

  /**
   * `resolve` gives the point's positions; it runs in turn, so that no trim comes between. The same name with the same point is
   * the same snapshot; with another it is a CONFLICT.
   */
  createSnapshot(name: string, asOf: Point, resolve: () => Promise<readonly (number | undefined)[]>): Promise<Snapshot> {
    return this.inTurn(async () => {
      checkSnapshotName(name);
      const positions = await resolve();
      const known = this.#snapshots.get(name);
      if (known !== undefined) {
        if (known.positions.every((seq, i) => seq === positions[i])) return known;
        throw new VarveError('SNAPSHOT_EXISTS', `the snapshot '${name}' is of another point in time, ${known.asOf}`, {
          name,
          asOf: known.asOf,
        });
      }
      const snapshot = { name, asOf, positions };
      await this.#decide(
        SNAPSHOTS,
        name,
        (shard) => bodyOf(snapshot, shard),
        () => undefined,
      );
      this.#snapshots.set(name, snapshot);
      this.#tellShards();
      return snapshot;
    });
  }

  /** False where there is none of that name. */
  deleteSnapshot(name: string): Promise<boolean> {
    return this.inTurn(async () => {
      const known = this.#snapshots.get(name);
      if (known === undefined) return false;
      await this.#decide(
        SNAPSHOTS,
        name,
        () => undefined,
        (shard) => bodyOf(known, shard),
      );
      this.#snapshots.delete(name);
      this.#tellShards();
      return true;
    });
  }

  /**
   * Opening, and when other nodes have decided: completes, or takes back, what a crash left in some of the logs only. Shards that tell
   * nothing are left alone, and nothing is logged in those of other nodes.
   */
  load(): Promise<void> {
    return this.inTurn(async () => {
      const sound = this.#options.shards.filter((shard) => shard.tells);
      await this.#loadRetention(await said(sound, RETENTION));
      await this.#loadSnapshots(await said(sound, SNAPSHOTS));
      this.#tellShards();
    });
  }

  /** What the first shard says counts: it is told first. */
  async #loadRetention(said: Said): Promise<void> {
    const [decided] = said.values();
    if (decided === undefined) return;
    for (const [shard, entities] of said) {
      if (!shard.replica.takesWrites) continue;
      for (const key of entities.keys()) if (!decided.has(key)) await forgetSystemEntity(shard, RETENTION, key, this.#options.limits);
      for (const [key, body] of decided) {
        if (JSON.stringify(entities.get(key)) !== JSON.stringify(body))
          await logSystemItems(shard, [{ collection: RETENTION, key, body }], this.#options.limits);
      }
    }
    this.#retention.clear();
    for (const [collection, body] of decided) this.#retention.set(collection, parseRetention(body));
  }

  /** A snapshot that is missing somewhere was never acknowledged, or its end was. */
  async #loadSnapshots(said: Said): Promise<void> {
    const all = [...said.values()];
    this.#snapshots.clear();
    for (const name of new Set(all.flatMap((entities) => [...entities.keys()]))) {
      if (all.every((entities) => entities.has(name))) {
        const bodies = this.#options.shards.map((shard) => said.get(shard)?.get(name) as SnapshotBody | undefined);
        const asOf = bodies.find((body) => body !== undefined)!.asOf;
        this.#snapshots.set(name, { name, asOf, positions: bodies.map((body) => body?.seq ?? undefined) });
      } else
        for (const [shard, entities] of said)
          if (entities.has(name) && shard.replica.takesWrites) await forgetSystemEntity(shard, SNAPSHOTS, name, this.#options.limits);
    }
  }

  #tellShards(): void {
    for (const shard of this.#options.shards) shard.exactness.setSnapshots(this.#pointsIn(shard));
  }

  async #decide(collection: string, key: string, now: Decision, before: Decision): Promise<void> {
    await this.#undoRest();
    const told: Shard[] = [];
    try {
      for (const shard of this.#options.shards) {
        told.push(shard);
        await this.#log(shard, collection, key, now);
      }
    } catch (error) {
      this.#undone.push({ collection, key, before, shards: new Set(told) });
      await this.#undoRest().catch(() => undefined); // the next decision tries again
      throw error;
    }
  }

  async #undoRest(): Promise<void> {
    for (const undone of [...this.#undone]) {
      for (const shard of [...undone.shards].reverse()) {
        await this.#log(shard, undone.collection, undone.key, undone.before);
        undone.shards.delete(shard);
      }
      this.#undone = this.#undone.filter((other) => other !== undone);
    }
  }

  #log(shard: Shard, collection: string, key: string, decision: Decision): Promise<void> {
    const { limits } = this.#options;
    const body = decision(shard);
    if (body === undefined) return forgetSystemEntity(shard, collection, key, limits);
    return logSystemItems(shard, [{ collection, key, body }], limits);
  }
}

interface SnapshotBody {
  readonly asOf: string;
  readonly seq: number | null;
}

function bodyOf({ asOf, positions }: Snapshot, shard: Shard): JsonValue {
  return { asOf, seq: positions[shard.id - 1] ?? null };
}

type Said = ReadonlyMap<Shard, ReadonlyMap<string, JsonValue>>;

async function said(shards: readonly Shard[], collection: string): Promise<Said> {
  const found = new Map<Shard, Map<string, JsonValue>>();
  for (const shard of shards) found.set(shard, await shard.healing(() => Promise.resolve(systemEntities(shard, collection))));
  return found;
}

export function checkSnapshotName(name: string): void {
  if (SNAPSHOT_NAME.test(name)) return;
  const expected = '1–128 letters, digits, _, . or -, the first a letter or digit';
  throw new VarveError('INVALID', `'${name}' cannot be the name of a snapshot`, { path: 'name', expected });
}
