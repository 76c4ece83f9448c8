/**
 * Old record ids to new ones, while a dump is loaded: what refs need. Kept as runs (old seqs that follow each
 * other became new seqs that follow each other), so millions of records take little memory.
 */

interface Run {
  readonly oldSeq: number;
  readonly newShard: string;
  readonly newSeq: number;
  length: number;
}

export class IdMap {
  /** Per old shard, by old seq. */
  readonly #shards = new Map<string, Run[]>();

  set(oldId: string, newId: string): void {
    const shard = oldId.slice(0, 4);
    const oldSeq = Number.parseInt(oldId.slice(4), 16);
    const newShard = newId.slice(0, 4);
    const newSeq = Number.parseInt(newId.slice(4), 16);
    let runs = this.#shards.get(shard);
    if (runs === undefined) this.#shards.set(shard, (runs = []));
    const at = position(runs, oldSeq);
    const before = runs[at - 1];
    if (
      before !== undefined &&
      before.oldSeq + before.length === oldSeq &&
      before.newShard === newShard &&
      before.newSeq + before.length === newSeq
    )
      before.length += 1;
    else runs.splice(at, 0, { oldSeq, newShard, newSeq, length: 1 });
  }

  get(oldId: string): string | undefined {
    const runs = this.#shards.get(oldId.slice(0, 4)) ?? [];
    const oldSeq = Number.parseInt(oldId.slice(4), 16);
    const run = runs[position(runs, oldSeq) - 1];
    if (run === undefined || oldSeq >= run.oldSeq + run.length) return undefined;
    return run.newShard + (run.newSeq + (oldSeq - run.oldSeq)).toString(16).padStart(12, '0');
  }
}

/** How many runs begin at or before this seq. */
function position(runs: readonly Run[], oldSeq: number): number {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[middle] as Run).oldSeq <= oldSeq) low = middle + 1;
    else high = middle;
  }
  return low;
}
