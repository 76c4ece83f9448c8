import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3 as engineBlake3 } from '../../engine/format/hash.js';
import { blake3 } from '../../server/client/blake3.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe("the client's BLAKE3", () => {
  it('is the one of the specification', () => {
    expect(hex(blake3(new Uint8Array(0)))).toBe('af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262');
    expect(hex(blake3(Buffer.from('abc')))).toBe('6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85');
  });

  it("is the engine's at every length around blocks and chunks", () => {
    const input = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 31) % 251);
    for (const around of [0, 64, 128, 960, 1024, 2048, 3072, 4096, 5120, 8192, 16384]) {
      for (const length of [around - 1, around, around + 1]) {
        if (length < 0) continue;
        const part = input.subarray(0, length);
        expect(hex(blake3(part)), `${length} bytes`).toBe(hex(engineBlake3(part)));
      }
    }
  });

  it("is the engine's of any parts", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 4 }), (parts) => {
        expect(hex(blake3(...parts))).toBe(hex(engineBlake3(...parts)));
      }),
      { numRuns: 300 },
    );
  });
});
