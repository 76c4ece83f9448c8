/**
 * One fold of a shard's index: what memory holds goes into the tree, what logged trims list goes out of it.
 *
 *   left from a fold that failed -> up to before each trim -> the trim and what is left, in one step -> the rest
 *
 * Invariants: a tree that covers a trim's event has its effect, for it would never see it again; layers change only in the turn in which the
 * tree is durable, all of them at once, so that every read finds each version in exactly one. Reads and additions go on meanwhile. A fold
 * that fails leaves the frozen memtable and the trims, and the next one begins with them; a crash loses an unfinished fold, and the log
 * says everything again.
 */
import { countOfRuns, type SeqRun } from './format/seq-runs.js';
import type { Memtable } from './memtable.js';
import { addCounts, keptOf } from './memtable-drops.js';
import type { NewestTable } from './newest-table.js';
import type { Clock } from './platform/platform.js';
import { SeqSet } from './retention/seq-set.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';

/** A tree is made anew where no more than this part of it is left, one in so many. */
const LEFT_SHARE = 2;

/** A trim that was logged and waits for its fold. */
export interface PendingDrop {
  readonly eventSeq: number;
  readonly runs: readonly SeqRun[];
}

export interface FrozenMemtable {
  readonly table: Memtable;
  readonly throughSeq: number;
}

/** What the index gives a fold to work on. */
export interface IndexFoldParts {
  readonly clock: Clock;
  readonly store: TreeStore;
  readonly newest: Pick<NewestTable, 'doubtThose'>;
  readonly index: {
    readonly root: TreeRoot | undefined;
    readonly treeSeq: number;
    readonly onMoved: ((bytesBefore: number, nodes: number) => void) | undefined;
  };
  frozen(): FrozenMemtable | undefined;
  /** In the order of their events, all above `treeSeq`. */
  drops(): readonly PendingDrop[];
  /** What is queued above `throughSeq` stays in the active memtable. */
  freeze(throughSeq: number): void;
  /** This tree covers everything up to `throughSeq`, the frozen memtable and these trims included. */
  folded(root: TreeRoot | undefined, throughSeq: number, carriedOut?: readonly PendingDrop[]): void;
  /** While versions are taken out, what is found in the tree may be gone a moment later. */
  learns(does: boolean): void;
  /** How many versions of each collection trims have taken out. */
  dropped(versions: ReadonlyMap<string, number>): void;
  progress(share: number): void;
}

/** Whether so much of a tree goes that it may be made anew. */
export function dropsMost(drops: readonly PendingDrop[], root: TreeRoot | undefined): boolean {
  let listed = 0;
  for (const { runs } of drops) listed += countOfRuns(runs);
  return listed * LEFT_SHARE > (root?.entries ?? 0) && listed > 0;
}

export async function foldIndex(parts: IndexFoldParts, throughSeq: number): Promise<void> {
  const { index } = parts;
  const frozen = parts.frozen();
  // One that failed: with its trims, where it had some.
  if (frozen !== undefined && (parts.drops()[0]?.eventSeq ?? Number.POSITIVE_INFINITY) <= frozen.throughSeq)
    await foldDrops(parts, frozen.throughSeq);
  await foldFrozen(parts);
  if (throughSeq < index.treeSeq) return;
  // What came before a trim first: usually most, and done elsewhere. Then the trim and what is left in one step, for a tree that
  // covers a trim's event without its effect would never see it again.
  for (let [first] = parts.drops(); first !== undefined && first.eventSeq <= throughSeq; [first] = parts.drops()) {
    if (first.eventSeq - 1 > index.treeSeq) {
      parts.freeze(first.eventSeq - 1);
      await foldFrozen(parts);
    }
    parts.freeze(throughSeq);
    await foldDrops(parts, throughSeq);
  }
  parts.freeze(throughSeq);
  await foldFrozen(parts);
}

async function foldDrops(parts: IndexFoldParts, throughSeq: number): Promise<void> {
  const { clock, store, index, progress } = parts;
  const { table } = parts.frozen()!;
  const pending = parts.drops().filter(({ eventSeq }) => eventSeq <= throughSeq);
  const seqs = new SeqSet();
  const pause = () => clock.yield();
  for (const { runs } of pending) {
    seqs.addRuns(runs);
    await pause();
  }
  const { kept, dropped } = await keptOf(table, seqs, pause);
  let versions = dropped;
  parts.learns(false);
  try {
    for (const _ of parts.newest.doubtThose(seqs)) await pause();
    const { root } = index;
    const taken = (folded: { readonly root: TreeRoot; readonly dropped: ReadonlyMap<string, number> }): void => {
      versions = addCounts(dropped, folded.dropped);
      parts.folded(folded.root, throughSeq, pending);
    };
    if (root !== undefined && index.onMoved !== undefined && seqs.size * LEFT_SHARE > root.entries) {
      const { bytes } = store;
      const rebuild = { root, run: kept.run(), drops: seqs, seq: throughSeq, pause, progress };
      await store.rebuildDropping(rebuild, (rebuilt) => {
        taken(rebuilt);
        index.onMoved?.(bytes, rebuilt.nodes);
      });
    } else if (kept.count > 0 || root !== undefined) taken(await store.foldDropping(root, kept.run(), seqs, throughSeq, pause, progress));
    else parts.folded(undefined, throughSeq, pending);
  } finally {
    parts.learns(true);
  }
  parts.dropped(versions);
}

async function foldFrozen(parts: IndexFoldParts): Promise<void> {
  const { clock, store, index, progress } = parts;
  const frozen = parts.frozen();
  if (frozen === undefined) return;
  const { table, throughSeq } = frozen;
  const pause = () => clock.yield();
  parts.folded(table.count === 0 ? index.root : await store.foldVersions(index.root, table.run(), throughSeq, pause, progress), throughSeq);
}
