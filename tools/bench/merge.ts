/** Two ordered streams of versions compared, for stores that can find a difference only by reading everything. */

export interface MergeEntry {
  readonly key: string;
  readonly seq: number;
  /** Compared by `same`. */
  readonly value: unknown;
}

export interface MergeSource {
  /** Undefined at the end. Blocks of entries, so that a promise is paid for a thousand of them. */
  next(): MergeEntry[] | undefined | Promise<MergeEntry[] | undefined>;
}

/** Keys of entries that one side lacks or has otherwise. Both sides ordered by key, then by seq, up or down alike. */
export async function differingKeys(
  a: MergeSource,
  b: MergeSource,
  same: (x: unknown, y: unknown) => boolean,
  descendingSeq = false,
): Promise<Set<string>> {
  const found = new Set<string>();
  const left = new Reader(a);
  const right = new Reader(b);
  for (;;) {
    if (left.empty) await left.fill();
    if (right.empty) await right.fill();
    const x = left.peek();
    const y = right.peek();
    if (x === undefined && y === undefined) return found;
    const order = x === undefined ? 1 : y === undefined ? -1 : compare(x, y, descendingSeq);
    if (order === 0 && !same(x?.value, y?.value)) found.add(x?.key ?? '');
    if (order < 0) found.add(x?.key ?? '');
    if (order > 0) found.add(y?.key ?? '');
    if (order <= 0) left.skip();
    if (order >= 0) right.skip();
  }
}

function compare(x: MergeEntry, y: MergeEntry, descendingSeq: boolean): number {
  if (x.key !== y.key) return x.key < y.key ? -1 : 1;
  return descendingSeq ? y.seq - x.seq : x.seq - y.seq;
}

class Reader {
  readonly #source: MergeSource;
  #block: MergeEntry[] = [];
  #at = 0;
  #ended = false;

  constructor(source: MergeSource) {
    this.#source = source;
  }

  get empty(): boolean {
    return this.#at === this.#block.length && !this.#ended;
  }

  async fill(): Promise<void> {
    const block = await this.#source.next();
    this.#ended = block === undefined || block.length === 0;
    this.#block = block ?? [];
    this.#at = 0;
  }

  peek(): MergeEntry | undefined {
    return this.#block[this.#at];
  }

  skip(): void {
    this.#at++;
  }
}
