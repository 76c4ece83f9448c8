/** Deflating of our own: whatever goes in comes out of zlib's inflate, block by block, and what comes out depends on nothing else. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockDeflater } from '../../engine/format/deflate.js';
import { INPUT_BYTES, MAX_PARSED_BYTES } from '../../engine/format/deflate-kernel.js';
import { codeLengths, codesOf } from '../../engine/format/huffman.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';

const shared = BlockDeflater.make()!;

function deflatedRun(blocks: readonly Uint8Array[], deflater = shared): Buffer[] {
  deflater.begin();
  for (const block of blocks) expect(deflater.add(block)).toBe(true);
  return blocks.map((_, i) => Buffer.from(deflater.deflated(i)));
}

function expectBack(blocks: readonly Uint8Array[]): Buffer[] {
  const deflated = deflatedRun(blocks);
  for (const [i, block] of blocks.entries()) {
    // To the last byte: nothing behind the end.
    const { buffer, engine } = inflateRawSync(deflated[i]!, { info: true }) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    expect(Buffer.compare(buffer, block)).toBe(0);
    expect(engine.bytesWritten).toBe(deflated[i]!.length);
  }
  return deflated;
}

/** Bytes of few kinds, with stretches from before: of any distance, any length. */
function repetitive(random: SeededRandom, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const kinds = 1 + random.below(256);
  for (let at = 0; at < length; ) {
    const run = Math.min(length - at, 1 + random.below(random.below(100) < 10 ? 600 : 20));
    const distance = at === 0 ? 0 : 1 + random.below(Math.min(at, random.below(100) < 30 ? 8 : at));
    const isCopy = distance > 0 && random.below(100) < 60;
    for (const end = at + run; at < end; at++) bytes[at] = isCopy ? bytes[at - distance]! : random.below(kinds);
  }
  return bytes;
}

/** Much like what is stored: names that come again, numbers and salts that do not. */
function records(random: SeededRandom, count: number): Buffer {
  const parts = Array.from({ length: count }, (_, i) => {
    const body = {
      city: `c${random.below(20)}`,
      id: random.below(1e6),
      name: `n${random.below(50)}`,
      tags: ['a', 'b'],
      updatedAt: 1e9 + i,
    };
    return Buffer.concat([Buffer.from(`bench${JSON.stringify(body)}`), Buffer.from(random.bytes(16))]);
  });
  return Buffer.concat(parts);
}

describe('deflating blocks', () => {
  it('gives what zlib inflates to the same bytes, of any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 8 }), (blocks) => {
        expectBack(blocks);
      }),
    );
  });

  it('does so for matches of any length and distance, up to a window', () => {
    const random = new SeededRandom(11);
    for (let round = 0; round < 150; round++) {
      const lengths = Array.from({ length: 1 + random.below(4) }, () => 1 + random.below(random.below(100) < 20 ? 18_000 : 3000));
      expectBack(lengths.map((length) => repetitive(random, length)));
    }
    const far = Buffer.from(random.bytes(MAX_PARSED_BYTES));
    far.copy(far, MAX_PARSED_BYTES - 300, 0, 300);
    expectBack([far]);
    expectBack([Buffer.alloc(MAX_PARSED_BYTES, 7), Buffer.alloc(1), Buffer.alloc(MAX_PARSED_BYTES, 'ab')]);
  });

  it('does so where some bytes are so rare that their codes would be too long', () => {
    // Each twice as often as the one before it, and then some: codes of 24 bits, were they allowed.
    const bytes: number[] = [];
    for (let [kind, times, next] = [0, 1, 1]; bytes.length + times <= 30_000; [kind, times, next] = [kind + 1, next, times + next])
      for (let i = 0; i < times; i++) bytes.push(kind);
    const random = new SeededRandom(12);
    for (let i = bytes.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [bytes[i], bytes[j]] = [bytes[j]!, bytes[i]!];
    }
    expectBack([Uint8Array.from(bytes)]);
  });

  it('takes no block that is too long, and no more than fit at once', () => {
    const deflater = shared;
    deflater.begin();
    expect(deflater.add(new Uint8Array(MAX_PARSED_BYTES + 1))).toBe(false);
    let taken = 0;
    while (deflater.add(new Uint8Array(8000))) taken++;
    expect(taken).toBe(Math.floor(INPUT_BYTES / 8000));
    expect(inflateRawSync(deflater.deflated(taken - 1)).length).toBe(8000);
  });

  it('gives the same for the same blocks, whatever others are given meanwhile', () => {
    const random = new SeededRandom(13);
    const runs = Array.from({ length: 20 }, (_, i) =>
      i === 9 ? [repetitive(random, 30_000)] : [records(random, 60), records(random, 60)],
    );
    const alone = BlockDeflater.make()!;
    const first = runs.map((blocks) => deflatedRun(blocks, alone));
    const beside = BlockDeflater.make()!;
    for (const [i, blocks] of runs.entries()) {
      expect(deflatedRun(blocks, beside)).toEqual(first[i]);
      expectBack([repetitive(random, 20_000), Buffer.from(random.bytes(20_000))]);
    }
  });

  it('is nearly as small as zlib where names come again', () => {
    const random = new SeededRandom(14);
    const blocks = Array.from({ length: 8 }, () => records(random, 70));
    const ours = expectBack(blocks).reduce((sum, { length }) => sum + length, 0);
    const zlibs = blocks.reduce((sum, block) => sum + deflateRawSync(block, { level: 3 }).length, 0);
    expect(ours / zlibs).toBeLessThan(1.15);
  });
});

describe('codes', () => {
  it('are none too long, leave none unused, and begin differently', () => {
    const counts = fc.array(fc.oneof(fc.constant(0), fc.nat(5), fc.nat(100_000), fc.nat(10_000_000)), { minLength: 2, maxLength: 286 });
    fc.assert(
      fc.property(counts, fc.constantFrom(9, 15), (list, most) => {
        const lengths = new Uint8Array(list.length);
        codeLengths(Uint32Array.from(list), most, lengths);
        expect(Math.max(...lengths)).toBeLessThanOrEqual(most);
        expect(lengths.reduce((sum, length) => sum + (length === 0 ? 0 : 2 ** -length), 0)).toBe(1);
        for (const [symbol, count] of list.entries()) if (count > 0) expect(lengths[symbol]).toBeGreaterThan(0);
        const codes = new Uint32Array(list.length);
        codesOf(lengths, codes);
        const texts = [...codes].flatMap((code, i) => (lengths[i] === 0 ? [] : [bitsOf(code, lengths[i]!)])).sort();
        for (let i = 1; i < texts.length; i++) expect(texts[i]!.startsWith(texts[i - 1]!)).toBe(false);
      }),
    );
  });
});

/** The first bit first. */
function bitsOf(code: number, length: number): string {
  return Array.from({ length }, (_, i) => (code >>> i) & 1).join('');
}
