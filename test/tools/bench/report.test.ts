/** Who is called the best, how much better Varve is said to be, and what the table and the chart make of it. */
import { describe, expect, it } from 'vitest';
import { chart } from '../../../tools/bench/chart.js';
import { compareHttp, compareRun, ratioText } from '../../../tools/bench/compare.js';
import type { Measured } from '../../../tools/bench/job.js';
import { comparisons, markdown } from '../../../tools/bench/report.js';
import { medians, newResults, type PeerResult, type Results } from '../../../tools/bench/results.js';
import { amount, micros } from '../../../tools/bench/rows.js';

function peer(title: string, workloads: Measured, more: Partial<PeerResult> = {}): PeerResult {
  const fixed = {
    design: 'a design',
    durable: true,
    packages: { [title]: '1.0.0' },
    entities: 100,
    reps: 1,
    diffHow: 'by reading',
    errors: [],
  };
  return { title, workloads, ...fixed, ...more };
}

const rates = (insert: number, newest: number, openMs: number): Measured => ({
  insert: { perSecond: insert, p50Us: 5, p99Us: 1500 },
  newest: { perSecond: newest, p50Us: 5, p99Us: 9 },
  open: { ms: openMs },
});

function results(): Results {
  const all = newResults('varve bench --peers varve,a,b', { reps: 1, capSeconds: 1, seed: 1 });
  all.runs.push({
    data: 'synthetic',
    entities: 100,
    versions: 500,
    peers: {
      a: peer('A', rates(2000, 100, 10)),
      varve: peer('Varve', rates(3000, 50, 20)),
      lazy: peer('Lazy & co', rates(9000, 80, 40), { durable: false, durableNote: 'it forgets' }),
      small: peer('Small', rates(1, 200, 1), { entities: 10, errors: ['run 1, crash: it broke'] }),
    },
  });
  return all;
}

const row = (title: string) => compareRun(results().runs[0]!).rows.find((one) => one.title === title)!;

describe('the comparison', () => {
  it('puts Varve first', () => {
    expect(compareRun(results().runs[0]!).names).toEqual(['varve', 'a', 'lazy', 'small']);
  });

  it('says how many times better than the best other, whichever way is better', () => {
    expect(row('insert, 1 client, /s')).toMatchObject({ best: 'varve', bestRival: 'a', ratio: 1.5 });
    expect(row('open to first answer, ms')).toMatchObject({ best: 'a', bestRival: 'a', ratio: 0.5 });
  });

  it('calls nobody best who does less: no sync where writes are counted, fewer entities where size is', () => {
    expect(row('insert, 1 client, /s').cells['lazy']).toMatchObject({ value: 9000, rival: false });
    expect(row('open to first answer, ms').cells['small']).toMatchObject({ value: 1, rival: false });
  });

  it('counts against Varve whoever has fewer entities where that is no help', () => {
    expect(row('newest, /s')).toMatchObject({ bestRival: 'small', ratio: 0.25 });
  });

  it('leaves out what nobody measured, and tells what failed or was less', () => {
    const { rows, notes } = compareRun(results().runs[0]!);
    expect(rows.map(({ title }) => title)).toEqual(['insert, 1 client, /s', 'newest, /s', 'open to first answer, ms']);
    expect(notes.join('\n')).toMatch(/Lazy & co does not sync.*it forgets\)\n.*Small was run with 10 entities\n.*it broke/);
  });
});

describe('the report', () => {
  it('marks the best and tells percentiles, versions and the command', () => {
    const text = markdown(results());
    expect(text).toContain('| insert, 1 client, /s | **3.0k** (5 µs / 1.5 ms) | 2.0k (5 µs / 1.5 ms) | (9.0k) (5 µs / 1.5 ms) |');
    expect(text).toContain('    varve bench --peers varve,a,b');
    expect(text).toContain('Lazy & co 1.0.0. a design. differences: by reading.');
  });

  it('writes figures as people read them', () => {
    expect([0.0123, 5.64, 9.99, 126.4, 999.6, 1540, 9960, 47_123, 1_234_567, 20_000_000].map(amount)).toEqual([
      '0.012',
      '5.6',
      '10',
      '126',
      '1.0k',
      '1.5k',
      '10k',
      '47k',
      '1.2M',
      '20M',
    ]);
    expect([micros(5), micros(1500), ratioText(0.333), ratioText(17.2), ratioText(undefined)]).toEqual([
      '5 µs',
      '1.5 ms',
      '0.33×',
      '17×',
      '–',
    ]);
  });

  it('draws a bar for every row that has a ratio, to the side of it', () => {
    const svg = chart(comparisons(results()), 'a < b & c');
    expect(svg).toMatch(/^<svg [^>]+>/);
    expect(svg.trimEnd()).toMatch(/<\/svg>$/);
    expect(svg).toContain('a &lt; b &amp; c');
    const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)].map(([, x, width]) => [Number(x), Number(width)]);
    expect(bars).toHaveLength(3);
    const axis = Math.min(...bars.map(([x = 0, width = 0]) => Math.max(x, x + width)));
    expect(bars[0]?.[0]).toBe(axis);
    for (const [x = 0, width = 0] of bars.slice(1)) expect(x + width).toBeCloseTo(axis, 0);
    expect(svg.match(/<text/g)?.length).toBe(svg.match(/<\/text>/g)?.length);
  });

  it('tells of HTTP what is not kept safe', () => {
    const kind = (title: string, perSecond: number) => ({
      title,
      design: 'd',
      packages: {},
      errors: [],
      workloads: { httpPut64: { perSecond } },
    });
    const { rows, notes } = compareHttp({ entities: 10, capSeconds: 1, reps: 1, kinds: { varve: kind('V', 50), node: kind('N', 100) } });
    expect(rows).toMatchObject([{ title: 'PUT, 64 in flight (16 × 4), /s', ratio: 0.5 }]);
    expect(notes[0]).toMatch(/only varve serve has its writes on disk/);
  });
});

describe('medians', () => {
  it('are taken figure by figure, curves point by point, with the spread of the main one', () => {
    const rep = (perSecond: number, tenths: number[]): Measured => ({ load: { perSecond, tenths, how: 'x' } });
    expect(medians([rep(100, [1, 9]), rep(300, [2, 8]), rep(200, [3, 7, 5])])).toEqual({
      load: { perSecond: 200, tenths: [2, 8], how: 'x', reps: [100, 300, 200], spreadPercent: 100 },
    });
    expect(medians([rep(100, [1]), {}])).toEqual({ load: { perSecond: 100, tenths: [1], how: 'x' } });
  });
});
