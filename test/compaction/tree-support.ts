/** A store with its newest root, as a shard holds them: what a compaction of the tree is told to work on. */
import { CompactHost } from '../../engine/compaction/compact-host.js';
import { type CompactedTree, type CompactedTreeFiles, compactTree } from '../../engine/compaction/compact-tree.js';
import { Pace } from '../../engine/compaction/pace.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { applyToModel, fold, hexOf, type Model, openStore, run, type TestStoreOptions, versionKey } from '../tree/support.js';

export const FORCED = { deadShare: 1, deadBytes: Number.POSITIVE_INFINITY, force: true };

export class HeldTree {
  readonly machine: MemoryPlatform;
  readonly store: TreeStore;
  readonly pace: Pace;
  readonly model: Model = new Map();
  root: TreeRoot | undefined;
  seq = 0;
  /** Folds wait. */
  isHeld = false;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(machine: MemoryPlatform, store: TreeStore) {
    this.machine = machine;
    this.store = store;
    this.pace = new Pace(machine.clock);
    const newest = store.roots(1)[0];
    this.root = newest?.root;
    this.seq = newest?.seq ?? 0;
  }

  static async open(machine = new MemoryPlatform(), options: TestStoreOptions = {}): Promise<HeldTree> {
    return new HeldTree(machine, await openStore({ machine, fileBytes: 16_384, ...options }));
  }

  get hash(): string {
    return this.root === undefined ? '' : hexOf(this.root);
  }

  /** Every key is written once in three rounds: most nodes of the rounds before die. */
  async fold(rounds: number, keys = 90): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      const round = ++this.seq;
      const changes = Array.from(
        { length: keys / 3 },
        (_, at) => [versionKey(`k${at * 3 + (round % 3)}`, round), round + at] as [string, number],
      );
      await this.exclusively(async () => {
        this.root = await fold(this.store, this.root, run(changes), round);
      });
      applyToModel(this.model, changes);
    }
  }

  /** One thing after another. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  get compacted(): CompactedTree {
    return {
      platform: this.machine,
      store: this.store,
      tree: () => this.root && { root: this.root, seq: this.seq },
      betweenFolds: (work) =>
        this.exclusively(async () => {
          this.isHeld = true;
          return work().finally(() => {
            this.isHeld = false;
          });
        }),
      settled: () => Promise.resolve(),
      moved: (root) => {
        this.root = root;
      },
    };
  }

  compact(thresholds = FORCED): Promise<CompactedTreeFiles | undefined> {
    return compactTree(this.compacted, new CompactHost(this.machine, true), this.pace, thresholds);
  }
}
