/**
 * What a shard does when a write of its log fails, and the marks that keep its end attested.
 *
 *   a failed write or sync -> stopped: what to tell whom -> the log is reopened from the disk, later and later -> writes go on
 *   an idle log            -> a mark, so that rot of its last frames cannot pass for a crash (law 10)
 *
 * Invariants: nothing is retried on the same file (law 9). While `stopped` says why, nothing is queued; while the outcome of a write
 * is not known, a question that it could change is not answered. Each reopening is waited for by whoever takes the index away
 * (`settled`). A crash in the middle: the next open recovers anew.
 */
import { type CommitQueue, GroupFailure } from './commit-queue.js';
import { messageOf, VarveError } from './errors.js';
import { LogFailure, type ShardLog } from './log/index.js';
import type { Clock } from './platform/platform.js';

const IDLE_MARK_MS = 250;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5000;

export interface RecoveryDeps {
  readonly shard: number;
  readonly clock: Clock;
  readonly queue: CommitQueue;
  log(): ShardLog;
  /** Takes what was queued, and not durable, out of the index. */
  rollBack(): void;
  /** Takes the log's end from the disk into the index; rejects where the disk still fails. */
  reopen(): Promise<void>;
}

export class ShardRecovery {
  readonly #deps: RecoveryDeps;
  #stopped: string | undefined;
  #unknownOutcome = false;
  #reopening: Promise<void> | undefined;
  #marking: Promise<void> | undefined;
  #ended = false;
  #cancelMark: () => void = () => undefined;
  #cancelRetry: () => void = () => undefined;

  constructor(deps: RecoveryDeps) {
    this.#deps = deps;
  }

  /** Why writes are refused, or undefined. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** A write that failed may yet turn out to have survived. */
  get unknownOutcome(): boolean {
    return this.#unknownOutcome;
  }

  /** A write failed: says what to tell whom, and sets recovery going. */
  stop(error: unknown): GroupFailure {
    const { shard } = this.#deps;
    const failure = error instanceof LogFailure ? error : undefined;
    const reason = `${failure?.stage ?? 'write'} failed: ${messageOf(failure?.cause ?? error)}`;
    const untouched = failure?.reachedDisk === 'no';
    this.#stopped = reason;
    this.#unknownOutcome ||= !untouched;
    this.#deps.rollBack();
    this.#retryReopen(FIRST_RETRY_MS);
    const notWritten = new VarveError('NOT_WRITTEN', `nothing was written: ${reason}`, { shard, reason }, error);
    const unknown = new VarveError('OUTCOME_UNKNOWN', `the write may or may not survive: ${reason}`, { shard, reason }, error);
    return new GroupFailure(untouched ? notWritten : unknown, notWritten);
  }

  /** Call when the queue has run dry. */
  scheduleMark(): void {
    const { clock, queue, log } = this.#deps;
    this.#cancelMark();
    if (this.#ended || log().attestedSeq >= log().durableSeq) return;
    this.#cancelMark = clock.after(IDLE_MARK_MS, () => {
      if (queue.busy || this.#stopped !== undefined || this.#ended) return;
      this.#marking = log()
        .mark()
        .catch((error: unknown) => {
          const failure = this.stop(error);
          queue.break(failure.behind);
        });
    });
  }

  /** A mark under way, which goes before the next group. */
  get marking(): boolean {
    return this.#marking !== undefined;
  }

  async marked(): Promise<void> {
    await this.#marking;
    this.#marking = undefined;
  }

  /** Resolves when the log is not being reopened. */
  async settled(): Promise<void> {
    await this.#reopening?.catch(() => undefined);
  }

  /** Nothing is marked or tried again from here on. */
  end(): void {
    this.#ended = true;
    this.#cancelMark();
    this.#cancelRetry();
  }

  #retryReopen(delayMs: number): void {
    if (this.#ended) return;
    this.#cancelRetry = this.#deps.clock.after(delayMs, () => {
      this.#reopening = this.#reopen().finally(() => {
        this.#reopening = undefined;
      });
      this.#reopening.catch((error: unknown) => {
        this.#stopped = `recovery failed: ${messageOf(error)}`;
        this.#retryReopen(Math.min(delayMs * 2, LAST_RETRY_MS));
      });
    });
  }

  async #reopen(): Promise<void> {
    await this.#deps.reopen();
    this.#stopped = undefined;
    this.#unknownOutcome = false;
    this.#deps.queue.reset();
  }
}
