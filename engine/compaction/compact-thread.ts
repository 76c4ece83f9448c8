/**
 * The far end of compaction: a thread that does one rewrite, or one pass over a tree, after another. It asks after every slice whether to go on,
 * and is one slice ahead of the answer at most, so that the near end keeps the rate, the pauses and the last word.
 *
 *   prepare -> rewrite | copy ->        <- paced (bytes)     go on | stop ->        <- done | failed
 *
 * If it dies, what it wrote ends in `.tmp` or is an unfinished copy's, and whoever comes next removes it.
 */
import type { Platform, ServeThread, ThreadPort } from '../platform/platform.js';
import { sendError } from '../tree/fold-message.js';
import { copyTree, type TreeCopyResult, type TreeCopyTask } from '../tree/tree-copy.js';
import { Cancelled } from './pace.js';
import { SourceHost } from './source-host.js';
import { type RewriteResult, type RewriteTask, runTask } from './task.js';

/** One piece of work, and what comes of it. */
export type CompactWork = { readonly kind: 'rewrite'; readonly task: RewriteTask } | { readonly kind: 'copy'; readonly task: TreeCopyTask };
export type CompactResult = RewriteResult | TreeCopyResult;
export type CompactRequest = CompactWork | { readonly kind: 'prepare' } | { readonly kind: 'go-on' } | { readonly kind: 'stop' };
export type CompactAnswer =
  | { readonly kind: 'paced'; readonly bytes: number }
  | { readonly kind: 'done'; readonly result: CompactResult }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: ReturnType<typeof sendError> };

/** Bytes between two questions: some ten milliseconds of work, and two threads to wake. */
const ASK_BYTES = 4 * 1024 * 1024;

export const serve: ServeThread = (platform, port) => {
  const beside = new SourceHost(platform);
  let answer: ((goOn: boolean) => void) | undefined;
  port.listen((message) => {
    const request = message as CompactRequest;
    if (request.kind === 'rewrite' || request.kind === 'copy')
      void work(platform, port, request, beside, () => new Promise((resolve) => (answer = resolve)));
    else if (request.kind === 'prepare') beside.start();
    else answer?.(request.kind === 'go-on');
  });
};

/** The work itself, on whichever thread. */
export function doWork(
  platform: Platform,
  { kind, task }: CompactWork,
  pace: (bytes: number) => Promise<void>,
  beside?: SourceHost,
): Promise<CompactResult> {
  return kind === 'rewrite' ? runTask(platform, task, pace, beside) : copyTree(platform, task, pace);
}

async function work(
  platform: Platform,
  port: ThreadPort,
  asked: CompactWork,
  beside: SourceHost,
  mayGoOn: () => Promise<boolean>,
): Promise<void> {
  const post = (message: CompactAnswer) => port.post(message);
  let bytes = 0;
  // The next slice goes on while the answer about this one is on its way: that takes longer than it should where others use the processor.
  let answer: Promise<boolean> | undefined;
  const answered = async (): Promise<void> => {
    if (answer !== undefined && !(await answer)) throw new Cancelled();
    answer = undefined;
  };
  try {
    const pace = async (more: number): Promise<void> => {
      bytes += more;
      if (bytes < ASK_BYTES) return;
      await answered();
      post({ kind: 'paced', bytes });
      bytes = 0;
      answer = mayGoOn();
    };
    const result = await doWork(platform, asked, pace, beside);
    await answer;
    post({ kind: 'done', result });
  } catch (error) {
    await answer;
    post(error instanceof Cancelled ? { kind: 'cancelled' } : { kind: 'failed', error: sendError(error) });
  }
}
