/**
 * Where a rewrite gets its frames from, and who reads back what became of them: the work that needs no more than files, so that it can be
 * done beside the packing and writing (source-host.ts) or here, between two frames.
 *
 *   next -> frame -> (written by the caller) -> written -> read back … -> no more -> verified
 */
import type { Trailer } from '../format/footer.js';
import { FRAME_HEAD_BYTES } from '../format/frame.js';
import { TEMPORARY_SUFFIX } from '../format/segment.js';
import type { LogContext } from '../log/context.js';
import type { Segment } from '../log/segment-state.js';
import { type Dropping, FRAME_BYTES, IMAGE_BYTES, type LiveFrame, LiveFrames } from './live-frames.js';
import { ReadBack } from './read-back.js';
import { FrameSums } from './segment-ends.js';

export interface LiveSource {
  /** Records that lost their body so far; all of them once there are no more frames. */
  readonly recordsErased: number;
  /** Undefined: that was all. Throws CORRUPT for bad sources. */
  next(): Promise<LiveFrame | undefined>;
  /** The frame stands in the target now, which is written up to `through`. Its image is the source's again. Throws CORRUPT. */
  written(frame: LiveFrame, through: number): Promise<void>;
  /** Once the target is written whole, and synced: what its end says, all of it being what was meant. Throws CORRUPT. */
  verified(fileBytes: number): Promise<Trailer>;
  /** Done, or given up. */
  close(): void;
}

/** Read back so much at a time, a few frames. */
const READ_BACK_BYTES = 256 * 1024;

/** The work itself, step by step. Whoever takes its steps may let others have their turn in between. */
export class LiveWork {
  readonly #context: LogContext;
  readonly #target: Segment;
  readonly #live: LiveFrames;
  readonly #steps: Generator<LiveFrame | number, void, undefined>;
  #reading: ReadBack | undefined;
  /** Of the frames that were given. */
  readonly #meant = new FrameSums();

  constructor(context: LogContext, sources: readonly Segment[], target: Segment, dropping: Dropping, takeImage: () => Buffer) {
    this.#context = context;
    this.#target = context.segment(target.base, target.place.generation);
    this.#live = new LiveFrames(context.platform, sources, dropping, takeImage);
    this.#steps = this.#live.run();
  }

  get recordsErased(): number {
    return this.#live.recordsErased;
  }

  /** A frame, or bytes that were read meanwhile; undefined: that was all. Takes one image at most. */
  step(): LiveFrame | number | undefined {
    const { value } = this.#steps.next();
    if (typeof value === 'object') this.#meant.add(value.image, FRAME_HEAD_BYTES, value.end);
    return value as LiveFrame | number | undefined;
  }

  /** Reads back what is there by now, if that is worth it; gives the bytes read. */
  *readBack(through: number, isAll: boolean): Generator<number, void, undefined> {
    const { path } = this.#target;
    this.#reading ??= new ReadBack(this.#context, this.#target, path + TEMPORARY_SUFFIX, this.#meant);
    if (isAll || through - this.#reading.through >= READ_BACK_BYTES) yield* this.#reading.upTo(through);
  }

  finish(fileBytes: number): Trailer {
    return this.#reading!.finish(fileBytes);
  }

  close(): void {
    this.#steps.return();
    this.#reading?.close();
    this.#reading = undefined;
  }
}

/** All of it here. */
export class LiveSourceHere implements LiveSource {
  readonly #work: LiveWork;
  readonly #pace: (bytes: number) => Promise<void>;
  #image: Buffer = Buffer.allocUnsafeSlow(IMAGE_BYTES);
  #through = 0;
  #unpaced = 0;

  constructor(
    context: LogContext,
    sources: readonly Segment[],
    target: Segment,
    dropping: Dropping,
    pace: (bytes: number) => Promise<void>,
  ) {
    this.#work = new LiveWork(context, sources, target, dropping, () => this.#image);
    this.#pace = pace;
  }

  get recordsErased(): number {
    return this.#work.recordsErased;
  }

  async next(): Promise<LiveFrame | undefined> {
    for (;;) {
      const step = this.#work.step();
      if (typeof step !== 'number') return step;
      await this.#spend(step);
    }
  }

  async written({ image }: LiveFrame, through: number): Promise<void> {
    this.#image = image;
    this.#through = through;
    await this.#readBack(false);
  }

  async verified(fileBytes: number): Promise<Trailer> {
    await this.#readBack(true);
    return this.#work.finish(fileBytes);
  }

  close(): void {
    this.#work.close();
  }

  async #readBack(isAll: boolean): Promise<void> {
    for (const bytes of this.#work.readBack(this.#through, isAll)) await this.#spend(bytes);
  }

  async #spend(bytes: number): Promise<void> {
    this.#unpaced += bytes;
    if (this.#unpaced < FRAME_BYTES) return;
    const done = this.#unpaced;
    this.#unpaced = 0;
    await this.#pace(done);
  }
}
