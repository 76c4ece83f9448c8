/**
 * A growing set of distinct strings that can be read in order at any time, cheaply.
 *
 * New keys wait unsorted; each RUN_KEYS of them are sorted into a run, and runs of like length are merged
 * (as a binary counter carries), so a key is moved O(log n) times in all and no reader ever meets a sort of
 * everything. Runs are immutable: an iterator keeps the ones it began with and is not disturbed by additions.
 */
const RUN_KEYS = 4096;

export class SortedKeys {
  /** Sorted runs, longest first. */
  #runs: (readonly string[])[] = [];
  #waiting: string[] = [];

  /** The key must not be in the set yet. */
  add(key: string): void {
    this.#waiting.push(key);
    if (this.#waiting.length === RUN_KEYS) this.#flush();
  }

  /** Keys >= `from` in order, of those present now. */
  from(from: string): Iterator<string, undefined> {
    const tail = this.#waiting.filter((key) => key >= from).sort();
    return new MergedRuns(tail.length > 0 ? [...this.#runs, tail] : this.#runs, from);
  }

  #flush(): void {
    let run: readonly string[] = this.#waiting.sort();
    this.#waiting = [];
    const runs = [...this.#runs];
    for (let last = runs.at(-1); last !== undefined && last.length <= run.length; last = runs.at(-1)) {
      runs.pop();
      run = merge(last, run);
    }
    runs.push(run);
    this.#runs = runs;
  }
}

class MergedRuns implements Iterator<string, undefined> {
  readonly #runs: readonly (readonly string[])[];
  readonly #positions: number[];

  constructor(runs: readonly (readonly string[])[], from: string) {
    this.#runs = runs;
    this.#positions = runs.map((run) => lowerBound(run, from));
  }

  next(): IteratorResult<string, undefined> {
    let least: string | undefined;
    let at = -1;
    for (let i = 0; i < this.#runs.length; i++) {
      const key = (this.#runs[i] as readonly string[])[this.#positions[i] as number];
      if (key !== undefined && (least === undefined || key < least)) {
        least = key;
        at = i;
      }
    }
    if (least === undefined) return { done: true, value: undefined };
    this.#positions[at] = (this.#positions[at] as number) + 1;
    return { done: false, value: least };
  }
}

function merge(left: readonly string[], right: readonly string[]): string[] {
  const out = new Array<string>(left.length + right.length);
  let i = 0;
  let j = 0;
  for (let n = 0; n < out.length; n++) {
    const l = left[i];
    const r = right[j];
    if (r === undefined || (l !== undefined && l < r)) {
      out[n] = l as string;
      i++;
    } else {
      out[n] = r;
      j++;
    }
  }
  return out;
}

/** Index of the first key >= `from`. */
function lowerBound(run: readonly string[], from: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((run[middle] as string) < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
