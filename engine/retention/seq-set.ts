/** A growing set of seqs, a bit each in pages: seqs of one epoch lie close together, epochs far apart. */
import { runsOf, type SeqRun } from '../format/seq-runs.js';

const PAGE_SEQS = 1 << 18;

export class SeqSet {
  readonly #pages = new Map<number, Uint8Array>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(seq: number): void {
    const number = Math.floor(seq / PAGE_SEQS);
    let page = this.#pages.get(number);
    if (page === undefined) this.#pages.set(number, (page = new Uint8Array(PAGE_SEQS / 8)));
    const at = seq % PAGE_SEQS;
    const bit = 1 << (at & 7);
    if ((page[at >> 3]! & bit) !== 0) return;
    page[at >> 3]! |= bit;
    this.#size++;
  }

  has(seq: number): boolean {
    const page = this.#pages.get(Math.floor(seq / PAGE_SEQS));
    const at = seq % PAGE_SEQS;
    return page !== undefined && (page[at >> 3]! & (1 << (at & 7))) !== 0;
  }

  delete(seq: number): void {
    if (!this.has(seq)) return;
    const at = seq % PAGE_SEQS;
    this.#pages.get(Math.floor(seq / PAGE_SEQS))![at >> 3]! &= ~(1 << (at & 7));
    this.#size--;
  }

  addRuns(runs: readonly SeqRun[]): void {
    for (const { fromSeq, toSeq } of runs) for (let seq = fromSeq; seq <= toSeq; seq++) this.add(seq);
  }

  /** Ascending. */
  *values(): Generator<number, void, undefined> {
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const page = this.#pages.get(number)!;
      for (let byte = 0; byte < page.length; byte++) {
        const bits = page[byte]!;
        for (let bit = 0; bits >> bit !== 0; bit++) if ((bits & (1 << bit)) !== 0) yield number * PAGE_SEQS + byte * 8 + bit;
      }
    }
  }

  runs(): SeqRun[] {
    return runsOf(this.values());
  }
}
