/** Lines out of chunks, however they fall, and never more memory than the cap. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineSplitter } from '../../server/ndjson.js';

function split(chunks: readonly Buffer[], cap = 1000): [number, string | undefined][] {
  const splitter = new LineSplitter(cap);
  const lines = chunks.flatMap((chunk) => splitter.push(chunk));
  return [...lines, ...splitter.end()].map(({ number, bytes }) => [number, bytes?.toString()]);
}

describe('line splitter', () => {
  it('numbers every line and leaves blank ones out', () => {
    expect(split([Buffer.from('a\n\n \t\r\nb\r\n\nc')])).toEqual([
      [1, 'a'],
      [4, 'b\r'],
      [6, 'c'],
    ]);
  });

  it('throws an overlong line away and goes on with the next', () => {
    expect(split([Buffer.from('12345\n123456\n1\n')], 5)).toEqual([
      [1, '12345'],
      [2, undefined],
      [3, '1'],
    ]);
    expect(split([Buffer.from('123'), Buffer.from('456'), Buffer.from('789\nx\n999999')], 5)).toEqual([
      [1, undefined],
      [2, 'x'],
      [3, undefined],
    ]);
  });

  it('gives the same lines wherever the chunks are cut', () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', 'é', '\n', ' ', '\r', '漢'), { maxLength: 60 })
      .map((parts) => Buffer.from(parts.join('')));
    fc.assert(
      fc.property(text, fc.array(fc.nat(60), { maxLength: 8 }), fc.integer({ min: 1, max: 12 }), (bytes, cuts, cap) => {
        const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((place, index) => bytes.subarray(places[index], place));
        expect(split(chunks, cap)).toEqual(split([bytes], cap));
      }),
    );
  });
});
