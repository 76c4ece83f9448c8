/**
 * Epoch histories of two logs compared (docs/PROTOCOL.md, "Epochs"). Pure.
 *
 * Invariant: what is taken back is only what the other side's later epoch has left behind: a source that is merely shorter, or knows
 * fewer epochs, is never a reason to give anything up.
 */
import type { EpochSpan } from '../engine/copying.js';
import { isEpoch, isSeq } from './checks.js';

export type Way =
  /** Ours is a prefix of theirs. */
  | { readonly way: 'stream' }
  /** What we have beyond `seq` is not of theirs. */
  | { readonly way: 'rewind'; readonly seq: number }
  /** They have not got what we have. */
  | { readonly way: 'behind'; readonly why: string };

/** More epochs than a log will ever see. */
const MAX_EPOCHS = 100_000;

/** Untrusted `[[epoch, first, last]…]`, or undefined. */
export function readEpochs(json: unknown): EpochSpan[] | undefined {
  if (!Array.isArray(json) || json.length > MAX_EPOCHS) return undefined;
  const spans: EpochSpan[] = [];
  for (const each of json as unknown[]) {
    const [epoch, firstSeq, lastSeq] = Array.isArray(each) ? (each as unknown[]) : [];
    if (!isEpoch(epoch) || !isSeq(firstSeq) || !isSeq(lastSeq)) return undefined;
    const before = spans.at(-1);
    if (before !== undefined && (epoch <= before.epoch || firstSeq <= before.lastSeq)) return undefined;
    spans.push({ epoch, firstSeq, lastSeq });
  }
  return spans;
}

/** How our log gets to where theirs is. `theirs` is oldest first, as `ours`. */
export function wayTo(ours: readonly EpochSpan[], theirs: readonly EpochSpan[]): Way {
  const newest = ours.at(-1);
  const ourEnd = newest?.lastSeq ?? 0;
  if (ourEnd === 0) return { way: 'stream' };
  const shared = ours.findLast((span) => theirs.some((other) => other.epoch === span.epoch));
  if (shared === undefined) return { way: 'behind', why: 'the two logs share no epoch' };
  const other = theirs.find((span) => span.epoch === shared.epoch)!;
  const theirNewest = theirs.at(-1)!;
  const end = Math.min(shared.lastSeq, other.lastSeq);
  const weGoOn = ourEnd > end;
  if (!weGoOn) return { way: 'stream' };
  if (theirNewest.epoch > newest!.epoch) return { way: 'rewind', seq: end };
  return {
    way: 'behind',
    why: `the source is at seq ${theirNewest.lastSeq} of epoch ${theirNewest.epoch}, this copy at seq ${ourEnd} of epoch ${newest!.epoch}`,
  };
}
