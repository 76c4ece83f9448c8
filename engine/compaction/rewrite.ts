/**
 * Rewrites neighbouring sealed segments into one that holds only what lives.
 *
 *   sources: every frame checked, their BLAKE3 against their footers -> live records, byte for byte, in fewer frames, packed if wanted
 *   target:  <name>.seg.tmp -> sync -> read back whole: checksums, BLAKE3, exactly the records meant to be there
 *
 * Ids, times, batches, records' own checksums and hashes stay as they are; frames say what range they stand for, dropped seqs
 * included. A batch that lost a body to an erasure loses its idempotency key: its content hash would confirm a guess.
 *
 * Invariants: sources are only read. Anything bad in them, or in what was written, ends the rewrite with CORRUPT and no target.
 * The target has its `.tmp` name until the caller gives it its own (swap.ts); a crash before that leaves a file that opening deletes.
 */
import { VarveError } from '../errors.js';
import { type BatchHead, batchHeadBytes, decodeBatchHead, encodeBatchHead, setBatchBytes } from '../format/batch.js';
import { equalBytes, getU48 } from '../format/bytes.js';
import { encodeErased, erasedBytes } from '../format/erased-record.js';
import { encodeFooter } from '../format/footer.js';
import { FRAME_DATA, FRAME_HEAD_BYTES, finishFrame } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import { FramePacker } from '../format/packed-frame.js';
import { RECORD_SEQ_AT, recordIsIntact, recordLengthAt } from '../format/record.js';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import { BlockTable } from '../log/block-table.js';
import { BodyDigest } from '../log/body-digest.js';
import type { LogContext } from '../log/context.js';
import type { ScannedFrame } from '../log/frame-scanner.js';
import type { IdempotencyMap } from '../log/idempotency.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';
import { readBack } from './read-back.js';
import { corrupt, FrameSums, hashedFrames, readContentHash, readTrailer } from './segment-ends.js';

/** What is to go. Asked for every record of the sources. */
export interface Dropping {
  isDropped(seq: number): boolean;
  /** Whether the body is to go while the record stays; `bytes[at, at + length)` is the record. */
  isErased(seq: number, bytes: Uint8Array, at: number, length: number): boolean;
}

export interface RewriteOptions {
  readonly context: LogContext;
  /** Sealed, sound, neighbours, of one epoch. */
  readonly sources: readonly Segment[];
  readonly dropping: Dropping;
  /** The trim event through which nothing dropped is left in the target. */
  readonly compactedThrough: number;
  /** Whether its frames are packed; those of the sources may be or not. */
  readonly compress: boolean;
  /** After every slice of work, with the bytes read and written by it: waits to keep a rate, or throws to give up. */
  readonly pace: (bytes: number) => Promise<void>;
}

export interface Rewritten {
  /** As it will be once it has its name. */
  readonly segment: Segment;
  readonly temporaryPath: string;
  readonly recordsBefore: number;
  readonly recordsAfter: number;
  readonly recordsErased: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** Batches gather in a frame up to this: large enough to need few, small enough to be read at once. */
const FRAME_BYTES = 64 * 1024;
const MAX_GENERATION = 0xffff;

export async function rewriteSegments(options: RewriteOptions): Promise<Rewritten> {
  const rewrite = new Rewrite(options);
  try {
    return await rewrite.run();
  } catch (error) {
    rewrite.discard();
    throw error;
  }
}

class Rewrite {
  readonly #options: RewriteOptions;
  readonly #target: Segment;
  readonly #header: SegmentHeader;
  readonly #epoch: number;
  #file: File | undefined;
  #frame = Buffer.allocUnsafeSlow(FRAME_HEAD_BYTES + FRAME_BYTES + 4096);
  #end = FRAME_HEAD_BYTES;
  #batches = 0;
  readonly #packer: FramePacker | undefined;
  #frameFirstSeq: number;
  #offset = SEGMENT_HEADER_BYTES;
  readonly #digest: BodyDigest;
  /** What was written, to compare with what is read back. */
  readonly #written = new FrameSums();
  #recordsErased = 0;
  #unpaced = 0;

  constructor(options: RewriteOptions) {
    this.#options = options;
    const { context, sources } = options;
    const first = sources[0]!;
    const last = sources[sources.length - 1]!;
    const generation = 1 + sources.reduce((highest, { place }) => Math.max(highest, place.generation), 0);
    if (generation > MAX_GENERATION)
      throw new VarveError('TOO_LARGE', 'the segment was rewritten too often', {
        what: 'generation',
        limit: MAX_GENERATION,
        actual: generation,
      });
    this.#target = context.segment(first.base, generation);
    this.#digest = new BodyDigest(this.#target.place.seed);
    this.#epoch = first.epoch;
    this.#packer = options.compress ? new FramePacker() : undefined;
    this.#frameFirstSeq = first.base;
    this.#header = {
      epoch: first.header?.epoch ?? first.epoch,
      replacesFrom: first.base,
      replacesTo: last.lastSeq,
      // What was left out before is not forgotten by leaving out no more.
      compactedThrough: sources.reduce((most, { header }) => Math.max(most, header?.compactedThrough ?? 0), options.compactedThrough),
      attestedSeq: first.previousSeq,
      createdTime: first.header?.createdTime ?? 0,
      ...(options.compress ? { packed: true } : {}),
    };
  }

  async run(): Promise<Rewritten> {
    const { context, sources } = this.#options;
    const { files } = context.platform;
    const temporary = this.#temporary;
    if (files.exists(temporary)) files.remove(temporary);
    this.#file = files.open(temporary, 'create');
    await this.#write(encodeSegmentHeader(this.#target.place, this.#header), 0);
    for (const source of sources) await this.#copy(source);
    await this.#finishFrame(sources[sources.length - 1]!.lastSeq);
    await this.#seal();
    await this.#file.sync();
    this.#file.close();
    this.#file = undefined;
    this.#target.trailer = await readBack(context, this.#target, temporary, this.#written, (bytes) => this.#pace(bytes));
    return {
      segment: this.#target,
      temporaryPath: temporary,
      recordsBefore: sources.reduce((sum, { records }) => sum + records, 0),
      recordsAfter: this.#target.records,
      recordsErased: this.#recordsErased,
      bytesBefore: sources.reduce((sum, { fileBytes }) => sum + fileBytes, 0),
      bytesAfter: this.#target.fileBytes,
    };
  }

  /** After a failure: nothing is left behind, as far as the disk lets us. */
  discard(): void {
    this.#digest.free();
    this.#file?.close();
    try {
      this.#options.context.platform.files.remove(this.#temporary);
    } catch {
      // Not there, or the next open removes it.
    }
  }

  get #temporary(): string {
    return this.#target.path + TEMPORARY_SUFFIX;
  }

  /** Reads one source whole, checking it against its own BLAKE3, and takes over what lives. */
  async #copy(source: Segment): Promise<void> {
    const { context } = this.#options;
    const file = context.platform.files.open(source.path, 'read');
    const hash = new Blake3Stream();
    try {
      for (const frame of hashedFrames(file, source, hash)) {
        if (frame.head.kind === FRAME_DATA) await this.#copyFrame(source, frame);
        await this.#pace(frame.head.length);
      }
      const trailer = readTrailer(file, source);
      if (trailer === undefined || !equalBytes(readContentHash(file, source, trailer), hash.digest()))
        throw corrupt(source, 0, 'the segment is not what its BLAKE3 says');
    } finally {
      hash.free();
      file.close();
    }
  }

  async #copyFrame(source: Segment, { bytes, at, head, offset }: ScannedFrame): Promise<void> {
    const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
    for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
      const batch = decodeBatchHead(bytes, p, end);
      if (batch === undefined) throw corrupt(source, offset + p - at, 'a batch is unsound');
      if (this.#end - FRAME_HEAD_BYTES + batch.totalBytes > FRAME_BYTES) await this.#finishFrame(batch.firstSeq - 1);
      this.#makeRoom(batch.totalBytes);
      if (batch.isEvent) {
        this.#frame.set(bytes.subarray(p, p + batch.totalBytes), this.#end);
        this.#end += batch.totalBytes;
        this.#batches++;
      } else this.#copyBatch(source, bytes, p, batch, offset - at);
      p += batch.totalBytes;
    }
  }

  #copyBatch(source: Segment, bytes: Buffer, at: number, batch: BatchHead, shift: number): void {
    const { dropping } = this.#options;
    const { recordSeed } = source.place;
    const start = this.#end;
    const end = at + batch.totalBytes;
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
          this.#makeRoom(into - start + erasedBytes(bytes, p));
          const begins = into;
          into = encodeErased(this.#frame, begins, bytes, p, length, recordSeed);
          if (!recordIsIntact(this.#frame, begins, into - begins, recordSeed))
            throw corrupt(source, p + shift, 'a body cannot be taken out');
          erased++;
        } else {
          this.#frame.set(bytes.subarray(p, p + length), into);
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
    if (dropped > 0) this.#frame.copyWithin(start + batch.headBytes - dropped, start + batch.headBytes, into);
    encodeBatchHead(this.#frame, start, { count, firstSeq, lastSeq, time, isEvent, idempotency });
    this.#end = into - dropped;
    setBatchBytes(this.#frame, start, this.#end - start);
    this.#batches++;
    this.#recordsErased += erased;
  }

  /** Writes what has gathered as one frame that stands for everything up to `lastSeq`. */
  async #finishFrame(lastSeq: number): Promise<void> {
    if (lastSeq < this.#frameFirstSeq) return;
    const fields = {
      kind: FRAME_DATA,
      epoch: this.#epoch,
      firstSeq: this.#frameFirstSeq,
      lastSeq,
      attestedSeq: lastSeq,
      batchCount: this.#batches,
      payloadBytes: this.#end - FRAME_HEAD_BYTES,
    };
    const { place } = this.#target;
    this.#makeRoom(16);
    this.#written.add(this.#frame, FRAME_HEAD_BYTES, this.#end);
    const packed = this.#end > FRAME_HEAD_BYTES ? this.#packer?.pack(this.#frame, this.#end, place, this.#offset) : undefined;
    const bytes = packed?.bytes ?? this.#frame;
    const head = packed === undefined ? fields : { ...fields, packedBytes: packed.packedBytes };
    const length = finishFrame(bytes, head, place, this.#offset);
    if (!this.#target.admit(this.#frame, 0, { ...head, length }, this.#offset, packed?.blocks))
      throw corrupt(this.#target, this.#offset, 'a frame came out unsound');
    await this.#write(bytes.subarray(0, length), this.#offset);
    this.#offset += length;
    this.#frameFirstSeq = lastSeq + 1;
    this.#end = FRAME_HEAD_BYTES;
    this.#batches = 0;
    await this.#pace(length);
  }

  /** Footer and trailer. Times are those of all that was ever there: what the newest one was must not be forgotten with it. */
  async #seal(): Promise<void> {
    const target = this.#target;
    const timed = this.#options.sources.filter(({ records, maxTime }) => records > 0 || maxTime > 0);
    target.minTime = timed.reduce((least, { minTime }) => Math.min(least, minTime), timed.length === 0 ? 0 : Number.POSITIVE_INFINITY);
    target.maxTime = timed.reduce((most, { maxTime }) => Math.max(most, maxTime), 0);
    target.header = this.#header;
    const idempotency = (target.idempotency as IdempotencyMap).encode(target.maxTime, this.#header.createdTime);
    const { hash, sums } = this.#digest.finish();
    const { packedTable } = target;
    const blocks = packedTable?.raw ?? target.blockTable!.encode(this.#offset, sums);
    target.blockTable = packedTable === undefined ? BlockTable.from(blocks) : undefined;
    const footer = { blocks, index: target.index!.raw, idempotency, contentHash: hash, refs: target.refs };
    const bytes = encodeFooter(target.place, this.#offset, target.summary, footer, packedTable !== undefined);
    await this.#write(bytes, this.#offset, false);
    target.fileBytes = this.#offset + bytes.length;
  }

  async #write(bytes: Uint8Array, offset: number, hashed = true): Promise<void> {
    const written = await this.#file!.write(bytes, 0, bytes.length, offset);
    if (written !== bytes.length) {
      const reason = `only ${written} of ${bytes.length} bytes could be written: the disk is full?`;
      throw new VarveError('NOT_WRITTEN', `a segment cannot be rewritten: ${reason}`, { shard: this.#target.place.shard, reason });
    }
    if (hashed) this.#digest.update(bytes);
  }

  #makeRoom(bytes: number): void {
    const needed = this.#end + bytes + 64;
    if (needed <= this.#frame.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#frame.length * 2));
    this.#frame.copy(grown, 0, 0, this.#frame.length);
    this.#frame = grown;
  }

  async #pace(bytes: number): Promise<void> {
    this.#unpaced += bytes;
    if (this.#unpaced < FRAME_BYTES) return;
    const done = this.#unpaced;
    this.#unpaced = 0;
    await this.#options.pace(done);
  }
}
