/**
 * What memory knows of one segment file. Grows frame by frame while the segment is written or scanned; for a sealed
 * segment it comes from the trailer, and index and idempotency table follow from the footer when first needed.
 *
 * Invariants: `dataEnd` is the end of the last frame that counts; bytes behind it are footer, trailer, or a tail that recovery
 * set aside. A segment's frames are packed or not, all that hold anything. `lastSeq` counts what the segment stands for, damaged
 * ranges included. Nothing here is on disk.
 */
import { decodeBatchHead } from '../format/batch.js';
import { getU48 } from '../format/bytes.js';
import { REFS_NONE, REFS_SOME, REFS_UNTOLD, type SegmentSummary, type Trailer } from '../format/footer.js';
import { FRAME_HEAD_BYTES, type FrameHead } from '../format/frame.js';
import type { BlockPlace } from '../format/packed-frame.js';
import { RECORD_SEQ_AT, recordHasRefs, recordLengthAt } from '../format/record.js';
import { SEGMENT_HEADER_BYTES, type SegmentHeader, type SegmentPlace, segmentName } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import type { CachedBlock } from './block-cache.js';
import { BlockTable } from './block-table.js';
import { IdempotencyMap, type IdempotencyTable } from './idempotency.js';
import { PackedTable } from './packed-table.js';
import { SparseIndex } from './sparse-index.js';

/** Seqs that cannot be read, both ends included. */
export interface SeqRange {
  readonly fromSeq: number;
  readonly toSeq: number;
}

const NO_BLOCKS: readonly BlockPlace[] = [];

export class Segment {
  readonly place: SegmentPlace;
  readonly name: string;
  readonly path: string;
  header: SegmentHeader | undefined;
  epoch = 0;
  dataEnd = SEGMENT_HEADER_BYTES;
  fileBytes = SEGMENT_HEADER_BYTES;
  lastSeq: number;
  records = 0;
  events = 0;
  minTime = 0;
  maxTime = 0;
  /** REFS_…: whether a record of it has refs. */
  refs = REFS_NONE;
  /** Set for a sealed segment. */
  trailer: Trailer | undefined;
  /** Part of it is bad: it is kept as it is, never sealed, never shortened. */
  damaged = false;
  readonly gaps: SeqRange[] = [];
  /** Undefined for a sealed segment from which nothing was read yet. */
  blockTable: BlockTable | undefined = new BlockTable();
  /** In place of the block table, in a packed segment. */
  packedTable: PackedTable | undefined;
  /** Undefined for a sealed segment whose footer was not needed yet. */
  index: SparseIndex | undefined = new SparseIndex();
  idempotency: IdempotencyMap | IdempotencyTable | undefined = new IdempotencyMap();
  /** Owned by the file pool. */
  file: File | undefined;
  lastUsed = 0;
  /** Owned by the block cache. */
  readonly blocks: (CachedBlock | undefined)[] = [];
  readonly #intervalBytes: number;
  #lastEntryOffset = Number.NEGATIVE_INFINITY;

  constructor(directory: string, place: SegmentPlace, intervalBytes: number) {
    this.place = place;
    this.name = segmentName(place.base, place.generation);
    this.path = `${directory}/${this.name}`;
    this.lastSeq = place.base - 1;
    this.#intervalBytes = intervalBytes;
  }

  get base(): number {
    return this.place.base;
  }

  /** The seq before it that counts: right before it, or where the epoch before ended. */
  get previousSeq(): number {
    return Math.min(this.base - 1, this.header?.attestedSeq ?? this.base - 1);
  }

  get sealed(): boolean {
    return this.trailer !== undefined;
  }

  /** Whether its frames are packed, so far as is known. */
  get packed(): boolean {
    return this.trailer === undefined ? this.packedTable !== undefined : this.trailer.packedBlocks > 0;
  }

  /** Whether a point read knows which block to look in. */
  get hasTable(): boolean {
    return this.blockTable !== undefined || this.packedTable !== undefined;
  }

  get summary(): SegmentSummary {
    const { lastSeq, minTime, maxTime, records, events, epoch } = this;
    return { lastSeq, minTime, maxTime, records, events, epoch };
  }

  /** Takes what a good trailer says; the footer is left for later. */
  adoptTrailer(trailer: Trailer, fileBytes: number): void {
    this.trailer = trailer;
    this.fileBytes = fileBytes;
    this.dataEnd = trailer.footerOffset;
    this.lastSeq = trailer.lastSeq;
    this.records = trailer.records;
    this.events = trailer.events;
    this.minTime = trailer.minTime;
    this.maxTime = trailer.maxTime;
    this.epoch = trailer.epoch;
    this.blockTable = undefined;
    this.packedTable = undefined;
    this.index = undefined;
    this.idempotency = undefined;
    this.refs = REFS_UNTOLD;
  }

  /** Forgets everything frames told, before they are scanned again. */
  forgetFrames(): void {
    this.trailer = undefined;
    this.dataEnd = SEGMENT_HEADER_BYTES;
    this.lastSeq = this.base - 1;
    this.records = this.events = this.minTime = this.maxTime = 0;
    this.refs = REFS_NONE;
    this.gaps.length = 0;
    this.blockTable = new BlockTable();
    this.packedTable = undefined;
    this.index = new SparseIndex();
    this.idempotency = new IdempotencyMap();
    this.#lastEntryOffset = Number.NEGATIVE_INFINITY;
  }

  /**
   * Takes in the checked data frame at `bytes[at…]`, which stands at `offset` in the file; `blocks`: where it is packed and this its
   * image. False, and nothing taken, where its structure is unsound.
   */
  admit(bytes: Uint8Array, at: number, head: FrameHead, offset: number, blocks: readonly BlockPlace[] = NO_BLOCKS): boolean {
    if (!this.#walk(bytes, at, head, offset, blocks, false)) return false;
    if (blocks.length > 0) {
      if (this.packedTable === undefined && this.records + this.events > 0) return false;
      this.packedTable ??= new PackedTable();
    } else if (head.payloadBytes > 0 && this.packedTable !== undefined) return false;
    this.#walk(bytes, at, head, offset, blocks, true);
    this.admitBare(head, offset);
    return true;
  }

  /** The part of a frame that is known without its payload: a mark, or the bounds of a data frame. */
  admitBare(head: FrameHead, offset: number): void {
    this.dataEnd = offset + head.length;
    this.fileBytes = Math.max(this.fileBytes, this.dataEnd);
    this.epoch = Math.max(this.epoch, head.epoch);
    if (head.lastSeq > 0) this.lastSeq = head.lastSeq;
  }

  /** A record saved out of a bad frame: found by reads, by nothing else. */
  admitSalvaged(seq: number, time: number, offset: number): void {
    this.refs = REFS_UNTOLD;
    this.index!.add(seq, time, offset, offset);
    this.#lastEntryOffset = Number.NEGATIVE_INFINITY;
    this.#countRecord(time);
  }

  /** A packed block saved out of a bad frame, and how many records of the missing seqs it holds. */
  admitSalvagedBlock(seq: number, offset: number, times: readonly number[]): void {
    this.refs = REFS_UNTOLD;
    this.packedTable ??= new PackedTable();
    this.packedTable.add(seq, offset);
    for (const time of times) this.#countRecord(time);
  }

  #walk(bytes: Uint8Array, at: number, head: FrameHead, offset: number, blocks: readonly BlockPlace[], take: boolean): boolean {
    const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
    let p = at + FRAME_HEAD_BYTES;
    let batches = 0;
    let block = 0;
    let blockAt = blocks.length > 0 ? at + blocks[0]!.at : -1;
    // Of the block that no record was met in yet.
    let blockOffset = 0;
    for (; p < end; batches++) {
      const batch = decodeBatchHead(bytes, p, end);
      if (batch === undefined || batch.lastSeq > head.lastSeq || batch.firstSeq < head.firstSeq) return false;
      const batchEnd = p + batch.totalBytes;
      if (p === blockAt) {
        blockOffset = blocks[block]!.offset;
        blockAt = ++block < blocks.length ? at + blocks[block]!.at : -1;
        if (take) this.packedTable!.add(batch.firstSeq, blockOffset);
      }
      if (take && batch.idempotency !== undefined) {
        const { firstSeq, lastSeq, time, idempotency } = batch;
        (this.idempotency as IdempotencyMap).add(idempotency.key, { contentHash: idempotency.contentHash, firstSeq, lastSeq, time });
      }
      if (batch.isEvent) {
        if (take) this.events++;
      } else {
        p += batch.headBytes;
        for (let i = 0; i < batch.count; i++) {
          const length = recordLengthAt(bytes, p, batchEnd);
          if (length === 0) return false;
          const seq = getU48(bytes, p + RECORD_SEQ_AT);
          if (take && recordHasRefs(bytes, p)) this.refs = REFS_SOME;
          if (p === blockAt) {
            blockOffset = blocks[block]!.offset;
            blockAt = ++block < blocks.length ? at + blocks[block]!.at : -1;
            if (take) this.packedTable!.add(seq, blockOffset);
          }
          if (take && blocks.length === 0) this.#takeRecord(seq, batch.time, offset + p - at, length, offset);
          else if (take) {
            if (blockOffset > 0) this.index!.add(seq, batch.time, blockOffset, offset);
            blockOffset = 0;
            this.#countRecord(batch.time);
          }
          p += length;
        }
        if (p !== batchEnd) return false;
      }
      p = batchEnd;
    }
    return p === end && batches === head.batchCount && block === blocks.length;
  }

  #takeRecord(seq: number, time: number, offset: number, length: number, frameOffset: number): void {
    this.blockTable!.note(seq, offset);
    // A large record gets an entry of its own, so that a small one before it is not read together with it.
    if (offset - this.#lastEntryOffset >= this.#intervalBytes || length > this.#intervalBytes) {
      this.index!.add(seq, time, offset, frameOffset);
      this.#lastEntryOffset = offset;
    }
    this.#countRecord(time);
  }

  #countRecord(time: number): void {
    this.records++;
    if (this.records === 1) this.minTime = time;
    this.maxTime = Math.max(this.maxTime, time);
  }
}
