/**
 * The near end of compaction: rewrites and copies on a thread of their own where there are threads, here where there are none, with the
 * same result. One at a time; the thread lives while there is work, and is let go a moment after it.
 */
import type { Platform, Thread } from '../platform/platform.js';
import { receiveError } from '../tree/fold-message.js';
import type { TreeCopyResult, TreeCopyTask } from '../tree/tree-copy.js';
import { type CompactAnswer, type CompactRequest, type CompactResult, type CompactWork, doWork } from './compact-thread.js';
import { Cancelled, type Pace } from './pace.js';
import type { RewriteResult, RewriteTask } from './task.js';

/** Smaller ones are done here before a thread has started. */
const WORTH_STARTING_BYTES = 1024 * 1024;

/** One piece of work follows another within a job, and a fresh thread compiles everything anew; a thread at rest only takes memory. */
const REST_MS = 1000;
/** What was prepared for and has not come by then may not come at all. */
const LONGEST_WAIT_MS = 60_000;

interface Waiting {
  readonly pace: Pace;
  readonly resolve: (result: CompactResult) => void;
  readonly reject: (error: Error) => void;
}

export class CompactHost {
  readonly #platform: Platform;
  /** Whether what it writes is packed. */
  readonly compress: boolean;
  #last: Promise<unknown> = Promise.resolve();
  #thread: Thread | undefined;
  #waiting: Waiting | undefined;
  /** Of the thread's end, while it has nothing to do. */
  #cancelRest: () => void = () => undefined;
  #closed = false;

  constructor(platform: Platform, compress: boolean) {
    this.#platform = platform;
    this.compress = compress;
  }

  /** Work will come soon: its threads start meanwhile. */
  prepare(): void {
    const thread = this.#running();
    if (thread === undefined || this.#waiting !== undefined) return;
    this.#cancelRest();
    thread.post({ kind: 'prepare' } satisfies CompactRequest);
    this.#restAfter(thread, LONGEST_WAIT_MS);
  }

  /** Throws Cancelled, CORRUPT for a bad source, what the disk says, and an Error where the thread died. */
  rewrite(task: RewriteTask, sourceBytes: number, pace: Pace): Promise<RewriteResult> {
    return this.#inTurn({ kind: 'rewrite', task }, sourceBytes, pace) as Promise<RewriteResult>;
  }

  /** One pass over a tree; `bytes` are what it will copy, about. Throws as `rewrite` does. */
  copy(task: TreeCopyTask, bytes: number, pace: Pace): Promise<TreeCopyResult> {
    return this.#inTurn({ kind: 'copy', task }, bytes, pace) as Promise<TreeCopyResult>;
  }

  #inTurn(work: CompactWork, sourceBytes: number, pace: Pace): Promise<CompactResult> {
    const done = this.#last.then(() => this.#do(work, sourceBytes, pace));
    this.#last = done.catch(() => undefined);
    return done;
  }

  #do(work: CompactWork, sourceBytes: number, pace: Pace): Promise<CompactResult> {
    const here = () => doWork(this.#platform, work, (bytes) => pace.spend(bytes));
    this.#cancelRest();
    if (sourceBytes < WORTH_STARTING_BYTES) return here();
    const thread = this.#running();
    if (thread === undefined) return here();
    thread.hold(true);
    const done = new Promise<CompactResult>((resolve, reject) => {
      this.#waiting = { pace, resolve, reject };
      thread.post(work);
    });
    return done.finally(() => {
      this.#waiting = undefined;
      thread.hold(false);
      this.#restAfter(thread, REST_MS);
    });
  }

  #restAfter(thread: Thread, delayMs: number): void {
    if (this.#thread === thread) this.#cancelRest = this.#platform.clock.after(delayMs, () => void this.#stop());
  }

  #running(): Thread | undefined {
    if (this.#closed) return undefined;
    this.#thread ??= this.#platform.startThread?.('compaction/compact-thread', {
      message: (message) => this.#received(message as CompactAnswer),
      ended: (reason) => {
        this.#thread = undefined;
        this.#waiting?.reject(new Error(`the compaction thread ended: ${reason}`));
      },
    });
    return this.#thread;
  }

  #received(answer: CompactAnswer): void {
    const waiting = this.#waiting;
    switch (answer.kind) {
      case 'paced':
        waiting?.pace.spend(answer.bytes).then(
          () => this.#post({ kind: 'go-on' }),
          () => this.#post({ kind: 'stop' }),
        );
        return;
      case 'done':
        return waiting?.resolve(answer.result);
      case 'cancelled':
        return waiting?.reject(new Cancelled());
      case 'failed':
        return waiting?.reject(receiveError(answer.error));
      default:
        return answer satisfies never;
    }
  }

  #post(message: CompactRequest): void {
    this.#thread?.post(message);
  }

  async #stop(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.stop();
  }

  /** After the last work: nothing of the thread runs once this resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    this.#cancelRest();
    await this.#stop();
  }
}
