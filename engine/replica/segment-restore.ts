/**
 * Writes a sealed segment from batches that come from elsewhere than one sound file: what is still readable here, and what a copy gave.
 *
 *   pieces (what they cover, batches) in order -> frames -> footer -> <name>.seg.tmp, synced and read back
 *
 * Invariants: the pieces cover base to last seq without a hole; batches are taken byte for byte. What was written is read back whole
 * before it is answered. The caller gives it its name (compaction/swap.ts); a crash before that leaves a file that opening deletes.
 */
import { readBack } from '../compaction/read-back.js';
import { FrameSums } from '../compaction/segment-ends.js';
import { assert, VarveError } from '../errors.js';
import { decodeBatchHead } from '../format/batch.js';
import { encodeFooter } from '../format/footer.js';
import { FRAME_DATA, FRAME_HEAD_BYTES, finishFrame, frameBytes } from '../format/frame.js';
import { encodeSegmentHeader, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import { BlockTable } from '../log/block-table.js';
import { BodyDigest } from '../log/body-digest.js';
import type { LogContext } from '../log/context.js';
import type { IdempotencyMap } from '../log/idempotency.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';

/** Batches one after the other, and the seqs they stand for. */
export interface Piece {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly batches: Uint8Array;
}

export interface RestoreOptions {
  readonly context: LogContext;
  readonly base: number;
  readonly generation: number;
  readonly header: SegmentHeader;
  /** In order; the first begins at `base`. */
  readonly pieces: Iterable<Piece>;
  /** Of all that was ever there, as far as it is known: a newest time must not be forgotten. */
  readonly minTime: number;
  readonly maxTime: number;
}

const FRAME_BYTES = 64 * 1024;

/** As it will be once it has its name. Throws what the disk says, and CORRUPT where it does not give back what was written. */
export async function restoreSegment(options: RestoreOptions): Promise<Segment> {
  const { context, base, generation } = options;
  const { files } = context.platform;
  const target = context.segment(base, generation);
  const temporary = target.path + TEMPORARY_SUFFIX;
  if (files.exists(temporary)) files.remove(temporary);
  const file = files.open(temporary, 'create');
  const writer = new Writer(target, file, options.header);
  try {
    await writer.write(options);
    await file.sync();
    file.close();
    target.trailer = await readBack(context, target, temporary, writer.written, () => Promise.resolve());
    return target;
  } catch (error) {
    file.close();
    files.remove(temporary);
    throw error;
  } finally {
    writer.free();
  }
}

class Writer {
  /** To compare with what is read back. */
  readonly written = new FrameSums();
  readonly #target: Segment;
  readonly #file: File;
  readonly #header: SegmentHeader;
  readonly #digest: BodyDigest;
  #offset = 0;

  constructor(target: Segment, file: File, header: SegmentHeader) {
    this.#target = target;
    this.#file = file;
    this.#header = header;
    this.#digest = new BodyDigest(target.place.seed);
  }

  free(): void {
    this.#digest.free();
  }

  async write({ pieces, base, minTime, maxTime }: RestoreOptions): Promise<void> {
    const target = this.#target;
    target.header = this.#header;
    target.epoch = this.#header.epoch;
    await this.#put(encodeSegmentHeader(target.place, this.#header));
    let expected = base;
    for (const piece of pieces) {
      assert(piece.firstSeq === expected, 'pieces of a segment follow each other');
      for (const part of parts(piece)) await this.#frame(part);
      expected = piece.lastSeq + 1;
    }
    target.minTime = target.records === 0 ? minTime : minTime === 0 ? target.minTime : Math.min(minTime, target.minTime);
    target.maxTime = Math.max(maxTime, target.maxTime);
    await this.#seal();
  }

  async #frame({ firstSeq, lastSeq, batches }: Piece): Promise<void> {
    const target = this.#target;
    const frame = Buffer.alloc(frameBytes(batches.length));
    frame.set(batches, FRAME_HEAD_BYTES);
    const batchCount = countBatches(batches);
    this.written.add(batches, 0, batches.length);
    const { epoch } = this.#header;
    const head = { kind: FRAME_DATA, epoch, firstSeq, lastSeq, attestedSeq: lastSeq, batchCount, payloadBytes: batches.length };
    const length = finishFrame(frame, head, target.place, this.#offset);
    assert(target.admit(frame, 0, { ...head, length }, this.#offset), 'a frame of checked batches is sound');
    await this.#put(frame.subarray(0, length));
  }

  async #seal(): Promise<void> {
    const target = this.#target;
    const idempotency = (target.idempotency as IdempotencyMap).encode(target.maxTime, this.#header.createdTime);
    const { hash, sums } = this.#digest.finish();
    const blocks = target.blockTable!.encode(this.#offset, sums);
    target.blockTable = BlockTable.from(blocks);
    const footer = encodeFooter(target.place, this.#offset, target.summary, {
      blocks,
      index: target.index!.raw,
      idempotency,
      contentHash: hash,
    });
    const end = this.#offset;
    await this.#put(footer, false);
    target.dataEnd = end;
    target.fileBytes = this.#offset;
  }

  async #put(bytes: Uint8Array, isBody = true): Promise<void> {
    const written = await this.#file.write(bytes, 0, bytes.length, this.#offset);
    if (written !== bytes.length) {
      const reason = `only ${written} of ${bytes.length} bytes could be written: the disk is full?`;
      throw new VarveError('NOT_WRITTEN', `a segment cannot be mended: ${reason}`, { shard: this.#target.place.shard, reason });
    }
    if (isBody) this.#digest.update(bytes);
    this.#offset += bytes.length;
  }
}

/** Cut so that no frame is large unless a batch is. */
function* parts({ firstSeq, lastSeq, batches }: Piece): Generator<Piece, void, undefined> {
  let start = 0;
  let first = firstSeq;
  let covered = firstSeq - 1;
  for (let at = 0; at < batches.length; ) {
    const batch = decodeBatchHead(batches, at, batches.length);
    assert(batch !== undefined, 'batches were checked');
    if (at > start && at + batch.totalBytes - start > FRAME_BYTES) {
      yield { firstSeq: first, lastSeq: covered, batches: batches.subarray(start, at) };
      first = covered + 1;
      start = at;
    }
    covered = batch.lastSeq;
    at += batch.totalBytes;
  }
  yield { firstSeq: first, lastSeq, batches: batches.subarray(start) };
}

function countBatches(batches: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < batches.length; count++) {
    const batch = decodeBatchHead(batches, at, batches.length);
    assert(batch !== undefined, 'batches were checked');
    at += batch.totalBytes;
  }
  return count;
}
