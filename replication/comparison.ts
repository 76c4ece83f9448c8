/**
 * Compares one shard with the copy of one peer: roots at one seq, and, where they differ, which versions do.
 *
 *   our tree at S -> the peer's root at S -> equal: done, one round trip
 *                    passed / behind: meet at another seq            different -> walk down both trees
 *
 * Reads only. Writes may go on: then the two meet where both happen to stand.
 */
import type { HeldTree } from '../engine/copying.js';
import { isVarveError, type Seq } from '../engine/index.js';
import { askRoot, type PeerPlace, peerSide } from './peer-tree.js';
import { PeerError } from './transport.js';
import type { ComparedDatabase } from './tree-service.js';
import { type TreeSide, type TreeWalkLimits, type TreeWalkResult, walkTrees } from './tree-walk.js';

export interface Comparison {
  readonly url: string;
  readonly shard: number;
  readonly seq: number;
  readonly same: boolean;
  /** Ours, theirs. */
  readonly roots: readonly [string, string];
  /** Where they differ. */
  readonly walk: TreeWalkResult | undefined;
}

/** Trees that are folded past each other meet soon, or their shard is very busy. */
const MAX_MEETINGS = 12;
const WAIT_MS = 5000;

/** Throws PeerError, UnprovenTree, CORRUPT for a bad tree here, and what the shard throws where it cannot tell its root. */
export async function compare(
  db: ComparedDatabase,
  peer: PeerPlace,
  limits: TreeWalkLimits & { signal?: AbortSignal } = {},
): Promise<Comparison> {
  let seq = db.replica(peer.shard).visibleSeq;
  for (let meeting = 0; meeting < MAX_MEETINGS; meeting++) {
    let ours: HeldTree;
    try {
      ours = await ourTree(db, peer, seq, limits.signal);
    } catch (error) {
      if (!isVarveError(error, 'PASSED')) throw error;
      seq = Math.max(seq, error.details.seq);
      continue;
    }
    try {
      const theirs = await askRoot(peer, seq, limits.signal);
      if (theirs.kind === 'passed') {
        seq = Math.max(theirs.seq, db.replica(peer.shard).visibleSeq);
        continue;
      }
      if (theirs.kind === 'behind') throw new PeerError(peer.url, `it has come to seq ${theirs.seq} and not yet to ${seq}`, true);
      const roots: [string, string] = [ours.root, theirs.root];
      const found = { url: peer.url, shard: peer.shard, seq, roots };
      if (ours.root === theirs.root) return { ...found, same: true, walk: undefined };
      const side = peerSide(peer, seq, theirs.root, theirs.entries, limits.signal);
      return { ...found, same: false, walk: await walkTrees(sideOf(ours), side, limits) };
    } finally {
      ours.release();
    }
  }
  throw new PeerError(peer.url, 'the two copies never stood at one seq: both are being written', true);
}

/** Throws where this copy does not get to `seq` soon: a follower that lags. */
async function ourTree(db: ComparedDatabase, peer: PeerPlace, seq: number, signal: AbortSignal | undefined): Promise<HeldTree> {
  const tree = db.verifiable(peer.shard).treeAt(seq as Seq);
  let stop = (): void => undefined;
  const late = new Promise<undefined>((resolve) => {
    const cancel = peer.clock.after(WAIT_MS, () => resolve(undefined));
    const aborted = (): void => resolve(undefined);
    signal?.addEventListener('abort', aborted, { once: true });
    stop = () => {
      cancel();
      signal?.removeEventListener('abort', aborted);
    };
  });
  const inTime = await Promise.race([tree, late]).finally(() => stop());
  if (inTime !== undefined) return inTime;
  tree.then(
    (held) => held.release(),
    () => undefined,
  );
  throw new PeerError(peer.url, `this node has come to seq ${db.replica(peer.shard).visibleSeq} and not yet to ${seq}`, true);
}

/** A tree held here as a side of a walk. */
export function sideOf(tree: HeldTree): TreeSide {
  return {
    name: 'this node',
    isOurs: true,
    root: Buffer.from(tree.root, 'hex'),
    entries: tree.entries,
    read: (refs) => Promise.resolve(refs.map(({ path }) => tree.node(path))),
  };
}
