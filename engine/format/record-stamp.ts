/**
 * Completes the images of a batch where they stand, once their places are known: seqs, times, hashes, checksums.
 *
 *   arena -> slice in the kernel's memory: heads, "vrv:body" before the salts  -> four body hashes at a time, into
 *            messages  -> four record hashes at a time  -> checksums  -> back
 *
 * One by one (`stampOneByOne`) where there is no kernel, until enough records came to be worth making one, and what is longer than a lane
 * takes: hashing that has the kernel's memory for itself. Both ways leave the same bytes: a property test holds them to it.
 *
 * Invariant: the kernel's memory is used within one call only, and nobody else's code runs while a slice is in it. Nothing here is asynchronous; a crash loses nothing.
 */
import { assert } from '../errors.js';
import { KIND_PUT } from '../log/types.js';
import { HASH_BYTES } from './hash.js';
import {
  CHUNK_END,
  CHUNK_START,
  KERNEL_BYTES,
  LANES,
  type LaneKernel,
  laneKernel,
  MAX_INPUT_BYTES,
  ROOT,
  WORK_BYTES,
} from './lane-kernel.js';
import { placeHead, placeRecord, type RecordImage } from './record.js';
import { BODY_TAG, imageHash, messageBytes, putMessage, TOMBSTONE_BODY_HASH } from './record-hash.js';

export interface StampedBatch {
  readonly shard: number;
  readonly firstSeq: number;
  readonly time: number;
  /** Every record is a batch of its own, their times a microsecond apart from `time` on. */
  readonly isEach?: boolean;
  readonly supersedes: readonly number[];
  /** Takes the record hashes, one after the other. */
  readonly hashes: Uint8Array;
}

const CRC_BYTES = 4;
const TAG_BYTES = BODY_TAG.length;
const TAG_HIGH = BODY_TAG.readUInt32BE(0);
const TAG_LOW = BODY_TAG.readUInt32BE(4);
/** Making the kernel takes as long as some thousand records. */
const RECORDS_BEFORE_KERNEL = 256;
/** Of a slice: it stays in the processor's cache. */
const SLICE_RECORDS = 128;
const SLICE_BYTES = 64 * 1024;
const SLICE_MESSAGE_BYTES = 32 * 1024;
/** One message of the longest names and most refs, beyond which no slice goes on. */
const SPARE_MESSAGE_BYTES = 8 * 1024;

const COLUMN_ENTRIES = SLICE_RECORDS + LANES;
const COLUMN_BYTES = COLUMN_ENTRIES * 4;
const INPUTS = KERNEL_BYTES;
const LENGTHS = INPUTS + COLUMN_BYTES;
const OUTPUTS = LENGTHS + COLUMN_BYTES;
const HASHES = OUTPUTS + COLUMN_BYTES;
/** What stood where the tags are. */
const ASIDE = HASHES + SLICE_RECORDS * HASH_BYTES;
/** Where lanes without an input of their own write. */
const SCRAP = ASIDE + SLICE_RECORDS * TAG_BYTES;
const MESSAGES = SCRAP + HASH_BYTES;
const IMAGES = MESSAGES + SLICE_MESSAGE_BYTES + SPARE_MESSAGE_BYTES;
const END = IMAGES + SLICE_BYTES + MAX_INPUT_BYTES;
assert(END <= KERNEL_BYTES + WORK_BYTES, 'a slice fits the memory');

const NO_BYTES = new Uint8Array(0);

let kernel: LaneKernel | undefined;
let bytes: Uint8Array = NO_BYTES;
let view: DataView = new DataView(new ArrayBuffer(0));
let records = 0;

/** Whether batches go through the kernel from here on. */
function hasKernel(count: number): boolean {
  if (records < RECORDS_BEFORE_KERNEL) {
    records += count;
    if (records < RECORDS_BEFORE_KERNEL) return false;
    kernel = laneKernel();
    if (kernel !== undefined) ({ bytes, view } = kernel);
  }
  return kernel !== undefined;
}

/** `seed`: of the records' checksums. Salts and refs are in the images. */
export function stampImages(arena: Uint8Array, images: readonly RecordImage[], batch: StampedBatch, seed: number): void {
  assert(images.length === batch.supersedes.length, 'as many records as seqs');
  if (!hasKernel(images.length)) {
    for (let i = 0; i < images.length; i++) stampOneByOne(arena, images, i, batch, seed);
    return;
  }
  for (let first = 0; first < images.length; ) {
    const until = sliceEnd(images, first);
    if (until > first) stampSlice(arena, images, first, until, batch, seed);
    else stampOneByOne(arena, images, first, batch, seed);
    first = Math.max(until, first + 1);
  }
}

/** The record at `i`, without the kernel. */
export function stampOneByOne(arena: Uint8Array, images: readonly RecordImage[], i: number, batch: StampedBatch, seed: number): void {
  const { shard, firstSeq, isEach, supersedes, hashes } = batch;
  const image = images[i]!;
  const seq = firstSeq + i;
  const time = isEach === true ? batch.time + i : batch.time;
  imageHash(shard, arena, image, seq, time, supersedes[i]!, hashes, i * HASH_BYTES);
  placeRecord(arena, image.at, seq, supersedes[i]!, time, isEach === true ? seq : firstSeq + images.length - 1, seed);
}

/** Behind the last of a slice that begins with `first`; `first` itself where that one is too long for any. */
function sliceEnd(images: readonly RecordImage[], first: number): number {
  const from = images[first]!.at;
  let messages = 0;
  let until = first;
  for (; until < images.length && until - first < SLICE_RECORDS; until++) {
    const image = images[until]!;
    if (image.end + CRC_BYTES - from > SLICE_BYTES || messages > SLICE_MESSAGE_BYTES) break;
    const message = messageBytes(image);
    if (message > MAX_INPUT_BYTES || (image.kind === KIND_PUT && TAG_BYTES + image.end - image.saltAt > MAX_INPUT_BYTES)) break;
    messages += message;
  }
  return until;
}

function stampSlice(
  arena: Uint8Array,
  images: readonly RecordImage[],
  first: number,
  until: number,
  batch: StampedBatch,
  seed: number,
): void {
  const { shard, firstSeq, isEach, supersedes, hashes } = batch;
  const from = images[first]!.at;
  const to = images[until - 1]!.end + CRC_BYTES;
  const moved = IMAGES - from;
  const lastSeq = firstSeq + images.length - 1;
  bytes.set(arena.subarray(from, to), IMAGES);
  let message = MESSAGES;
  let inputs = 0;
  for (let i = first; i < until; i++) {
    const image = images[i]!;
    const { at, saltAt, end } = image;
    const seq = firstSeq + i;
    const replaced = supersedes[i]!;
    const time = isEach === true ? batch.time + i : batch.time;
    placeHead(view, at + moved, seq, replaced, time, isEach === true ? seq : lastSeq);
    message = putMessage(view, message, shard, seq, time, replaced, image, view, moved);
    const bodyHashAt = message - HASH_BYTES;
    if (image.kind !== KIND_PUT) bytes.set(TOMBSTONE_BODY_HASH, bodyHashAt);
    else {
      // What stands before the salt, a length or the end of a name, gives way to the tag until the body is hashed.
      const input = saltAt + moved - TAG_BYTES;
      const aside = ASIDE + (i - first) * TAG_BYTES;
      view.setUint32(aside, view.getUint32(input));
      view.setUint32(aside + 4, view.getUint32(input + 4));
      view.setUint32(input, TAG_HIGH);
      view.setUint32(input + 4, TAG_LOW);
      addInput(inputs++, input, TAG_BYTES + end - saltAt, bodyHashAt);
    }
  }
  hashInputs(inputs);
  message = MESSAGES;
  inputs = 0;
  for (let i = first; i < until; i++) {
    const image = images[i]!;
    const { at, saltAt, end } = image;
    if (image.kind === KIND_PUT) {
      const input = saltAt + moved - TAG_BYTES;
      const aside = ASIDE + (i - first) * TAG_BYTES;
      view.setUint32(input, view.getUint32(aside));
      view.setUint32(input + 4, view.getUint32(aside + 4));
    }
    const length = messageBytes(image);
    const hashAt = HASHES + (i - first) * HASH_BYTES;
    addInput(inputs++, message, length, hashAt);
    message += length;
    view.setUint32(end + moved, kernel!.crc(at + moved, end - at, seed), true);
  }
  hashInputs(inputs);
  arena.set(bytes.subarray(IMAGES, IMAGES + to - from), from);
  hashes.set(bytes.subarray(HASHES, HASHES + (until - first) * HASH_BYTES), first * HASH_BYTES);
}

function addInput(i: number, at: number, length: number, hashAt: number): void {
  view.setUint32(INPUTS + i * 4, at, true);
  view.setUint32(LENGTHS + i * 4, length, true);
  view.setUint32(OUTPUTS + i * 4, hashAt, true);
}

/** The first so many; lanes that are left over do something harmless. */
function hashInputs(count: number): void {
  if (count === 0) return;
  for (let i = count; i % LANES !== 0; i++) addInput(i, MESSAGES, 1, SCRAP);
  kernel!.hash(INPUTS, LENGTHS, OUTPUTS, count, 0, 0, 0, CHUNK_START, CHUNK_END | ROOT);
}
