import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3, HASH_BYTES } from '../../engine/format/hash.js';
import { CHUNK_END, CHUNK_START, KERNEL_BYTES, LANES, laneKernel, MAX_INPUT_BYTES, ROOT } from '../../engine/format/lane-kernel.js';

const GROUPS = 3;
const COUNT = GROUPS * LANES;
const COLUMN = COUNT * 4;
const OUT = KERNEL_BYTES + 3 * COLUMN;
const DATA = OUT + COUNT * HASH_BYTES;
const DATA_BYTES = 8192;

describe('the lane kernel', () => {
  const kernel = laneKernel()!;
  const { bytes, words } = kernel;
  for (let i = 0; i < DATA_BYTES; i++) bytes[DATA + i] = Math.imul(i, 0x9e3779b1) >>> 24;

  const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: MAX_INPUT_BYTES }), fc.constantFrom(1, 63, 64, 65, 128, 1023, 1024)), {
    minLength: COUNT,
    maxLength: COUNT,
  });
  const places = fc.array(fc.nat(DATA_BYTES - MAX_INPUT_BYTES), { minLength: COUNT, maxLength: COUNT });

  it('hashes inputs of any lengths, anywhere, as the package does', () => {
    fc.assert(
      fc.property(lengths, places, (sizes, at) => {
        for (let i = 0; i < COUNT; i++) {
          words[KERNEL_BYTES / 4 + i] = DATA + at[i]!;
          words[(KERNEL_BYTES + COLUMN) / 4 + i] = sizes[i]!;
          words[(KERNEL_BYTES + 2 * COLUMN) / 4 + i] = OUT + i * HASH_BYTES;
        }
        kernel.hash(KERNEL_BYTES, KERNEL_BYTES + COLUMN, KERNEL_BYTES + 2 * COLUMN, COUNT, 0, 0, 0, CHUNK_START, CHUNK_END | ROOT);
        const expected = sizes.map((size, i) => blake3(bytes.subarray(DATA + at[i]!, DATA + at[i]! + size)));
        expect(Buffer.compare(bytes.subarray(OUT, OUT + COUNT * HASH_BYTES), Buffer.concat(expected))).toBe(0);
      }),
    );
  });

  it("sums bytes of any length, anywhere, as zlib's CRC-32", () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.nat(5000), fc.nat(2 ** 32 - 1), (length, at, seed) => {
        expect(kernel.crc(DATA + at, length, seed) >>> 0).toBe(crc32(bytes.subarray(DATA + at, DATA + at + length), seed));
      }),
    );
  });
});
