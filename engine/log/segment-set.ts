/** The segments of one log, in order of their base seqs, and the search among them. */
import { assert } from '../errors.js';
import type { Segment } from './segment-state.js';

export class SegmentSet {
  readonly #segments: Segment[] = [];

  get all(): readonly Segment[] {
    return this.#segments;
  }

  get last(): Segment | undefined {
    return this.#segments[this.#segments.length - 1];
  }

  /** Puts the segment in its place; one with the same base is replaced. */
  add(segment: Segment): void {
    const at = this.indexFor(segment.base);
    if (this.#segments[at]?.base === segment.base) this.#segments[at] = segment;
    else this.#segments.splice(at + 1, 0, segment);
  }

  remove(segment: Segment): void {
    const at = this.#segments.indexOf(segment);
    if (at >= 0) this.#segments.splice(at, 1);
  }

  /** Puts `target` in the place of neighbours that it stands for. */
  replace(sources: readonly Segment[], target: Segment): void {
    const at = this.#segments.indexOf(sources[0]!);
    assert(at >= 0 && sources.every((source, i) => this.#segments[at + i] === source), 'replaced segments are neighbours');
    this.#segments.splice(at, sources.length, target);
  }

  /** Index of the last segment with a base up to `seq`; -1 where none. */
  indexFor(seq: number): number {
    let low = 0;
    let high = this.#segments.length;
    // Most questions are about the newest segment.
    if (high > 0 && this.#segments[high - 1]!.base <= seq) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle]!.base <= seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The segment that stands for `seq`, if any does. */
  find(seq: number): Segment | undefined {
    const segment = this.#segments[this.indexFor(seq)];
    return segment === undefined || segment.lastSeq < seq ? undefined : segment;
  }
}
