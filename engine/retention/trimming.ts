/**
 * One trim of one shard, from the plan to the log. The caller folds, before any file is rid of what goes.
 *
 *   fold -> plan over the tree -> horizons (records of `_horizons`) -> trim events, in slices -> the next fold: the tree drops them
 *
 * Invariants: horizons are durable before anything is dropped, so that a crash in between refuses answers that are still exact and
 * never gives one that is not. What a record inserted meanwhile refers to is taken out of the plan before its event is logged, in the
 * same turn. A crash between events and fold: the replay meets the events and the next fold applies them; after the fold: what `beginning` logged leads to them.
 */

import { REFS_NONE, REFS_UNTOLD } from '../format/footer.js';
import { MAX_RUNS_PER_TRIM } from '../format/limits.js';
import { countOfRuns, type SeqRun } from '../format/seq-runs.js';
import { isGap, type ShardLog, type TrimEvent } from '../log/index.js';
import type { Clock } from '../platform/platform.js';
import type { LeafScan } from '../tree/leaf-scan.js';
import { type InsertItem, recordId, type ShardId } from '../types.js';
import type { Exactness } from './exactness.js';
import { type DropPlan, type Horizon, type PlanEdges, type PlanInput, planDrops } from './plan.js';
import type { SeqSet } from './seq-set.js';
import { entitiesOf } from './tree-entities.js';

export const HORIZONS = '_horizons';

export interface TrimmedShard {
  readonly id: ShardId;
  readonly clock: Clock;
  readonly log: ShardLog;
  readonly exactness: Exactness;
  /** Everything visible is in the tree when this resolves, trims that were logged included. */
  fold(): Promise<void>;
  /** The tree as it is now, readable until it is let go. */
  heldTree(): HeldTree;
  insertSystem(items: readonly InsertItem[]): Promise<void>;
  /** Says in the log that events may follow: whoever opens it looks for them. */
  beginning(): InsertItem;
  /** Takes its place in the log before it returns, and nothing refers to what goes from then on. */
  insertTrim(event: TrimEvent): Promise<number>;
  /** Seq of the entity's newest version, queued ones included. */
  newestOf(entity: string): number | undefined;
  /** From now on every ref that is taken is told. Returns how to end that. */
  watchRefs(told: (seq: number) => void): () => void;
}

export interface HeldTree {
  leaves(): LeafScan;
  letGo(): void;
}

export interface TrimReport {
  readonly shard: ShardId;
  /** Versions dropped. */
  readonly versions: number;
  /** Event seqs; empty where nothing was to go. */
  readonly events: readonly number[];
  readonly horizons: ReadonlyMap<string, Horizon>;
}

/** `cancelled` is asked between slices; what was logged by then stays. */
export async function trimShard(shard: TrimmedShard, input: PlanInput, cancelled: () => boolean = () => false): Promise<TrimReport> {
  const referred: number[] = [];
  const unwatch = shard.watchRefs((seq) => referred.push(seq));
  try {
    await shard.fold();
    const plan = await planned(shard, input, cancelled);
    if (plan === undefined || plan.drops.size === 0) return { shard: shard.id, versions: 0, events: [], horizons: new Map() };
    const raised = [...plan.horizons].filter(([collection, { seq }]) => seq > shard.exactness.horizonOf(collection));
    await shard.insertSystem([...raised.map(([collection, horizon]) => horizonItem(shard.id, collection, horizon)), shard.beginning()]);
    for (const [collection, horizon] of raised) shard.exactness.raise(collection, horizon);
    const { events, versions } = await logged(shard, plan.drops, referred, cancelled);
    return { shard: shard.id, versions, events, horizons: new Map(raised) };
  } finally {
    unwatch();
  }
}

/** In slices, of which several are under way at once: each waits for the disk, and one sync is of all that wait. */
async function logged(shard: TrimmedShard, drops: SeqSet, referred: number[], cancelled: () => boolean) {
  const events: number[] = [];
  let versions = 0;
  const queued: Promise<number>[] = [];
  try {
    for (const runs of slices(drops)) {
      if (cancelled()) break;
      const { length } = referred;
      if (length > 0) keepReferred(shard, drops, referred.splice(0));
      const left = length > 0 ? runsWithin(drops, runs) : runs;
      if (left.length === 0) continue;
      versions += countOfRuns(left);
      // Nothing is awaited between the last look at refs and the event's place in the log.
      const event = shard.insertTrim({ type: 'trim', runs: left });
      // Awaited below, or told by one before it.
      event.catch(() => undefined);
      queued.push(event);
      if (queued.length < MOST_QUEUED) await shard.clock.yield();
      else events.push(await queued.shift()!);
    }
    for (let next = queued.shift(); next !== undefined; next = queued.shift()) events.push(await next);
    return { events, versions };
  } finally {
    await Promise.allSettled(queued);
  }
}

async function planned(shard: TrimmedShard, input: PlanInput, cancelled: () => boolean): Promise<DropPlan | undefined> {
  const tree = shard.heldTree();
  try {
    const edges = await edgesOf(shard, cancelled);
    const planning = planDrops(
      input,
      () => entitiesOf(tree.leaves()),
      () => edges,
    );
    for (let step = planning.next(); ; step = planning.next()) {
      if (step.done === true) return step.value;
      await shard.clock.yield();
      if (cancelled()) return undefined;
    }
  } catch (error) {
    if (cancelled()) return undefined;
    throw error;
  } finally {
    tree.letGo();
  }
}

const SLICE_BATCHES = 500;
/** Of an event: a millisecond or two of work for everybody who reads it. */
const SLICE_RUNS = Math.min(4096, MAX_RUNS_PER_TRIM);
/** Events that wait for the disk. */
const MOST_QUEUED = 8;

/** Every record with refs, newest first. Segments that say they hold none are not read. */
async function edgesOf(shard: TrimmedShard, cancelled: () => boolean): Promise<PlanEdges[]> {
  const { log, clock } = shard;
  const edges: PlanEdges[] = [];
  let seen = 0;
  // What comes meanwhile is told by whoever takes the refs.
  for (const segment of [...log.segmentSet.all]) {
    if (segment.refs === REFS_UNTOLD && !segment.damaged) {
      log.loadFooter(segment);
      await clock.yield();
    }
    if (segment.refs === REFS_NONE) continue;
    for (const batch of log.batches(segment.base, segment.lastSeq)) {
      if (!isGap(batch)) for (const { seq, refs } of batch.records) if (refs.length > 0) edges.push({ seq, refs });
      if (++seen % SLICE_BATCHES !== 0) continue;
      await clock.yield();
      if (cancelled()) return edges;
    }
  }
  return edges.reverse();
}

/** What was referred to since the plan was made stays, and what that refers to; a tombstone over it stays too. */
function keepReferred(shard: TrimmedShard, drops: SeqSet, referred: readonly number[]): void {
  const rest = [...referred];
  for (let seq = rest.pop(); seq !== undefined; seq = rest.pop()) {
    if (!drops.has(seq)) continue;
    drops.delete(seq);
    const record = shard.log.read(seq);
    if (record === undefined) continue;
    rest.push(...record.refs);
    const newest = shard.newestOf(Buffer.concat([record.collection, ZERO, record.key, ZERO]).toString('latin1'));
    if (newest !== undefined) rest.push(newest);
  }
}

const ZERO = Buffer.alloc(1);

/** Found slice by slice: to list them all at once would hold up everybody else. */
function* slices(drops: SeqSet): Generator<SeqRun[], void, undefined> {
  for (let from = 0; ; ) {
    const runs = drops.runsIn(from, Number.POSITIVE_INFINITY, SLICE_RUNS);
    const last = runs[runs.length - 1];
    if (last === undefined) return;
    from = last.toSeq + 1;
    yield runs;
  }
}

/** What is left of `runs`. */
function runsWithin(drops: SeqSet, runs: readonly SeqRun[]): SeqRun[] {
  const left: { fromSeq: number; toSeq: number }[] = [];
  for (const { fromSeq, toSeq } of runs) {
    for (let seq = fromSeq; seq <= toSeq; seq++) {
      const last = left.at(-1);
      if (!drops.has(seq)) continue;
      if (last !== undefined && last.toSeq === seq - 1) last.toSeq = seq;
      else left.push({ fromSeq: seq, toSeq: seq });
    }
  }
  return left;
}

function horizonItem(shard: ShardId, collection: string, { seq, time }: Horizon): InsertItem {
  return { collection: HORIZONS, key: collection, body: { horizon: recordId(shard, seq), time } };
}
