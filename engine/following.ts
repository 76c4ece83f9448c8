/**
 * Reads again what system collections say, after another node has changed it or this one came to own a shard: placements, retention,
 * snapshots, and what is left to do of trims and erasures. One reading at a time; changes meanwhile lead to one more.
 *
 * Invariant: nothing is logged in a shard that this node does not own. A reading that fails is done again with the next change.
 */
export class Following {
  readonly #read: () => Promise<void>;
  #reading: Promise<void> | undefined;
  #isStale = false;
  #closed = false;

  constructor(read: () => Promise<void>) {
    this.#read = read;
  }

  changed(): void {
    this.#isStale = true;
    if (this.#closed || this.#reading !== undefined) return;
    this.#reading = this.#readAll().finally(() => {
      this.#reading = undefined;
    });
  }

  /** Resolves when what changed by now has been read. */
  async settled(): Promise<void> {
    while (this.#reading !== undefined) await this.#reading;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.settled();
  }

  async #readAll(): Promise<void> {
    while (this.#isStale && !this.#closed) {
      this.#isStale = false;
      await this.#read().catch(() => undefined);
    }
  }
}
