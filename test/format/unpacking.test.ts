/** Blocks unpacked through one state, and by the call that node tells of: the same bytes, and the same refusals. */
import { brotliCompressSync, constants, deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { alone, BROTLI, DEFLATE, SPARE_BYTES, throughOneState } from '../../engine/format/unpacking.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';

const random = new SeededRandom(11);
const SIZES = [1, 2, 63, 64, 500, 4096, 8192, 8200, 65_536, 300_000];

function text(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, () => 97 + random.below(4)));
}

const METHODS = [
  { name: 'deflated', method: DEFLATE, pack: (raw: Uint8Array) => deflateRawSync(raw, { level: 3 }) },
  {
    name: 'brotli',
    method: BROTLI,
    pack: (raw: Uint8Array) =>
      brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 14 } }),
  },
];

it.each(METHODS)('uses one state for $name blocks, on the versions of node that these tests run on', ({ method }) => {
  expect(throughOneState(method)).toBeDefined();
});

const WAYS = METHODS.flatMap((each) => [
  { ...each, way: 'through one state', unpackInto: throughOneState(each.method) ?? alone(each.method) },
  { ...each, way: 'by the call for a whole buffer', unpackInto: alone(each.method) },
]);

describe.each(WAYS)('unpacking $name blocks $way', ({ method, pack, unpackInto }) => {
  function unpack(data: Uint8Array, bytes: number): Buffer | undefined {
    const into = Buffer.alloc(bytes + 2 * SPARE_BYTES + 1, 0xaa);
    if (!unpackInto(data, bytes, into, 1)) return undefined;
    expect([into[0], into.at(-1)]).toEqual([0xaa, 0xaa]);
    return into.subarray(1, bytes + 1);
  }

  it('gives back what was packed, in memory of its own', () => {
    const kept = SIZES.map((size) => {
      const raw = text(size);
      const items = unpack(pack(raw), size);
      return { raw, items };
    });
    for (const { raw, items } of kept) expect(items?.equals(raw)).toBe(true);
  });

  it('gives nothing but a whole stream of the length it is said to have', () => {
    const raw = text(5000);
    const packed = pack(raw);
    for (const wrong of [1, 4999, 5001, 8192]) expect(unpack(packed, wrong)).toBeUndefined();
    for (let cut = 0; cut < packed.length; cut += 97) expect(unpack(packed.subarray(0, cut), 5000)).toBeUndefined();
    expect(unpack(Buffer.alloc(0), 10)).toBeUndefined();
    for (let i = 0; i < 300; i++) {
      const garbled = Buffer.from(packed);
      garbled[random.below(garbled.length)]! ^= 1 << random.below(8);
      const items = unpack(garbled, 5000);
      expect(items?.length ?? 5000).toBe(5000);
      expect(items === undefined).toBe(!alone(method)(garbled, 5000, Buffer.alloc(5001), 0));
      expect(unpack(packed, 5000)?.equals(raw)).toBe(true);
    }
  });
});
