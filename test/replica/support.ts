/** Two copies of one database in one process, and the stream between them: slices, as a transport would carry them. */
import type { OpenOptions } from '../../engine/database.js';
import { Engine } from '../../engine/engine.js';
import { NODE_FILE, newIdentity, readIdentity, writeIdentity } from '../../engine/identity.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Platform } from '../../engine/platform/platform.js';
import type { LogSlice, ShardOwner } from '../../engine/replica.js';

export const SMALL: OpenOptions = { segmentBytes: 2000, checkpointRecords: 1_000_000, upkeep: { automatic: false } };

/** A machine whose directory is another copy of `of`'s database, empty. */
export async function copyOf(of: Platform, seed: number, platform: Platform = new MemoryPlatform({ seed })): Promise<Platform> {
  const { database, shards } = readIdentity(of)!;
  platform.files.makeDirectory('');
  if (!platform.files.exists(NODE_FILE)) await writeIdentity(platform, { ...newIdentity(platform, shards), database });
  return platform;
}

export async function openCopy(of: Platform, seed: number, options: OpenOptions = SMALL): Promise<{ db: Engine; machine: Platform }> {
  const machine = await copyOf(of, seed);
  const db = await Engine.open(machine, { ...options, replication: { hold: true } });
  for (const shard of db.shardList) await shard.replica.follow(ownerNamed(db));
  return { db, machine };
}

export function ownerNamed(db: Engine): ShardOwner {
  return { node: db.nodeId, url: `http://${db.nodeId.slice(0, 4)}` };
}

/** As it would come over a wire: in memory of its own. */
export function sent(slice: LogSlice): LogSlice {
  return { ...slice, batches: Uint8Array.from(slice.batches) };
}

/** Everything the source has and the follower has not. */
export async function catchUp(source: Engine, follower: Engine, shard = 1): Promise<void> {
  const to = follower.replica(shard);
  const applied: Promise<void>[] = [];
  for (const slice of source.replica(shard).slices(to.durableSeq + 1)) applied.push(to.apply(sent(slice)));
  await Promise.all(applied);
}

/** The same root at the same seq. */
export async function agree(a: Engine, b: Engine, shard = 1): Promise<boolean> {
  const seq = a.replica(shard).visibleSeq;
  const [ours, theirs] = [await a.replica(shard).rootAt(seq), await b.replica(shard).rootAt(seq)];
  return ours.root === theirs.root && ours.entries === theirs.entries;
}
