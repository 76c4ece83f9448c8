/**
 * Rewrites neighbouring sealed segments into one that holds only what lives.
 *
 *   sources: every frame checked, their BLAKE3 against their footers -> live records, byte for byte, in fewer frames (live-frames.ts)
 *   target:  <name>.seg.tmp, packed if wanted -> sync -> read back whole: checksums, BLAKE3, exactly the records meant to be there
 *
 * Reading, and reading back, may go on beside the writing (live-source.ts).
 *
 * Invariants: sources are only read. Anything bad in them, or in what was written, ends the rewrite with CORRUPT and no target.
 * The target has its `.tmp` name until the caller gives it its own (swap.ts); a crash before that leaves a file that opening deletes.
 */
import { VarveError } from '../errors.js';
import { encodeFooter } from '../format/footer.js';
import { FRAME_DATA, FRAME_HEAD_BYTES, finishFrame } from '../format/frame.js';
import { FramePacker } from '../format/packed-frame.js';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import { BlockTable } from '../log/block-table.js';
import { BodyDigest } from '../log/body-digest.js';
import type { LogContext } from '../log/context.js';
import type { IdempotencyMap } from '../log/idempotency.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';
import { type Dropping, FRAME_BYTES, type LiveFrame } from './live-frames.js';
import { type LiveSource, LiveSourceHere } from './live-source.js';
import { corrupt } from './segment-ends.js';

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
  /** Reads the sources, and what is written back, somewhere else. Default: here. */
  readonly source?: (target: Segment) => LiveSource;
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

const MAX_GENERATION = 0xffff;

export async function rewriteSegments(options: RewriteOptions): Promise<Rewritten> {
  const rewrite = new Rewrite(options);
  try {
    return await rewrite.run();
  } catch (error) {
    rewrite.discard();
    throw error;
  } finally {
    rewrite.close();
  }
}

class Rewrite {
  readonly #options: RewriteOptions;
  readonly #target: Segment;
  readonly #header: SegmentHeader;
  readonly #epoch: number;
  #file: File | undefined;
  #source: LiveSource | undefined;
  readonly #packer: FramePacker | undefined;
  #offset = SEGMENT_HEADER_BYTES;
  readonly #digest: BodyDigest;
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
    const { context, sources, dropping, pace } = this.#options;
    const { files } = context.platform;
    const target = this.#target;
    const temporary = this.#temporary;
    if (files.exists(temporary)) files.remove(temporary);
    this.#file = files.open(temporary, 'create');
    await this.#write(encodeSegmentHeader(target.place, this.#header), 0);
    const source = this.#options.source?.(target) ?? new LiveSourceHere(context, sources, target, dropping, pace);
    this.#source = source;
    for (let frame = await source.next(); frame !== undefined; frame = await source.next()) {
      await this.#put(frame);
      await source.written(frame, this.#offset);
    }
    await this.#seal();
    await this.#file.sync();
    target.trailer = await source.verified(target.fileBytes);
    return {
      segment: target,
      temporaryPath: temporary,
      recordsBefore: sources.reduce((sum, { records }) => sum + records, 0),
      recordsAfter: target.records,
      recordsErased: source.recordsErased,
      bytesBefore: sources.reduce((sum, { fileBytes }) => sum + fileBytes, 0),
      bytesAfter: target.fileBytes,
    };
  }

  /** After a failure: nothing is left behind, as far as the disk lets us. */
  discard(): void {
    this.close();
    try {
      this.#options.context.platform.files.remove(this.#temporary);
    } catch {
      // Not there, or the next open removes it.
    }
  }

  close(): void {
    this.#source?.close();
    this.#source = undefined;
    this.#digest.free();
    this.#file?.close();
    this.#file = undefined;
  }

  get #temporary(): string {
    return this.#target.path + TEMPORARY_SUFFIX;
  }

  /** Writes one frame at the end of the target. */
  async #put({ image, end, firstSeq, lastSeq, batches }: LiveFrame): Promise<void> {
    const fields = {
      kind: FRAME_DATA,
      epoch: this.#epoch,
      firstSeq,
      lastSeq,
      attestedSeq: lastSeq,
      batchCount: batches,
      payloadBytes: end - FRAME_HEAD_BYTES,
    };
    const { place } = this.#target;
    const packed = end > FRAME_HEAD_BYTES ? this.#packer?.pack(image, end, place, this.#offset) : undefined;
    const bytes = packed?.bytes ?? image;
    const head = packed === undefined ? fields : { ...fields, packedBytes: packed.packedBytes };
    const length = finishFrame(bytes, head, place, this.#offset);
    if (!this.#target.admit(image, 0, { ...head, length }, this.#offset, packed?.blocks))
      throw corrupt(this.#target, this.#offset, 'a frame came out unsound');
    await this.#write(bytes.subarray(0, length), this.#offset);
    this.#offset += length;
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

  async #pace(bytes: number): Promise<void> {
    this.#unpaced += bytes;
    if (this.#unpaced < FRAME_BYTES) return;
    const done = this.#unpaced;
    this.#unpaced = 0;
    await this.#options.pace(done);
  }
}
