/**
 * The far end of compaction: a thread that does one rewrite after another. It asks after every slice whether to go on, so that the
 * near end keeps the rate, the pauses and the last word.
 *
 *   rewrite ->        <- paced (bytes)     go on | stop ->        <- rewritten | failed
 *
 * If it dies, what it wrote ends in `.tmp`, and whoever comes next removes it.
 */
import type { Platform, ServeThread, ThreadPort } from '../platform/platform.js';
import { sendError } from '../tree/fold-message.js';
import { Cancelled } from './pace.js';
import { type RewriteResult, type RewriteTask, runTask } from './task.js';

export type CompactRequest =
  | { readonly kind: 'rewrite'; readonly task: RewriteTask }
  | { readonly kind: 'go-on' }
  | { readonly kind: 'stop' };
export type CompactAnswer =
  | { readonly kind: 'paced'; readonly bytes: number }
  | { readonly kind: 'rewritten'; readonly result: RewriteResult }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: ReturnType<typeof sendError> };

/** Bytes between two questions: a few milliseconds of work. */
const ASK_BYTES = 1024 * 1024;

export const serve: ServeThread = (platform, port) => {
  let answer: ((goOn: boolean) => void) | undefined;
  port.listen((message) => {
    const request = message as CompactRequest;
    if (request.kind === 'rewrite') void rewrite(platform, port, request.task, () => new Promise((resolve) => (answer = resolve)));
    else answer?.(request.kind === 'go-on');
  });
};

async function rewrite(platform: Platform, port: ThreadPort, task: RewriteTask, mayGoOn: () => Promise<boolean>): Promise<void> {
  const post = (message: CompactAnswer) => port.post(message);
  let bytes = 0;
  try {
    const result = await runTask(platform, task, async (more) => {
      bytes += more;
      if (bytes < ASK_BYTES) return;
      post({ kind: 'paced', bytes });
      bytes = 0;
      if (!(await mayGoOn())) throw new Cancelled();
    });
    post({ kind: 'rewritten', result });
  } catch (error) {
    post(error instanceof Cancelled ? { kind: 'cancelled' } : { kind: 'failed', error: sendError(error) });
  }
}
