/**
 * Gathers batches into one growable buffer that becomes one frame: head room first, then the batches, completed in place
 * when the log knows where the frame goes.
 *
 * Invariant: adding is all or nothing; whatever an addition throws, the builder is as it was before.
 */
import { assert, VarveError } from '../errors.js';
import { batchHeadBytes, encodeBatchHead, setBatchBytes } from '../format/batch.js';
import { encodeEvent, eventBytes } from '../format/event.js';
import { FRAME_DATA, FRAME_HEAD_BYTES, type FrameHead, finishFrame, frameBytes, MAX_FRAME_BYTES } from '../format/frame.js';
import { encodeRecord, recordBytes } from '../format/record.js';
import type { SegmentPlace } from '../format/segment.js';
import type { Idempotency, LogEvent, NewRecord } from './types.js';

const FIRST_BUFFER_BYTES = 16 * 1024;
/** A larger buffer is let go after use. */
const KEPT_BUFFER_BYTES = 8 * 1024 * 1024;
/** End tag, padding and checksum. */
const SPARE_BYTES = 16;

export interface NewBatch {
  readonly firstSeq: number;
  readonly time: number;
  readonly records: readonly NewRecord[];
  readonly idempotency?: Idempotency;
}

/** What the header of the segment says that a group stands in. */
export interface SegmentOrigin {
  readonly epoch: number;
  /** The trim event through which what was dropped is missing; 0 for none. */
  readonly compactedThrough: number;
  /** Where the epoch before ended; undefined where the group goes on right after what is there. */
  readonly endsAt?: number;
}

/** Batches of another frame, one after the other. */
export interface RawBatches {
  /** What they stand for, holes included. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
  readonly batches: Uint8Array;
}

export class GroupBuilder {
  /** Set where the group is not this node's own: it goes into a segment that says the same. */
  origin: SegmentOrigin | undefined;
  /** Of the records' checksums. */
  readonly recordSeed: number;
  #buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  #end = FRAME_HEAD_BYTES;
  #batches = 0;
  #firstSeq = 0;
  #lastSeq = 0;

  constructor(recordSeed: number) {
    this.recordSeed = recordSeed;
  }

  /** Encoded so far. */
  get bytes(): number {
    return this.#end - FRAME_HEAD_BYTES;
  }

  /** 0 while empty. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  /** 0 while empty. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Throws TOO_LARGE where a frame cannot hold the batch beside what is there. */
  addBatch(batch: NewBatch): void {
    const { records, firstSeq, time, idempotency } = batch;
    assert(records.length > 0 && firstSeq > 0, 'a batch has records and a seq');
    const lastSeq = firstSeq + records.length - 1;
    let size = batchHeadBytes(idempotency);
    for (let i = 0; i < records.length; i++) size += recordBytes(records[i]!);
    this.#makeRoom(firstSeq, size);
    const start = this.#end;
    let at = encodeBatchHead(this.#buffer, start, { count: records.length, firstSeq, lastSeq, time, isEvent: false, idempotency });
    for (let i = 0; i < records.length; i++) {
      at = encodeRecord(this.#buffer, at, records[i]!, firstSeq + i, time, lastSeq, this.recordSeed);
    }
    this.#complete(start, at, firstSeq, lastSeq);
  }

  /** A batch of `count` records that stand complete in `images[0, end)`, one after the other. Throws as `addBatch`. */
  addImages(images: Uint8Array, end: number, batch: Omit<NewBatch, 'records'> & { readonly count: number }): void {
    const { count, firstSeq, time, idempotency } = batch;
    assert(count > 0 && firstSeq > 0, 'a batch has records and a seq');
    const lastSeq = firstSeq + count - 1;
    this.#makeRoom(firstSeq, batchHeadBytes(idempotency) + end);
    const start = this.#end;
    const buffer = this.#buffer;
    const at = encodeBatchHead(buffer, start, { count, firstSeq, lastSeq, time, isEvent: false, idempotency });
    buffer.set(end === images.length ? images : images.subarray(0, end), at);
    this.#complete(start, at + end, firstSeq, lastSeq);
  }

  /** Batches that another node made, as they are: whoever adds them has checked them. */
  addRaw({ firstSeq, lastSeq, count, batches }: RawBatches): void {
    this.#makeRoom(firstSeq, batches.length);
    this.#buffer.set(batches, this.#end);
    this.#end += batches.length;
    this.#batches += count;
    if (this.#firstSeq === 0) this.#firstSeq = firstSeq;
    this.#lastSeq = lastSeq;
  }

  addEvent(entry: { readonly seq: number; readonly time: number; readonly event: LogEvent }): void {
    const { seq, time, event } = entry;
    this.#makeRoom(seq, batchHeadBytes(undefined) + eventBytes(event));
    const start = this.#end;
    const head = { count: 1, firstSeq: seq, lastSeq: seq, time, isEvent: true, idempotency: undefined };
    const at = encodeEvent(this.#buffer, encodeBatchHead(this.#buffer, start, head), event, seq, this.recordSeed);
    this.#complete(start, at, seq, seq);
  }

  /** The finished frame, a view that lasts until the next addition or `reset`. */
  finish(place: SegmentPlace, offset: number, epoch: number, attestedSeq: number): { frame: Buffer; head: FrameHead } {
    const fields = {
      kind: FRAME_DATA,
      epoch,
      firstSeq: this.#firstSeq,
      lastSeq: this.#lastSeq,
      attestedSeq,
      batchCount: this.#batches,
      payloadBytes: this.bytes,
    };
    const length = finishFrame(this.#buffer, fields, place, offset);
    return { frame: this.#buffer.subarray(0, length), head: { ...fields, length } };
  }

  reset(): void {
    if (this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
    this.#end = FRAME_HEAD_BYTES;
    this.#batches = this.#firstSeq = this.#lastSeq = 0;
    this.origin = undefined;
  }

  #makeRoom(firstSeq: number, size: number): void {
    assert(this.#lastSeq === 0 || firstSeq === this.#lastSeq + 1, 'seqs of a group follow each other');
    const whole = frameBytes(this.bytes + size);
    if (whole > MAX_FRAME_BYTES) {
      throw new VarveError('TOO_LARGE', `a group of ${whole} bytes is over the limit of ${MAX_FRAME_BYTES}`, {
        what: 'group',
        limit: MAX_FRAME_BYTES,
        actual: whole,
      });
    }
    const needed = this.#end + size + SPARE_BYTES;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#end);
    this.#buffer = grown;
  }

  #complete(start: number, end: number, firstSeq: number, lastSeq: number): void {
    setBatchBytes(this.#buffer, start, end - start);
    this.#end = end;
    this.#batches++;
    if (this.#firstSeq === 0) this.#firstSeq = firstSeq;
    this.#lastSeq = lastSeq;
  }
}
