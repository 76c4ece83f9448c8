/**
 * The payload of a packed frame: its batches, cut into packed blocks between items.
 *
 *   batches | batches | batches        ->  head | packed block | packed block | … | end
 *   image: as the frame would be without   file: what is hashed, and what its checksum covers
 *
 * A block begins with the head of a batch or with a record, and no item reaches over its end; the items of one batch may lie in
 * several. A record larger than a block should be has one of its own. Decoding takes any bytes.
 */
import { BATCH_TAG, decodeBatchHead } from './batch.js';
import { getU32 } from './bytes.js';
import { FRAME_HEAD_BYTES, type FrameHead, frameBytes } from './frame.js';
import { encodePackedBlock, PACKED_BLOCK_BYTES, packedBlockLengthAt, unpackBlockInto } from './packed-block.js';
import { RECORD_TAG, recordLengthAt } from './record.js';
import { type SegmentPlace, seedAt } from './segment.js';

/** Items gather in a block up to this: twice as much packs a tenth better, and costs every read that is not in memory half as much again. */
const BLOCK_ITEMS_BYTES = 8 * 1024;
/** End tag, padding and checksum of the frame. */
const SPARE_BYTES = 16;

export interface BlockPlace {
  /** From the beginning of the frame's image to the block's first item. */
  readonly at: number;
  /** Of the block in the file. */
  readonly offset: number;
}

/** Packs the batches in `image[FRAME_HEAD_BYTES, end)`, which are sound, for the frame at `offset`. What it returns lasts until the next one. */
export class FramePacker {
  #bytes = Buffer.allocUnsafeSlow(64 * 1024);

  pack(image: Buffer, end: number, place: SegmentPlace, offset: number) {
    const blocks: BlockPlace[] = [];
    let into = FRAME_HEAD_BYTES;
    for (let from = FRAME_HEAD_BYTES; from < end; ) {
      const to = blockEnd(image, from, end);
      this.#makeRoom(into, to - from);
      blocks.push({ at: from, offset: offset + into });
      into = encodePackedBlock(this.#bytes, into, image, from, to, seedAt(place, offset + into));
      from = to;
    }
    return { bytes: this.#bytes, packedBytes: into - FRAME_HEAD_BYTES, blocks };
  }

  #makeRoom(used: number, itemsBytes: number): void {
    const needed = used + itemsBytes + PACKED_BLOCK_BYTES + SPARE_BYTES;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, used);
    this.#bytes = grown;
  }
}

/** Where a block that begins with the item at `from` ends: behind as many items as fit, one at least. */
function blockEnd(image: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const next = afterUnit(image, at, end);
    if (next <= at) return end;
    if (at > from && next - from > BLOCK_ITEMS_BYTES) return at;
    at = next;
  }
  return at;
}

/** Behind the record at `at`, or behind the head of a batch and its first item: a head is never alone at a block's end. */
function afterUnit(image: Buffer, at: number, end: number): number {
  if (image[at] === RECORD_TAG) return at + getU32(image, at + 4);
  const batch = decodeBatchHead(image, at, end);
  if (batch === undefined) return end;
  const itemAt = at + batch.headBytes;
  if (batch.isEvent || batch.count === 0) return at + batch.totalBytes;
  return itemAt + recordLengthAt(image, itemAt, at + batch.totalBytes);
}

export interface FrameImage {
  readonly bytes: Buffer;
  readonly blocks: readonly BlockPlace[];
}

/**
 * The image of the checked, packed frame in `bytes[at…]`, which stands at `offset` in the file; undefined where it does not unpack to what it says.
 * `take`: memory for it, at least as long as asked for.
 */
export function unpackFrame(
  bytes: Uint8Array,
  at: number,
  head: FrameHead,
  place: SegmentPlace,
  offset: number,
  take: (bytes: number) => Buffer = Buffer.allocUnsafeSlow,
): FrameImage | undefined {
  // Its tail leaves room to spare.
  const image = take(frameBytes(head.payloadBytes));
  image.set(bytes.subarray(at, at + FRAME_HEAD_BYTES));
  const imageEnd = FRAME_HEAD_BYTES + head.payloadBytes;
  const end = at + FRAME_HEAD_BYTES + head.packedBytes!;
  const blocks: BlockPlace[] = [];
  let into = FRAME_HEAD_BYTES;
  for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
    const length = packedBlockLengthAt(bytes, p, end);
    const blockOffset = offset + p - at;
    const items = length === 0 ? 0 : unpackBlockInto(bytes, p, length, seedAt(place, blockOffset), image, into, imageEnd);
    if (items === 0 || (image[into] !== BATCH_TAG && image[into] !== RECORD_TAG)) return undefined;
    blocks.push({ at: into, offset: blockOffset });
    into += items;
    p += length;
  }
  return into === imageEnd ? { bytes: image, blocks } : undefined;
}
