/**
 * The entities that differ between two points in time, found in what was logged between them: the cost is what changed, not what exists.
 *
 *   from ───────────── v1(a) ── v1(b) ── v2(a) ───────────── to      a is told at v2, its last change between the two
 *
 * An entity is told where its last record between the points lies, so no set of entities is kept, and a place is one seq. It differs
 * where the version alive then is another one: created and deleted in between is no difference, deleted and made anew is one.
 *
 * Invariants: both points must be exact in every shard the question reaches (law 6), else TRIMMED; that is asked again before each
 * stretch, so that a trim in between cannot pass for an answer. What two points differ by never changes; only its order follows
 * which of them is the later one.
 */
import { trimmed, wantedBy } from './changes.js';
import type { Difference, Differences, DiffOptions } from './database.js';
import { VarveError } from './errors.js';
import { checkCollection, entityKeyFromBytes, isSystemCollection, splitEntityKey } from './format/keys.js';
import type { IndexEntry } from './format/leaf-value.js';
import { KIND_PUT } from './log/index.js';
import type { Shard } from './shard.js';
import { ShardWalk } from './shard-walk.js';
import { type RecordId, recordId } from './types.js';

const DEFAULT_MAX = 256;
/** Bodies are not looked at; this bounds what is read in one go. */
const STRETCH_BYTES = 1024 * 1024;

type Positions = readonly (number | undefined)[];

export interface DiffSource {
  readonly shardList: readonly Shard[];
  homeOf(collection: string): Shard | undefined;
  checkOpen(): void;
}

/** One shard's part of the question. */
interface Part {
  readonly shard: Shard;
  readonly from: number;
  readonly to: number;
}

export class PointDiff implements Differences {
  readonly #source: DiffSource;
  readonly #collection: string | undefined;
  readonly #parts: readonly Part[];
  #part = 0;
  #walk: ShardWalk | undefined;
  #after: number;

  constructor(source: DiffSource, from: Positions, to: Positions, options: DiffOptions) {
    const { collection, after } = options;
    if (collection !== undefined) checkCollection(collection, 'collection');
    this.#source = source;
    this.#collection = collection;
    const home = collection === undefined ? undefined : source.homeOf(collection);
    this.#parts = (home === undefined ? source.shardList : [home]).map((shard) => ({
      shard,
      from: positionIn(shard, from),
      to: positionIn(shard, to),
    }));
    for (const part of this.#parts) this.#refuseInexact(part);
    if (after !== undefined) this.#part = this.#parts.findIndex(({ shard }) => shard.id === after.shard);
    const first = this.#parts[this.#part];
    if (first === undefined)
      throw new VarveError('INVALID', 'there is no such place', { path: 'after', expected: 'a place of this question' });
    this.#after = Math.max(after?.seq ?? 0, Math.min(first.from, first.to));
  }

  get place(): { readonly shard: number; readonly seq: number } | undefined {
    const part = this.#parts[this.#part];
    return part && { shard: part.shard.id, seq: this.#walk?.position ?? this.#after };
  }

  next(max = DEFAULT_MAX): Difference[] {
    this.#source.checkOpen();
    for (const part of this.#parts) this.#refuseInexact(part);
    const found: Difference[] = [];
    const part = this.#parts[this.#part];
    if (part === undefined) return found;
    const later = Math.max(part.from, part.to);
    this.#walk ??= new ShardWalk(part.shard, this.#after, later, wantedBy(this.#collection));
    const { shard } = part;
    for (const { seq, collection, key } of this.#walk.take(max, STRETCH_BYTES)) {
      const entity = entityKeyFromBytes(collection, key);
      const last = shard.entry(entity, later);
      if (last === undefined || last.seq !== seq) continue;
      const first = shard.entry(entity, Math.min(part.from, part.to));
      const [before, after] = part.from <= part.to ? [first, last] : [last, first];
      const ids = { from: aliveId(shard, before), to: aliveId(shard, after) };
      if (ids.from !== ids.to) found.push({ ...splitEntityKey(entity), ...ids });
    }
    if (this.#walk.done) this.#nextPart();
    return found;
  }

  rest(): void {
    this.#walk?.rest();
  }

  #nextPart(): void {
    this.#walk = undefined;
    const next = this.#parts[++this.#part];
    this.#after = next === undefined ? 0 : Math.min(next.from, next.to);
  }

  #refuseInexact({ shard, from, to }: Part): void {
    const { exactness } = shard;
    if (from === to || exactness.isWhole) return;
    const names =
      this.#collection === undefined ? [...exactness.horizons.keys()].filter((name) => !isSystemCollection(name)) : [this.#collection];
    for (const name of names) {
      if (!exactness.isExactAt(name, from) || !exactness.isExactAt(name, to)) throw trimmed(shard, name, exactness.horizonOf(name));
    }
  }
}

function aliveId(shard: Shard, entry: IndexEntry | undefined): RecordId | null {
  return entry === undefined || entry.kind !== KIND_PUT ? null : recordId(shard.id, entry.seq);
}

function positionIn(shard: Shard, positions: Positions): number {
  const position = positions[shard.id - 1];
  if (position !== undefined) return Math.min(position, shard.visibleSeq);
  const here = positions.flatMap((known, i) => (known === undefined ? [] : [i + 1]));
  throw new VarveError(
    'CROSS_SHARD',
    `the point in time is a record of shard ${here.join(', ')}, and the question reaches shard ${shard.id}: use a time`,
    { shards: [...here, shard.id] },
  );
}
