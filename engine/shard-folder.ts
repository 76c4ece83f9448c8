/**
 * When and how a shard's memtable becomes tree: one fold at a time, in the background, with back-pressure on
 * writers that outrun it.
 *
 *   memtable  0 ───────── due ──────────── 2 × due            due: 1/8 of the tree's entries or half of memtableBytes
 *                          fold starts ·····> writers wait    while it runs, the next one may grow as far as it has come
 *
 * How often follows the tree's size: a random key rewrites about one leaf, so a fold pays off once it is a share of the tree.
 *
 * Invariants: a failed fold loses nothing (the log has it all) and is tried again a little later; while it keeps failing the memtable
 * stays bounded: beyond twice memtableBytes writes are refused.
 */
import { messageOf } from './errors.js';
import type { Clock } from './platform/platform.js';
import type { ShardIndex } from './shard-index.js';
import type { ShardCounters } from './stats.js';
import type { TreeRoot } from './tree/types.js';

/** A tree's share: at a sixteenth a fold of random keys rewrites nearly every leaf already, so a larger one writes less for each entry. */
const FOLD_SHARE = 8;
/** Of memtableBytes, when a fold is due: the other half is for what comes while it runs. */
const DUE_SHARE = 2;
/** Times memtableBytes, when writes are refused because folds fail. */
const MOST_BYTES = 2;
export const FOLD_RETRY_MS = 5000;

export interface FolderOptions {
  readonly clock: Clock;
  readonly memtableBytes: number;
  readonly checkpointRecords: number;
  index(): ShardIndex;
  visibleSeq(): number;
  /** Times what makes a fold due: a copy waits for its owner's checkpoint, to fold exactly through it. Default 1. */
  patience?(): number;
  /** A fold, and what follows from it: the checkpoint event. Runs in the background. */
  checkpoint(): Promise<void>;
  readonly counters: ShardCounters;
}

export class ShardFolder {
  readonly #options: FolderOptions;
  #last: Promise<void> = Promise.resolve();
  #background: Promise<void> | undefined;
  /** What of the fold under way is done, 0 to 1; undefined while there is none. */
  #share: number | undefined;
  /** Writers that wait for the fold to get on. */
  #held: (() => void)[] = [];
  #failure: string | undefined;
  #mayRetry = true;
  #cancelRetry: () => void = () => undefined;

  constructor(options: FolderOptions) {
    this.#options = options;
  }

  /** Why the last fold failed, until one succeeds. */
  get failure(): string | undefined {
    return this.#failure;
  }

  get isDue(): boolean {
    return this.#isOver(this.#patience);
  }

  /** Why no more can be taken into memory, or undefined. */
  get overflow(): string | undefined {
    const { index, memtableBytes } = this.#options;
    if (this.#failure === undefined || index().memoryBytes < memtableBytes * MOST_BYTES) return undefined;
    return `the tree cannot be written (${this.#failure}), and memory is full of what it should hold`;
  }

  /** Call after records were added. */
  startIfDue(): void {
    if (this.#background !== undefined || !this.#mayRetry || !this.isDue) return;
    this.#background = this.#options
      .checkpoint()
      .catch(() => undefined)
      .then(() => {
        this.#background = undefined;
      });
  }

  /** Resolves once writers may go on; undefined where they may at once. */
  backPressure(): Promise<void> | undefined {
    return this.#holdsWriters ? this.#untilLetGo() : undefined;
  }

  get #holdsWriters(): boolean {
    return this.#share !== undefined && this.#isOver(this.#patience + this.#share);
  }

  get #patience(): number {
    return this.#options.patience?.() ?? 1;
  }

  async #untilLetGo(): Promise<void> {
    while (this.#holdsWriters) {
      await new Promise<void>((resolve) => {
        this.#held.push(resolve);
      });
    }
  }

  /** Folds what is visible when its turn comes, or exactly through a seq unless the tree is beyond it; rejects with what the disk said. */
  fold(throughSeq?: number): Promise<{ readonly seq: number; readonly root: TreeRoot | undefined }> {
    let began: number | undefined;
    const { clock, counters } = this.#options;
    const run = this.#last.then(async () => {
      const index = this.#options.index();
      const isDone = throughSeq === undefined ? index.memoryCount === 0 && !index.hasDrops : index.treeSeq >= throughSeq;
      if (!isDone) {
        this.#share = 0;
        began = clock.monotonicMs();
        await index.fold(throughSeq ?? this.#options.visibleSeq(), (share) => this.#moved(share));
      }
      return { seq: index.treeSeq, root: index.root };
    });
    this.#last = run.then(
      () => {
        this.#moved(undefined);
        if (began !== undefined) counters.folds.add(clock.monotonicMs() - began);
        this.#failure = undefined;
        this.#mayRetry = true;
      },
      (error: unknown) => {
        this.#moved(undefined);
        counters.foldFailures++;
        this.#failed(error);
      },
    );
    return run;
  }

  /** Runs `work` while no fold is under way; the next one waits for it. */
  betweenFolds<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work);
    this.#last = run.then(
      () => undefined,
      () => undefined,
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

  /** Nothing is begun by itself from here on: the files may soon be another's. */
  end(): void {
    this.#mayRetry = false;
    this.#cancelRetry();
  }

  #moved(share: number | undefined): void {
    this.#share = share;
    const held = this.#held;
    this.#held = [];
    for (const resume of held) resume();
  }

  /** Not retried by writers, who may be refused by then, but by the clock. */
  #failed(error: unknown): void {
    this.#failure = messageOf(error);
    this.#mayRetry = false;
    this.#cancelRetry();
    this.#cancelRetry = this.#options.clock.after(FOLD_RETRY_MS, () => {
      this.#mayRetry = true;
      this.startIfDue();
    });
  }

  #isOver(times: number): boolean {
    const { checkpointRecords, memtableBytes } = this.#options;
    const index = this.#options.index();
    const records = Math.max(checkpointRecords, (index.root?.entries ?? 0) / FOLD_SHARE);
    return index.activeCount >= records * times || index.activeBytes >= (memtableBytes / DUE_SHARE) * times;
  }
}
