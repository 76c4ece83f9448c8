/**
 * In which shard an entity lives: by hash of its collection and key, or, for a collection placed in a group, all of
 * it in the shard of the group's name. Placements are entities of the system collection `_collections`, logged in
 * every shard, so that each shard's log tells them.
 */
import { VarveError } from './errors.js';
import { halfSipHash } from './format/hash.js';
import { entityKey, isSystemCollection } from './format/keys.js';
import type { ShardId } from './types.js';

export const COLLECTIONS = '_collections';
const BY_KEY = 'key';
const PLACEMENT = /^(key|group:[A-Za-z0-9_-]{1,64})$/;

export class Placements {
  readonly #shardCount: number;
  readonly #hashKey: Uint32Array;
  readonly #byCollection = new Map<string, string>();

  /** `databaseId`: 16 bytes; its first 8 key the hash, so nobody can aim keys at one shard without knowing it. */
  constructor(shardCount: number, databaseId: Uint8Array) {
    this.#shardCount = shardCount;
    const view = new DataView(databaseId.buffer, databaseId.byteOffset, databaseId.byteLength);
    this.#hashKey = Uint32Array.of(view.getUint32(0, true), view.getUint32(4, true));
  }

  of(collection: string): string {
    return this.#byCollection.get(collection) ?? BY_KEY;
  }

  set(collection: string, placement: string): void {
    this.#byCollection.set(collection, placement);
  }

  /** Before all of them are said again. */
  clear(): void {
    this.#byCollection.clear();
  }

  /** Whether the collection was given a placement, the usual one too. */
  has(collection: string): boolean {
    return this.#byCollection.has(collection);
  }

  /** Collections with a placement of their own. */
  names(): IterableIterator<string> {
    return this.#byCollection.keys();
  }

  /** The one shard of a grouped collection; undefined where keys decide. System collections are in every shard and read from the first. */
  home(collection: string): ShardId | undefined {
    if (isSystemCollection(collection) || this.#shardCount === 1) return 1 as ShardId;
    const placement = this.of(collection);
    return placement === BY_KEY ? undefined : this.#hash(placement);
  }

  /** `entity`: latin1 string of its key bytes. */
  shardOf(collection: string, entity: string): ShardId {
    return this.home(collection) ?? this.#hash(entity);
  }

  /** The one shard that all of these live in. Throws CROSS_SHARD. */
  shardOfAll(items: readonly { readonly collection: string; readonly key: string }[]): ShardId {
    if (this.#shardCount === 1) return 1 as ShardId;
    const shards = new Set<ShardId>();
    for (const { collection, key } of items) shards.add(this.shardOf(collection, entityKey(collection, key)));
    const [shard] = shards;
    if (shards.size === 1 && shard !== undefined) return shard;
    const reached = [...shards].sort((a, b) => a - b);
    throw new VarveError('CROSS_SHARD', `the batch reaches shards ${reached.join(', ')}; place its collections in one group`, {
      shards: reached,
    });
  }

  #hash(text: string): ShardId {
    return ((halfSipHash(this.#hashKey, Buffer.from(text, 'latin1')) % this.#shardCount) + 1) as ShardId;
  }
}

/** Throws INVALID, SYSTEM_COLLECTION. */
export function checkPlacement(collection: string, placement: string): void {
  if (!PLACEMENT.test(placement)) {
    throw new VarveError('INVALID', `placement '${placement}' is not known`, {
      path: 'placement',
      expected: '"key" or "group:<name>", a name of 1–64 letters, digits, _ or -',
    });
  }
  if (isSystemCollection(collection))
    throw new VarveError('SYSTEM_COLLECTION', `'${collection}' belongs to the system and can only be read`, { collection });
}
