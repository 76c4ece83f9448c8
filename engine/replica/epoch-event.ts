/**
 * The first batch of an epoch: its event, in a segment of its own (docs/FORMAT.md).
 *
 * Invariant: it is the only thing on its way into the log. A crash before it is durable: there is no epoch.
 */
import { VarveError } from '../errors.js';
import { EPOCH_SEQS } from '../format/limits.js';
import type { ShardOwner } from '../replica.js';
import { MAX_SEQ } from '../types.js';
import type { ReplicaParts } from './replica-shard.js';

/** Durable and visible when it resolves. Throws TOO_LARGE where there are no seqs left for it, and what the log throws. */
export async function logEpoch(parts: ReplicaParts, epoch: number, owner: ShardOwner, reason: string): Promise<void> {
  const { contents, queue, recovery, shard, committed, writer } = parts;
  const { log } = contents;
  const why = recovery.stopped;
  if (why !== undefined) throw new VarveError('NOT_WRITTEN', `shard ${shard.id}: ${why}`, { shard: shard.id, reason: why });
  const endsAt = log.durableSeq;
  // Epochs that this log never saw had their seqs too: each number has a stretch of its own.
  const seq = endsAt + (epoch - log.epoch) * EPOCH_SEQS;
  if (seq > MAX_SEQ)
    throw new VarveError('TOO_LARGE', `shard ${shard.id} has had too many epochs`, { what: 'epoch', limit: MAX_SEQ, actual: seq });
  const group = queue.gathering(() => false);
  const event = {
    type: 'epoch' as const,
    epoch,
    endsAt,
    node: Buffer.from(owner.node, 'hex'),
    url: Buffer.from(owner.url),
    reason: Buffer.from(reason),
  };
  const time = Math.max(log.lastTime, writer.lastTime);
  group.builder.addEvent({ seq, time, event });
  group.builder.origin = { epoch, compactedThrough: 0, endsAt };
  await new Promise<void>((resolve, reject) => {
    const done = () => {
      committed(seq, undefined);
      resolve();
    };
    queue.added(group, { committed: done, failed: reject }, time);
  });
}
