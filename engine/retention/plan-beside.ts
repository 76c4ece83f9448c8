/**
 * Half of a plan as a message: what compaction's thread is asked for while the shard's own thread plans the other half.
 *
 * Reads the files of a tree that somebody holds, by a root that never changes; writes nothing. Everything in task and answer survives a
 * structured clone.
 */
import type { Platform } from '../platform/platform.js';
import { LeafWalk } from '../tree/leaf-walk.js';
import { NodeCache } from '../tree/node-cache.js';
import { NodeReader } from '../tree/node-reader.js';
import { TreeFiles } from '../tree/tree-files.js';
import type { TreeRoot } from '../tree/types.js';
import { type PlanPart, planPart, SLICE_VERSIONS } from './plan.js';
import { KEEP_ALL, type Retention } from './policy.js';
import { entitiesOf } from './tree-entities.js';

export interface PlanTask {
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
  readonly targetBytes: number;
  readonly root: TreeRoot;
  /** Entities from this key on. */
  readonly from: Uint8Array;
  /** Of the collections that let anything go. */
  readonly retentions: ReadonlyMap<string, Retention>;
  readonly snapshots: readonly number[];
  readonly now: number;
}

/** What a version takes in a tree, about. */
const ENTRY_BYTES = 64;

/** Throws what `pace` throws, and CORRUPT for a bad tree. */
export async function planBeside(platform: Platform, task: PlanTask, pace: (bytes: number) => Promise<void>): Promise<PlanPart> {
  const { directory, shard, databaseId, targetBytes, root, from, retentions, snapshots, now } = task;
  const files = new TreeFiles(platform.files, directory, { databaseId, shard, targetBytes });
  try {
    const walk = new LeafWalk(new NodeReader(files, new NodeCache(0), true), root, { from });
    const input = { retentionOf: (collection: string) => retentions.get(collection) ?? KEEP_ALL, snapshots, now };
    const planning = planPart(input, entitiesOf(walk));
    for (let step = planning.next(); ; step = planning.next()) {
      if (step.done === true) return step.value;
      await pace(SLICE_VERSIONS * ENTRY_BYTES);
    }
  } finally {
    files.close();
  }
}
