/**
 * The feed: records as they became durable, in order within each shard, from any position on.
 *
 *   next(max) ── what is there now, synchronously ──▶ []  ──▶ wait(signal) ── a commit ──▶ next(max)
 *
 * A reader holds positions, one a shard, and what it has just read; it is never pushed to, so a slow one costs no more than a fast one.
 * Several shards take turns, a stretch each, so that none starves behind another.
 *
 * Invariants: a record is given out only once it is visible, in seq order within its shard, and once; a position from which something
 * was trimmed is TRIMMED before anything is given out, unless only what is left is asked for. System collections are left out unless one is asked for by name, and then
 * told by the first shard (every shard has the same).
 */
import type { Changes, ChangesOptions } from './database.js';
import { VarveError } from './errors.js';
import { checkCollection, isSystemCollection } from './format/keys.js';
import type { ReadRecord } from './log/index.js';
import { StoredVersion } from './record-view.js';
import type { Shard } from './shard.js';
import { ShardWalk } from './shard-walk.js';
import { recordId, type VersionRecord } from './types.js';

const DEFAULT_MAX = 256;
/** Bodies of one stretch. */
const STRETCH_BYTES = 256 * 1024;
const UNDERSCORE = 0x5f;

export interface ChangesSource {
  readonly shardList: readonly Shard[];
  /** Throws CLOSED. */
  checkOpen(): void;
}

export class ChangesReader implements Changes {
  readonly #source: ChangesSource;
  readonly #walks: readonly ShardWalk[];
  readonly #positions: number[];
  readonly #collection: string | undefined;
  readonly #partial: boolean;
  #turn = 0;

  constructor(source: ChangesSource, options: ChangesOptions) {
    const { shardList } = source;
    const { collection, shard, after = [], until = [], partial = false } = options;
    if (collection !== undefined) checkCollection(collection, 'collection');
    this.#source = source;
    this.#collection = collection;
    this.#partial = partial;
    this.#positions = shardList.map((each, i) => startOf(each, after[i] ?? 0));
    const only = shard ?? (collection !== undefined && isSystemCollection(collection) ? 1 : undefined);
    const wants = wantedBy(collection);
    this.#walks = shardList
      .filter(({ id }) => only === undefined || id === only)
      .map((each) => new ShardWalk(each, this.#positions[each.id - 1] as number, until[each.id - 1], wants));
    if (this.#walks.length === 0)
      throw new VarveError('INVALID', `there is no shard ${only}`, { path: 'shard', expected: `1 to ${shardList.length}` });
  }

  get positions(): readonly number[] {
    for (const walk of this.#walks) this.#positions[walk.shard.id - 1] = walk.position;
    return this.#positions;
  }

  get atEnd(): boolean {
    return this.#walks.every((walk) => walk.atEnd);
  }

  get done(): boolean {
    return this.#walks.every((walk) => walk.done);
  }

  next(max = DEFAULT_MAX): VersionRecord[] {
    this.#source.checkOpen();
    if (!this.#partial) for (const walk of this.#walks) if (!walk.done) refuseTrimmed(walk.shard, this.#collection, walk.position);
    for (let tried = 0; tried < this.#walks.length; tried++) {
      const walk = this.#walks[this.#turn++ % this.#walks.length] as ShardWalk;
      if (walk.atEnd) continue;
      const taken = this.#kept(walk, walk.take(max, STRETCH_BYTES));
      // A long stretch without a record wanted is as much work as one stretch may be.
      if (taken.length > 0 || !walk.atEnd)
        return taken.map((record) => new StoredVersion(walk.shard.id, record, undefined, walk.shard.upkeep.erasures));
    }
    return [];
  }

  /** Below a horizon the files may still hold what was dropped. */
  #kept(walk: ShardWalk, records: ReadRecord[]): ReadRecord[] {
    const { exactness, upkeep } = walk.shard;
    return exactness.isWhole ? records : records.filter(({ seq }) => !upkeep.isDropped(seq));
  }

  async wait(signal?: AbortSignal): Promise<void> {
    this.rest();
    this.#source.checkOpen();
    if (!this.atEnd || this.done || signal?.aborted === true) return;
    const cancels: (() => void)[] = [];
    await new Promise<void>((resolve) => {
      const wake = () => resolve();
      for (const walk of this.#walks) if (!walk.done) cancels.push(walk.shard.onceVisible(wake));
      if (signal === undefined) return;
      signal.addEventListener('abort', wake, { once: true });
      cancels.push(() => signal.removeEventListener('abort', wake));
    });
    for (const cancel of cancels) cancel();
  }

  rest(): void {
    for (const walk of this.#walks) walk.rest();
  }
}

/** Throws TRIMMED where something after `seq` has been dropped: what follows would not be all that followed. */
function refuseTrimmed(shard: Shard, collection: string | undefined, seq: number): void {
  const { exactness } = shard;
  if (collection !== undefined) {
    const horizon = exactness.horizonOf(collection);
    if (seq < horizon) throw trimmed(shard, collection, horizon);
    return;
  }
  if (exactness.isWhole) return;
  for (const [name, { seq: horizon }] of exactness.horizons) {
    if (seq < horizon && !isSystemCollection(name)) throw trimmed(shard, name, horizon);
  }
}

export function trimmed(shard: Shard, collection: string, horizon: number): VarveError {
  const id = recordId(shard.id, horizon);
  return new VarveError('TRIMMED', `what ${collection} held is complete only from ${id} on`, { collection, horizon: id });
}

function startOf(shard: Shard, after: number): number {
  if (Number.isSafeInteger(after) && after >= 0 && after <= shard.visibleSeq) return after;
  throw new VarveError('INVALID', `shard ${shard.id} has not come to seq ${after}`, {
    path: 'after',
    expected: 'a position already reached',
  });
}

/** Compares bytes: a feed passes over far more records than it gives out. */
export function wantedBy(collection: string | undefined): (record: ReadRecord) => boolean {
  if (collection === undefined) return (record) => record.collection[0] !== UNDERSCORE;
  const name = Buffer.from(collection, 'latin1');
  return (record) => name.equals(record.collection);
}
