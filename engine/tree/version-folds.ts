/**
 * Where versions of a memtable are folded, and those that were dropped taken out: on the thread that folds, where there is one and it is worth it;
 * here, where there is none or it dies. Either way the same root, durable once it is answered.
 *
 * A fold that fails has changed no root; what it wrote is reached by none (tree-store.ts).
 */
import type { VersionRun } from '../memtable-columns.js';
import type { SeqSet } from '../retention/seq-set.js';
import { DroppedVersions } from './dropped-versions.js';
import { type FoldHost, ThreadLost } from './fold-host.js';
import type { TreeAt, WriterState } from './fold-message.js';
import type { NodeReader } from './node-reader.js';
import type { ChangeSource, TreeRoot } from './types.js';
import { SortedVersions } from './version-run.js';

/** What of a TreeStore is needed here. */
export interface FoldedTree {
  readonly reader: NodeReader;
  fold(root: TreeRoot | undefined, changes: ChangeSource, seq: number, pause: () => Promise<void>): Promise<TreeRoot>;
  foldElsewhere<T extends { readonly state: WriterState }>(work: (at: TreeAt) => Promise<T>): Promise<T>;
}

export interface VersionFold {
  readonly root: TreeRoot | undefined;
  readonly run: VersionRun;
  /** Versions that go; `run`'s are none of them. */
  readonly drops?: SeqSet;
  /** What the new root covers. */
  readonly seq: number;
}

export interface FoldedVersions {
  readonly root: TreeRoot;
  /** How many went of each collection. */
  readonly dropped: ReadonlyMap<string, number>;
}

/** `progress` is told the share that is done, now and then; `pause` lets others run. */
export async function foldHereOrThere(
  tree: FoldedTree,
  host: FoldHost | undefined,
  { root, run, drops, seq }: VersionFold,
  pause: () => Promise<void>,
  progress: (share: number) => void,
): Promise<FoldedVersions> {
  const count = run.count + (drops?.size ?? 0);
  if (host?.takes(count) === true) {
    const request = drops === undefined ? { root, run, seq } : { root, run, seq, drops: drops.pages };
    try {
      return await tree.foldElsewhere((at) => host.fold({ ...at, ...request }, progress));
    } catch (error) {
      if (!(error instanceof ThreadLost)) throw error;
    }
  }
  const added = new SortedVersions(run);
  const changes = drops === undefined ? added : new DroppedVersions(tree.reader, root, drops, added);
  const folded = await tree.fold(root, changes, seq, () => {
    progress(changes.done / count);
    return pause();
  });
  return { root: folded, dropped: changes instanceof DroppedVersions ? changes.counts : new Map() };
}
