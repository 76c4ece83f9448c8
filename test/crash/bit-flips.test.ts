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

describe('one flipped bit', () => {
  test('is looked for in every kind of file', () => {
    const kinds = files.map(({ path }) => path.replaceAll(/[0-9a-f]{12}-[0-9a-f]{4}/g, '*'));
    for (const kind of ['node.json', 'catalog.sqlite', 'shards/0001/log/*.seg']) expect(kinds).toContain(kind);
    expect(kinds.some((kind) => kind.startsWith('shards/0001/tree/'))).toBe(true);
  });

  test.each(files.map(({ path, size }) => [path, size] as const))(
    'never gives a wrong answer: %s',
    { timeout: 120_000 },
    async (path, size) => {
      const random = new Random(size);
      const bits = path.startsWith('catalog')
        ? Array.from({ length: CATALOG_BITS }, () => random.below(size * 8))
        : Array.from({ length: Math.floor((size * 8) / ONE_BIT_IN) }, (_, i) => i * ONE_BIT_IN + random.below(ONE_BIT_IN));
      const verdicts = { right: 0, refused: 0 };
      for (const bit of bits) verdicts[await flipAndAsk(subject, path, bit)]++;
      expect(verdicts.right + verdicts.refused).toBe(bits.length);
    },
  );
});
