/**
 * Mends one node's copy of a shard from what others have (docs/PROTOCOL.md, "Repair").
 *
 *   gaps  -> donors in turn: history, stream, proof -> the engine takes it, or the next one is asked
 *   ends of files (footer, header) -> written anew from their own frames       tree -> built anew from the log
 *
 * Invariants: what a donor offers is taken only where the engine finds it proven, or where the owner, by its own root, vouches for it;
 * a donor's word alone never outweighs what our own tree knows. What nobody has is told by id and stays refused. One repair a shard at a time.
 */
import { messageOf, type OfferedChange, type ReplicaShard, type VerifiableShard } from '../engine/copying.js';
import { isVarveError, recordId } from '../engine/index.js';
import { askRange, mustHold } from './log-range.js';
import { askRoot, type PeerPlace } from './peer-tree.js';
import type { ReplicationLog } from './shard-copy.js';
import type { ComparedDatabase } from './tree-service.js';

export interface Repairing {
  readonly db: ComparedDatabase;
  /** Donors, whom to ask first at first. */
  readonly peers: readonly PeerPlace[];
  /** Who owns the shard, where that is another node. */
  readonly ownerUrl: string | undefined;
  readonly log: ReplicationLog;
  readonly signal: AbortSignal;
}

export interface RepairedRange {
  readonly fromSeq: number;
  readonly toSeq: number;
  /** Where from; undefined: from what was still readable here. */
  readonly donor: string | undefined;
  readonly records: number;
  readonly erased: number;
}

export interface UnrepairedRange {
  readonly fromSeq: number;
  readonly toSeq: number;
  /** Record ids. */
  readonly from: string;
  readonly to: string;
  /** What each donor was refused for. */
  readonly reason: string;
}

export interface RepairReport {
  readonly repaired: readonly RepairedRange[];
  readonly unrepairable: readonly UnrepairedRange[];
  readonly rebuiltTree: boolean;
}

/** `treeDamaged`: a scrub or a walk said so. Never throws for what a donor does. */
export async function repairShard(repairing: Repairing, shardId: number, treeDamaged: boolean): Promise<RepairReport> {
  const { db, log } = repairing;
  const shard = db.replica(shardId);
  const repaired: RepairedRange[] = [];
  const unrepairable: UnrepairedRange[] = [];
  const tried: { readonly fromSeq: number; readonly toSeq: number }[] = [];
  for (let gaps = shard.gaps; gaps.length > 0 && !repairing.signal.aborted; ) {
    tried.push(...gaps);
    for (const { fromSeq, toSeq } of gaps) {
      const outcome = await repairRange(repairing, shard, fromSeq, toSeq);
      if (!('reason' in outcome)) {
        repaired.push(outcome);
        log.info({ shard: shardId, ...outcome }, 'part of the log was repaired');
        // Trying has shown that there is more to ask for.
      } else if (!isKnown(shard.gaps, fromSeq, toSeq)) continue;
      else {
        unrepairable.push(outcome);
        log.warn({ shard: shardId, from: outcome.from, to: outcome.to, why: outcome.reason }, 'part of the log cannot be repaired');
      }
    }
    gaps = shard.gaps.filter((gap) => !isKnown(tried, gap.fromSeq, gap.toSeq));
  }
  repaired.push(...(await restoreFiles(repairing, shard, db.verifiable(shardId))));
  // A header that is there again tells of a hole between two epochs that it is none.
  const left = unrepairable.filter(({ fromSeq, toSeq }) => shard.gaps.some((gap) => gap.fromSeq <= toSeq && fromSeq <= gap.toSeq));
  let rebuiltTree = false;
  if (treeDamaged && shard.gaps.length === 0) {
    await shard.rebuildTree();
    rebuiltTree = true;
    log.info({ shard: shardId }, 'the tree was built anew from the log');
  }
  return { repaired, unrepairable: left, rebuiltTree };
}

function isKnown(gaps: readonly { readonly fromSeq: number; readonly toSeq: number }[], fromSeq: number, toSeq: number): boolean {
  return gaps.some((gap) => gap.fromSeq === fromSeq && gap.toSeq === toSeq);
}

async function repairRange(
  repairing: Repairing,
  shard: ReplicaShard,
  fromSeq: number,
  toSeq: number,
): Promise<RepairedRange | UnrepairedRange> {
  const refusals: string[] = [];
  for (const peer of repairing.peers) {
    if (repairing.signal.aborted) break;
    try {
      await mustHold(peer, shard, fromSeq, toSeq, repairing.signal);
      const slices = await askRange(peer, shard, fromSeq, toSeq, repairing.signal);
      const { records, erased } = await shard.mend(fromSeq, toSeq, slices, vouched(repairing, shard, peer));
      return { fromSeq, toSeq, donor: peer.url, records, erased };
    } catch (error) {
      refusals.push(refusalOf(peer, error));
    }
  }
  const reason = refusals.length === 0 ? 'there is no other copy to ask' : refusals.join('; ');
  return { fromSeq, toSeq, from: recordId(shard.id, fromSeq), to: recordId(shard.id, toSeq), reason };
}

function refusalOf(peer: PeerPlace, error: unknown): string {
  const message = messageOf(error);
  return message.startsWith(peer.url) ? message : `${peer.url}: ${message}`;
}

/** Who may say yes where our own tree cannot tell: the owner's own log, its root, or a second copy. What our tree knows is not up for a vote. */
function vouched(repairing: Repairing, shard: ReplicaShard, donor: PeerPlace) {
  return async (seq: number, root: string, changes: readonly OfferedChange[]): Promise<boolean> => {
    if (changes.length > 0) return false;
    const { ownerUrl, peers, signal } = repairing;
    if (shard.role !== 'owner') {
      // A follower takes what it has from its owner as it is.
      if (donor.url === ownerUrl) return true;
      const owner = peers.find(({ url }) => url === ownerUrl);
      return owner !== undefined && (await saysRoot(owner, seq, root, signal));
    }
    if (!(await saysRoot(donor, seq, root, signal))) return false;
    for (const other of peers) if (other !== donor && (await saysRoot(other, seq, root, signal))) return true;
    return false;
  };
}

async function saysRoot(peer: PeerPlace, seq: number, root: string, signal: AbortSignal): Promise<boolean> {
  try {
    const said = await askRoot(peer, seq, signal);
    return said.kind === 'root' && said.root === root;
  } catch {
    return false;
  }
}

/** Files whose seqs can all be read, and that are bad elsewhere: footer, header, hash. */
async function restoreFiles({ log }: Repairing, shard: ReplicaShard, verifiable: VerifiableShard): Promise<RepairedRange[]> {
  const restored: RepairedRange[] = [];
  for (const { fromSeq, toSeq } of verifiable.damagedSegments) {
    if (shard.gaps.some((gap) => gap.fromSeq <= toSeq && fromSeq <= gap.toSeq)) continue;
    try {
      await shard.mend(fromSeq, toSeq, [], () => Promise.resolve(false));
      restored.push({ fromSeq, toSeq, donor: undefined, records: 0, erased: 0 });
      log.info({ shard: shard.id, fromSeq, toSeq }, 'a segment was written anew from its own frames');
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'UNAVAILABLE')) throw error;
      log.warn({ shard: shard.id, fromSeq, toSeq, why: messageOf(error) }, 'a segment cannot be written anew');
    }
  }
  return restored;
}
