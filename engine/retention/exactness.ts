/**
 * Law 6, in one place: which answers about a point before a collection's horizon are exact all the same.
 *
 *   point at or after the horizon, or exactly a live snapshot's: everything is exact
 *   before it: only one version that was found, where the next survivor names it in `supersedes`, or where it is the newest
 */

import type { Horizon } from './plan.js';

/** Where a live snapshot stands in a shard. Times from its last record's to the one it was asked for are the same point. */
export interface SnapshotPoint {
  readonly seq: number;
  /** Microseconds. */
  readonly fromTime: number;
  readonly toTime: number;
}

/** What one shard knows of what it dropped. */
export class Exactness {
  readonly #horizons = new Map<string, Horizon>();
  #snapshots: ReadonlyMap<number, SnapshotPoint> = new Map();

  /** 0 where nothing was dropped from the collection. */
  horizonOf(collection: string): number {
    return this.#horizons.get(collection)?.seq ?? 0;
  }

  get horizons(): ReadonlyMap<string, Horizon> {
    return this.#horizons;
  }

  /** Whether anything was ever dropped here. */
  get isWhole(): boolean {
    return this.#horizons.size === 0;
  }

  /** Horizons only rise. */
  raise(collection: string, horizon: Horizon): void {
    if (horizon.seq > this.horizonOf(collection)) this.#horizons.set(collection, horizon);
  }

  setSnapshots(points: readonly SnapshotPoint[]): void {
    const bySeq = new Map<number, SnapshotPoint>();
    for (const point of points) {
      const known = bySeq.get(point.seq);
      if (known === undefined || known.toTime < point.toTime) bySeq.set(point.seq, point);
    }
    this.#snapshots = bySeq;
  }

  isSnapshot(seq: number): boolean {
    return this.#snapshots.has(seq);
  }

  /** Whether everything asked of `collection` at `seq` is exact. */
  isExactAt(collection: string, seq: number): boolean {
    return seq >= this.horizonOf(collection) || this.#snapshots.has(seq);
  }

  /**
   * The position a time stands for. Dropped records may have lain anywhere between the last survivor up to the time and the first
   * one after it, so what survives cannot tell it exactly: `before`, just before that next survivor, sees the same of them. It is
   * moved to the right side of every horizon, and onto a live snapshot exactly where the time is one that the snapshot stands for:
   * else a point between two snapshots would pass for the earlier one.
   */
  positionAt(time: number, before: number): number {
    for (const { seq, fromTime, toTime } of this.#snapshots.values()) if (fromTime <= time && time <= toTime) return seq;
    let position = before;
    for (const horizon of this.#horizons.values()) {
      position = horizon.time <= time ? Math.max(position, horizon.seq) : Math.min(position, horizon.seq - 1);
    }
    return position;
  }
}

/** Whether `found` was current at the point, as the surviving version after it (if there is one) proves. */
export function isProvenCurrent(found: { readonly seq: number }, next: { readonly supersedes: number } | undefined): boolean {
  return next === undefined || next.supersedes === found.seq;
}
