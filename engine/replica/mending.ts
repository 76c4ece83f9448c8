/**
 * Mending an open shard: its log from what a copy offers (mend.ts), one range at a time, and the tree from the log where that was stale.
 *
 * Invariant: where anything in the log was not known before, the tree is built anew before what was mended is told. What a crash does is
 * told in mend.ts.
 */
import { VarveError } from '../errors.js';
import type { LogSlice, MendReport } from '../replica.js';
import { erasuresOf } from './gaps.js';
import { mendLog, type Prove } from './mend.js';
import type { ReplicaParts } from './replica-shard.js';

export interface MendingHooks {
  rebuildTree(): Promise<unknown>;
  /** Whether the shard's own system records could not be read. */
  isUntold(): boolean;
  /** What the database knows of the shard may be stale. */
  changed(): void;
}

export class Mending {
  readonly #parts: ReplicaParts;
  readonly #hooks: MendingHooks;
  #isUnderWay = false;

  constructor(parts: ReplicaParts, hooks: MendingHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
  }

  async mend(fromSeq: number, toSeq: number, slices: readonly LogSlice[], prove: Prove): Promise<MendReport> {
    const { contents, folder, healing, options, shard } = this.#parts;
    const { id } = shard;
    if (this.#isUnderWay) throw new VarveError('UNAVAILABLE', `shard ${id} is being mended`, { shard: id, reason: 'being mended' });
    this.#isUnderWay = true;
    try {
      const mended = await mendLog(
        {
          shard: id,
          clock: options.platform.clock,
          log: contents.log,
          store: contents.store,
          erasures: contents.gap === undefined ? shard.upkeep.erasures : await erasuresOf(contents.log, shard.upkeep.erasures),
          trimmedThrough: shard.upkeep.trimmedThrough,
          wasTrimmed: !shard.exactness.isWhole || contents.log.compactedThrough > 0,
          tree: () => ({ seq: contents.index.treeSeq, root: contents.index.root }),
          betweenFolds: (work) => healing.healing(() => folder.betweenFolds(work)),
        },
        fromSeq,
        toSeq,
        slices,
        prove,
      );
      if (mended.isTreeStale || contents.gap !== undefined) {
        await this.#hooks.rebuildTree();
        this.#hooks.changed();
      }
      if (this.#hooks.isUntold()) this.#hooks.changed();
      return mended;
    } finally {
      this.#isUnderWay = false;
    }
  }
}
