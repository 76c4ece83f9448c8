/**
 * When and how a shard's memtable becomes tree: one fold at a time, in the background, with back-pressure on
 * writers that outrun it.
 *
 * How often follows the tree's size: a random key rewrites about one leaf, so a fold pays off once it is a
 * share of the tree. A failed fold loses nothing (the log has it all); it is tried again a little later.
 */
import { messageOf } from './errors.js';
import type { Clock } from './platform/platform.js';
import type { ShardIndex } from './shard-index.js';

const FOLD_SHARE = 16;
/** Writers wait once the next memtable is this many times due while a fold is still running. */
const LAG = 2;
const RETRY_MS = 5000;

export interface FolderOptions {
  readonly clock: Clock;
  readonly memtableBytes: number;
  readonly checkpointRecords: number;
  index(): ShardIndex;
  visibleSeq(): number;
  /** A fold, and what follows from it: the checkpoint event. Runs in the background. */
  checkpoint(): Promise<void>;
}

export class ShardFolder {
  readonly #options: FolderOptions;
  #last: Promise<void> = Promise.resolve();
  #background: Promise<void> | undefined;
  #isFolding = false;
  #failure: string | undefined;

  constructor(options: FolderOptions) {
    this.#options = options;
  }

  /** Why the last fold failed, until one succeeds. */
  get failure(): string | undefined {
    return this.#failure;
  }

  get isDue(): boolean {
    return this.#isOver(1);
  }

  /** Call after records were added. */
  startIfDue(): void {
    if (this.#background !== undefined || this.#failure !== undefined || !this.isDue) return;
    this.#background = this.#options
      .checkpoint()
      .catch(() => undefined)
      .then(() => {
        this.#background = undefined;
      });
  }

  /** Resolves once writers may go on. */
  async backPressure(): Promise<void> {
    while (this.#background !== undefined && this.#isFolding && this.#isOver(LAG)) await this.#last;
  }

  /** Folds what is visible when its turn comes; rejects with what the disk said. */
  fold(): Promise<void> {
    const run = this.#last.then(() => {
      const index = this.#options.index();
      if (index.memoryCount === 0) return undefined;
      this.#isFolding = true;
      return index.fold(this.#options.visibleSeq());
    });
    this.#last = run.then(
      () => {
        this.#isFolding = false;
        this.#failure = undefined;
      },
      (error: unknown) => {
        this.#isFolding = false;
        this.#failed(error);
      },
    );
    return run;
  }

  /** Resolves when no fold is running; what follows from one may still be. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** Resolves when nothing at all is under way. */
  async idle(): Promise<void> {
    await this.#background;
    await this.#last;
  }

  #failed(error: unknown): void {
    this.#failure = messageOf(error);
    this.#options.clock.after(RETRY_MS, () => {
      this.#failure = undefined;
    });
  }

  #isOver(times: number): boolean {
    const { checkpointRecords, memtableBytes } = this.#options;
    const index = this.#options.index();
    const records = Math.max(checkpointRecords, (index.root?.entries ?? 0) / FOLD_SHARE);
    return index.activeCount >= records * times || index.activeBytes >= memtableBytes * times;
  }
}
