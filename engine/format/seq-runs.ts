/**
 * A set of seqs as ascending runs, in memory and in bytes: what a trim drops.
 *
 *   pairs of unsigned LEB128 numbers: how far after the end of the run before (the first: after 0), how many
 *
 * Invariants: runs are ascending, not empty, and never touch (touching ones are one run), so a set has one encoding.
 */
import { MAX_SEQ } from '../types.js';

export interface SeqRun {
  /** Both ends included. */
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** Ascending seqs to ascending runs. */
export function runsOf(seqs: Iterable<number>): SeqRun[] {
  const runs: { fromSeq: number; toSeq: number }[] = [];
  let last: { fromSeq: number; toSeq: number } | undefined;
  for (const seq of seqs) {
    if (last !== undefined && seq === last.toSeq + 1) last.toSeq = seq;
    else runs.push((last = { fromSeq: seq, toSeq: seq }));
  }
  return runs;
}

export function countOfRuns(runs: readonly SeqRun[]): number {
  let count = 0;
  for (const { fromSeq, toSeq } of runs) count += toSeq - fromSeq + 1;
  return count;
}

/** Whether `seq` lies in one of ascending runs. */
export function runsHave(runs: readonly SeqRun[], seq: number): boolean {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle]!.toSeq < seq) low = middle + 1;
    else high = middle;
  }
  return low < runs.length && runs[low]!.fromSeq <= seq;
}

export function runsBytes(runs: readonly SeqRun[]): number {
  let bytes = 0;
  let end = 0;
  for (const { fromSeq, toSeq } of runs) {
    bytes += varintBytes(fromSeq - end) + varintBytes(toSeq - fromSeq + 1);
    end = toSeq;
  }
  return bytes;
}

/** Returns the end. */
export function encodeRuns(into: Uint8Array, at: number, runs: readonly SeqRun[]): number {
  let p = at;
  let end = 0;
  for (const { fromSeq, toSeq } of runs) {
    p = putVarint(into, p, fromSeq - end);
    p = putVarint(into, p, toSeq - fromSeq + 1);
    end = toSeq;
  }
  return p;
}

/** The `count` runs that fill `bytes[at, to)` exactly; undefined where they do not, or are not in their one form. */
export function decodeRuns(bytes: Uint8Array, at: number, to: number, count: number): SeqRun[] | undefined {
  // Two bytes a run at the least: a count from outside never makes a larger array than its bytes do.
  if (count * 2 > to - at) return undefined;
  const runs: SeqRun[] = [];
  let p = at;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const gap = getVarint(bytes, p, to);
    if (gap < (i === 0 ? 1 : 2)) return undefined;
    p += varintBytes(gap);
    const length = getVarint(bytes, p, to);
    if (length < 1) return undefined;
    p += varintBytes(length);
    const fromSeq = end + gap;
    end = fromSeq + length - 1;
    if (end > MAX_SEQ) return undefined;
    runs.push({ fromSeq, toSeq: end });
  }
  return p === to ? runs : undefined;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

function putVarint(into: Uint8Array, at: number, value: number): number {
  let p = at;
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) into[p++] = (rest % 128) | 0x80;
  into[p++] = rest;
  return p;
}

/** -1 where there is none that ends before `to`, is too large, or is longer than it need be. */
function getVarint(bytes: Uint8Array, at: number, to: number): number {
  let value = 0;
  let factor = 1;
  for (let p = at; p < to && p < at + 7; p++) {
    const byte = bytes[p]!;
    value += (byte & 0x7f) * factor;
    if (byte < 128) return byte === 0 && p > at ? -1 : value;
    factor *= 128;
  }
  return -1;
}
