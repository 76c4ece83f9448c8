/**
 * The checkpoint events of one shard's log: the newest, all of them, and the next. Each names the hash of the one before.
 *
 * The log is the truth; the catalog remembers them, and where it does not know them all they are looked for in the log. What the
 * newest is may not be known after open: the replay meets it only where it comes after what the tree covers.
 */
import type { Catalog, LoggedCheckpoint } from './catalog.js';
import { hashCheckpoint } from './format/checkpoint-hash.js';
import { type CheckpointEvent, isGap, type SeqRange, type ShardLog } from './log/index.js';
import type { Clock } from './platform/platform.js';
import type { TreeRoot } from './tree/types.js';

const NO_HASH = new Uint8Array(32);
/** Records looked through before others get a turn. */
const SLICE_RECORDS = 2000;

export interface CheckpointChainDeps {
  readonly shard: number;
  readonly catalog: Catalog;
  readonly clock: Clock;
  log(): ShardLog;
}

export class CheckpointChain {
  readonly #deps: CheckpointChainDeps;
  /** `null`: none yet; undefined: not known without looking. */
  #newest: LoggedCheckpoint | null | undefined;
  #gap: SeqRange | undefined;

  constructor(deps: CheckpointChainDeps) {
    this.#deps = deps;
  }

  /** Before a replay from the beginning of the log (nothing can be missed), or from behind a tree. */
  startFrom(beginning: boolean): void {
    this.#newest = beginning ? null : undefined;
  }

  /** An event met in a replay, which goes forward. */
  met(checkpoint: LoggedCheckpoint): void {
    this.#newest = checkpoint;
  }

  /** The newest, where it is known without looking. */
  get known(): LoggedCheckpoint | undefined {
    return this.#newest ?? undefined;
  }

  /** Seqs that could not be read when the log was last looked through: checkpoints may be missing there. */
  get gap(): SeqRange | undefined {
    return this.#gap;
  }

  async newest(): Promise<LoggedCheckpoint | undefined> {
    if (this.#newest === undefined) this.#newest = (await this.#fromLog()).at(-1) ?? null;
    return this.#newest ?? undefined;
  }

  /** Oldest first. */
  async all(): Promise<readonly LoggedCheckpoint[]> {
    const newest = await this.newest();
    return this.#deps.catalog.checkpoints(this.#deps.shard, newest?.seq ?? 0) ?? this.#fromLog();
  }

  /** The event that comes after `last`. */
  next(last: LoggedCheckpoint | undefined, root: TreeRoot, throughSeq: number): CheckpointEvent {
    const previous = last === undefined ? NO_HASH : hashCheckpoint(last);
    return { type: 'checkpoint', throughSeq, root: root.hash, entries: root.entries, previous };
  }

  /** An event is durable. */
  logged(checkpoint: LoggedCheckpoint, last: LoggedCheckpoint | undefined): void {
    this.#newest = checkpoint;
    this.#deps.catalog.addCheckpoint(this.#deps.shard, checkpoint, last?.seq ?? 0);
  }

  async #fromLog(): Promise<LoggedCheckpoint[]> {
    const found: LoggedCheckpoint[] = [];
    this.#gap = undefined;
    let seen = 0;
    for (const batch of this.#deps.log().batches(1)) {
      if (isGap(batch)) this.#gap ??= batch.gap;
      else {
        if (batch.event?.type === 'checkpoint') found.push({ ...batch.event, seq: batch.firstSeq });
        seen += batch.records.length;
      }
      if (++seen < SLICE_RECORDS) continue;
      seen = 0;
      await this.#deps.clock.yield();
    }
    if (this.#gap === undefined) this.#deps.catalog.replaceCheckpoints(this.#deps.shard, found);
    return found;
  }
}
