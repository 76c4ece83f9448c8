/**
 * Seals segments in the background, one at a time: footer and trailer behind the last frame.
 *
 *   cut what recovery set aside -> hash the body in slices -> one write of footer and trailer -> sync
 *
 * Invariants: a segment is sealed only when everything in it is durable and none of it is damaged; appends never wait for
 * it. Sealing is derived work: a crash or failure in it loses nothing, and the next open does it again.
 */
import { decodeTrailer, encodeFooter, TRAILER_BYTES } from '../format/footer.js';
import { Blake3Stream } from '../format/hash.js';
import type { File } from '../platform/platform.js';
import type { LogContext } from './context.js';
import { IdempotencyMap, IdempotencyTable } from './idempotency.js';
import type { Segment } from './segment-state.js';

/** Hashed between two yields; larger slices would be felt by requests. */
const SLICE_BYTES = 256 * 1024;

export class Sealer {
  readonly #context: LogContext;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  readonly #onSealed: (segment: Segment) => void;

  constructor(context: LogContext, onSealed: (segment: Segment) => void) {
    this.#context = context;
    this.#onSealed = onSealed;
  }

  /** Seals it after those before it. Failures are swallowed: the segment stays unsealed until the next open. */
  enqueue(segment: Segment): void {
    this.#running = this.#running.then(async () => {
      if (this.#stopped || segment.sealed || segment.damaged) return;
      try {
        if (await this.#seal(segment)) this.#onSealed(segment);
      } catch {
        // Derived work; the frames are durable without it.
      }
    });
  }

  /** Resolves when nothing is left to seal. */
  idle(): Promise<void> {
    return this.#running;
  }

  /** Gives up what has not begun, and what has at its next slice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #seal(segment: Segment): Promise<boolean> {
    const file = this.#context.platform.files.open(segment.path, 'update');
    try {
      return await this.#sealThrough(segment, file);
    } finally {
      file.close();
    }
  }

  async #sealThrough(segment: Segment, file: File): Promise<boolean> {
    const { index, idempotency, dataEnd } = segment;
    if (index === undefined || !(idempotency instanceof IdempotencyMap)) return false;
    if (file.size() > dataEnd) {
      await file.truncate(dataEnd);
      await file.sync();
    }
    const contentHash = await this.#hashBody(file, dataEnd);
    if (contentHash === undefined) return false;
    const footer = { index: index.raw, idempotency: idempotency.encode(segment.maxTime, segment.header?.createdTime ?? 0), contentHash };
    const bytes = encodeFooter(segment.place, dataEnd, segment.summary, footer);
    if ((await file.write(bytes, 0, bytes.length, dataEnd)) !== bytes.length) return false;
    await file.sync();
    segment.fileBytes = dataEnd + bytes.length;
    segment.trailer = decodeTrailer(bytes.subarray(bytes.length - TRAILER_BYTES), segment.place, segment.fileBytes);
    segment.idempotency = new IdempotencyTable(footer.idempotency);
    return true;
  }

  async #hashBody(file: File, end: number): Promise<Uint8Array | undefined> {
    const stream = new Blake3Stream();
    try {
      const slice = Buffer.allocUnsafeSlow(Math.min(SLICE_BYTES, end));
      for (let offset = 0; offset < end; ) {
        if (this.#stopped) return undefined;
        const count = file.read(slice, 0, Math.min(slice.length, end - offset), offset);
        if (count === 0) return undefined;
        stream.update(slice.subarray(0, count));
        offset += count;
        if (offset < end) await this.#context.platform.clock.yield();
      }
      return stream.digest();
    } finally {
      stream.free();
    }
  }
}
