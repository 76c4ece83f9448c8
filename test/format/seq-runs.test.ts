import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countOfRuns, decodeRuns, encodeRuns, runsBytes, runsHave, runsOf } from '../../engine/format/seq-runs.js';
import { MAX_SEQ } from '../../engine/types.js';

const seqSets = fc
  .uniqueArray(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: MAX_SEQ })), { maxLength: 50 })
  .map((seqs) => seqs.sort((a, b) => a - b));

describe('runs of seqs', () => {
  it('hold exactly the seqs they were made of, and come back from bytes as they were', () => {
    fc.assert(
      fc.property(seqSets, (seqs) => {
        const runs = runsOf(seqs);
        expect(runs.flatMap(({ fromSeq, toSeq }) => Array.from({ length: toSeq - fromSeq + 1 }, (_, i) => fromSeq + i))).toEqual(seqs);
        expect(countOfRuns(runs)).toBe(seqs.length);
        const has = new Set(seqs);
        for (const seq of seqs) for (const near of [seq - 1, seq, seq + 1]) expect(runsHave(runs, near)).toBe(has.has(near));
        const bytes = Buffer.alloc(runsBytes(runs));
        expect(encodeRuns(bytes, 0, runs)).toBe(bytes.length);
        expect(decodeRuns(bytes, 0, bytes.length, runs.length)).toEqual(runs);
      }),
    );
  });

  it('have one encoding: any other bytes are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(6), (bytes, count) => {
        const runs = decodeRuns(bytes, 0, bytes.length, count);
        if (runs === undefined) return;
        const again = Buffer.alloc(runsBytes(runs));
        encodeRuns(again, 0, runs);
        expect(again).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('refuse a count that their bytes cannot hold', () => {
    expect(decodeRuns(Buffer.from([1, 1]), 0, 2, 2 ** 32 - 1)).toBeUndefined();
  });
});
