/** BLAKE3 of long inputs, four chunks at a time, held against the other implementation and against known digests. */
import { describe, expect, it } from 'vitest';
import { Blake3Stream, blake3 } from '../../engine/format/hash.js';
import { laneKernel } from '../../engine/format/lane-kernel.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';

/** The input of BLAKE3's own test vectors. */
const INPUT = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251));
const KNOWN: readonly (readonly [number, string])[] = [
  [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1023, '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
];

function digestOf(bytes: Uint8Array, isWide: boolean): string {
  return new Blake3Stream(isWide).update(bytes).digest().toString('hex');
}

describe('BLAKE3 four chunks at a time', () => {
  it('is there on every machine that runs these tests', () => {
    expect(laneKernel()).toBeDefined();
  });

  it('gives the digests that the authors published', () => {
    for (const [length, digest] of KNOWN) {
      expect(digestOf(INPUT.subarray(0, length), true)).toBe(digest);
      expect(digestOf(INPUT.subarray(0, length), false)).toBe(digest);
    }
  });

  it('gives what the other implementation gives, around every edge', () => {
    const edges = [64, 1024, 2048, 3072, 4096, 15 * 1024, 16384, 17 * 1024, 32768, 49152, 65536, 98304, 131072, 262144];
    for (const edge of edges)
      for (let length = edge - 2; length <= edge + 2; length++) {
        const bytes = INPUT.subarray(0, length);
        expect([length, digestOf(bytes, true)]).toEqual([length, digestOf(bytes, false)]);
      }
  });

  it('does not mind how the input comes, nor other streams in between', () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < 30; round++) {
      const length = 1 + random.below(INPUT.length);
      const [one, other] = [new Blake3Stream(true), new Blake3Stream(true)];
      for (let from = 0; from < length; ) {
        const part = INPUT.subarray(from, Math.min(length, from + 1 + random.below(40_000)));
        one.update(part);
        other.update(part.subarray(1));
        blake3(part);
        from += part.length;
      }
      expect(one.digest().toString('hex')).toBe(digestOf(INPUT.subarray(0, length), false));
    }
  });

  it('does not mind what becomes of the memory its input came in', () => {
    for (const length of [10, 5000, 65_000, 200_000]) {
      const stream = new Blake3Stream();
      const memory = Buffer.alloc(1000);
      for (let from = 0; from < length; from += memory.length) {
        const count = INPUT.copy(memory, 0, from, Math.min(length, from + memory.length));
        stream.update(memory.subarray(0, count));
      }
      expect(stream.digest().toString('hex')).toBe(digestOf(INPUT.subarray(0, length), false));
    }
  });

  it('is not used after its digest', () => {
    for (const isWide of [true, false]) {
      const stream = new Blake3Stream(isWide);
      stream.update(INPUT);
      stream.digest();
      stream.free();
      expect(() => stream.update(INPUT)).toThrow('after its digest');
      expect(() => stream.digest()).toThrow('after its digest');
    }
  });
});
