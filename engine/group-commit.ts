/**
 * Makes the groups of a shard durable, one after the other, and counts how long that took.
 *
 * Invariant: what fails stops the shard before anyone is told. A crash: see the log's recovery.
 */
import type { Group } from './commit-queue.js';
import type { ShardLog } from './log/index.js';
import type { Clock } from './platform/platform.js';
import type { ShardRecovery } from './shard-recovery.js';
import type { ShardCounters } from './stats.js';

export interface GroupCommitDeps {
  readonly clock: Clock;
  readonly counters: ShardCounters;
  log(): ShardLog;
  recovery(): ShardRecovery;
}

export class GroupCommit {
  readonly #deps: GroupCommitDeps;

  constructor(deps: GroupCommitDeps) {
    this.#deps = deps;
  }

  /** Rejects with what to tell whom. */
  async commit(group: Group): Promise<void> {
    const began = this.#deps.clock.monotonicMs();
    try {
      await this.#deps.log().append(group.builder);
    } catch (error) {
      throw this.#failed(error);
    }
    this.#done(group, began);
  }

  /** The same before it returns; false, and nothing done, where that would take longer. */
  commitNow(group: Group): boolean {
    const began = this.#deps.clock.monotonicMs();
    try {
      if (!this.#deps.log().appendNow(group.builder)) return false;
    } catch (error) {
      throw this.#failed(error);
    }
    this.#done(group, began);
    return true;
  }

  #done(group: Group, began: number): void {
    const { counters, clock } = this.#deps;
    counters.groups.add(clock.monotonicMs() - began);
    counters.groupBatches += group.batches;
  }

  #failed(error: unknown): unknown {
    this.#deps.counters.commitFailures++;
    return this.#deps.recovery().stop(error);
  }
}
