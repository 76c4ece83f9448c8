/**
 * Law 6, in one place: which answers about a point before a collection's horizon are exact all the same.
 *
 *   point at or after the horizon, or exactly a live snapshot's: everything is exact
 *   before it: only one version that was found, where the next survivor names it in `supersedes`, or where it is the newest
 */

import type { Horizon } from './plan.js';

/** What one shard knows of what it dropped. */
export class Exactness {
  readonly #horizons = new Map<string, Horizon>();
  #snapshots: ReadonlySet<number> = new Set();

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

  setSnapshots(seqs: readonly number[]): void {
    this.#snapshots = new Set(seqs);
  }

  isSnapshot(seq: number): boolean {
    return this.#snapshots.has(seq);
  }

  /** Whether everything asked of `collection` at `seq` is exact. */
  isExactAt(collection: string, seq: number): boolean {
    return seq >= this.horizonOf(collection) || this.#snapshots.has(seq);
  }

  /**
   * The position a time stands for, given the one its surviving records tell: dropped ones may have lain between. Nothing survives
   * there, so moving up to a horizon that the time covers changes no answer, and tells what is exact.
   */
  positionAt(time: number, seq: number): number {
    let position = seq;
    for (const horizon of this.#horizons.values()) if (horizon.time <= time) position = Math.max(position, horizon.seq);
    return position;
  }
}

/** Whether `found` was current at the point, as the surviving version after it (if there is one) proves. */
export function isProvenCurrent(found: { readonly seq: number }, next: { readonly supersedes: number } | undefined): boolean {
  return next === undefined || next.supersedes === found.seq;
}
