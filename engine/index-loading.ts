/**
 * Builds a shard's index from what is on disk: the newest usable tree, then the log behind it (law 2). The same way leads back
 * after damage: without a tree the replay begins at the log's first batch.
 *
 * A crash in the middle loses nothing: everything made here is derived, and folds made on the way are whole or not there.
 */
import type { Catalog } from './catalog.js';
import type { CheckpointChain } from './checkpoint-chain.js';
import { isVarveError, VarveError } from './errors.js';
import { equalBytes } from './format/bytes.js';
import { entityKeyFromBytes, splitEntityKey } from './format/keys.js';
import { storedRecordHash } from './format/record-hash.js';
import { isGap, KIND_PUT, type SeqRange, type ShardLog, type StoredBatch } from './log/index.js';
import type { Clock } from './platform/platform.js';
import { type Counts, ShardCounts, TreeCounter } from './shard-counts.js';
import type { ShardIndex } from './shard-index.js';
import type { ShardUpkeep } from './shard-upkeep.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import type { ShardId } from './types.js';

/** Records replayed or counted before others get a turn. */
const SLICE_RECORDS = 2000;

export interface IndexParts {
  readonly shard: ShardId;
  /** Of the shard's tree files: named where the tree is wrong as a whole. */
  readonly treeDirectory: string;
  readonly clock: Clock;
  readonly catalog: Catalog;
  readonly log: ShardLog;
  readonly store: TreeStore;
  readonly index: ShardIndex;
  readonly chain: CheckpointChain;
  readonly upkeep: Pick<ShardUpkeep, 'met'>;
  /** What is counted from here on: folds on the way take from it what trims drop. */
  counting(counts: ShardCounts): void;
  /** Whether the memtable has grown enough to be folded on the way. */
  foldIsDue(): boolean;
  /** A seq that the tree is to stop at on the way, so that its root can be told. */
  readonly rootWanted?: number | undefined;
  rootFound?(root: TreeRoot | undefined): void;
}

export interface LoadedIndex {
  /** The first seqs behind the tree that could not be read. */
  readonly gap: SeqRange | undefined;
  /** Compaction had taken versions out of what was replayed: who was alive between those that are left was not to be seen. */
  readonly sawPart: boolean;
}

/** True for bytes of a tree that are not what they should be: what a rebuild mends. */
export function isTreeDamage(error: unknown): boolean {
  return isVarveError(error, 'CORRUPT') && error.details.file.includes('/tree/');
}

/** The store's newest root covers nothing beyond the log. Throws CORRUPT, naming the tree, where it is bad or has another root than the log says. */
export async function loadIndex(parts: IndexParts): Promise<LoadedIndex> {
  const { store, index, chain } = parts;
  const [usable] = store.roots(1);
  const treeSeq = usable?.seq ?? 0;
  index.startFrom(usable?.root, treeSeq);
  chain.startFrom(usable === undefined);
  const sawPart = treeSeq < parts.log.compactedThrough;
  const counts = new ShardCounts(() => countTree(parts, usable?.root, treeSeq));
  parts.counting(counts);
  const gap = await replayFrom(parts, counts, treeSeq + 1);
  // The event of the tree's own checkpoint, if there is one, comes behind what the tree covers: the replay has met it.
  const logged = chain.known;
  if (usable !== undefined && logged?.throughSeq === treeSeq && !equalBytes(logged.root, usable.root.hash)) {
    const what = `the tree through seq ${treeSeq} has another root than the log says`;
    throw new VarveError('CORRUPT', `shard ${parts.shard}: ${what}`, { file: `${parts.treeDirectory}/`, offset: 0, what });
  }
  // Its event was logged when it was durable. Else its writer may have been killed before.
  if (usable !== undefined && logged?.throughSeq !== treeSeq) await store.makeDurable();
  return { gap, sawPart };
}

/** Takes a batch of the log into index, counts and checkpoints. */
export function replayBatch(
  { shard, index, chain, upkeep }: Pick<IndexParts, 'shard' | 'index' | 'chain' | 'upkeep'>,
  counts: ShardCounts,
  batch: StoredBatch,
): void {
  if (batch.event?.type === 'checkpoint') chain.met({ ...batch.event, seq: batch.firstSeq });
  else if (batch.event !== undefined) {
    if (batch.event.type === 'trim') index.drop(batch.firstSeq, batch.event.runs);
    upkeep.met(batch.event, batch.firstSeq);
  }
  for (const stored of batch.records) {
    const { seq, time, kind, supersedes } = stored;
    if (seq <= index.treeSeq) continue;
    const entity = entityKeyFromBytes(stored.collection, stored.key);
    const before = index.newest(entity);
    index.add(entity, seq, time, kind, supersedes, storedRecordHash(shard, stored));
    counts.add(splitEntityKey(entity).collection, kind === KIND_PUT, before?.kind === KIND_PUT);
  }
}

/** Answers the first gap. */
async function replayFrom(parts: IndexParts, counts: ShardCounts, fromSeq: number): Promise<SeqRange | undefined> {
  let gap: SeqRange | undefined;
  let replayed = 0;
  let canFold = true;
  let wanted = parts.rootWanted;
  const tellRoot = async (through: number) => {
    if (wanted === undefined || gap !== undefined || through < wanted) return;
    await parts.index.fold(wanted);
    wanted = undefined;
    parts.rootFound?.(parts.index.root);
  };
  for (const batch of parts.log.batches(fromSeq)) {
    if (isGap(batch)) {
      gap ??= batch.gap;
      continue;
    }
    await tellRoot(batch.firstSeq - 1);
    replayBatch(parts, counts, batch);
    replayed += batch.records.length;
    if (replayed >= SLICE_RECORDS) {
      replayed = 0;
      await parts.clock.yield();
    }
    if (!canFold || gap !== undefined || !parts.foldIsDue()) continue;
    await parts.index.fold(batch.lastSeq).catch((error: unknown) => {
      if (isTreeDamage(error)) throw error;
      canFold = false; // a disk that takes no tree: the memtable holds it all meanwhile
    });
  }
  await tellRoot(parts.log.durableSeq);
  return gap;
}

/** What a tree holds, per collection: as the catalog remembers it, or counted. */
async function countTree({ shard, catalog, clock, index }: IndexParts, root: TreeRoot | undefined, seq: number): Promise<Counts> {
  if (root === undefined) return new Map();
  const remembered = catalog.counts(shard, seq);
  return remembered ?? countEntries({ clock, index }, root);
}

/** The same, counted whatever the catalog says. */
export async function countEntries({ clock, index }: Pick<IndexParts, 'clock' | 'index'>, root: TreeRoot): Promise<Counts> {
  const counter = new TreeCounter();
  let seen = 0;
  for (const { entity, entry } of index.treeEntries(root)) {
    counter.add(entity, splitEntityKey(entity).collection, entry.kind === KIND_PUT);
    if (++seen % SLICE_RECORDS === 0) await clock.yield();
  }
  return counter.counts;
}
