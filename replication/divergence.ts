/**
 * A copy whose root is not its owner's, where both logs can be read: whose word counts, and what becomes of it (docs/PROTOCOL.md, "Checkpoints").
 *
 *   our tree, built anew from our log -> the same root now? done
 *   the records that differ -> the owner's log for them -> do they hash to what the owner's own tree says? -> ours give way to them
 *
 * Invariants: the owner's word counts for a follower only where the owner's log and tree say the same; a node that owns the shard
 * takes nothing. Everything else in the files stays byte for byte.
 */
import type { OfferedChange, ReplicaShard } from '../engine/copying.js';
import type { Comparison } from './comparison.js';
import { compare } from './comparison.js';
import { askRange, mustHold } from './log-range.js';
import type { PeerPlace } from './peer-tree.js';
import type { Repairing } from './repair.js';
import { PeerError } from './transport.js';
import type { EntryDifference } from './tree-walk.js';

/** Differing records that lie close together are mended in one go. */
const NEAR_SEQS = 10_000;
const HASH_BYTES = 32;

/** Throws PeerError, UNSOUND, and what the shard throws. What is done by then stays. */
export async function mendDifferences(repairing: Repairing, shard: ReplicaShard, owner: PeerPlace, found: Comparison): Promise<void> {
  const { db, log, signal } = repairing;
  if (shard.role === 'owner')
    throw new PeerError(owner.url, 'this node owns the shard: its word counts, and the other copy is to be repaired', false);
  await shard.rebuildTree();
  const again = found.same ? found : await compare(db, owner, { signal });
  if (again.same) {
    log.info({ shard: shard.id, seq: again.seq }, 'the tree was wrong and the log right: built anew, the roots are the same');
    return;
  }
  for (const differences of near(again.walk?.differences ?? [])) {
    const fromSeq = differences[0]!.seq;
    const toSeq = differences[differences.length - 1]!.seq;
    await mustHold(owner, shard, fromSeq, toSeq, signal);
    const slices = await askRange(owner, shard, fromSeq, toSeq, signal);
    // Batches are whole: the range grows to what came.
    const first = Math.min(...slices.map((slice) => slice.firstSeq));
    const last = Math.max(...slices.map((slice) => slice.lastSeq));
    const { records } = await shard.mend(first, last, slices, (_seq, _root, changes) => Promise.resolve(isTheOwners(changes, differences)));
    log.info({ shard: shard.id, fromSeq: first, toSeq: last, records, peer: owner.url }, 'records that differed were taken from the owner');
  }
}

/** Whether all that would change is what the owner's tree, which has proven itself, says of it. */
function isTheOwners(changes: readonly OfferedChange[], differences: readonly EntryDifference[]): boolean {
  const theirs = new Map(differences.map(({ seq, theirs: value }) => [seq, value]));
  return changes.every(({ seq, hash }) => {
    if (!theirs.has(seq)) return false;
    const value = theirs.get(seq);
    return value === undefined ? hash === undefined : hash === Buffer.from(value.buffer, value.byteOffset, HASH_BYTES).toString('hex');
  });
}

function near(differences: readonly EntryDifference[]): EntryDifference[][] {
  const groups: EntryDifference[][] = [];
  for (const difference of differences) {
    const open = groups.at(-1);
    if (open !== undefined && difference.seq - open[0]!.seq < NEAR_SEQS) open.push(difference);
    else groups.push([difference]);
  }
  return groups;
}
