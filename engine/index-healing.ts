/**
 * A bad tree is rebuilt from the log (law 2) while the shard goes on: whoever meets the damage sets it going, work that can wait does,
 * and nothing is answered from half an index.
 *
 *   damage met -> index not whole -> tree removed, log replayed -> whole again; a rebuild that fails is begun again by the next who asks
 *
 * A crash in the middle: the next open finds no tree, or a whole one, and replays the rest.
 */
import { VarveError } from './errors.js';
import { isTreeDamage } from './index-loading.js';

export interface HealingDeps {
  readonly shard: number;
  /** Waits for what must not be disturbed, then removes the tree and loads the index anew. */
  rebuild(): Promise<void>;
}

export class IndexHealing {
  readonly #deps: HealingDeps;
  #rebuilding: Promise<void> | undefined;
  /** False while the index is being rebuilt, and after that failed: nothing may be answered from it. */
  #whole = true;

  constructor(deps: HealingDeps) {
    this.#deps = deps;
  }

  /** The index can be worked on at once. */
  get whole(): boolean {
    return this.#whole && this.#rebuilding === undefined;
  }

  get rebuilding(): boolean {
    return this.#rebuilding !== undefined;
  }

  /** Between these two nothing is answered from the index. */
  broken(): void {
    this.#whole = false;
  }

  mended(): void {
    this.#whole = true;
  }

  /** Resolves when no rebuild is under way, however it ended. */
  async settled(): Promise<void> {
    await this.#rebuilding?.catch(() => undefined);
  }

  /** A read: refused while the index is not whole. */
  reading<T>(read: () => T): T {
    if (!this.#whole) {
      this.#start();
      const reason = 'its tree was damaged and is being rebuilt from the log';
      throw new VarveError('UNAVAILABLE', `shard ${this.#deps.shard}: ${reason}`, { shard: this.#deps.shard, reason });
    }
    try {
      return read();
    } catch (error) {
      this.#after(error);
      throw error;
    }
  }

  /** Runs `work` over a whole index; once more where it met a bad tree, over the one built anew. */
  async healing<T>(work: () => T | Promise<T>): Promise<T> {
    if (!this.#whole) this.#start();
    if (this.#rebuilding !== undefined) await this.#rebuilding;
    try {
      return await work();
    } catch (error) {
      this.#after(error);
      if (this.#rebuilding === undefined) throw error;
      await this.#rebuilding;
      return work();
    }
  }

  /** Builds the index anew, whatever its state. */
  rebuild(): Promise<void> {
    this.#start();
    return this.#rebuilding ?? Promise.resolve();
  }

  /** Anything but a bad tree is not for us to mend. */
  #after(error: unknown): void {
    if (isTreeDamage(error)) this.#start();
  }

  #start(): void {
    this.#whole = false;
    this.#rebuilding ??= this.#deps.rebuild().finally(() => {
      this.#rebuilding = undefined;
    });
    this.#rebuilding.catch(() => undefined);
  }
}
