/** Blocks unpacked through one zlib state, and by the call that node tells of: the same bytes, and the same refusals. */
import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { inflateAlone, SPARE_BYTES, throughOneState } from '../../engine/format/raw-inflate.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';

const random = new SeededRandom(11);
const SIZES = [1, 2, 63, 64, 500, 4096, 8192, 8200, 65_536, 300_000];

function text(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, () => 97 + random.below(4)));
}

it('uses one state, on the versions of node that these tests run on', () => {
  expect(throughOneState()).toBeDefined();
});

describe.each([
  ['through one state', throughOneState() ?? inflateAlone],
  ['by the call for a whole buffer', inflateAlone],
] as const)('unpacking blocks %s', (_, inflateInto) => {
  function inflate(data: Uint8Array, bytes: number): Buffer | undefined {
    const into = Buffer.alloc(bytes + 2 * SPARE_BYTES + 1, 0xaa);
    if (!inflateInto(data, bytes, into, 1)) return undefined;
    expect([into[0], into.at(-1)]).toEqual([0xaa, 0xaa]);
    return into.subarray(1, bytes + 1);
  }

  it('gives back what was packed, in memory of its own', () => {
    const kept = SIZES.map((size) => {
      const raw = text(size);
      const items = inflate(deflateRawSync(raw, { level: 3 }), size);
      return { raw, items };
    });
    for (const { raw, items } of kept) expect(items?.equals(raw)).toBe(true);
  });

  it('gives nothing but a whole stream of the length it is said to have', () => {
    const raw = text(5000);
    const packed = deflateRawSync(raw, { level: 3 });
    for (const wrong of [1, 4999, 5001, 8192]) expect(inflate(packed, wrong)).toBeUndefined();
    for (let cut = 0; cut < packed.length; cut += 97) expect(inflate(packed.subarray(0, cut), 5000)).toBeUndefined();
    expect(inflate(Buffer.alloc(0), 10)).toBeUndefined();
    for (let i = 0; i < 300; i++) {
      const garbled = Buffer.from(packed);
      garbled[random.below(garbled.length)]! ^= 1 << random.below(8);
      const items = inflate(garbled, 5000);
      expect(items?.length ?? 5000).toBe(5000);
      expect(items === undefined).toBe(!inflateAlone(garbled, 5000, Buffer.alloc(5001), 0));
      expect(inflate(packed, 5000)?.equals(raw)).toBe(true);
    }
  });
});
