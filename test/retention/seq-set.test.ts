import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runsOf } from '../../engine/format/seq-runs.js';
import { SeqSet } from '../../engine/retention/seq-set.js';

/** Around the ends of bytes and pages, and far apart as epochs are. */
const seq = fc.tuple(fc.constantFrom(1, 2 ** 18 - 20, 2 ** 32 - 5, 2 ** 40), fc.nat(60)).map(([base, more]) => base + more);
const range = fc.tuple(seq, fc.nat(40)).map(([fromSeq, length]) => ({ fromSeq, toSeq: fromSeq + length }));
const step = fc.oneof(fc.record({ add: seq }), fc.record({ remove: seq }), fc.record({ addRun: range }), fc.record({ removeIn: range }));

describe('a set of seqs', () => {
  it('is what a set of numbers is, by ones and by ranges, and survives being sent as pages', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), range, fc.integer({ min: 1, max: 4 }), (steps, within, limit) => {
        const set = new SeqSet();
        const model = new Set<number>();
        const each = ({ fromSeq, toSeq }: { fromSeq: number; toSeq: number }, work: (seq: number) => void): void => {
          for (let one = fromSeq; one <= toSeq; one++) work(one);
        };
        for (const one of steps) {
          if ('add' in one) {
            set.add(one.add);
            model.add(one.add);
          } else if ('remove' in one) {
            set.delete(one.remove);
            model.delete(one.remove);
          } else if ('addRun' in one) {
            set.addRuns([one.addRun]);
            each(one.addRun, (seq) => model.add(seq));
          } else {
            set.deleteIn(one.removeIn.fromSeq, one.removeIn.toSeq);
            each(one.removeIn, (seq) => model.delete(seq));
          }
        }
        const sorted = [...model].sort((a, b) => a - b);
        const inside = sorted.filter((one) => one >= within.fromSeq && one <= within.toSeq);
        for (const copy of [set, new SeqSet(structuredClone(set.pages))]) {
          expect([copy.size, [...copy.values()], copy.runs()]).toEqual([model.size, sorted, runsOf(sorted)]);
          expect(copy.countIn(within.fromSeq, within.toSeq)).toBe(inside.length);
          expect(copy.runsIn(within.fromSeq, within.toSeq)).toEqual(runsOf(inside));
          expect(copy.runsIn(0, Number.POSITIVE_INFINITY, limit)).toEqual(runsOf(sorted).slice(0, limit));
          const pages = new SeqSet(copy.pagesIn(within.fromSeq, within.toSeq));
          expect(pages.runsIn(within.fromSeq, within.toSeq)).toEqual(runsOf(inside));
          for (const { fromSeq } of [within]) expect(copy.has(fromSeq)).toBe(model.has(fromSeq));
        }
      }),
      { numRuns: 400 },
    );
  });
});
