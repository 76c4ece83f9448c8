import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Candidate, pickSegments } from '../../engine/compaction/picking.js';

const OPTIONS = { segmentBytes: 1000, deadShare: 0.3, deadBytes: Number.POSITIVE_INFINITY, force: false };
const segment = (bytes: number, deadShare = 0, more: Partial<Candidate> = {}): Candidate => ({
  bytes,
  records: 100,
  deadRecords: Math.round(deadShare * 100),
  epoch: 1,
  isEligible: true,
  isUrgent: false,
  ...more,
});

describe('picking segments', () => {
  it('takes what is dead enough, alone where neighbours live', () => {
    expect(pickSegments([segment(1000), segment(1000, 0.6), segment(1000, 0.1)], OPTIONS)).toEqual([{ from: 1, to: 1 }]);
    expect(pickSegments([segment(1000), segment(1000, 0.1)], { ...OPTIONS, force: true })).toEqual([{ from: 1, to: 1 }]);
    expect(pickSegments([segment(1000), segment(1000)], { ...OPTIONS, force: true })).toEqual([]);
  });

  it('takes the deadest, whatever their share, while so many bytes are dead in all', () => {
    const all = [segment(1000, 0.1), segment(1000, 0.25), segment(1000), segment(1000, 0.2), segment(1000, 0.05)];
    const picked = (deadBytes: number) => pickSegments(all, { ...OPTIONS, deadBytes });
    expect(picked(601)).toEqual([]);
    expect(picked(600)).toEqual([{ from: 1, to: 1 }]);
    // Less than 300 left once the two have gone.
    expect(picked(300)).toEqual([
      { from: 1, to: 1 },
      { from: 3, to: 3 },
    ]);
    const unsound = [segment(1000, 0.25, { isEligible: false }), segment(1000, 0.1)];
    expect(pickSegments(unsound, { ...OPTIONS, deadBytes: 200 })).toEqual([]);
  });

  it('puts together what fits one segment, and no more', () => {
    const dead = Array.from({ length: 7 }, () => segment(1000, 0.7));
    expect(pickSegments(dead, OPTIONS)).toEqual([
      { from: 0, to: 2 },
      { from: 3, to: 5 },
      { from: 6, to: 6 },
    ]);
  });

  it('merges small neighbours where there are several, and leaves a lone one', () => {
    const small = segment(50);
    expect(pickSegments([segment(1000), small, small, small, small], OPTIONS)).toEqual([{ from: 1, to: 4 }]);
    expect(pickSegments([segment(1000), small, small, segment(1000)], OPTIONS)).toEqual([]);
    expect(pickSegments([segment(1000), small, small, segment(1000)], { ...OPTIONS, force: true })).toEqual([{ from: 1, to: 2 }]);
  });

  it('never reaches over a damaged segment, the active one, or the end of an epoch', () => {
    const dead = segment(100, 0.9);
    expect(pickSegments([dead, segment(100, 0.9, { isEligible: false }), dead], OPTIONS)).toEqual([
      { from: 0, to: 0 },
      { from: 2, to: 2 },
    ]);
    expect(pickSegments([dead, segment(100, 0.9, { epoch: 2 })], OPTIONS)).toEqual([
      { from: 0, to: 0 },
      { from: 1, to: 1 },
    ]);
  });

  it('takes what must go whatever it gains', () => {
    expect(pickSegments([segment(1000), segment(1000, 0, { isUrgent: true })], OPTIONS)).toEqual([{ from: 1, to: 1 }]);
  });

  it('groups what it takes without overlap, each fitting one segment', () => {
    const any = fc.record({ bytes: fc.nat(1000), dead: fc.nat(100), eligible: fc.boolean() });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 20 }), fc.boolean(), (list, force) => {
        const candidates = list.map(({ bytes, dead, eligible }) => segment(bytes, dead / 100, { isEligible: eligible }));
        let end = -1;
        for (const { from, to } of pickSegments(candidates, { ...OPTIONS, force })) {
          expect(from).toBeGreaterThan(end);
          end = to;
          const group = candidates.slice(from, to + 1);
          expect(group.every(({ isEligible }) => isEligible)).toBe(true);
          expect(group.reduce((sum, { bytes, deadRecords }) => sum + bytes * (1 - deadRecords / 100), 0)).toBeLessThanOrEqual(1000.001);
        }
      }),
    );
  });
});
