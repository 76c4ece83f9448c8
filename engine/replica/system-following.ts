/**
 * Records of system collections that come from another node: what they say is in force here as soon as they are visible.
 *
 * Horizons and erasures at once, for answers depend on them; placements, retention and snapshots are read again right after.
 * Invariant: what says nothing that can be is refused before anything of it is taken. Derived from the log: a crash loses nothing.
 */
import { KIND_PUT, type ReadRecord } from '../log/index.js';
import { COLLECTIONS } from '../placements.js';
import { ERASURES, type Erasure } from '../retention/erasures.js';
import { SNAPSHOTS } from '../retention/keeping.js';
import { RETENTION } from '../retention/policy.js';
import { HORIZONS } from '../retention/trimming.js';
import type { Shard } from '../shard.js';
import { TRIMS } from '../shard-upkeep.js';
import { systemEntities } from '../system-records.js';
import { type JsonValue, parseRecordId } from '../types.js';

/** A record of a system collection, as it came. */
export interface SystemRecord {
  readonly collection: string;
  readonly key: string;
  /** Undefined: the entity ended, or its body is erased. */
  readonly body: JsonValue | undefined;
}

/** Undefined for one that cannot be. */
export function systemRecord({ collectionText: collection, keyText: key, kind, bodyHash, bodyText }: ReadRecord): SystemRecord | undefined {
  if (kind !== KIND_PUT || bodyHash !== undefined) return { collection, key, body: undefined };
  try {
    const body = JSON.parse(bodyText) as JsonValue;
    const record = { collection, key, body };
    if (collection === HORIZONS) horizonOf(record);
    if (collection === ERASURES && !isErasure(body)) return undefined;
    return record;
  } catch {
    return undefined;
  }
}

function horizonOf({ body }: SystemRecord): { readonly seq: number; readonly time: number } {
  const { horizon, time } = body as { readonly horizon: string; readonly time: number };
  if (!Number.isSafeInteger(time)) throw new TypeError('a horizon has a time');
  return { seq: parseRecordId(horizon).seq, time };
}

function isErasure(body: JsonValue): boolean {
  const { collection, key, reason, seq } = body as unknown as Erasure;
  return [collection, key, reason].every((text) => typeof text === 'string') && Number.isSafeInteger(seq);
}

/** Every record that decides over answers; throws CORRUPT where one cannot be read. */
export function readSystem(shard: Shard): void {
  if (!shard.hasSystemEntities) return;
  for (const collection of [COLLECTIONS, RETENTION, SNAPSHOTS, HORIZONS, TRIMS, ERASURES]) systemEntities(shard, collection);
}

/** Whether anything else has to be read again. */
export function followSystem(shard: Shard, records: readonly SystemRecord[]): boolean {
  let others = false;
  for (const record of records) {
    const { collection, key, body } = record;
    if (collection === HORIZONS && body !== undefined) shard.exactness.raise(key, horizonOf(record));
    else others = true;
    if (collection === ERASURES && body !== undefined) shard.upkeep.erasureCame(body as unknown as Erasure);
  }
  return others;
}
