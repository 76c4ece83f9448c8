/**
 * What the engine counts for whoever watches it: plain numbers, added to where things happen and copied when asked for. In memory only;
 * a crash begins at zero.
 */
import type { ShardInfo } from './database.js';
import type { Shard } from './shard.js';
import type { ShardId } from './types.js';

/** Milliseconds; a bucket holds what took at most its bound, one more what took longer. */
const BOUNDS_MS: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000];

export interface DurationStats {
  readonly count: number;
  readonly ms: number;
  readonly boundsMs: readonly number[];
  /** One more than bounds; not cumulative. */
  readonly buckets: readonly number[];
}

export interface ShardStats {
  readonly shard: ShardId;
  readonly state: 'open' | 'read-only' | 'damaged';
  readonly lastSeq: number;
  readonly durableSeq: number;
  /** 0 without one. */
  readonly checkpointSeq: number;
  readonly memtableBytes: number;
  readonly memtableRecords: number;
  readonly liveBytes: number;
  readonly deadBytes: number;
  /** Files of the log. */
  readonly segments: number;
  readonly folds: DurationStats;
  readonly foldFailures: number;
  /** Groups made durable: how long write and sync took. */
  readonly groups: DurationStats;
  /** Batches in those groups. */
  readonly groupBatches: number;
  readonly commitFailures: number;
}

export interface CacheStats {
  readonly name: 'blocks' | 'nodes';
  readonly bytes: number;
  /** Undefined where counting them would cost more than it tells. */
  readonly hits: number | undefined;
  readonly misses: number;
}

export interface DatabaseStats {
  readonly shards: readonly ShardStats[];
  readonly caches: readonly CacheStats[];
}

export class Durations {
  #count = 0;
  #ms = 0;
  readonly #buckets = new Float64Array(BOUNDS_MS.length + 1);

  add(ms: number): void {
    this.#count++;
    this.#ms += ms;
    let slot = 0;
    while (slot < BOUNDS_MS.length && ms > BOUNDS_MS[slot]!) slot++;
    this.#buckets[slot]!++;
  }

  read(): DurationStats {
    return { count: this.#count, ms: this.#ms, boundsMs: BOUNDS_MS, buckets: [...this.#buckets] };
  }
}

/** What one shard counts. */
export class ShardCounters {
  readonly folds = new Durations();
  foldFailures = 0;
  readonly groups = new Durations();
  groupBatches = 0;
  commitFailures = 0;
}

/** `infos`: what `Database.shards` says of the same shards. */
export function readStats(shards: readonly Shard[], infos: readonly ShardInfo[]): DatabaseStats {
  const caches = shards[0]!.caches;
  return {
    shards: shards.map((shard, index) => shardStats(shard, infos[index]!)),
    caches: [
      { name: 'blocks', ...caches.blocks.stats },
      { name: 'nodes', bytes: caches.nodes.bytes, hits: undefined, misses: caches.nodes.loads },
    ],
  };
}

function shardStats({ counters, memory, log }: Shard, info: ShardInfo): ShardStats {
  const { shard, state, lastSeq, durableSeq, checkpoint, liveBytes, deadBytes } = info;
  return {
    shard,
    state,
    lastSeq,
    durableSeq,
    checkpointSeq: checkpoint?.seq ?? 0,
    memtableBytes: memory.bytes,
    memtableRecords: memory.records,
    liveBytes,
    deadBytes,
    segments: log.segmentSet.all.length,
    folds: counters.folds.read(),
    foldFailures: counters.foldFailures,
    groups: counters.groups.read(),
    groupBatches: counters.groupBatches,
    commitFailures: counters.commitFailures,
  };
}
