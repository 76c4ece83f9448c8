/**
 * Reads neighbouring sealed segments whole and gathers what lives in them into frames, byte for byte.
 *
 *   sources: every frame checked, their BLAKE3 against their footers -> live records -> images of frames, one for each 64 KiB of them
 *
 * Ids, times, batches, records' own checksums and hashes stay as they are; frames say what range they stand for, dropped seqs
 * included. A batch that lost a body to an erasure loses its idempotency key: its content hash would confirm a guess.
 *
 * Invariants: sources are only read. Anything bad in them is thrown as CORRUPT; what came before it must not be used then.
 */
import { type BatchHead, batchHeadBytes, decodeBatchHead, encodeBatchHead, setBatchBytes } from '../format/batch.js';
import { equalBytes, getU48 } from '../format/bytes.js';
import { encodeErased, erasedBytes } from '../format/erased-record.js';
import { FRAME_DATA, FRAME_HEAD_BYTES } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import { RECORD_SEQ_AT, recordIsIntact, recordLengthAt } from '../format/record.js';
import { ScanMemory, type ScannedFrame } from '../log/frame-scanner.js';
import type { Segment } from '../log/segment-state.js';
import type { Platform } from '../platform/platform.js';
import { corrupt, hashedFrames, readContentHash, readTrailer } from './segment-ends.js';

/** What is to go. Asked for every record of the sources. */
export interface Dropping {
  isDropped(seq: number): boolean;
  /** Whether the body is to go while the record stays; `bytes[at, at + length)` is the record. */
  isErased(seq: number, bytes: Uint8Array, at: number, length: number): boolean;
}

/** Everything of [firstSeq, lastSeq] that lives: its batches are `image[FRAME_HEAD_BYTES, end)`, and there is room for the frame's end. */
export interface LiveFrame {
  readonly image: Buffer;
  readonly end: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly batches: number;
}

/** Batches gather in a frame up to this: large enough to need few, small enough to be read at once. */
export const FRAME_BYTES = 64 * 1024;
/** What an image takes unless a batch is larger. */
export const IMAGE_BYTES = FRAME_HEAD_BYTES + FRAME_BYTES + 4096;
/** End tag, padding and checksum of a frame. */
const TAIL_BYTES = 64;

export class LiveFrames {
  recordsErased = 0;
  readonly #platform: Platform;
  readonly #sources: readonly Segment[];
  readonly #dropping: Dropping;
  readonly #takeImage: () => Buffer;
  readonly #memory = new ScanMemory();
  /** Undefined: the next frame takes one. */
  #image: Buffer | undefined;
  #end = FRAME_HEAD_BYTES;
  #batches = 0;
  #firstSeq: number;

  /** `takeImage`: memory for the next frame, which is its taker's from then on. */
  constructor(platform: Platform, sources: readonly Segment[], dropping: Dropping, takeImage: () => Buffer) {
    this.#platform = platform;
    this.#sources = sources;
    this.#dropping = dropping;
    this.#takeImage = takeImage;
    this.#firstSeq = sources[0]!.base;
  }

  /** Frames, and in between, as numbers, the bytes that were read for them. */
  *run(): Generator<LiveFrame | number, void, undefined> {
    for (const source of this.#sources) yield* this.#copy(source);
    const frame = this.#finish(this.#sources[this.#sources.length - 1]!.lastSeq);
    if (frame !== undefined) yield frame;
  }

  /** Reads one source whole, checking it against its own BLAKE3, and takes over what lives. */
  *#copy(source: Segment): Generator<LiveFrame | number, void, undefined> {
    const file = this.#platform.files.open(source.path, 'read');
    const hash = new Blake3Stream();
    try {
      for (const frame of hashedFrames(file, source, hash, this.#memory)) {
        if (frame.head.kind === FRAME_DATA) yield* this.#copyFrame(source, frame);
        yield frame.head.length;
      }
      const trailer = readTrailer(file, source);
      if (trailer === undefined || !equalBytes(readContentHash(file, source, trailer), hash.digest()))
        throw corrupt(source, 0, 'the segment is not what its BLAKE3 says');
    } finally {
      hash.free();
      file.close();
    }
  }

  *#copyFrame(source: Segment, { bytes, at, head, offset }: ScannedFrame): Generator<LiveFrame, void, undefined> {
    const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
    for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
      const batch = decodeBatchHead(bytes, p, end);
      if (batch === undefined) throw corrupt(source, offset + p - at, 'a batch is unsound');
      if (this.#end - FRAME_HEAD_BYTES + batch.totalBytes > FRAME_BYTES) {
        const frame = this.#finish(batch.firstSeq - 1);
        if (frame !== undefined) yield frame;
      }
      if (batch.isEvent) {
        const image = this.#roomFor(batch.totalBytes);
        image.set(bytes.subarray(p, p + batch.totalBytes), this.#end);
        this.#end += batch.totalBytes;
        this.#batches++;
      } else this.#copyBatch(source, bytes, p, batch, offset - at);
      p += batch.totalBytes;
    }
  }

  #copyBatch(source: Segment, bytes: Buffer, at: number, batch: BatchHead, shift: number): void {
    const dropping = this.#dropping;
    const { recordSeed } = source.place;
    const start = this.#end;
    const end = at + batch.totalBytes;
    let image = this.#roomFor(batch.totalBytes);
    let into = start + batch.headBytes;
    let count = 0;
    let erased = 0;
    for (let p = at + batch.headBytes; p < end; ) {
      const length = recordLengthAt(bytes, p, end);
      const seq = length === 0 ? 0 : getU48(bytes, p + RECORD_SEQ_AT);
      const goes = length > 0 && dropping.isDropped(seq);
      // Its frame's checksum has passed; its own matters where it is taken over.
      if (length === 0 || (!goes && !recordIsIntact(bytes, p, length, recordSeed))) throw corrupt(source, p + shift, 'a record is unsound');
      if (!goes) {
        count++;
        if (dropping.isErased(seq, bytes, p, length) && erasedBytes(bytes, p) > 0) {
          image = this.#roomFor(into - start + erasedBytes(bytes, p));
          const begins = into;
          into = encodeErased(image, begins, bytes, p, length, recordSeed);
          if (!recordIsIntact(image, begins, into - begins, recordSeed)) throw corrupt(source, p + shift, 'a body cannot be taken out');
          erased++;
        } else {
          image.set(bytes.subarray(p, p + length), into);
          into += length;
        }
      }
      p += length;
    }
    // Nothing left of it, and no key to remember.
    if (count === 0 && (batch.idempotency === undefined || erased > 0)) return;
    const { firstSeq, lastSeq, time, isEvent } = batch;
    const idempotency = erased > 0 ? undefined : batch.idempotency;
    const dropped = batch.headBytes - batchHeadBytes(idempotency);
    if (dropped > 0) image.copyWithin(start + batch.headBytes - dropped, start + batch.headBytes, into);
    encodeBatchHead(image, start, { count, firstSeq, lastSeq, time, isEvent, idempotency });
    this.#end = into - dropped;
    setBatchBytes(image, start, this.#end - start);
    this.#batches++;
    this.recordsErased += erased;
  }

  /** What has gathered, as one frame that stands for everything up to `lastSeq`; undefined where it would stand for nothing. */
  #finish(lastSeq: number): LiveFrame | undefined {
    const firstSeq = this.#firstSeq;
    if (lastSeq < firstSeq) return undefined;
    const frame = { image: this.#roomFor(0), end: this.#end, firstSeq, lastSeq, batches: this.#batches };
    this.#image = undefined;
    this.#firstSeq = lastSeq + 1;
    this.#end = FRAME_HEAD_BYTES;
    this.#batches = 0;
    return frame;
  }

  /** The image, with room for so many bytes behind what it holds. */
  #roomFor(bytes: number): Buffer {
    const needed = this.#end + bytes + TAIL_BYTES;
    const image = (this.#image ??= this.#takeImage());
    if (needed <= image.length) return image;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, image.length * 2));
    // With what lies behind its end: the records of a batch that is being copied.
    image.copy(grown);
    this.#image = grown;
    return grown;
  }
}
