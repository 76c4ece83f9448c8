import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBatchHead } from '../../engine/format/batch.js';
import {
  checkFrame,
  decodeBatches,
  encodeMark,
  FRAME_HEAD_BYTES,
  type FrameHead,
  finishFrame,
  frameLengthAt,
} from '../../engine/format/frame.js';
import { segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { Segment } from '../../engine/log/segment-state.js';
import { recordFor } from '../log/support.js';

const DATABASE_ID = new Uint8Array(16).fill(5);
const PLACE = segmentPlace(DATABASE_ID, 1, 1, 0);
const OFFSET = 128;

function sample(): { frame: Buffer; head: FrameHead } {
  const group = new GroupBuilder(PLACE.recordSeed);
  group.addBatch({
    firstSeq: 1,
    time: 100,
    records: [recordFor(1, 3), recordFor(2, 4)],
    idempotency: { key: 'again', contentHash: new Uint8Array(16).fill(8) },
  });
  group.addEvent({
    seq: 3,
    time: 100,
    event: { type: 'checkpoint', throughSeq: 2, entries: 2, root: new Uint8Array(32), previous: new Uint8Array(32) },
  });
  group.addBatch({ firstSeq: 4, time: 101, records: [recordFor(4, 5)] });
  const { frame, head } = group.finish(PLACE, OFFSET, 1, 0);
  return { frame: Buffer.from(frame), head };
}

describe('a frame', () => {
  it('comes back as it went in', () => {
    const { frame, head } = sample();
    expect(frame.length % 8).toBe(0);
    expect(frameLengthAt(frame, 0, frame.length)).toBe(frame.length);
    expect(checkFrame(frame, 0, frame.length, PLACE, OFFSET)).toEqual(head);
    const batches = decodeBatches(frame, 0, head, PLACE, true)!;
    expect(
      batches.map((batch) => [batch.firstSeq, batch.lastSeq, batch.time, batch.records.length, batch.event?.type, batch.idempotency?.key]),
    ).toEqual([
      [1, 2, 100, 2, undefined, 'again'],
      [3, 3, 100, 0, 'checkpoint', undefined],
      [4, 4, 101, 1, undefined, undefined],
    ]);
  });

  it('fails its checksum when any bit is flipped', () => {
    const { frame } = sample();
    for (let bit = 0; bit < frame.length * 8; bit++) {
      frame[bit >> 3]! ^= 1 << (bit & 7);
      const length = frameLengthAt(frame, 0, frame.length);
      expect(length > 0 && length <= frame.length && checkFrame(frame, 0, length, PLACE, OFFSET) !== undefined).toBe(false);
      frame[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('fails in any other place: offset, generation, base, shard, database', () => {
    const { frame } = sample();
    const others = [
      segmentPlace(DATABASE_ID, 1, 1, 1),
      segmentPlace(DATABASE_ID, 1, 2, 0),
      segmentPlace(DATABASE_ID, 2, 1, 0),
      segmentPlace(new Uint8Array(16), 1, 1, 0),
    ];
    for (const place of others) expect(checkFrame(frame, 0, frame.length, place, OFFSET)).toBeUndefined();
    expect(checkFrame(frame, 0, frame.length, PLACE, OFFSET + 8)).toBeUndefined();
  });

  it('is not believed a length beyond its cap', () => {
    const { frame } = sample();
    frame.writeUInt32LE(0xfffffff8, 4);
    expect(frameLengthAt(frame, 0, frame.length)).toBe(0);
  });

  it('that is forged, with a checksum that passes, decodes to batches inside it or to nothing', () => {
    const payloadBytes = sample().head.payloadBytes;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(payloadBytes - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        fc.nat(3),
        (changes, batchCount) => {
          const { frame, head } = sample();
          for (const [at, value] of changes) frame[FRAME_HEAD_BYTES + at] = value;
          const forged = { ...head, batchCount };
          finishFrame(frame, forged, PLACE, OFFSET);
          const checked = checkFrame(frame, 0, frame.length, PLACE, OFFSET)!;
          const batches = decodeBatches(frame, 0, checked, PLACE);
          if (batches !== undefined) expect(batches.every((batch) => batch.firstSeq >= 1 && batch.lastSeq <= head.lastSeq)).toBe(true);
          new Segment('log', PLACE, 64).admit(frame, 0, checked, OFFSET);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('of any bytes is nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 300 }), (noise) => {
        noise.set([0xf5, 0x56, 0x52, 0x46]);
        const length = frameLengthAt(noise, 0, noise.length);
        if (length > 0 && length <= noise.length) expect(checkFrame(noise, 0, length, PLACE, OFFSET)).toBeUndefined();
        decodeBatchHead(noise, 4, noise.length);
      }),
    );
  });
});

describe('a mark', () => {
  it('covers nothing and carries an attested seq', () => {
    const mark = encodeMark(PLACE, OFFSET, 3, 77);
    expect(mark.length).toBe(56);
    expect(checkFrame(mark, 0, mark.length, PLACE, OFFSET)).toMatchObject({
      firstSeq: 0,
      lastSeq: 0,
      attestedSeq: 77,
      epoch: 3,
      batchCount: 0,
    });
  });
});
