/**
 * Which neighbouring segments to rewrite together, and which to leave alone.
 *
 *   | sealed  dead 60% | sealed dead 0% | small | small | small | active |
 *     └── worth it ──┘                    └── merged ──┘
 *
 * Invariants: a group's result fits one segment, so that rewriting it needs that much room and no more. What would gain nothing is not
 * touched: neither live segments, nor a lone small one. Groups never reach over a damaged segment or an epoch's end.
 */

export interface Candidate {
  readonly bytes: number;
  readonly records: number;
  /** Of those, dropped or to be erased. */
  readonly deadRecords: number;
  readonly epoch: number;
  /** Sealed and sound. */
  readonly isEligible: boolean;
  /** Must be rewritten whatever it gains: it holds a body that is to go, or is to be compressed. */
  readonly isUrgent: boolean;
}

export interface PickOptions {
  readonly segmentBytes: number;
  /** A segment is worth rewriting from this share of dead records on. */
  readonly deadShare: number;
  /** Once this many bytes are dead in all, those with the greatest share go, whatever it is, until fewer are. */
  readonly deadBytes: number;
  /** Whatever is dead at all is worth it, and so are small neighbours. */
  readonly force: boolean;
}

/** First and last index of a group of neighbours, both included. */
export interface PickedGroup {
  readonly from: number;
  readonly to: number;
}

/** Below this part of a full segment one counts as small. */
const SMALL_PART = 8;
/** So many small neighbours are worth becoming one. */
const SMALL_NEIGHBOURS = 4;

export function pickSegments(candidates: readonly Candidate[], asked: PickOptions): PickedGroup[] {
  const options = { ...asked, deadShare: Math.min(asked.deadShare, shareToReach(candidates, asked.deadBytes)) };
  const groups: PickedGroup[] = [];
  for (let from = 0; from < candidates.length; ) {
    const to = groupEnd(candidates, from, options);
    if (to >= from && isWorth(candidates.slice(from, to + 1), options)) {
      groups.push({ from, to });
      from = to + 1;
    } else from++;
  }
  return groups;
}

/** The share from which on segments must go so that fewer bytes than `deadBytes` stay dead; Infinity where fewer are. */
function shareToReach(candidates: readonly Candidate[], deadBytes: number): number {
  const dead = candidates.filter(({ isEligible, deadRecords }) => isEligible && deadRecords > 0);
  let left = dead.reduce((sum, candidate) => sum + deadBytesOf(candidate), 0);
  let share = Number.POSITIVE_INFINITY;
  dead.sort((a, b) => b.deadRecords / b.records - a.deadRecords / a.records);
  for (const candidate of dead) {
    if (left < deadBytes) break;
    left -= deadBytesOf(candidate);
    share = candidate.deadRecords / candidate.records;
  }
  return share;
}

/** The last neighbour that fits with those from `from` on; before `from` where it is none itself. */
function groupEnd(candidates: readonly Candidate[], from: number, options: PickOptions): number {
  const first = candidates[from]!;
  if (!isWanted(first, options)) return from - 1;
  let bytes = liveBytes(first);
  let to = from;
  for (let next = candidates[to + 1]; next !== undefined; next = candidates[to + 1]) {
    bytes += liveBytes(next);
    if (!isWanted(next, options) || next.epoch !== first.epoch || bytes > options.segmentBytes) break;
    to++;
  }
  return to;
}

function isWanted(candidate: Candidate, options: PickOptions): boolean {
  return candidate.isEligible && (isDirty(candidate, options) || isSmall(candidate, options));
}

function isDirty({ isUrgent, deadRecords, records }: Candidate, { force, deadShare }: PickOptions): boolean {
  return isUrgent || (deadRecords > 0 && (force || deadRecords >= deadShare * records));
}

function isSmall(candidate: Candidate, { segmentBytes }: PickOptions): boolean {
  return liveBytes(candidate) < segmentBytes / SMALL_PART;
}

function isWorth(group: readonly Candidate[], options: PickOptions): boolean {
  return group.some((candidate) => isDirty(candidate, options)) || group.length >= (options.force ? 2 : SMALL_NEIGHBOURS);
}

/** As if records were all of a size. */
function liveBytes(candidate: Candidate): number {
  return candidate.records === 0 ? 0 : candidate.bytes - deadBytesOf(candidate);
}

function deadBytesOf({ bytes, records, deadRecords }: Candidate): number {
  return (bytes * deadRecords) / records;
}
