/**
 * What was met while a server was asked: one tally a workload, to which each slice of it adds. Rates are answers of all slices by the
 * time of all slices, and percentiles are of every latency there was,
 * not means of the slices'. Latencies go to an HDR histogram (three digits) in nanoseconds.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { round } from '../measure.js';

export type LoadFigures = {
  readonly ops: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
  /** Answers that were no success. */
  readonly failed: number;
};

export type OpenFigures = LoadFigures & {
  readonly rate: number;
  /** Due and not answered when the generator gave up. */
  readonly unanswered: number;
  /** How late the generator itself was, p99. */
  readonly generatorP99Us: number;
};

const LONGEST_NS = 3_600_000_000_000;

export class Tally {
  /** What one answer counts for in the rate: documents of a request. */
  readonly each: number;
  readonly #histogram: RecordableHistogram = histogram();
  #wallMs = 0;
  failed = 0;

  constructor(each = 1) {
    this.each = each;
  }

  record(ms: number, ok = true): void {
    this.#histogram.record(nanoseconds(ms));
    if (!ok) this.failed++;
  }

  /** A slice has ended that took so long. */
  took(ms: number): void {
    this.#wallMs += ms;
  }

  /** All slices so far. */
  get wallMs(): number {
    return this.#wallMs;
  }

  figures(): LoadFigures {
    const us = (share: number) => round(this.#histogram.percentile(share) / 1000);
    const { count, max } = this.#histogram;
    return {
      ops: count,
      perSecond: this.rateOf(count),
      p50Us: us(50),
      p90Us: us(90),
      p99Us: us(99),
      p999Us: us(99.9),
      maxUs: round(count === 0 ? 0 : max / 1000),
      failed: this.failed,
    };
  }

  protected rateOf(count: number): number {
    return this.#wallMs === 0 ? 0 : round(((count * this.each) / this.#wallMs) * 1000);
  }
}

/** Of requests that come at a constant rate. */
export class OpenTally extends Tally {
  readonly rate: number;
  readonly #lag = histogram();
  unanswered = 0;

  constructor(rate: number) {
    super();
    this.rate = rate;
  }

  late(ms: number): void {
    this.#lag.record(nanoseconds(ms));
  }

  override figures(): OpenFigures {
    const figures = super.figures();
    return {
      ...figures,
      perSecond: this.rateOf(figures.ops - this.unanswered),
      rate: this.rate,
      unanswered: this.unanswered,
      generatorP99Us: round(this.#lag.percentile(99) / 1000),
    };
  }
}

function histogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: LONGEST_NS, figures: 3 });
}

function nanoseconds(ms: number): number {
  return Math.min(LONGEST_NS, Math.max(1, Math.round(ms * 1e6)));
}
