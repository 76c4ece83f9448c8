/**
 * Seals segments in the background, one at a time: footer and trailer behind the last frame.
 *
 *   cut what recovery set aside -> check and hash the body in slices -> one write of footer and trailer -> sync
 *
 * Invariants: a segment is sealed only when everything in it is durable and none of it is damaged; appends never wait for
 * it. Sealing is derived work: a crash or failure in it loses nothing, and the next open does it again.
 */
import { decodeTrailer, encodeFooter, TRAILER_BYTES } from '../format/footer.js';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import { BlockTable } from './block-table.js';
import { BodyDigest } from './body-digest.js';
import type { LogContext } from './context.js';
import { ScanMemory, scanFrames } from './frame-scanner.js';
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

  /** Seals it after those before it. Failures are swallowed: the segment stays unsealed until it is asked for again, or the next open. */
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
    const { index, idempotency, dataEnd, packedTable } = segment;
    if (index === undefined || !(idempotency instanceof IdempotencyMap)) return false;
    if (file.size() > dataEnd) {
      await file.truncate(dataEnd);
      await file.sync();
    }
    const body = await this.#readBody(segment, file, dataEnd);
    if (body === undefined || segment.blockTable === undefined) return false;
    const blocks = packedTable?.raw ?? segment.blockTable.encode(dataEnd, body.sums);
    const keys = idempotency.encode(segment.maxTime, segment.header?.createdTime ?? 0);
    const footer = { blocks, index: index.raw, idempotency: keys, contentHash: body.hash, refs: segment.refs };
    const bytes = encodeFooter(segment.place, dataEnd, segment.summary, footer, packedTable !== undefined);
    if ((await file.write(bytes, 0, bytes.length, dataEnd)) !== bytes.length) return false;
    await file.sync();
    segment.fileBytes = dataEnd + bytes.length;
    segment.trailer = decodeTrailer(bytes.subarray(bytes.length - TRAILER_BYTES), segment.place, segment.fileBytes);
    segment.blockTable = packedTable === undefined ? BlockTable.from(blocks) : undefined;
    segment.idempotency = new IdempotencyTable(footer.idempotency);
    return true;
  }

  /**
   * Hash and block checksums of the body, read back and checked frame by frame: a checksum made here must not vouch for bytes
   * that rotted since they were written. Undefined where they did, and where sealing is given up.
   */
  async #readBody(segment: Segment, file: File, end: number): Promise<{ hash: Uint8Array; sums: readonly number[] } | undefined> {
    const digest = new BodyDigest(segment.place.seed);
    try {
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
      if (file.read(header, 0, header.length, 0) !== header.length) return undefined;
      if (decodeSegmentHeader(header, segment.place, segment.path) === undefined) return undefined;
      digest.update(header);
      let pause = SLICE_BYTES;
      for (const scanned of scanFrames(file, segment.place, SEGMENT_HEADER_BYTES, end, new ScanMemory())) {
        if (scanned.kind === 'bad') return undefined;
        for (let from = 0; from < scanned.head.length; from += SLICE_BYTES) {
          const to = Math.min(from + SLICE_BYTES, scanned.head.length);
          digest.update(scanned.stored.subarray(from, to));
          if (digest.bytes < pause || digest.bytes === end) continue;
          pause = digest.bytes + SLICE_BYTES;
          await this.#context.platform.clock.yield();
          if (this.#stopped) return undefined;
        }
      }
      return digest.bytes === end ? digest.finish() : undefined;
    } finally {
      digest.free();
    }
  }
}
