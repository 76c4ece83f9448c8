/**
 * Tree files that others have replaced, until nobody reads them any more.
 *
 *   era 0: files 1–3 · held twice | replaced -> era 1: files 4–5 · held once | …      an era's files may go when no era up to it is held
 *
 * Invariant: whoever began to read in an era may read its files, and those of every later one, until it lets go. Numbers alone are kept here: the
 * store deletes, and what a crash leaves undeleted is told by the headers at the next open (tree-files.ts).
 */

interface Era {
  readonly era: number;
  readonly files: readonly number[];
}

const NONE: readonly Era[] = [];

export class SupersededFiles {
  #era = 0;
  /** How many read since which era. */
  readonly #holders = new Map<number, number>();
  #superseded = NONE;

  /** Until the answer is called; `letGo` is called then, where there is anything that may have become free. */
  hold(letGo: () => void): () => void {
    const era = this.#era;
    this.#holders.set(era, (this.#holders.get(era) ?? 0) + 1);
    return () => {
      const left = (this.#holders.get(era) ?? 1) - 1;
      if (left > 0) this.#holders.set(era, left);
      else this.#holders.delete(era);
      if (this.#superseded.length > 0) letGo();
    };
  }

  /** These were read until now; nobody begins to any more. */
  add(files: readonly number[]): void {
    this.#superseded = [...this.#superseded, { era: this.#era++, files }];
  }

  /** Of each era that nobody holds: they are the asker's to delete. */
  takeFree(): (readonly number[])[] {
    const oldest = Math.min(...this.#holders.keys());
    const free = this.#superseded.filter(({ era }) => era < oldest);
    this.#superseded = this.#superseded.filter(({ era }) => era >= oldest);
    return free.map(({ files }) => files);
  }

  /** Whoever holds them: what they read is void. */
  takeAll(): number[] {
    const all = this.#superseded.flatMap(({ files }) => files);
    this.#superseded = NONE;
    return all;
  }
}
