/**
 * Many batches of one record each, as a stream of lines has them, taken by each shard in one go: prepared, hashed and queued together,
 * waited for together.
 *
 * Invariants: what comes of it is what inserting one after the other would give, but that the times are a microsecond apart; either all
 * of them are queued before this returns, or nothing is. A crash leaves the first so many of a shard's, as of single inserts.
 */
import { type BatchLimits, type PreparedBatch, prepareEach } from './batch.js';
import { InsertImages } from './insert-images.js';
import type { InsertedPart, InsertItem, InsertResult, ShardId } from './types.js';

export interface EachHost {
  readonly shards: number;
  readonly limits: BatchLimits;
  /** Throws where a name is none. */
  shardOf(collection: string, key: string): ShardId;
  /** Whether its collections do not take inserts at once. */
  mustWait(items: readonly { readonly collection: string }[]): boolean;
  insert(batch: PreparedBatch): Promise<InsertResult>;
}

interface Part {
  readonly positions: readonly number[] | undefined;
  readonly items: readonly InsertItem[];
}

/** Undefined, and nothing done, where not all of them can be inserted so. */
export function insertEach(items: readonly InsertItem[] | InsertImages, host: EachHost): readonly InsertedPart[] | undefined {
  if (items instanceof InsertImages)
    return (host.shards === 1 ? insertImages(items, host) : undefined) ?? insertEach(items.asItems(), host);
  const prepared: { readonly positions: Part['positions']; readonly batch: PreparedBatch }[] = [];
  const parts = partsOf(items, host);
  for (const { positions, items: some } of parts) {
    const batch = prepareEach(some, host.limits);
    if (batch !== undefined) prepared.push({ positions, batch });
    if (batch === undefined || host.mustWait(batch.items)) {
      for (const { batch: unused } of prepared) unused.arena.giveBack();
      return undefined;
    }
  }
  if (parts.length === 0) return undefined;
  return prepared.map(({ positions, batch }) => ({ positions, inserted: host.insert(batch) }));
}

/** Into the only shard. Undefined, and nothing done, where they do not go together. */
function insertImages(images: InsertImages, host: EachHost): readonly InsertedPart[] | undefined {
  if (!images.isEach || host.mustWait(images.items)) return undefined;
  const batch = images.prepared(host.limits);
  return batch && [{ positions: undefined, inserted: host.insert(batch) }];
}

/** None where a name is none, or there is nothing. */
function partsOf(items: readonly InsertItem[], host: EachHost): readonly Part[] {
  if (items.length === 0) return [];
  if (host.shards === 1) return [{ positions: undefined, items }];
  const parts = new Map<ShardId, { positions: number[]; items: InsertItem[] }>();
  try {
    for (const [position, item] of items.entries()) {
      const shard = host.shardOf(item.collection, item.key);
      let part = parts.get(shard);
      if (part === undefined) parts.set(shard, (part = { positions: [], items: [] }));
      part.positions.push(position);
      part.items.push(item);
    }
  } catch {
    return [];
  }
  return [...parts.values()];
}
