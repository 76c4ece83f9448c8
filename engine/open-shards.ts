/**
 * Opening the shards of a database, all at once, over the caches that they share.
 *
 * Owns nothing afterwards. A crash: each shard recovers by itself.
 */
import type { Catalog } from './catalog.js';
import type { OpenOptions } from './database.js';
import { VarveError } from './errors.js';
import type { Identity } from './identity.js';
import { BlockCache } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { Shard } from './shard.js';
import { type FoldHost, NodeCache } from './tree/tree-store.js';
import { MAX_SHARD, type ShardId } from './types.js';

const MIB = 1024 * 1024;

/** Refuses what cannot be opened so. */
export function checkOptions(platform: Platform, options: OpenOptions): void {
  const kind = platform.files.networkKind();
  if (kind !== undefined && options.allowNetworkFileSystem !== true) {
    throw new VarveError(
      'NETWORK_FILE_SYSTEM',
      `the data directory is on a network file system (${kind}), whose locks and syncs cannot be relied on`,
      { kind },
    );
  }
  const { shards } = options;
  if (shards !== undefined && !(Number.isInteger(shards) && shards >= 1 && shards <= MAX_SHARD)) {
    throw new VarveError('INVALID', `${shards} shards cannot be`, { path: 'shards', expected: `a whole number from 1 to ${MAX_SHARD}` });
  }
}

/** Every shard, or none: where one fails the others are closed again. */
export async function openShards(
  platform: Platform,
  options: OpenOptions,
  { shards: count, node: nodeId }: Identity,
  databaseId: Uint8Array,
  catalog: Catalog,
  foldHost: FoldHost,
): Promise<Shard[]> {
  const nodeCache = new NodeCache(options.nodeCacheBytes ?? 64 * MIB);
  const blockCache = new BlockCache(options.blockCacheBytes ?? 128 * MIB);
  const opening = Array.from({ length: count }, (_, i) =>
    Shard.open({
      platform,
      shard: (i + 1) as ShardId,
      databaseId,
      nodeId,
      hold: options.replication?.hold === true,
      catalog,
      nodeCache,
      foldHost,
      blockCache,
      segmentBytes: options.segmentBytes ?? 64 * MIB,
      memtableBytes: (options.memtableBytes ?? 256 * MIB) / count,
      newestBytes: (options.newestBytes ?? 256 * MIB) / count,
      checkpointRecords: options.checkpointRecords ?? 131_072,
    }),
  );
  const opened = await Promise.allSettled(opening);
  const failed = opened.find((result) => result.status === 'rejected');
  const shards = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (failed === undefined) return shards;
  await Promise.allSettled(shards.map((shard) => shard.close()));
  throw failed.reason;
}
