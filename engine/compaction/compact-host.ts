/**
 * The near end of compaction: rewrites and copies on a thread of their own where there are threads, here where there are none, with the
 * same result. One at a time; the thread lives while there is work and is let go after it.
 */
import type { Platform, Thread } from '../platform/platform.js';
import { receiveError } from '../tree/fold-message.js';
import type { TreeCopyResult, TreeCopyTask } from '../tree/tree-copy.js';
import { type CompactAnswer, type CompactRequest, type CompactWork, doWork } from './compact-thread.js';
import { Cancelled, type Pace } from './pace.js';
import type { RewriteResult, RewriteTask } from './task.js';

/** Smaller ones are done here before a thread has started. */
const WORTH_STARTING_BYTES = 1024 * 1024;

export class CompactHost {
  readonly #platform: Platform;
  /** Whether what it writes is packed. */
  readonly compress: boolean;
  #last: Promise<unknown> = Promise.resolve();

  constructor(platform: Platform, compress: boolean) {
    this.#platform = platform;
    this.compress = compress;
  }

  /** Throws Cancelled, CORRUPT for a bad source, what the disk says, and an Error where the thread died. */
  rewrite(task: RewriteTask, sourceBytes: number, pace: Pace): Promise<RewriteResult> {
    return this.#inTurn({ kind: 'rewrite', task }, sourceBytes, pace) as Promise<RewriteResult>;
  }

  /** One pass over a tree; `bytes` are what it will copy, about. Throws as `rewrite` does. */
  copy(task: TreeCopyTask, bytes: number, pace: Pace): Promise<TreeCopyResult> {
    return this.#inTurn({ kind: 'copy', task }, bytes, pace) as Promise<TreeCopyResult>;
  }

  #inTurn(work: CompactWork, sourceBytes: number, pace: Pace): Promise<RewriteResult | TreeCopyResult> {
    const done = this.#last.then(() => this.#do(work, sourceBytes, pace));
    this.#last = done.catch(() => undefined);
    return done;
  }

  #do(work: CompactWork, sourceBytes: number, pace: Pace): Promise<RewriteResult | TreeCopyResult> {
    const here = () => doWork(this.#platform, work, (bytes) => pace.spend(bytes));
    if (sourceBytes < WORTH_STARTING_BYTES || this.#platform.startThread === undefined) return here();
    let thread: Thread | undefined;
    const done = new Promise<RewriteResult | TreeCopyResult>((resolve, reject) => {
      const post = (message: CompactRequest) => thread?.post(message);
      thread = this.#platform.startThread?.('compaction/compact-thread', {
        ended: (reason) => reject(new Error(`the compaction thread ended: ${reason}`)),
        message: (message) => {
          const answer = message as CompactAnswer;
          switch (answer.kind) {
            case 'paced':
              pace.spend(answer.bytes).then(
                () => post({ kind: 'go-on' }),
                () => post({ kind: 'stop' }),
              );
              return;
            case 'done':
              return resolve(answer.result);
            case 'cancelled':
              return reject(new Cancelled());
            case 'failed':
              return reject(receiveError(answer.error));
            default:
              return answer satisfies never;
          }
        },
      });
      thread?.hold(true);
      post(work);
    });
    if (thread === undefined) {
      done.catch(() => undefined);
      return here();
    }
    return done.finally(() => thread?.stop());
  }
}
