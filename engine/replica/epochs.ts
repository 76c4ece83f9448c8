/** The epochs of a log, from the headers of its segments: each begins one; and who owns the newest, from the event it begins with. */
import { hex } from '../format/hash.js';
import { isGap, type ShardLog } from '../log/index.js';
import type { EpochSpan, ShardOwner } from '../replica.js';

/** Oldest first; an empty log is in its first epoch. */
export function epochsOf(log: ShardLog): EpochSpan[] {
  const spans: { epoch: number; firstSeq: number; lastSeq: number }[] = [];
  for (const segment of log.segmentSet.all) {
    const epoch = segment.header?.epoch ?? segment.epoch;
    const last = spans.at(-1);
    // What a later epoch that ended nothing before it came after: whatever others have of that was left behind.
    if (last === undefined && epoch > 1 && segment.header?.attestedSeq === 0) spans.push({ epoch: 1, firstSeq: 1, lastSeq: 0 });
    if (last !== undefined && last.epoch >= epoch) last.lastSeq = Math.max(last.lastSeq, segment.lastSeq);
    else spans.push({ epoch, firstSeq: segment.base, lastSeq: segment.lastSeq });
  }
  return spans.length > 0 ? spans : [{ epoch: log.epoch, firstSeq: 1, lastSeq: log.durableSeq }];
}

/** Undefined in the first epoch, which nobody announced, and where damage hides it. */
export function ownerOf(log: ShardLog): ShardOwner | undefined {
  const span = epochsOf(log).at(-1)!;
  // It begins with records: reading them would cost an opening more than the rest of it.
  if (span.epoch === 1) return undefined;
  for (const batch of log.batches(span.firstSeq, span.firstSeq)) {
    if (isGap(batch) || batch.event?.type !== 'epoch') return undefined;
    return { node: hex(batch.event.node), url: Buffer.from(batch.event.url).toString() };
  }
  return undefined;
}
