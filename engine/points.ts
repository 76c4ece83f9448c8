/**
 * A point in time, as positions: one a shard. A time is resolved by every shard (law 5); a record's id to the end of its batch.
 *
 * Nothing is kept here, and nothing written.
 */
import { trimmed } from './changes.js';
import { VarveError } from './errors.js';
import { isSystemCollection } from './format/keys.js';
import { formatTime, parseTime } from './format/time.js';
import type { Clock } from './platform/platform.js';
import type { Shard } from './shard.js';
import { type Point, parseRecordId } from './types.js';

const RECORD_ID = /^[0-9a-f]{16}$/;

/** Positions, undefined where a shard is not meant. Throws INVALID for an id that names no record, TIME_AHEAD for a time in the future. */
export async function resolvePoint(shards: readonly Shard[], clock: Clock, point: Point): Promise<(number | undefined)[]> {
  if (RECORD_ID.test(point)) return positionsOfRecord(shards, point);
  const time = parseTime(point, 'asOf');
  const now = Math.max(clock.nowMicros(), ...shards.map((shard) => shard.lastTime));
  if (time > now) throw new VarveError('TIME_AHEAD', `the time ${point} lies in the future`, { now: formatTime(now) });
  return Promise.all(shards.map((shard) => shard.positionAt(time)));
}

function positionsOfRecord(shards: readonly Shard[], id: string): (number | undefined)[] {
  const { shard, seq } = parseRecordId(id, 'asOf');
  const end = shards[shard - 1]?.endOfBatch(seq);
  // One that was dropped is told apart from one that never was.
  if (end === undefined) shards[shard - 1]?.record(seq);
  if (end === undefined)
    throw new VarveError('INVALID', `asOf: there is no record ${id}`, { path: 'asOf', expected: 'the id of a record' });
  return shards.map((candidate) => (candidate.id === shard ? end : undefined));
}

/** Throws TRIMMED where a snapshot there could not show everything that was. */
export function refuseBeforeHorizons(shards: readonly Shard[], positions: readonly (number | undefined)[]): void {
  for (const shard of shards) {
    const position = positions[shard.id - 1];
    if (position === undefined) continue;
    for (const [collection, { seq }] of shard.exactness.horizons) {
      if (position >= seq || shard.exactness.isSnapshot(position) || isSystemCollection(collection)) continue;
      throw trimmed(shard, collection, seq);
    }
  }
}
