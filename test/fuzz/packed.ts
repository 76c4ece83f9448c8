/** Packed frames and blocks: with the checksums broken, and with both made good again around bytes of somebody else's. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { putU32 } from '../../engine/format/bytes.js';
import { crc32 } from '../../engine/format/checksum.js';
import { checkFrame, decodeBatches, FRAME_DATA, FRAME_HEAD_BYTES, finishFrame, frameLengthAt } from '../../engine/format/frame.js';
import { packedBlockLengthAt, unpackBlock } from '../../engine/format/packed-block.js';
import { FramePacker, unpackFrame } from '../../engine/format/packed-frame.js';
import { seedAt, segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { Segment } from '../../engine/log/segment-state.js';
import { recordFor } from '../log/support.js';
import { mutated } from './mutations.js';
import { pure, type Target } from './target.js';

const PLACE = segmentPlace(new Uint8Array(16).fill(5), 1, 1, 1);
const OFFSET = 128;

/** Two blocks: a batch of small records, an event, a batch with a large one. */
function sample(): { blocks: Buffer; payloadBytes: number; batchCount: number; lastSeq: number } {
  const group = new GroupBuilder(PLACE.recordSeed);
  const idempotency = { key: 'again', contentHash: new Uint8Array(16).fill(8) };
  group.addBatch({ firstSeq: 1, time: 100, records: [recordFor(1, 3), recordFor(2, 4)], idempotency });
  const checkpoint = { type: 'checkpoint', throughSeq: 2, entries: 2, root: new Uint8Array(32), previous: new Uint8Array(32) } as const;
  group.addEvent({ seq: 3, time: 100, event: checkpoint });
  group.addBatch({ firstSeq: 4, time: 101, records: [recordFor(4, 5), recordFor(5, 17_000)] });
  const { frame, head } = group.finish(PLACE, OFFSET, 1, 0);
  const { bytes, packedBytes } = new FramePacker().pack(frame, FRAME_HEAD_BYTES + head.payloadBytes, PLACE, OFFSET);
  const blocks = Buffer.from(bytes.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + packedBytes));
  return { blocks, payloadBytes: head.payloadBytes, batchCount: head.batchCount, lastSeq: head.lastSeq };
}
const SAMPLE = sample();

function frameAround(blocks: Buffer, payloadBytes: number): Buffer {
  const whole = Buffer.concat([Buffer.alloc(FRAME_HEAD_BYTES), blocks, Buffer.alloc(16)]);
  const { batchCount, lastSeq } = SAMPLE;
  const head = { kind: FRAME_DATA, epoch: 1, batchCount, firstSeq: 1, lastSeq, attestedSeq: 0, payloadBytes, packedBytes: blocks.length };
  return whole.subarray(0, finishFrame(whole, head, PLACE, OFFSET));
}
const FRAME = frameAround(SAMPLE.blocks, SAMPLE.payloadBytes);

/** Makes good the checksum of every block that there may be. */
function resealBlocks(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const length = packedBlockLengthAt(bytes, at, bytes.length);
    if (length === 0) return;
    const end = at + length - 4;
    putU32(bytes, end, crc32(bytes.subarray(at, end), seedAt(PLACE, OFFSET + FRAME_HEAD_BYTES + at)));
    at += length;
  }
}

export const packed: Target = pure(
  'packed',
  'packed frames and blocks: the batches that went in, or nothing',
  fc.tuple(
    fc.oneof(fc.tuple(fc.constant(false), mutated([FRAME])), fc.tuple(fc.constant(true), mutated([SAMPLE.blocks]))),
    fc.oneof(fc.constant(SAMPLE.payloadBytes), fc.nat(100_000), fc.constantFrom(0, 1, 2 ** 28, 2 ** 32 - 1)),
  ),
  ([[isSealed, bytes], payloadBytes]) => {
    if (!isSealed) return readFrame(bytes, true);
    resealBlocks(bytes);
    const length = packedBlockLengthAt(bytes, 0, bytes.length);
    const items = length === 0 ? undefined : unpackBlock(bytes, 0, length, seedAt(PLACE, OFFSET + FRAME_HEAD_BYTES));
    if (items !== undefined) expect(items.length).toBe(bytes.readUInt32LE(8));
    readFrame(frameAround(bytes, payloadBytes), false);
  },
);

function readFrame(bytes: Buffer, mustBeOurs: boolean): void {
  const length = frameLengthAt(bytes, 0, bytes.length);
  const head = length === 0 || length > bytes.length ? undefined : checkFrame(bytes, 0, length, PLACE, OFFSET);
  if (head === undefined) return;
  if (mustBeOurs) expect(bytes.subarray(0, length).equals(FRAME)).toBe(true);
  const image = head.packedBytes === undefined ? undefined : unpackFrame(bytes, 0, head, PLACE, OFFSET);
  if (image === undefined) return;
  expect(image.blocks[0]?.at).toBe(FRAME_HEAD_BYTES);
  let seq = 0;
  for (const batch of decodeBatches(image.bytes, 0, head, PLACE, true) ?? []) {
    expect(batch.firstSeq > seq && batch.lastSeq >= batch.firstSeq && batch.lastSeq <= head.lastSeq).toBe(true);
    seq = batch.lastSeq;
  }
  new Segment('log', PLACE, 64).admit(image.bytes, 0, head, OFFSET, image.blocks);
}
