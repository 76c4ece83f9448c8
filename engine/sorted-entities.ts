/**
 * A memtable's entities in byte order, at any time, cheaply.
 *
 * Each RUN_ENTITIES new ones are sorted into a run of numbers, about a millisecond's work. Who lists merges the runs as it goes, and first
 * makes a few of them one, within a budget: who only writes pays for no merging, and no reader ever meets a sort of everything.
 * Runs are immutable: an iterator keeps the ones it began with and is not disturbed by additions.
 */
import type { MemtableColumns } from './memtable-columns.js';
import { sortRanges } from './tree/range-sort.js';

const RUN_ENTITIES = 8192;
/** Merged by one listing, at most. */
const MERGE_BUDGET = 2 * RUN_ENTITIES;

export class SortedEntities {
  readonly #columns: MemtableColumns;
  #runs: readonly Uint32Array[] = [];
  #sorted = 0;
  #count = 0;

  constructor(columns: MemtableColumns) {
    this.#columns = columns;
  }

  get bytes(): number {
    return this.#sorted * 4;
  }

  /** There are `count` entities now: numbers below that. */
  added(count: number): void {
    this.#count = count;
    if (count - this.#sorted >= RUN_ENTITIES) this.#sort();
  }

  /** Entities >= `from` in order, of those present now. */
  from(from: string): Iterator<string, undefined> {
    if (this.#sorted < this.#count) this.#sort();
    this.#merge();
    return new MergedRuns(this.#columns, this.#runs, from);
  }

  #sort(): void {
    const first = this.#sorted;
    const { bytes, starts } = this.#columns.gather(first, this.#count);
    const run = sortRanges(bytes, starts);
    for (let i = 0; i < run.length; i++) run[i]! += first;
    this.#runs = [...this.#runs, run];
    this.#sorted = this.#count;
  }

  /** The last ones, of like length, as a binary counter carries. */
  #merge(): void {
    let budget = MERGE_BUDGET;
    const runs = [...this.#runs];
    for (;;) {
      const right = runs.at(-1);
      const left = runs.at(-2);
      if (right === undefined || left === undefined || left.length > right.length * 2) break;
      budget -= left.length + right.length;
      if (budget < 0) break;
      runs.splice(-2, 2, mergeRuns(this.#columns, left, right));
    }
    this.#runs = runs;
  }
}

function mergeRuns(columns: MemtableColumns, left: Uint32Array, right: Uint32Array): Uint32Array {
  const out = new Uint32Array(left.length + right.length);
  let l = 0;
  let r = 0;
  for (let n = 0; n < out.length; n++) {
    if (r === right.length || (l < left.length && columns.compare(left[l]!, right[r]!) < 0)) out[n] = left[l++]!;
    else out[n] = right[r++]!;
  }
  return out;
}

/** A heap of runs, the one with the least entity on top. */
class MergedRuns implements Iterator<string, undefined> {
  readonly #columns: MemtableColumns;
  readonly #runs: readonly Uint32Array[];
  readonly #positions: number[];
  /** Runs that have more to give. */
  readonly #heap: number[] = [];

  constructor(columns: MemtableColumns, runs: readonly Uint32Array[], from: string) {
    this.#columns = columns;
    this.#runs = runs;
    this.#positions = runs.map((run) => lowerBound(columns, run, from));
    runs.forEach((run, i) => {
      if (this.#positions[i]! < run.length) this.#heap.push(i);
    });
    for (let at = this.#heap.length >>> 1; at > 0; at--) this.#sink(at - 1);
  }

  next(): IteratorResult<string, undefined> {
    const run = this.#heap[0];
    if (run === undefined) return { done: true, value: undefined };
    const number = this.#head(run);
    if (++this.#positions[run]! === this.#runs[run]!.length) {
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) this.#heap[0] = last;
    }
    this.#sink(0);
    return { done: false, value: this.#columns.entity(number) };
  }

  #head(run: number): number {
    return this.#runs[run]![this.#positions[run]!]!;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    for (let at = from; ; ) {
      let least = at;
      for (let child = 2 * at + 1; child < 2 * at + 3 && child < heap.length; child++)
        if (this.#columns.compare(this.#head(heap[child]!), this.#head(heap[least]!)) < 0) least = child;
      if (least === at) return;
      const run = heap[at]!;
      heap[at] = heap[least]!;
      heap[least] = run;
      at = least;
    }
  }
}

/** Index of the first entity >= `from`. */
function lowerBound(columns: MemtableColumns, run: Uint32Array, from: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (columns.compareTo(run[middle]!, from) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
