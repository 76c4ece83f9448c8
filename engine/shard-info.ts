/** What a shard says of itself to those outside: state, positions, root. Made when asked for; nothing is kept here. */
import type { RootInfo, ShardInfo } from './database.js';
import { hex } from './format/hash.js';
import type { Shard } from './shard.js';
import type { Seq } from './types.js';

/** See `Database.shards`. */
export function shardInfo(shard: Shard): ShardInfo {
  const tree = shard.tree;
  const { role, reason, unreadable } = shard.replica;
  return {
    shard: shard.id,
    role,
    state: shard.damaged || unreadable !== undefined ? 'damaged' : shard.stopped === undefined && role !== 'fenced' ? 'open' : 'read-only',
    reason: shard.stopped ?? unreadable ?? reason ?? (shard.foldFailure === undefined ? undefined : `folding failed: ${shard.foldFailure}`),
    epoch: shard.log.epoch,
    firstSeq: shard.log.firstSeq as Seq,
    lastSeq: shard.visibleSeq as Seq,
    durableSeq: shard.log.durableSeq as Seq,
    checkpoint: tree === undefined ? null : { seq: tree.seq as Seq, root: hex(tree.root.hash) },
    liveBytes: shard.log.bytes - shard.upkeep.deadBytes,
    deadBytes: shard.upkeep.deadBytes,
  };
}

/** See `Database.root`. */
export async function rootInfo(shard: Shard, seq: number | undefined): Promise<RootInfo | undefined> {
  if (seq === undefined) {
    const root = await shard.root();
    return { shard: shard.id, seq: root.seq as Seq, root: hex(root.hash), entries: root.entries };
  }
  const checkpoint = await shard.checkpointAt(seq);
  return checkpoint && { shard: shard.id, seq: seq as Seq, root: hex(checkpoint.root), entries: checkpoint.entries };
}
