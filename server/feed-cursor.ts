/**
 * Where a reader of the feed stands: one position a shard, or that of one shard alone. Opaque to clients.
 *
 *   1 . first 8 hex digits of the database . shard, or 0 for all . position . position …        positions in base 36, from shard 1 on
 *
 * Every record of the feed carries one, so making the next from the last costs one number. Unlike the cursors of pages it belongs to no
 * question: a position is one for every collection. It comes back from strangers and is checked whole.
 */
import type { Database } from '../engine/index.js';
import { invalid, Problem } from './problem.js';

const CURSOR = /^1\.([0-9a-f]{8})\.(\d{1,5})((?:\.[0-9a-z]{1,10})+)$/;
const RECORD_ID = /^[0-9a-f]{16}$/;
/** Beyond this a cursor of all shards would be longer than the records it stands beside. */
export const MAX_FEED_SHARDS = 64;
const EXPECTED = 'a cursor of this feed, the id of a record, or now';

export class FeedCursor {
  readonly #head: string;
  readonly #shard: number | undefined;
  readonly #positions: string[];

  constructor(databaseId: string, shard: number | undefined, positions: readonly number[]) {
    this.#head = `1.${databaseId.slice(0, 8)}.${shard ?? 0}.`;
    this.#shard = shard;
    this.#positions = [];
    this.moveTo(positions);
  }

  /** Everything of a shard up to `seq` has been told. */
  advance(shard: number, seq: number): void {
    this.#positions[this.#shard === undefined ? shard - 1 : 0] = seq.toString(36);
  }

  /** One a shard, from shard 1 on. */
  moveTo(positions: readonly number[]): void {
    if (this.#shard !== undefined) this.#positions[0] = (positions[this.#shard - 1] ?? 0).toString(36);
    else for (const [i, position] of positions.entries()) this.#positions[i] = position.toString(36);
  }

  toString(): string {
    return this.#head + this.#positions.join('.');
  }
}

/** Per shard the seq after which to begin: what `after` says for a feed of `shard`, or of all. Whether it has come so far is the engine's to say. */
export function startOf(db: Database, after: string | undefined, shard: number | undefined): number[] {
  const newest = db.now().positions.map((position) => position ?? 0);
  if (after === undefined) return newest.map(() => 0);
  if (after === 'now') return newest;
  return RECORD_ID.test(after) ? afterRecord(db, after, shard) : afterCursor(db, after, shard);
}

/** The rest of its batch follows too. */
function afterRecord(db: Database, id: string, shard: number | undefined): number[] {
  const own = Number.parseInt(id.slice(0, 4), 16);
  if (own < 1 || own > db.shardCount) throw invalid('after', EXPECTED, `there is no record ${id}`);
  if (db.shardCount > 1 && shard !== own) {
    const detail = `The id of a record is a place in its shard, ${own}, alone: ask for that shard, or go on from a cursor.`;
    throw new Problem('cross-shard', detail, { shards: [own] });
  }
  return Array.from({ length: db.shardCount }, (_, i) => (i === own - 1 ? Number.parseInt(id.slice(4), 16) : 0));
}

function afterCursor(db: Database, text: string, shard: number | undefined): number[] {
  const match = CURSOR.exec(text);
  if (match === null || match[1] !== db.databaseId.slice(0, 8)) throw invalid('after', EXPECTED);
  const of = Number(match[2]);
  const positions = match[3]!
    .slice(1)
    .split('.')
    .map((position) => Number.parseInt(position, 36));
  if (of === 0 && positions.length === db.shardCount) return positions;
  if (of < 1 || of > db.shardCount || positions.length !== 1) throw invalid('after', EXPECTED);
  if (shard !== of && db.shardCount > 1) throw invalid('after', `a cursor of what is asked for: this one is of shard ${of}`);
  return Array.from({ length: db.shardCount }, (_, i) => (i === of - 1 ? positions[0]! : 0));
}
