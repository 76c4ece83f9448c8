/**
 * How many entities are alive and how many versions there are, per collection of one shard. Derived: the base
 * is what the tree held at open (from the catalog where it counted that very tree, else counted when first
 * asked for: an old root stays readable), every record after is added.
 */
export interface CollectionCount {
  alive: number;
  versions: number;
}

export type Counts = Map<string, CollectionCount>;

export class ShardCounts {
  readonly #since: Counts = new Map();
  readonly #loadBase: () => Promise<Counts>;
  #base: Promise<Counts> | undefined;

  constructor(loadBase: () => Promise<Counts>) {
    this.#loadBase = loadBase;
  }

  add(collection: string, isAlive: boolean, wasAlive: boolean): void {
    countVersion(this.#since, collection, isAlive, wasAlive);
  }

  addAll(counts: Counts): void {
    for (const [collection, { alive, versions }] of counts) count(this.#since, collection, alive, versions);
  }

  /** As of the moment the promise resolves. */
  async total(): Promise<Counts> {
    this.#base ??= this.#loadBase();
    const base = await this.#base.catch((error: unknown) => {
      this.#base = undefined;
      throw error;
    });
    const total: Counts = new Map();
    for (const part of [base, this.#since]) {
      for (const [collection, { alive, versions }] of part) count(total, collection, alive, versions);
    }
    return total;
  }
}

/** Counts tree entries, which come newest first within an entity. */
export class TreeCounter {
  readonly counts: Counts = new Map();
  #entity = '';

  add(entity: string, collection: string, isAlive: boolean): void {
    const isNewest = entity !== this.#entity;
    this.#entity = entity;
    count(this.counts, collection, isNewest && isAlive ? 1 : 0, 1);
  }
}

/** One more version of an entity in `counts`. */
export function countVersion(counts: Counts, collection: string, isAlive: boolean, wasAlive: boolean): void {
  count(counts, collection, (isAlive ? 1 : 0) - (wasAlive ? 1 : 0), 1);
}

function count(counts: Counts, collection: string, alive: number, versions: number): void {
  const entry = counts.get(collection);
  if (entry === undefined) counts.set(collection, { alive, versions });
  else {
    entry.alive += alive;
    entry.versions += versions;
  }
}
