/**
 * What trims do to the tree that a check builds: from the fold through a trim's event on, the versions it lists are not in it, whether the
 * log still holds them or compaction has left them out already.
 *
 * Invariant: a drop is applied to every fold at or beyond its event and to none before it (law 3). Reads the log's events only.
 */
import { treeKey } from './format/keys.js';
import type { SeqRun } from './format/seq-runs.js';
import { SeqSet } from './retention/seq-set.js';
import type { Cursor } from './tree/cursor.js';
import type { TreeChange } from './tree/types.js';

/** Entries looked at before others get a turn. */
const SLICE_ENTRIES = 4000;

export class CheckedDrops {
  readonly #all = new SeqSet();
  #pending: { readonly eventSeq: number; readonly runs: readonly SeqRun[] }[] = [];

  met(eventSeq: number, runs: readonly SeqRun[]): void {
    this.#all.addRuns(runs);
    this.#pending.push({ eventSeq, runs });
  }

  /** Whether any trim that was met lists it. */
  has(seq: number): boolean {
    return this.#all.has(seq);
  }

  /** What the trims up to `throughSeq` drop and no fold has applied yet; undefined for nothing. */
  take(throughSeq: number): SeqSet | undefined {
    const due = this.#pending.filter(({ eventSeq }) => eventSeq <= throughSeq);
    if (due.length === 0) return undefined;
    this.#pending = this.#pending.filter(({ eventSeq }) => eventSeq > throughSeq);
    const seqs = new SeqSet();
    for (const { runs } of due) seqs.addRuns(runs);
    return seqs;
  }
}

/** Takes what is dropped out of the tree that `cursor` stands on. */
export async function removals(cursor: Cursor, dropped: SeqSet, pause: () => Promise<void>): Promise<TreeChange[]> {
  const changes: TreeChange[] = [];
  let seen = 0;
  for (let valid = cursor.seekFirst(); valid; valid = cursor.next()) {
    if (++seen % SLICE_ENTRIES === 0) await pause();
    const seq = cursor.seq();
    if (dropped.has(seq)) changes.push({ key: treeKey(cursor.entity(), seq), value: undefined });
  }
  return changes;
}
