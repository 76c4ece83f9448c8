/**
 * A memtable on its way into the tree: columns of versions in any order, as bytes that can go to another thread, and the same
 * in the order of tree keys.
 *
 *   VersionRun      columns, a slot a version; entities one after the other        main thread fills it, slice by slice
 *   SortedVersions  tree keys (entity, inverted seq) laid out and sorted           the folding thread's work
 *
 * Invariants: no two versions share (entity, seq), so keys are strictly ascending (checked as they are read). No object per
 * version. In memory only: a crash costs nothing.
 */
import { assert } from '../errors.js';
import { putU48, putU64 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { KIND_AT, SUPERSEDES_AT, TIME_AT } from '../format/leaf-value.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import { copyBytes } from './bytes.js';
import { compareRanges, sortRanges } from './range-sort.js';
import type { ChangeSource } from './types.js';
import { LEAF_VALUE_BYTES, SEQ_BYTES } from './types.js';

const MAX_SEQ = 2 ** 48 - 1;
const TWO_32 = 2 ** 32;

export interface VersionRun {
  readonly count: number;
  /** Entities' bytes (see format/keys), one after the other; `entityEnds[i]` is where the i-th ends. */
  readonly entities: Uint8Array;
  readonly entityEnds: Uint32Array;
  readonly seqs: Float64Array;
  readonly times: Float64Array;
  readonly supersedes: Float64Array;
  readonly kinds: Uint8Array;
  readonly hashes: Uint8Array;
}

/** What may move to another thread instead of being copied there. */
export function buffersOf(run: VersionRun): ArrayBuffer[] {
  const columns = [run.entities, run.entityEnds, run.seqs, run.times, run.supersedes, run.kinds, run.hashes];
  return columns.map((column) => column.buffer as ArrayBuffer);
}

export class SortedVersions implements ChangeSource {
  readonly key = new Uint8Array(MAX_TREE_KEY_BYTES);
  length = 0;
  readonly value = new Uint8Array(LEAF_VALUE_BYTES);
  readonly #run: VersionRun;
  readonly #keys: Uint8Array;
  /** Where each key begins; one more for the end of the last. */
  readonly #starts: Uint32Array;
  readonly #order: Uint32Array;
  #next = 0;

  constructor(run: VersionRun) {
    const { count, entities, entityEnds, seqs } = run;
    this.#run = run;
    const starts = new Uint32Array(count + 1);
    const keys = new Uint8Array((count === 0 ? 0 : entityEnds[count - 1]!) + count * SEQ_BYTES);
    let from = 0;
    let at = 0;
    for (let i = 0; i < count; i++) {
      const end = entityEnds[i]!;
      starts[i] = at;
      copyBytes(entities, from, end, keys, at);
      at += end - from;
      from = end;
      const inverted = MAX_SEQ - seqs[i]!;
      const high = Math.floor(inverted / TWO_32);
      const low = inverted >>> 0;
      keys[at] = high >>> 8;
      keys[at + 1] = high;
      keys[at + 2] = low >>> 24;
      keys[at + 3] = low >>> 16;
      keys[at + 4] = low >>> 8;
      keys[at + 5] = low;
      at += SEQ_BYTES;
    }
    starts[count] = at;
    this.#keys = keys;
    this.#starts = starts;
    this.#order = sortRanges(keys, starts);
  }

  /** How many were read so far. */
  get done(): number {
    return this.#next;
  }

  advance(): boolean {
    const { count, hashes, kinds, times, supersedes } = this.#run;
    if (this.#next === count) return false;
    const slot = this.#order[this.#next]!;
    const start = this.#starts[slot]!;
    const end = this.#starts[slot + 1]!;
    if (this.#next > 0) {
      const before = this.#order[this.#next - 1]!;
      const ascending = compareRanges(this.#keys, this.#starts[before]!, this.#starts[before + 1]!, start, end, 0) < 0;
      assert(ascending, 'changes to a tree are strictly ascending');
    }
    this.#next++;
    this.length = end - start;
    copyBytes(this.#keys, start, end, this.key, 0);
    copyBytes(hashes, slot * HASH_BYTES, (slot + 1) * HASH_BYTES, this.value, 0);
    this.value[KIND_AT] = kinds[slot]!;
    putU64(this.value, TIME_AT, times[slot]!);
    putU48(this.value, SUPERSEDES_AT, supersedes[slot]!);
    return true;
  }
}
