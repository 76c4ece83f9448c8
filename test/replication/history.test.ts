/** Which way leads from one log to another: only a newer epoch takes anything back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readEpochs, wayTo } from '../../replication/history.js';

const span = (epoch: number, firstSeq: number, lastSeq: number) => ({ epoch, firstSeq, lastSeq });
const FAR = 2 ** 32;

describe('the way to a source', () => {
  it('is a stream where ours is a prefix of theirs', () => {
    expect(wayTo([span(1, 1, 10)], [span(1, 1, 30)])).toEqual({ way: 'stream' });
    expect(wayTo([span(1, 1, 10)], [span(1, 1, 10), span(2, 10 + FAR, 20 + FAR)])).toEqual({ way: 'stream' });
    expect(wayTo([], [span(1, 1, 30)])).toEqual({ way: 'stream' });
  });

  it('is a rewind to where the shared epoch ended, where theirs went on in a later one', () => {
    expect(wayTo([span(1, 1, 10)], [span(1, 1, 7), span(2, 7 + FAR, 20 + FAR)])).toEqual({ way: 'rewind', seq: 7 });
    const ours = [span(1, 1, 10), span(2, 10 + FAR, 15 + FAR)];
    expect(wayTo(ours, [span(1, 1, 10), span(3, 10 + FAR, 11 + FAR)])).toEqual({ way: 'rewind', seq: 10 });
  });

  it('takes nothing back for a source that is only behind', () => {
    expect(wayTo([span(1, 1, 10)], [span(1, 1, 7)])).toMatchObject({ way: 'behind' });
    expect(wayTo([span(1, 1, 10), span(2, 10 + FAR, 11 + FAR)], [span(1, 1, 10)])).toMatchObject({ way: 'behind' });
    expect(wayTo([span(3, 1, 10)], [span(1, 1, 7), span(2, 8, 9)])).toMatchObject({ way: 'behind' });
  });

  it('never rewinds below what both have, nor without a newer epoch', () => {
    const history = fc
      .array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 50 })), { minLength: 1, maxLength: 4 })
      .map((steps) => {
        let epoch = 0;
        let seq = 0;
        return steps.map(([step, length]) => {
          epoch += step;
          const firstSeq = seq === 0 ? 1 : seq + FAR;
          seq = firstSeq + length;
          return span(epoch, firstSeq, seq);
        });
      });
    fc.assert(
      fc.property(history, history, (ours, theirs) => {
        const way = wayTo(ours, theirs);
        if (way.way !== 'rewind') return;
        expect(theirs.at(-1)!.epoch).toBeGreaterThan(ours.at(-1)!.epoch);
        const shared = ours.findLast((each) => theirs.some((other) => other.epoch === each.epoch))!;
        const other = theirs.find((each) => each.epoch === shared.epoch)!;
        expect(way.seq).toBe(Math.min(shared.lastSeq, other.lastSeq));
      }),
    );
  });
});

describe('a history from a peer', () => {
  it('is read only where its epochs and seqs rise', () => {
    expect(readEpochs([[1, 1, 10]])).toEqual([span(1, 1, 10)]);
    for (const bad of [
      null,
      {},
      [[1, 1]],
      [[1, 1, -1]],
      [
        [1, 1, 10],
        [1, 11, 12],
      ],
      [
        [2, 1, 10],
        [1, 11, 12],
      ],
      [
        [1, 1, 10],
        [2, 10, 12],
      ],
      [['1', 1, 2]],
    ])
      expect(readEpochs(bad), JSON.stringify(bad)).toBeUndefined();
  });
});
