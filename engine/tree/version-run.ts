/**
 * A frozen memtable on its way into the tree: its versions in the order of tree keys, read where they lie.
 *
 *   VersionRun      the memtable's own chunks, in memory that threads share              nothing is copied to hand them over
 *   SortedVersions  entities sorted, each with its versions, newest first               the folding thread's work
 *
 * Invariants: an entity is there once and its versions are linked in falling order, so keys are strictly ascending (checked as they are
 * read). No object per version. In memory only: a crash costs nothing.
 */
import { assert } from '../errors.js';
import { putU48, putU64 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { KIND_AT, SUPERSEDES_AT, TIME_AT } from '../format/leaf-value.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import {
  CHUNK_BITS,
  CHUNK_MASK,
  ENTITY_WORDS,
  gatherEntities,
  HASH_AT,
  NEWEST,
  numberAt,
  PREVIOUS,
  SEQ,
  SUPERSEDES,
  TIME,
  VERSION_BYTES,
  VERSION_WORDS,
  type VersionRun,
} from '../memtable-columns.js';
import { MAX_SEQ } from '../types.js';
import { copyBytes } from './bytes.js';
import { compareRanges, sortRanges } from './range-sort.js';
import type { ChangeSource } from './types.js';
import { LEAF_VALUE_BYTES, SEQ_BYTES } from './types.js';
import { writeSeq } from './version-key.js';

const NO_SLOT = -1;
/** Entities whose memory is asked for before they are read: it lies all over the place, and comes sooner asked for together. */
const AHEAD = 256;
const KIND_SHIFT = 16;
const U32 = 2 ** 32;

export class SortedVersions implements ChangeSource {
  readonly key = new Uint8Array(MAX_TREE_KEY_BYTES);
  length = 0;
  readonly value = new Uint8Array(LEAF_VALUE_BYTES);
  readonly #run: VersionRun;
  readonly #versionBytes: readonly Uint8Array[];
  readonly #bytes: Uint8Array;
  /** Where each entity begins in `#bytes`; one more for the end of the last. */
  readonly #starts: Uint32Array;
  readonly #order: Uint32Array;
  /** Newest slots of the entities touched together. */
  readonly #newest = new Int32Array(AHEAD);
  /** Of no meaning: what is read for no more than being read must go somewhere. */
  touched = 0;
  /** Entities taken. */
  #taken = 0;
  /** The next version of the entity taken last. */
  #slot = NO_SLOT;
  #seq = 0;
  #done = 0;

  constructor(run: VersionRun) {
    this.#run = run;
    this.#versionBytes = run.versions.map(({ buffer }) => new Uint8Array(buffer));
    const { bytes, starts } = gatherEntities(run.entities, run.bytes, 0, run.entityCount);
    this.#bytes = bytes;
    this.#starts = starts;
    this.#order = sortRanges(bytes, starts);
  }

  /** How many were read so far. */
  get done(): number {
    return this.#done;
  }

  advance(): boolean {
    while (this.#slot === NO_SLOT) if (!this.#nextEntity()) return false;
    const slot = this.#slot;
    const words = this.#run.versions[slot >>> CHUNK_BITS]!;
    const at = (slot & CHUNK_MASK) * VERSION_WORDS;
    const high = words[at + SEQ + 1]!;
    const seq = (high & 0xffff) * U32 + (words[at + SEQ]! >>> 0);
    assert(seq < this.#seq, 'changes to a tree are strictly ascending');
    this.#seq = seq;
    this.#slot = words[at + PREVIOUS]!;
    writeSeq(this.key, this.length - SEQ_BYTES, seq);
    const hash = (slot & CHUNK_MASK) * VERSION_BYTES + HASH_AT;
    copyBytes(this.#versionBytes[slot >>> CHUNK_BITS]!, hash, hash + HASH_BYTES, this.value, 0);
    this.value[KIND_AT] = high >>> KIND_SHIFT;
    putU64(this.value, TIME_AT, numberAt(words, at + TIME));
    putU48(this.value, SUPERSEDES_AT, numberAt(words, at + SUPERSEDES));
    this.#done++;
    return true;
  }

  /** Nothing but to have it in the processor's caches. */
  #touch(): void {
    const { entities, versions } = this.#run;
    const first = this.#taken;
    const end = Math.min(first + AHEAD, this.#order.length);
    let touched = 0;
    for (let i = first; i < end; i++) {
      const number = this.#order[i]!;
      touched ^= this.#starts[number]!;
      this.#newest[i - first] = entities[number >>> CHUNK_BITS]![(number & CHUNK_MASK) * ENTITY_WORDS + NEWEST]!;
    }
    for (let i = first; i < end; i++) {
      touched ^= this.#bytes[this.#starts[this.#order[i]!]!]!;
      const slot = this.#newest[i - first]!;
      if (slot !== NO_SLOT) touched ^= versions[slot >>> CHUNK_BITS]![(slot & CHUNK_MASK) * VERSION_WORDS]!;
    }
    this.touched ^= touched;
  }

  #nextEntity(): boolean {
    if (this.#taken === this.#order.length) return false;
    if (this.#taken % AHEAD === 0) this.#touch();
    const number = this.#order[this.#taken]!;
    const start = this.#starts[number]!;
    const end = this.#starts[number + 1]!;
    if (this.#taken > 0) {
      const before = this.#order[this.#taken - 1]!;
      const ascending = compareRanges(this.#bytes, this.#starts[before]!, this.#starts[before + 1]!, start, end, 0) < 0;
      assert(ascending, 'changes to a tree are strictly ascending');
    }
    this.#slot = this.#newest[this.#taken % AHEAD]!;
    this.#taken++;
    copyBytes(this.#bytes, start, end, this.key, 0);
    this.length = end - start + SEQ_BYTES;
    this.#seq = MAX_SEQ + 1;
    return true;
  }
}
