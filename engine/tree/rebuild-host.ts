/** A tree made anew on the thread that folds, between folds; here, where there is none or it dies. The files are the asker's to delete. */
import type { VersionRun } from '../memtable-columns.js';
import type { Platform } from '../platform/platform.js';
import type { SeqSet } from '../retention/seq-set.js';
import type { CopyPlace } from './copy-writer.js';
import { type FoldHost, ThreadLost } from './fold-host.js';
import type { TreeAt } from './fold-message.js';
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

/** `reserve` gives the files that one try may make. */
export async function rebuiltTree(
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
