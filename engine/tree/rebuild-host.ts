/**
 * A tree made anew of what is left of it, in files that take the place of those there are: made on the thread that folds, between folds; here,
 * where there is none or it dies. Nothing of it counts before the change-over; what counts for nothing is deleted, after a crash at the next open.
 */
import type { VersionRun } from '../memtable-columns.js';
import type { Platform } from '../platform/platform.js';
import type { SeqSet } from '../retention/seq-set.js';
import type { CopyPlace } from './copy-writer.js';
import { type FoldHost, ThreadLost } from './fold-host.js';
import type { TreeAt, WriterState } from './fold-message.js';
import { type RebuiltTree, rebuildTree } from './rebuild.js';
import type { TreeRoot } from './types.js';
import { SortedVersions } from './version-run.js';

export interface Rebuild {
  readonly root: TreeRoot;
  /** Versions that are not in the tree, and none of the drops. */
  readonly run: VersionRun;
  readonly drops: SeqSet;
  readonly seq: number;
  readonly pause: () => Promise<void>;
  /** Told the share that is done. */
  readonly progress: (share: number) => void;
}

/** What of a TreeStore is needed here. */
export interface ReplacedTree {
  readonly place: Omit<TreeAt, 'state'>;
  handOver(): WriterState;
  beginFold(): () => void;
  reserveCopy(): { readonly from: number; readonly count: number };
  changeOver(first: number, files: readonly number[], root: TreeRoot, seq: number, taken: () => void): Promise<void>;
  discardCopy(numbers: Iterable<number>): Promise<void>;
}

/** `taken` is called in the turn in which the old files become superseded: nobody may begin to read them afterwards. */
export async function rebuildAndChangeOver(
  tree: ReplacedTree,
  platform: Platform,
  host: FoldHost | undefined,
  rebuild: Rebuild,
  taken: (rebuilt: RebuiltTree) => void,
): Promise<void> {
  const checkCurrent = tree.beginFold();
  const { place } = tree;
  const numbers: number[] = [];
  const reserve = (): CopyPlace => {
    const { from, count } = tree.reserveCopy();
    for (let i = 0; i < count; i++) numbers.push(from + i);
    return { fileBytes: place.fileBytes, first: from, from, count };
  };
  let files: readonly number[] = [];
  try {
    const rebuilt = await rebuiltTree(platform, host, { ...place, state: tree.handOver() }, rebuild, reserve);
    checkCurrent();
    files = rebuilt.files;
    await tree.changeOver(files[0] ?? numbers.at(-1)!, files, rebuilt.root, rebuild.seq, () => taken(rebuilt));
  } catch (error) {
    await tree.discardCopy(numbers);
    throw error;
  }
  // What a thread that died has made; what cannot be removed now is at the next open.
  if (numbers[0] !== files[0]) await tree.discardCopy(numbers.filter((number) => !files.includes(number))).catch(() => undefined);
}

/** `reserve` gives the files that one try may make. */
async function rebuiltTree(
  platform: Platform,
  host: FoldHost | undefined,
  at: TreeAt,
  { root, run, drops, seq, pause, progress }: Rebuild,
  reserve: () => CopyPlace,
): Promise<RebuiltTree> {
  if (host?.takes(root.entries) === true) {
    try {
      const answer = await host.fold({ ...at, root, run, seq, drops: drops.pages, anew: reserve() }, progress);
      return { root: answer.root, files: answer.made!.files, nodes: answer.made!.nodes, dropped: answer.dropped };
    } catch (error) {
      if (!(error instanceof ThreadLost)) throw error;
    }
  }
  const { directory, shard, databaseId, targetBytes } = at;
  return rebuildTree(
    platform,
    { ...reserve(), directory, shard, databaseId, targetBytes, root },
    drops,
    new SortedVersions(run),
    (share) => {
      progress(share);
      return pause();
    },
  );
}
