/** Packed blocks and frames: what goes in comes out, nothing else does, and no bytes make them use memory that they are not worth. */
import { readFileSync } from 'node:fs';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { getU32, putU32, view } from '../../engine/format/bytes.js';
import { crc32 } from '../../engine/format/checksum.js';
import { checkFrame, decodeBatches, FRAME_HEAD_BYTES, type FrameHead, finishFrame } from '../../engine/format/frame.js';
import { encodePackedBlock, PACKED_BLOCK_BYTES, packedBlockLengthAt, unpackBlock } from '../../engine/format/packed-block.js';
import { FramePacker, unpackFrame } from '../../engine/format/packed-frame.js';
import { seedAt, segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { recordFor } from '../log/support.js';

const PLACE = segmentPlace(new Uint8Array(16).fill(5), 1, 1, 3);
const OFFSET = 4096;
const SEED = 0x1234;

function block(items: Uint8Array): Buffer {
  const bytes = Buffer.alloc(items.length + PACKED_BLOCK_BYTES);
  return bytes.subarray(0, encodePackedBlock(bytes, 0, items, 0, items.length, SEED));
}

/** A block of our own making around any data. */
function forged(method: number, data: Uint8Array, unpackedBytes: number): Buffer {
  const bytes = Buffer.concat([Buffer.from([0xc1, method, 0, 0]), Buffer.alloc(8), data, Buffer.alloc(4)]);
  putU32(bytes, 4, data.length);
  putU32(bytes, 8, unpackedBytes);
  putU32(bytes, bytes.length - 4, crc32(bytes.subarray(0, bytes.length - 4), SEED));
  return bytes;
}

/** Batches of these sizes, 0 for an event, with an image of their frame. */
function imageOf(sizes: readonly number[], bodyBytes: number): { image: Buffer; head: FrameHead } {
  const group = new GroupBuilder(PLACE.recordSeed);
  let seq = 1;
  for (const size of sizes) {
    const firstSeq = seq;
    if (size === 0) {
      const event = {
        type: 'checkpoint',
        throughSeq: seq - 1,
        entries: 1,
        root: new Uint8Array(32),
        previous: new Uint8Array(32),
      } as const;
      group.addEvent({ seq, time: seq, event });
    } else {
      const records = Array.from({ length: size }, (_, i) => recordFor(firstSeq + i, bodyBytes));
      const idempotency = { key: `key ${seq}`, contentHash: new Uint8Array(16).fill(8) };
      group.addBatch({ firstSeq, time: seq, records, ...(seq % 2 === 0 ? {} : { idempotency }) });
    }
    seq += Math.max(1, size);
  }
  const { frame, head } = group.finish(PLACE, OFFSET, 1, 0);
  return { image: Buffer.from(frame), head };
}

function packed(image: Buffer, head: FrameHead) {
  const { length: _, ...fields } = head;
  const { bytes, packedBytes, blocks } = new FramePacker().pack(image, FRAME_HEAD_BYTES + head.payloadBytes, PLACE, OFFSET);
  const frame = Buffer.from(bytes.subarray(0, finishFrame(bytes, { ...fields, packedBytes }, PLACE, OFFSET)));
  return { frame, blocks };
}

describe('a packed block', () => {
  it('comes back as it went in, smaller where that is possible, and never much larger', () => {
    const random = new SeededRandom(4);
    for (const items of [Buffer.alloc(20_000, 'sediment '), Buffer.from(random.bytes(20_000)), Buffer.from('x')]) {
      const bytes = block(items);
      expect(packedBlockLengthAt(bytes, 0, bytes.length)).toBe(bytes.length);
      expect(unpackBlock(bytes, 0, bytes.length, SEED)?.equals(items)).toBe(true);
      expect(bytes.length).toBeLessThanOrEqual(items.length + PACKED_BLOCK_BYTES);
    }
    expect(block(Buffer.alloc(20_000, 'sediment ')).length).toBeLessThan(300);
  });

  it('fails with any bit wrong, in any other place, and when cut', () => {
    const bytes = block(Buffer.alloc(200, 'sediment '));
    expect(unpackBlock(bytes, 0, bytes.length, SEED + 1)).toBeUndefined();
    expect(packedBlockLengthAt(bytes, 0, bytes.length - 1)).toBe(0);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const length = packedBlockLengthAt(bytes, 0, bytes.length);
      if (length > 0) expect(unpackBlock(bytes, 0, length, SEED)).toBeUndefined();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('is refused where it unpacks to more or less than it says, however much that is', () => {
    const zeros = deflateRawSync(Buffer.alloc(50_000_000), { level: 9 });
    const before = process.memoryUsage();
    for (const claimed of [0, 1, 100, zeros.length, 49_999_999, 50_000_001, 2 ** 32 - 1]) {
      const bytes = forged(1, zeros, claimed);
      if (claimed < 1_000_000 || claimed > 60_000_000) expect(unpackBlock(bytes, 0, bytes.length, SEED)).toBeUndefined();
    }
    const { arrayBuffers, external } = process.memoryUsage();
    expect(arrayBuffers + external - before.arrayBuffers - before.external).toBeLessThan(20_000_000);
    for (const claimed of [99, 101]) expect(unpackBlock(forged(0, new Uint8Array(100), claimed), 0, 116, SEED)).toBeUndefined();
    expect(unpackBlock(forged(2, new Uint8Array(100), 100), 0, 116, SEED)).toBeUndefined();
    expect(unpackBlock(forged(1, new Uint8Array(100).fill(255), 100), 0, 116, SEED)).toBeUndefined();
  });
});

describe('the packed block of the format document', () => {
  const document = readFileSync(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8');
  const bytesOf = (kind: string): Buffer => {
    const shown = new RegExp(`\`\`\`${kind}\\n([\\s\\S]*?)\\n\`\`\``).exec(document)?.[1] ?? '';
    return Buffer.from(
      [...shown.matchAll(/^ {2}[0-9a-f]{4} {2}((?:[0-9a-f]{2} )+)/gm)].map((row) => row[1]?.replaceAll(' ', '')).join(''),
      'hex',
    );
  };

  it('unpacks to the batch that it is said to hold, as it did when it was written', () => {
    const place = segmentPlace(
      Uint8Array.from({ length: 16 }, (_, i) => i),
      1,
      1,
      1,
    );
    const bytes = bytesOf('packed');
    const length = packedBlockLengthAt(bytes, 0, bytes.length);
    expect(length).toBe(bytes.length);
    expect(unpackBlock(bytes, 0, length, seedAt(place, 0xb0))).toEqual(bytesOf('hexdump').subarray(0xb0, 0x188));
    expect(unpackBlock(bytes, 0, length, seedAt(place, 0xb8))).toBeUndefined();
  });
});

describe('a packed frame', () => {
  it('has the same batches, in blocks that begin with items and can be read alone', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.constantFrom(0, 50, 3000, 40_000), (list, bodyBytes) => {
        const { image, head } = imageOf(list, bodyBytes);
        const { frame, blocks } = packed(image, head);
        const checked = checkFrame(frame, 0, frame.length, PLACE, OFFSET)!;
        expect(checked).toMatchObject({ payloadBytes: head.payloadBytes, firstSeq: head.firstSeq, lastSeq: head.lastSeq });
        const back = unpackFrame(frame, 0, checked, PLACE, OFFSET)!;
        expect(back.blocks).toEqual(blocks);
        expect(decodeBatches(back.bytes, 0, checked, PLACE, true)).toEqual(decodeBatches(image, 0, head, PLACE, true));
        for (const [i, { at, offset }] of blocks.entries()) {
          const end = blocks[i + 1]?.at ?? FRAME_HEAD_BYTES + head.payloadBytes;
          const place = offset - OFFSET;
          const length = packedBlockLengthAt(frame, place, frame.length);
          expect(getU32(frame, place + 8)).toBe(end - at);
          expect(length).toBeGreaterThan(0);
          // More than 8 KiB only where an item is that large.
          if (bodyBytes <= 3000) expect(end - at).toBeLessThanOrEqual(8 * 1024);
        }
      }),
      { numRuns: 25 },
    );
  });

  it('has the same batches where its packer has packed much before, long records among them', () => {
    const packer = new FramePacker();
    let allPacked = 0;
    let all = 0;
    for (const [i, bodyBytes] of [300, 300, 9000, 300, 80_000, 0, 300].entries()) {
      const { image, head } = imageOf([200, 1, 0, 20, 7, i], bodyBytes);
      const { length: _, ...fields } = head;
      const { bytes, packedBytes, blocks } = packer.pack(image, FRAME_HEAD_BYTES + head.payloadBytes, PLACE, OFFSET);
      const frame = Buffer.from(bytes.subarray(0, finishFrame(bytes, { ...fields, packedBytes }, PLACE, OFFSET)));
      const checked = checkFrame(frame, 0, frame.length, PLACE, OFFSET)!;
      const back = unpackFrame(frame, 0, checked, PLACE, OFFSET)!;
      expect(back.blocks).toEqual(blocks);
      const end = FRAME_HEAD_BYTES + head.payloadBytes;
      expect(Buffer.compare(back.bytes.subarray(FRAME_HEAD_BYTES, end), image.subarray(FRAME_HEAD_BYTES, end))).toBe(0);
      allPacked += packedBytes;
      all += head.payloadBytes;
    }
    expect(all).toBeGreaterThan(2 * 1024 * 1024);
    expect(allPacked).toBeLessThan(all);
  });

  it('unpacks to nothing where its blocks are not what the head says', () => {
    const { image, head } = imageOf([3, 0, 5], 50);
    const { frame } = packed(image, head);
    const checked = checkFrame(frame, 0, frame.length, PLACE, OFFSET)!;
    for (const payloadBytes of [checked.payloadBytes - 1, checked.payloadBytes + 1, 1])
      expect(unpackFrame(frame, 0, { ...checked, payloadBytes }, PLACE, OFFSET)).toBeUndefined();
    expect(unpackFrame(frame, 0, checked, PLACE, OFFSET + 8)).toBeUndefined();
    // What a head may claim is bounded by what is there, before any of it is made.
    const { length: _, ...fields } = checked;
    finishFrame(frame, { ...fields, payloadBytes: 250_000_000 }, PLACE, OFFSET);
    expect(checkFrame(frame, 0, frame.length, PLACE, OFFSET)).toBeUndefined();
    // Unpacked bytes are not taken for batches by who did not unpack them.
    expect(decodeBatches(view(frame, 0, frame.length), 0, checked, PLACE)).toBeUndefined();
  });
});
