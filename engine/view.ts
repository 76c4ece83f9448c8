/** The database at one point in time: positions, one per shard. Everything newer is ignored; nothing is pinned. */
import { trimmed } from './changes.js';
import type { HistoryOptions, HistoryPage, ListOptions, View } from './database.js';
import { VarveError } from './errors.js';
import { checkCollection, checkKey, entityKey, entityPrefix } from './format/keys.js';
import type { StoredVersion } from './record-view.js';
import { ERASURES } from './retention/erasures.js';
import { isProvenCurrent } from './retention/exactness.js';
import type { Shard } from './shard.js';
import { MAX_SEQ, parseRecordId, type VersionRecord } from './types.js';

const DEFAULT_LIMIT = 100;
/** Entities read before others get a turn. */
const PAGE = 200;
/** Sorts after every key of a collection: keys hold no byte above 0xf4. */
const AFTER_ALL = '\xff';

export interface ViewSource {
  readonly shardList: readonly Shard[];
  /** The shard of an entity. */
  shardFor(collection: string, entity: string): Shard;
  /** The one shard a collection is placed in, or undefined where its keys decide. */
  homeOf(collection: string): Shard | undefined;
  yield(): Promise<void>;
}

export class PositionsView implements View {
  readonly positions: readonly (number | undefined)[];
  readonly #source: ViewSource;

  constructor(source: ViewSource, positions: readonly (number | undefined)[]) {
    this.#source = source;
    this.positions = positions;
  }

  get(collection: string, key: string): VersionRecord | undefined {
    const { entity, shard } = this.#locate(collection, key);
    const position = this.#position(shard);
    const found = shard.get(entity, position);
    return shard.exactness.isWhole ? found : exactOrRefused(shard, collection, entity, position, found);
  }

  history(collection: string, key: string, options: HistoryOptions = {}): HistoryPage {
    const { entity, shard } = this.#locate(collection, key);
    const limit = options.limit ?? DEFAULT_LIMIT;
    const fromSeq = options.fromSeq ?? 1;
    const toSeq = Math.min(options.toSeq ?? MAX_SEQ, this.#position(shard));
    if (toSeq < fromSeq) return { records: [], nextSeq: undefined, complete: true };
    const order = options.order ?? 'desc';
    const records = shard.versions(entity, order, fromSeq, toSeq, limit + 1);
    const next = records.length > limit ? records.pop() : undefined;
    const horizon = shard.exactness.horizonOf(collection);
    const complete = horizon === 0 || isUnbroken(horizon, order === 'desc' ? records : [...records].reverse(), next, fromSeq);
    return { records, nextSeq: next?.seq, complete };
  }

  list(collection: string, options: ListOptions = {}): VersionRecord[] {
    checkCollection(collection, 'collection');
    const limit = options.limit ?? DEFAULT_LIMIT;
    const prefix = entityPrefix(collection, options.prefix ?? '');
    const after = options.after === undefined ? undefined : justAfter(entityKey(collection, options.after));
    const from = after !== undefined && after > prefix ? after : prefix;
    // An erasure is in the shard of its entity; what else the system keeps is in every shard, and told from the first.
    const home = collection === ERASURES ? undefined : this.#source.homeOf(collection);
    const shards = home === undefined ? this.#source.shardList : [home];
    for (const shard of shards) {
      const position = this.#position(shard);
      if (!shard.exactness.isExactAt(collection, position)) throw trimmed(shard, collection, shard.exactness.horizonOf(collection));
    }
    const [only] = shards;
    const until = prefix + AFTER_ALL;
    if (only !== undefined && shards.length === 1) return only.alive(from, until, this.#position(only), limit);
    const found = shards.flatMap((shard) =>
      shard.alive(from, until, this.#position(shard), limit).map((version) => ({ entity: version.entity, version })),
    );
    found.sort((a, b) => (a.entity < b.entity ? -1 : 1));
    if (found.length > limit) found.length = limit;
    return found.map((listed) => listed.version);
  }

  async *entities(collection: string, options: ListOptions = {}): AsyncIterableIterator<VersionRecord> {
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    let after = options.after;
    while (left > 0) {
      const limit = Math.min(PAGE, left);
      const page = this.list(collection, { ...options, limit, ...(after === undefined ? {} : { after }) });
      yield* page;
      left -= page.length;
      const last = page.at(-1);
      if (last === undefined || page.length < limit) return;
      after = last.key;
      await this.#source.yield();
    }
  }

  #locate(collection: string, key: string): { entity: string; shard: Shard } {
    checkCollection(collection, 'collection');
    checkKey(key, 'key');
    const entity = entityKey(collection, key);
    return { entity, shard: this.#source.shardFor(collection, entity) };
  }

  #position(shard: Shard): number {
    const position = this.positions[shard.id - 1];
    if (position !== undefined) return Math.min(position, shard.visibleSeq);
    const here = this.positions.flatMap((known, i) => (known === undefined ? [] : [i + 1]));
    throw new VarveError(
      'CROSS_SHARD',
      `the point in time is a record of shard ${here.join(', ')}, and the question reaches shard ${shard.id}: use a time`,
      {
        shards: [...here, shard.id],
      },
    );
  }
}

/** Law 6: before the horizon one version that was found may be told where survivors prove it; nothing else. */
function exactOrRefused(
  shard: Shard,
  collection: string,
  entity: string,
  position: number,
  found: StoredVersion | undefined,
): StoredVersion | undefined {
  if (shard.exactness.isExactAt(collection, position)) return found;
  if (found === undefined) throw trimmed(shard, collection, shard.exactness.horizonOf(collection));
  const [next] = shard.versions(entity, 'asc', found.seq + 1, shard.visibleSeq, 1);
  const supersedes = next?.supersedes == null ? 0 : parseRecordId(next.supersedes).seq;
  if (!isProvenCurrent(found, next && { supersedes })) throw trimmed(shard, collection, shard.exactness.horizonOf(collection));
  return found;
}

/**
 * Whether no version is missing among these (newest first), nor below them within what was asked for: each names the one before it.
 * An entity that ended, was dropped whole and came again begins anew.
 */
function isUnbroken(horizon: number, records: readonly StoredVersion[], next: StoredVersion | undefined, fromSeq: number): boolean {
  if (records.length === 0) return fromSeq >= horizon;
  return records.every((record, i) => {
    const before = record.supersedes === null ? 0 : parseRecordId(record.supersedes).seq;
    const older = records[i + 1] ?? next;
    return older === undefined || older.seq > record.seq ? before < fromSeq : before === older.seq;
  });
}

/** Between this entity and every later one: its last byte is a zero, and keys hold no byte below 0x20. */
function justAfter(entity: string): string {
  return `${entity.slice(0, -1)}\x01`;
}
