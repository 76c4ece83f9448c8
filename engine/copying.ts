/**
 * The engine's second door: what copies of a database need beside its public face, and nobody else. Bytes and checksums of messages,
 * the heads of batches, files of a log outside of any database, and a data directory that takes them in.
 *
 * Owns nothing; `replication/` comes in here (test/house/architecture.test.ts holds it to that).
 */
import { segmentPlace } from './format/segment.js';

export { Pace } from './compaction/pace.js';
export { messageOf } from './errors.js';
export { type BatchHead, decodeBatchHead } from './format/batch.js';
export { getU32, getU48, getU64, MAX_SAFE, putU32, putU48, putU64, view } from './format/bytes.js';
export { crc32 } from './format/checksum.js';
export { type Identity, NODE_FILE, newIdentity, readIdentity, writeIdentity } from './identity.js';
export { nodePlatform } from './platform/node.js';
export { nodeClock } from './platform/node-clock.js';
export type { Clock, File, FileSystem, Platform } from './platform/platform.js';
export type * from './replica.js';
export { checkSegmentFile, isSegmentName, logDirectory } from './segment-copy.js';
export { shardDirectory } from './shard-contents.js';
export type { HeldTree, ScrubPace, ScrubReport, VerifiableShard } from './verification.js';
export { MAX_NODE_BYTES, readTreeNode, type TreeNode, type VersionOfKey, versionOfTreeKey } from './verifying/tree-node.js';

/** What checksums of records, and of messages, of a shard are seeded with. `database`: 32 hex digits. */
export function recordSeedOf(database: string, shard: number): number {
  return segmentPlace(Buffer.from(database, 'hex'), shard, 1, 0).recordSeed;
}
