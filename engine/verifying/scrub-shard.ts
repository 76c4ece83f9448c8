/**
 * Reads back every byte of one open shard, while it is read and written: its log, then the newest version of its tree.
 *
 *   segments: frames, records, footers, BLAKE3 -> tree: every node's frame, hash, place and order
 *
 * Invariants: nothing is changed here; what was replaced meanwhile by a compaction or a rebuild is not complained of, what is true of
 * the files that count now is. What is found in the log becomes the log's own
 * finding, told wherever those are.
 */
import { isVarveError } from '../errors.js';
import type { ShardLog } from '../log/index.js';
import type { Finding } from '../log/types.js';
import { checkTree } from '../tree/check.js';
import { treeFileName } from '../tree/tree-file.js';
import type { TreeStore } from '../tree/tree-store.js';
import type { TreeRoot } from '../tree/types.js';
import type { ScrubPace, ScrubReport } from '../verification.js';

export interface ScrubbedShard {
  readonly log: ShardLog;
  readonly store: TreeStore;
  readonly treeDirectory: string;
  /** The newest root, undefined where there is none. */
  root(): TreeRoot | undefined;
}

/** Nodes between two pauses. */
const NODES_A_SLICE = 64;
/** Segments that are replaced under the walk make it begin again where it met something. */
const MAX_ROUNDS = 3;

export async function scrubShard(shard: ScrubbedShard, pace: ScrubPace, progress: (share: number) => void): Promise<ScrubReport> {
  const { log, store } = shard;
  const treeBytes = store.bytes;
  const total = Math.max(1, log.bytes + treeBytes);
  const ofLog = await scrubLog(log, pace, (bytes) => progress(Math.min(1, bytes / total)));
  const logBytes = log.bytes;
  const ofTree = await scrubTree(shard, pace, (bytes) => progress(Math.min(1, (logBytes + bytes) / total)));
  for (const finding of ofLog) log.context.report(finding);
  return { findings: [...ofLog, ...ofTree], bytes: logBytes + treeBytes, treeDamaged: ofTree.length > 0 };
}

async function scrubLog(log: ShardLog, pace: ScrubPace, told: (bytes: number) => void): Promise<Finding[]> {
  for (let round = 1; ; round++) {
    const { incarnation } = log;
    const found = await scrubOnce(log, pace, told);
    // Files that went meanwhile, or were opened anew, are no longer what was looked at.
    if (found.length === 0 || log.incarnation === incarnation || round === MAX_ROUNDS) {
      const current = new Set(log.segmentSet.all.map(({ path }) => path));
      return found.filter(({ file }) => current.has(file));
    }
  }
}

async function scrubOnce(log: ShardLog, pace: ScrubPace, told: (bytes: number) => void): Promise<Finding[]> {
  const steps = log.scrub();
  let done = 0;
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done === true) return step.value;
    await pace.spend(Math.max(0, step.value.bytes - done));
    done = step.value.bytes;
    told(done);
  }
}

async function scrubTree(shard: ScrubbedShard, pace: ScrubPace, told: (bytes: number) => void): Promise<Finding[]> {
  const { store, treeDirectory } = shard;
  const root = shard.root();
  if (root === undefined || root.height < 0) return [];
  const release = store.hold();
  const { life } = store;
  try {
    const steps = checkTree(store, root);
    let nodes = 0;
    const nodeBytes = store.bytes / Math.max(1, root.entries / 40);
    for (;;) {
      const step = steps.next();
      if (step.done === true) {
        // A tree that was thrown away meanwhile is nobody's any more.
        if (store.life !== life && shard.root() !== root) return [];
        return step.value.problems.map(({ file, offset, what }) => ({
          kind: 'damaged',
          file: `${treeDirectory}/${treeFileName(file)}`,
          offset,
          fromSeq: 0,
          toSeq: 0,
          detail: what,
        }));
      }
      if (++nodes % NODES_A_SLICE > 0) continue;
      await pace.spend(NODES_A_SLICE * Math.min(nodeBytes, 8192));
      told(Math.min(store.bytes, nodes * nodeBytes));
    }
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT')) throw error;
    return [{ kind: 'damaged', file: error.details.file, offset: error.details.offset, fromSeq: 0, toSeq: 0, detail: error.details.what }];
  } finally {
    release();
  }
}
