/**
 * The far end of reading for a rewrite: a thread that gathers what lives in the sources into frames while its asker packs and writes
 * those before, and reads back what was written.
 *
 *   read (task, images) ->      <- frames … <- ended
 *   written (through, images) … -> sealed ->      <- verified | failed
 *
 * An image is the memory of one frame and goes to and fro, so that there are never more frames under way than images. One task at a time;
 * `stop`, or another one, gives up what is under way. It only reads: if it dies, nothing is left behind.
 */

import type { Trailer } from '../format/footer.js';
import type { Platform, ServeThread, ThreadPort } from '../platform/platform.js';
import { type SentError, sendError } from '../tree/fold-message.js';
import { IMAGE_BYTES, type LiveFrame } from './live-frames.js';
import { LiveWork } from './live-source.js';
import { type RewriteTask, taskParts } from './task.js';

/** Every message of a task carries its number: what comes late of one that was given up is not taken for another's. */
export type SourceRequest =
  | { readonly kind: 'read'; readonly of: number; readonly task: RewriteTask; readonly generation: number; readonly images: number }
  | { readonly kind: 'written'; readonly of: number; readonly through: number; readonly images: readonly Uint8Array[] }
  | { readonly kind: 'sealed'; readonly of: number; readonly through: number; readonly fileBytes: number }
  | { readonly kind: 'stop'; readonly of: number };

/** As it is sent. */
export type SentFrame = Omit<LiveFrame, 'image'> & { readonly image: Uint8Array };

export type SourceAnswer =
  | {
      readonly kind: 'frames';
      readonly of: number;
      readonly frames: readonly SentFrame[];
      /** Bytes read, of sources and target, since the last answer. */
      readonly read: number;
    }
  | { readonly kind: 'ended'; readonly of: number; readonly recordsErased: number; readonly read: number }
  | { readonly kind: 'verified'; readonly of: number; readonly trailer: Trailer }
  | { readonly kind: 'failed'; readonly of: number; readonly error: SentError };

/** Bytes read between two looks for messages: about a millisecond. */
const SLICE_BYTES = 1024 * 1024;
/** Frames to a message: to wake another thread costs as much as reading one. */
export const FRAMES_A_MESSAGE = 4;

export const serve: ServeThread = (platform, port) => {
  let reading: Reading | undefined;
  port.listen((message) => {
    const request = message as SourceRequest;
    if (request.kind === 'read') {
      reading?.end();
      reading = new Reading(platform, port, request);
      void reading.run();
    } else if (request.of === reading?.of) {
      reading.told(request);
      if (reading.isOver) reading = undefined;
    }
  });
};

class Reading {
  readonly of: number;
  isOver = false;
  readonly #platform: Platform;
  readonly #port: ThreadPort;
  readonly #request: Extract<SourceRequest, { kind: 'read' }>;
  #work: LiveWork | undefined;
  readonly #images: Buffer[] = [];
  #unsent: SentFrame[] = [];
  /** Set while there is no image to go on with. */
  #wake: (() => void) | undefined;
  #read = 0;

  constructor(platform: Platform, port: ThreadPort, request: Extract<SourceRequest, { kind: 'read' }>) {
    this.of = request.of;
    this.#platform = platform;
    this.#port = port;
    this.#request = request;
    for (let i = 0; i < request.images; i++) this.#images.push(Buffer.allocUnsafeSlow(IMAGE_BYTES));
  }

  /** All frames, as fast as images come back. */
  async run(): Promise<void> {
    try {
      const { task, generation } = this.#request;
      const { context, sources, dropping } = taskParts(this.#platform, task);
      const target = context.segment(sources[0]!.base, generation);
      const work = new LiveWork(context, sources, target, dropping, () => this.#images.pop()!);
      this.#work = work;
      for (let slice = 0; !this.isOver; ) {
        while (this.#images.length === 0 && !this.isOver) {
          this.#send();
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
        if (this.isOver) return;
        const step = work.step();
        if (step === undefined) return this.#ended(work);
        if (typeof step === 'number') {
          this.#read += step;
          slice += step;
        } else if (this.#unsent.push(step) >= FRAMES_A_MESSAGE) this.#send();
        if (slice < SLICE_BYTES) continue;
        slice = 0;
        await this.#platform.clock.yield();
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  told(request: Exclude<SourceRequest, { kind: 'read' }>): void {
    if (request.kind === 'stop') return this.end();
    const work = this.#work!;
    try {
      for (const bytes of work.readBack(request.through, request.kind === 'sealed')) this.#read += bytes;
      if (request.kind === 'sealed') {
        const trailer = work.finish(request.fileBytes);
        this.end();
        this.#port.post({ kind: 'verified', of: this.of, trailer } satisfies SourceAnswer);
        return;
      }
      for (const image of request.images) this.#images.push(Buffer.from(image.buffer, image.byteOffset, image.length));
      this.#wake?.();
      this.#wake = undefined;
    } catch (error) {
      this.#failed(error);
    }
  }

  end(): void {
    this.isOver = true;
    this.#work?.close();
    this.#wake?.();
  }

  #send(): void {
    if (this.#unsent.length === 0) return;
    const frames = this.#unsent;
    const answer: SourceAnswer = { kind: 'frames', of: this.of, frames, read: this.#read };
    this.#unsent = [];
    this.#read = 0;
    this.#port.post(
      answer,
      frames.map(({ image }) => image.buffer as ArrayBuffer),
    );
  }

  #ended({ recordsErased }: LiveWork): void {
    this.#send();
    this.#port.post({ kind: 'ended', of: this.of, recordsErased, read: this.#read } satisfies SourceAnswer);
    this.#read = 0;
  }

  #failed(error: unknown): void {
    if (this.isOver) return;
    this.end();
    this.#port.post({ kind: 'failed', of: this.of, error: sendError(error) } satisfies SourceAnswer);
  }
}
