/**
 * The near end of folding: one thread for all shards of a database, started when the first large fold comes.
 *
 * Folds queue for it. A thread that dies fails the fold it was at with ThreadLost (the store does that one itself) and another is
 * started for the next, a few times; then, and wherever the platform has no threads, everything is folded by its store.
 * While a fold is under way the process stays alive, as it would if the fold ran here.
 */
import type { Platform, Thread } from '../platform/platform.js';
import { type FoldAnswer, type FoldRequest, type ReleaseRequest, receiveError, type ScanRequest } from './fold-message.js';

/** Starting a thread takes longer than folding this many here. */
const WORTH_STARTING = 4096;
/** To a thread that runs already. */
const WORTH_SENDING = 256;
const MOST_LOST = 3;

/** The thread ended in the middle of a fold. */
export class ThreadLost extends Error {}

type Folded = Extract<FoldAnswer, { kind: 'folded' }>;
type Scanned = Extract<FoldAnswer, { kind: 'scanned' }>;

interface Waiting {
  readonly progress: (share: number) => void;
  readonly resolve: (answer: Folded | Scanned) => void;
  readonly reject: (error: Error) => void;
}

export class FoldHost {
  readonly #platform: Platform;
  readonly #worth: { readonly starting: number; readonly sending: number };
  #thread: Thread | undefined;
  #waiting: Waiting | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #lost = 0;
  #closed = false;

  /** `worth`: versions that are worth starting a thread for, and worth sending to one that runs. */
  constructor(platform: Platform, worth = { starting: WORTH_STARTING, sending: WORTH_SENDING }) {
    this.#platform = platform;
    this.#worth = worth;
  }

  /** Whether a fold of so many versions should come here. */
  takes(versions: number): boolean {
    if (this.#closed || this.#lost >= MOST_LOST || this.#platform.startThread === undefined) return false;
    return versions >= (this.#thread === undefined ? this.#worth.starting : this.#worth.sending);
  }

  /** The request's run must not change meanwhile. Rejects with what the fold failed with, or ThreadLost. */
  fold(request: FoldRequest, progress: (share: number) => void): Promise<Folded> {
    return this.#inTurn(() => request, progress) as Promise<Folded>;
  }

  /** Between folds; the request is made when its turn has come. Rejects as a fold does. */
  scan(request: () => ScanRequest): Promise<Scanned> {
    return this.#inTurn(request, () => undefined) as Promise<Scanned>;
  }

  #inTurn(request: () => FoldRequest | ScanRequest, progress: (share: number) => void): Promise<Folded | Scanned> {
    const answered = this.#last.then(() => this.#ask(request(), progress));
    this.#last = answered.catch(() => undefined);
    return answered;
  }

  /** Between folds of this directory's tree: the thread closes what it has open of it. */
  release(directory: string): void {
    this.#thread?.post({ release: directory } satisfies ReleaseRequest);
  }

  async #ask(request: FoldRequest | ScanRequest, progress: (share: number) => void): Promise<Folded | Scanned> {
    const thread = this.#running();
    thread.hold(true);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting = { progress, resolve, reject };
        thread.post(request);
      });
    } finally {
      this.#waiting = undefined;
      thread.hold(false);
    }
  }

  #running(): Thread {
    if (this.#closed) throw new ThreadLost('the database is closing');
    this.#thread ??= this.#platform.startThread?.('tree/fold-thread', {
      message: (message) => this.#received(message as FoldAnswer),
      ended: (reason) => {
        this.#thread = undefined;
        this.#lost++;
        this.#waiting?.reject(new ThreadLost(reason));
      },
    });
    if (this.#thread !== undefined) return this.#thread;
    this.#lost = MOST_LOST;
    throw new ThreadLost('there are no threads here');
  }

  #received(answer: FoldAnswer): void {
    switch (answer.kind) {
      case 'progress':
        return this.#waiting?.progress(answer.share);
      case 'folded':
      case 'scanned':
        return this.#waiting?.resolve(answer);
      case 'failed':
        return this.#waiting?.reject(receiveError(answer.error));
      default:
        return answer satisfies never;
    }
  }

  /** After the last fold: nothing of the thread runs once this resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#thread?.stop();
    this.#thread = undefined;
  }
}
