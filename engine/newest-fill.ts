/**
 * Fills the table of newest versions from a tree, in the background, while inserts go on: what they add is newer than what the tree
 * has, and stays. Afterwards the table is complete: it and the tree it was filled from are all there is.
 *
 * Cancelled where versions go meanwhile, or the index begins anew: then it has changed nothing that is not true. A tree that cannot
 * be read ends it, too: whoever searches there finds the damage. In memory only.
 */
import { EntityHash } from './entity-hash.js';
import type { NewestTable } from './newest-table.js';
import type { Clock } from './platform/platform.js';
import { ROW_WORDS } from './tree/newest-scan.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';

/** Rows taken in before others get a turn: half a millisecond. */
const SLICE_ROWS = 4096;
const U32 = 2 ** 32;

export class NewestFill {
  readonly #table: NewestTable;
  readonly #store: TreeStore;
  readonly #root: TreeRoot;
  readonly #key: Uint8Array;
  readonly #clock: Clock;
  #isCancelled = false;

  /** `key`: of the hashes in the table. */
  constructor(table: NewestTable, store: TreeStore, root: TreeRoot, key: Uint8Array, clock: Clock) {
    this.#table = table;
    this.#store = store;
    this.#root = root;
    this.#key = key;
    this.#clock = clock;
  }

  /** Nothing is taken in from here on. */
  cancel(): void {
    this.#isCancelled = true;
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const letGo = this.#store.hold();
    try {
      let from: Uint8Array | undefined;
      do {
        const { rows, next } = await this.#store.newestOf(this.#root, this.#key, from);
        if (!(await this.#take(rows))) return;
        from = next;
      } while (from !== undefined);
      this.#table.filled();
    } catch {
      // The tree is searched, as before.
    } finally {
      letGo();
    }
  }

  /** False where it has to end. */
  async #take(rows: Int32Array): Promise<boolean> {
    const hash = new EntityHash(this.#key);
    for (let at = 0, slice = 0; ; at += ROW_WORDS) {
      if (at === rows.length || ++slice === SLICE_ROWS) {
        slice = 0;
        await this.#clock.yield();
      }
      if (this.#isCancelled) return false;
      if (at === rows.length) return true;
      hash.b = rows[at]!;
      hash.c = rows[at + 1]!;
      hash.d = rows[at + 2]!;
      const high = rows[at + 4]!;
      if (!this.#table.fill(hash, (high & 0xffff) * U32 + (rows[at + 3]! >>> 0), high >>> 16)) return false;
    }
  }
}
