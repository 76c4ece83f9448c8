/**
 * Law 6, in one place: which answers about a point before a collection's horizon are exact all the same.
 *
 *   point at or after the horizon, or exactly a live snapshot's: everything is exact
 *   before it: only one version that was found, where the next survivor names it in `supersedes`, or where it is the newest
 */

/** What one shard knows of what it dropped. */
export interface Exactness {
  /** 0 where nothing was dropped from the collection. */
  horizonOf(collection: string): number;
  /** Whether a live snapshot stands exactly there. */
  isSnapshot(seq: number): boolean;
}

/** Whether everything asked of `collection` at `seq` is exact. */
export function isExactAt(exactness: Exactness, collection: string, seq: number): boolean {
  return seq >= exactness.horizonOf(collection) || exactness.isSnapshot(seq);
}

/** Whether `found` was current at the point, as the surviving version after it (if there is one) proves. */
export function isProvenCurrent(found: { readonly seq: number }, next: { readonly supersedes: number } | undefined): boolean {
  return next === undefined || next.supersedes === found.seq;
}
