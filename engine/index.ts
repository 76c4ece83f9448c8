/**
 * Varve as a library: an embedded database of versioned entities.
 *
 *   const db = await open('./data');
 *   await db.put('customers', 'alice', { city: 'Oslo' });
 *   db.now().get('customers', 'alice')?.body;
 *   const then = await db.asOf('2026-11-21T08:00:00Z');
 *   then.get('customers', 'alice');
 *   await db.close();
 */
import type { Database, OpenOptions } from './database.js';
import { Engine } from './engine.js';
import { loadAddons, nodePlatform } from './platform/node.js';
import type { Platform } from './platform/platform.js';

loadAddons();

/** Opens (creating) the database in a directory. Throws LOCKED, INCOMPATIBLE, NETWORK_FILE_SYSTEM, CORRUPT. */
export function open(directory: string, options: OpenOptions = {}): Promise<Database> {
  return Engine.open(nodePlatform(directory), options);
}

/** The same over any platform: what the simulator uses. */
export function openWith(platform: Platform, options: OpenOptions = {}): Promise<Database> {
  return Engine.open(platform, options);
}

export type * from './database.js';
export { type ErrorCode, type ErrorDetails, isVarveError, VarveError } from './errors.js';
export { canonicalJson } from './format/canonical-json.js';
export { checkCollection, checkKey, isSystemCollection } from './format/keys.js';
export { SpareMemory } from './format/spare-memory.js';
export { canonicalFromBytes, parseStrict } from './format/strict-json.js';
export { formatTime, parseTime } from './format/time.js';
export { InsertImages } from './insert-images.js';
export { giveBackJson } from './inserted-json.js';
export type { JobControl, JobInfo, JobKind, JobState } from './jobs.js';
export type { CompactRequest, ConfirmErasure, EraseRequest, Keep } from './keep.js';
export type { LogFile } from './log-files.js';
export { nodePlatform } from './platform/node.js';
export type { Platform } from './platform/platform.js';
export { recordsJson } from './record-view.js';
export type { Snapshot } from './retention/keeping.js';
export { parseRetention, type Retention } from './retention/policy.js';
export type { CacheStats, DatabaseStats, DurationStats, ShardStats } from './stats.js';
export * from './types.js';
export type { UpkeepOptions } from './upkeep.js';
export type { HeldTree, ScrubPace, ScrubReport, VerifiableShard } from './verification.js';
