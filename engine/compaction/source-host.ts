/**
 * The near end of reading for a rewrite: on the thread that packs and writes, where that may have a thread beside it.
 *
 * One task at a time. The reader is ahead by as many frames as there are images, and waits for them while its asker is held up by its
 * pace. A reader that dies fails the task it was at; another is started for the next.
 */
import type { Trailer } from '../format/footer.js';
import type { Segment } from '../log/segment-state.js';
import type { Platform, Thread } from '../platform/platform.js';
import { receiveError } from '../tree/fold-message.js';
import type { LiveFrame } from './live-frames.js';
import type { LiveSource } from './live-source.js';
import { FRAMES_A_MESSAGE, type SourceAnswer, type SourceRequest } from './source-thread.js';
import type { RewriteTask } from './task.js';

/** Frames under way: enough that neither waits for the other's turn. */
const IMAGES = 24;

export class SourceHost {
  readonly #platform: Platform;
  #thread: Thread | undefined;
  #source: FarSource | undefined;
  #tasks = 0;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Whether there is a reader, which is started if need be. */
  start(): boolean {
    this.#thread ??= this.#platform.startThread?.('compaction/source-thread', {
      message: (message) => this.#received(message as SourceAnswer),
      ended: (reason) => {
        this.#thread = undefined;
        this.#source?.failed(new Error(`the thread that reads for a rewrite ended: ${reason}`));
      },
    });
    return this.#thread !== undefined;
  }

  /** After `start`. */
  read(task: RewriteTask, target: Segment, pace: (bytes: number) => Promise<void>): LiveSource {
    const of = ++this.#tasks;
    const post = (request: SourceRequest, moved: readonly ArrayBuffer[] = []) => this.#thread?.post(request, moved);
    this.#source = new FarSource(of, post, pace);
    if (!this.start()) this.#source.failed(new Error('there is no thread to read for a rewrite'));
    post({ kind: 'read', of, task, generation: target.place.generation, images: IMAGES });
    return this.#source;
  }

  #received(answer: SourceAnswer): void {
    if (answer.of === this.#source?.of) this.#source.received(answer);
  }
}

class FarSource implements LiveSource {
  readonly of: number;
  recordsErased = 0;
  readonly #post: (request: SourceRequest, moved?: readonly ArrayBuffer[]) => void;
  readonly #pace: (bytes: number) => Promise<void>;
  /** Received and not taken yet, in order. */
  readonly #frames: LiveFrame[] = [];
  /** To go back, used. */
  #images: Buffer[] = [];
  #read = 0;
  #through = 0;
  #hasEnded = false;
  #trailer: Trailer | undefined;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(of: number, post: (request: SourceRequest, moved?: readonly ArrayBuffer[]) => void, pace: (bytes: number) => Promise<void>) {
    this.of = of;
    this.#post = post;
    this.#pace = pace;
  }

  async next(): Promise<LiveFrame | undefined> {
    while (this.#frames.length === 0 && !this.#hasEnded) {
      this.#giveBack();
      await this.#more();
    }
    const read = this.#read;
    this.#read = 0;
    if (read > 0) await this.#pace(read);
    return this.#frames.shift();
  }

  async written({ image }: LiveFrame, through: number): Promise<void> {
    this.#through = through;
    if (this.#images.push(image) >= FRAMES_A_MESSAGE) this.#giveBack();
  }

  async verified(fileBytes: number): Promise<Trailer> {
    this.#post({ kind: 'sealed', of: this.of, through: this.#through, fileBytes });
    while (this.#trailer === undefined) await this.#more();
    return this.#trailer;
  }

  #giveBack(): void {
    if (this.#images.length === 0) return;
    const images = this.#images;
    this.#images = [];
    this.#post(
      { kind: 'written', of: this.of, through: this.#through, images },
      images.map(({ buffer }) => buffer as ArrayBuffer),
    );
  }

  close(): void {
    if (this.#trailer === undefined) this.#post({ kind: 'stop', of: this.of });
  }

  received(answer: SourceAnswer): void {
    switch (answer.kind) {
      case 'frames':
        for (const { image, ...rest } of answer.frames)
          this.#frames.push({ ...rest, image: Buffer.from(image.buffer, image.byteOffset, image.length) });
        this.#read += answer.read;
        break;
      case 'ended':
        this.recordsErased = answer.recordsErased;
        this.#read += answer.read;
        this.#hasEnded = true;
        break;
      case 'verified':
        this.#trailer = answer.trailer;
        break;
      case 'failed':
        this.#failure = receiveError(answer.error);
        break;
      default:
        return answer satisfies never;
    }
    this.#wake?.();
  }

  failed(error: Error): void {
    this.#failure = error;
    this.#wake?.();
  }

  /** Waits for the next answer. Throws what the reader failed with. */
  async #more(): Promise<void> {
    if (this.#failure === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
    if (this.#failure !== undefined) throw this.#failure;
  }
}
