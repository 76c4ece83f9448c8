import { createHash } from 'blake3-wasm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../engine/format/checksum.js';
import { Blake3Stream, blake3, blake3Into, halfSipHash, hex } from '../../engine/format/hash.js';

/** The input of the published BLAKE3 vectors: 0, 1, … 250, 0, 1, … */
function pattern(bytes: number): Buffer {
  const input = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) input[i] = i % 251;
  return input;
}

function packageHash(bytes: Uint8Array): Buffer {
  return createHash().update(Buffer.from(bytes)).digest() as Buffer;
}

describe('crc32', () => {
  it('gives the published check value, unsigned', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
    expect(crc32(Buffer.alloc(0))).toBe(0);
  });

  it('continues from a seed', () => {
    expect(crc32(Buffer.from('6789'), crc32(Buffer.from('12345')))).toBe(0xcbf43926);
  });
});

describe('blake3', () => {
  it('gives the published hashes', () => {
    const published: [number, string][] = [
      [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
      [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
      [1023, '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11'],
      [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
      [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
      [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
    ];
    for (const [bytes, hash] of published) expect(hex(blake3(pattern(bytes)))).toBe(hash);
    expect(hex(blake3(Buffer.from('abc')))).toBe('6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85');
  });

  it('hashes parts as if they were one', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 5 }), (parts) => {
        expect(blake3(...parts)).toEqual(blake3(Buffer.concat(parts)));
      }),
      { numRuns: 100 },
    );
  });

  it("gives the package's hashes of every length around chunks, pieces and subtrees, streamed in any parts", () => {
    const input = pattern(5 * 65536 + 2000);
    const around = [0, 1, 64, 1024, 2048, 3072, 4096, 5120, 7168, 8192, 31744, 65536, 66560, 131072, 196608, 262144, 327680];
    for (const length of around.flatMap((bytes) => [bytes - 1, bytes, bytes + 1, bytes + 65]).filter((bytes) => bytes >= 0)) {
      const bytes = input.subarray(0, length);
      const expected = packageHash(bytes).toString('hex');
      for (const step of [1000, 1024, 65536, 65537, length + 1]) {
        const stream = new Blake3Stream();
        for (let at = 0; at < length; at += step) stream.update(bytes.subarray(at, at + step));
        expect(hex(stream.digest()), `${length} bytes in parts of ${step}`).toBe(expected);
      }
    }
  });

  it("gives the package's hashes of every length around chunks at once, once there was much to hash", () => {
    const input = pattern(65536 + 8);
    for (let i = 0; i < 20; i++) blake3(input.subarray(0, 65536));
    for (const chunks of [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33, 63, 64]) {
      for (const length of [-1, 0, 1, 2, 63, 64, 65, 100].map((more) => chunks * 1024 + more).filter((bytes) => bytes <= 65536)) {
        const expected = packageHash(input.subarray(3, 3 + length)).toString('hex');
        expect(hex(blake3(input.subarray(3, 8), input.subarray(8, 3 + length))), `${length} bytes`).toBe(expected);
        const into = new Uint8Array(40);
        blake3Into(into, 5, input.subarray(3, 8), input, 8, 3 + length);
        expect(hex(into.subarray(5, 37)), `${length} bytes`).toBe(expected);
      }
    }
  });

  it('gives the same whether streamed in any pieces or hashed at once, across the growth of its memory', () => {
    const large = pattern(9 * 1024 * 1024 + 3);
    const whole = hex(blake3(large));
    const stream = new Blake3Stream();
    let at = 0;
    for (let size = 1; at < large.length; size = size * 3 + 1) {
      stream.update(large.subarray(at, at + size));
      at += size;
    }
    expect(hex(stream.digest())).toBe(whole);
    // Many open streams grow the module's memory, which detaches every view of it.
    const streams = Array.from({ length: 3000 }, () => new Blake3Stream().update(Buffer.from('a')));
    expect(hex(blake3(Buffer.from('abc')))).toBe('6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85');
    for (const one of streams) expect(one.update(Buffer.from('bc')).digest()).toEqual(blake3(Buffer.from('abc')));
  });

  it('does not share bytes between results', () => {
    const first = blake3(Buffer.from('a'));
    const kept = hex(first);
    blake3(Buffer.from('b'));
    expect(hex(first)).toBe(kept);
  });

  it('refuses a stream that has given its digest', () => {
    const stream = new Blake3Stream();
    stream.digest();
    expect(() => stream.update(Buffer.from('a'))).toThrow('assertion failed');
    stream.free();
  });
});

describe('halfSipHash', () => {
  const key = new Uint32Array([0x03020100, 0x07060504]);

  it('gives the first published 32-bit vectors', () => {
    const published = ['a9359f5b', '27475ab8', 'fa62a603', '8afee704', '2a6e4689', 'c5fab669', '5863fc23', '8bcf63c5'];
    for (let i = 0; i < published.length; i++) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(halfSipHash(key, pattern(i)));
      expect(bytes.toString('hex')).toBe(published[i]);
    }
  });

  it('hashes a range like a copy of that range', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(40), fc.nat(40), (bytes, a, b) => {
        const start = Math.min(a, b, bytes.length);
        const end = Math.min(Math.max(a, b), bytes.length);
        expect(halfSipHash(key, bytes, start, end)).toBe(halfSipHash(key, bytes.slice(start, end)));
      }),
    );
  });
});
