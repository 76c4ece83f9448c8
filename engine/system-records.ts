/**
 * What decides over the data is data: entities of system collections (`_…`), logged in every shard, so that each shard's log
 * tells all that decides over it (law 3). This is how one gets there, and how it is read back.
 */
import { type BatchLimits, prepareBatch } from './batch.js';
import { isVarveError } from './errors.js';
import { formatTime, parseTime } from './format/time.js';
import type { Shard } from './shard.js';
import type { InsertItem, JsonValue } from './types.js';

/** Tries to log just past what others are writing, before the clock's time is taken. */
const ATTEMPTS = 100;

/**
 * Logs items as one batch, at the moment just past the shard's newest record rather than the clock's: otherwise no history from before
 * a decision could be loaded after it, and a history is loaded into a collection that was placed first. But past every time that
 * was answered for.
 */
export async function logSystemItems(shard: Shard, items: readonly InsertItem[], limits: BatchLimits): Promise<void> {
  const batch = prepareBatch(items, limits, true);
  for (let time: number | undefined = shard.spokenTime + 1, attempts = 1; ; attempts++) {
    try {
      await shard.insert(batch, time === undefined ? {} : { time: formatTime(time) });
      return;
    } catch (error) {
      if (attempts < ATTEMPTS && isVarveError(error, 'TIME_BEHIND')) time = parseTime(error.details.newest) + 1;
      else if (time !== undefined && (isVarveError(error, 'TIME_BEHIND') || isVarveError(error, 'TIME_AHEAD'))) time = undefined;
      else throw error;
    }
  }
}

/** Ends the entity where it is alive. */
export async function forgetSystemEntity(shard: Shard, collection: string, key: string, limits: BatchLimits): Promise<void> {
  try {
    await logSystemItems(shard, [{ collection, key, deleted: true }], limits);
  } catch (error) {
    if (!isVarveError(error, 'NOTHING_TO_DELETE')) throw error;
  }
}

/** Keys and bodies of what is alive in the collection now, as one shard tells it. */
export function systemEntities(shard: Shard, collection: string): Map<string, JsonValue> {
  if (!shard.hasSystemEntities) return new Map();
  const prefix = `${collection}\0`;
  const found = new Map<string, JsonValue>();
  for (const version of shard.alive(prefix, `${prefix}\xff`, shard.visibleSeq, Number.POSITIVE_INFINITY)) {
    found.set(version.key, version.body as JsonValue);
  }
  return found;
}
