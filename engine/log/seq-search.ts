/** The search that the tables of a segment share: entries of one size, each beginning with a seq (u48), in rising order. */
import { getU48 } from '../format/bytes.js';

/** The last of `count` entries with a seq up to `seq`; -1 where there is none. */
export function floorEntry(entries: Uint8Array, entryBytes: number, count: number, seq: number): number {
  const last = count - 1;
  if (last < 0) return -1;
  const first = getU48(entries, 0);
  if (first > seq) return -1;
  // Seqs are nearly evenly spread: look where it should be, then nearby. Invariant: seq of low <= seq < seq of high.
  let low = 0;
  let high = count;
  let guess = Math.floor(((seq - first) / (getU48(entries, last * entryBytes) - first)) * last);
  for (let step = 1; high - low > 1; step *= 2) {
    if (!(guess > low && guess < high)) guess = (low + high) >>> 1;
    if (getU48(entries, guess * entryBytes) <= seq) {
      low = guess;
      guess += step;
    } else {
      high = guess;
      guess -= step;
    }
  }
  return low;
}
