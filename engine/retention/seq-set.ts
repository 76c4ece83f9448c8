/** A growing set of seqs, a bit each in pages: seqs of one epoch lie close together, epochs far apart. */
import type { SeqRun } from '../format/seq-runs.js';

const PAGE_SEQS = 1 << 18;
/** Bits set in each byte. */
const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let bits = 0;
  for (let rest = byte; rest > 0; rest >>= 1) bits += rest & 1;
  return bits;
});

export class SeqSet {
  readonly #pages: Map<number, Uint8Array>;
  #size = 0;
  #lastNumber = -1;
  #lastPage: Uint8Array | undefined;

  /** `pages`: another set's, copied here; none: an empty set. */
  constructor(pages?: ReadonlyMap<number, Uint8Array>) {
    this.#pages = new Map();
    for (const [number, page] of pages ?? []) {
      this.#pages.set(number, page.slice());
      for (const byte of page) this.#size += BITS[byte]!;
    }
  }

  /** Survives a structured clone; not to be changed. */
  get pages(): ReadonlyMap<number, Uint8Array> {
    return this.#pages;
  }

  get size(): number {
    return this.#size;
  }

  /** The page asked for last is asked for again, mostly. */
  #pageOf(number: number): Uint8Array | undefined {
    if (number !== this.#lastNumber) {
      this.#lastNumber = number;
      this.#lastPage = this.#pages.get(number);
    }
    return this.#lastPage;
  }

  add(seq: number): void {
    const number = Math.floor(seq / PAGE_SEQS);
    let page = this.#pageOf(number);
    if (page === undefined) {
      this.#pages.set(number, (page = new Uint8Array(PAGE_SEQS / 8)));
      this.#lastPage = page;
    }
    const at = seq % PAGE_SEQS;
    const bit = 1 << (at & 7);
    if ((page[at >> 3]! & bit) !== 0) return;
    page[at >> 3]! |= bit;
    this.#size++;
  }

  has(seq: number): boolean {
    const page = this.#pageOf(Math.floor(seq / PAGE_SEQS));
    const at = seq % PAGE_SEQS;
    return page !== undefined && (page[at >> 3]! & (1 << (at & 7))) !== 0;
  }

  delete(seq: number): void {
    if (!this.has(seq)) return;
    const at = seq % PAGE_SEQS;
    this.#pages.get(Math.floor(seq / PAGE_SEQS))![at >> 3]! &= ~(1 << (at & 7));
    this.#size--;
  }

  clear(): void {
    this.#pages.clear();
    this.#size = 0;
    this.#lastNumber = -1;
    this.#lastPage = undefined;
  }

  addRuns(runs: readonly SeqRun[]): void {
    for (const { fromSeq, toSeq } of runs) {
      let seq = fromSeq;
      // Whole bytes at once, where a run is long enough to have some.
      while (seq <= toSeq) {
        if ((seq & 7) !== 0 || seq + 7 > toSeq) {
          this.add(seq++);
          continue;
        }
        this.add(seq);
        const page = this.#lastPage!;
        const byte = (seq % PAGE_SEQS) >> 3;
        this.#size += 8 - BITS[page[byte]!]!;
        page[byte] = 0xff;
        seq += 8;
      }
    }
  }

  /** How many lie within, both ends included. */
  countIn(fromSeq: number, toSeq: number): number {
    let count = 0;
    for (const [number, page] of this.#pages) {
      const start = number * PAGE_SEQS;
      const from = Math.max(0, fromSeq - start);
      const to = Math.min(PAGE_SEQS - 1, toSeq - start);
      for (let at = from; at <= to; at++) {
        // Most bytes are empty, or asked for whole.
        if ((at & 7) === 0 && at + 7 <= to) {
          count += BITS[page[at >> 3]!]!;
          at += 7;
        } else if ((page[at >> 3]! & (1 << (at & 7))) !== 0) count++;
      }
    }
    return count;
  }

  deleteIn(fromSeq: number, toSeq: number): void {
    for (const [number, page] of this.#pages) {
      const start = number * PAGE_SEQS;
      const from = Math.max(0, fromSeq - start);
      const to = Math.min(PAGE_SEQS - 1, toSeq - start);
      for (let at = from; at <= to; at++) {
        const byte = page[at >> 3]!;
        if ((at & 7) === 0 && at + 7 <= to) {
          this.#size -= BITS[byte]!;
          page[at >> 3] = 0;
          at += 7;
        } else if ((byte & (1 << (at & 7))) !== 0) {
          page[at >> 3] = byte & ~(1 << (at & 7));
          this.#size--;
        }
      }
    }
  }

  /** The pages that hold seqs within: `SeqSet`'s constructor takes them. They may hold others too. */
  pagesIn(fromSeq: number, toSeq: number): ReadonlyMap<number, Uint8Array> {
    return new Map([...this.#pages].filter(([number]) => (number + 1) * PAGE_SEQS > fromSeq && number * PAGE_SEQS <= toSeq));
  }

  /** Those within, both ends included; the first so many. */
  runsIn(fromSeq: number, toSeq: number, limit = Number.POSITIVE_INFINITY): SeqRun[] {
    const runs: { fromSeq: number; toSeq: number }[] = [];
    let last: { fromSeq: number; toSeq: number } | undefined;
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const start = number * PAGE_SEQS;
      const page = this.#pages.get(number)!;
      const end = Math.min(PAGE_SEQS - 1, toSeq - start);
      for (let at = Math.max(0, fromSeq - start); at <= end; at++) {
        const byte = page[at >> 3]!;
        if (byte === 0) {
          at |= 7;
          continue;
        }
        if ((byte & (1 << (at & 7))) === 0) continue;
        const seq = start + at;
        if (last !== undefined && last.toSeq === seq - 1) last.toSeq = seq;
        else {
          if (runs.length >= limit) return runs;
          runs.push((last = { fromSeq: seq, toSeq: seq }));
        }
      }
    }
    return runs;
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
    return this.runsIn(0, Number.POSITIVE_INFINITY);
  }
}
