/**
 * Every kind of file, one bit wrong at a time. All bits of node.json, segments and trees would take minutes:
 * here one bit in 24 of them and a share of the catalog, picked by seed; all of it: `npx tsx tools/faults/bit-flips.ts`.
 */
import { describe, expect, test } from 'vitest';
import { flipAndAsk, makeSubject } from '../support/bit-flips.js';
import { Random } from '../support/random.js';

const CATALOG_BITS = 150;
const ONE_BIT_IN = 24;

const subject = await makeSubject();
const files = subject.machine.fileList().filter((file) => file.size > 0);
const packed = await makeSubject(true);
const packedSegments = packed.machine.fileList().filter(({ path }) => path.endsWith('.seg') && !path.endsWith('-0000.seg'));

describe('one flipped bit', () => {
  test('is looked for in every kind of file', () => {
    const kinds = files.map(({ path }) => path.replaceAll(/[0-9a-f]{12}-[0-9a-f]{4}/g, '*'));
    for (const kind of ['node.json', 'catalog.sqlite', 'shards/0001/log/*.seg']) expect(kinds).toContain(kind);
    expect(kinds.some((kind) => kind.startsWith('shards/0001/tree/'))).toBe(true);
  });

  const cases = [
    ...files.map(({ path, size }) => [path, size, subject] as const),
    ...packedSegments.map(({ path, size }) => [`${path}, packed`, size, packed] as const),
  ];

  test('is looked for in packed segments', () => {
    expect(packedSegments.length).toBeGreaterThan(0);
    expect(packedSegments.some(({ path }) => packed.machine.contents(path)[8] === 2)).toBe(true);
  });

  test.each(cases)('never gives a wrong answer: %s', { timeout: 120_000 }, async (name, size, of) => {
    const random = new Random(size);
    const bits = name.startsWith('catalog')
      ? Array.from({ length: CATALOG_BITS }, () => random.below(size * 8))
      : Array.from({ length: Math.floor((size * 8) / ONE_BIT_IN) }, (_, i) => i * ONE_BIT_IN + random.below(ONE_BIT_IN));
    const verdicts = { right: 0, refused: 0 };
    for (const bit of bits) verdicts[await flipAndAsk(of, name.replace(/, packed$/, ''), bit)]++;
    expect(verdicts.right + verdicts.refused).toBe(bits.length);
  });
});
