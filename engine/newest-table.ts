/**
 * Every entity's newest version, queued ones included: entity -> seq and kind, in front of memtables and tree. A version names the one it
 * supersedes, so each insert asks; in a tree larger than its cache the answer costs more than all the rest of the insert.
 *
 *   slot (16 bytes)   64 bits of the entity's hash | seq's low u32 | seq's high u16, 2 bits of kind, 14 more bits of the hash
 *   segment           slots by open addressing, grown alone: no insert pays for more than a small part of the table
 *   table             256 segments, by 8 other bits of the hash
 *
 * Invariants: what stands here is the newest version, or DOUBT, for which the tree has to be asked. Where the table `isComplete`, an entity
 * without a slot has no version at all. A slot is found by 78 bits of a keyed hash, so that a search for an entity that is not here meets another's
 * once in some 10^19 even among millions: less often than memory itself lies. Beyond its limit of memory the table forgets: it is not complete any more, and
 * the newest that come push others out. In memory only: it begins complete where there is no tree; where there is one, it
 * is filled from it in the background once there is much to ask.
 */
import type { EntityHash } from './entity-hash.js';

const SEGMENTS = 256;
const SLOT_BYTES = 16;
const FIRST_SLOTS = 8;
/** Where doubling begins to leave too much empty. */
const DOUBLING_SLOTS = 2048;
const GROWTH = 1.25;
const MOST_FULL = 0.8;
const U32 = 2 ** 32;

/** No slot. */
export const ABSENT = 0;
/** There was a version, which may be gone: search for it. */
export const DOUBT = -1;
/** Kind of slots in doubt; those of versions are 1 and 2. */
const DOUBTED = 3;

const KIND_SHIFT = 16;
const TAG_SHIFT = 18;

export class NewestTable {
  readonly #limitBytes: number;
  #segments: Int32Array[] = [];
  readonly #filled = new Int32Array(SEGMENTS);
  #bytes = 0;
  #entities = 0;
  #isComplete = false;
  #hasLost = false;
  /** Of what `get` found. */
  kind = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** An entity without a slot has no version. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entities(): number {
    return this.#entities;
  }

  /** Forgets everything. `complete`: there is nothing to know. */
  clear(complete: boolean): void {
    this.#segments = [];
    this.#filled.fill(0);
    this.#bytes = 0;
    this.#entities = 0;
    this.#isComplete = complete;
    this.#hasLost = false;
  }

  /** A seq, whose `kind` stands beside it until the next call; ABSENT or DOUBT. */
  get(hash: EntityHash): number {
    const slots = this.#segments[hash.d & (SEGMENTS - 1)];
    if (slots === undefined) return ABSENT;
    const at = find(slots, hash);
    const high = slots[at + 3]!;
    if (high === 0) return ABSENT;
    const kind = (high >>> KIND_SHIFT) & 3;
    if (kind === DOUBTED) return DOUBT;
    this.kind = kind;
    return (high & 0xffff) * U32 + (slots[at + 2]! >>> 0);
  }

  set(hash: EntityHash, seq: number, kind: number): void {
    const segment = hash.d & (SEGMENTS - 1);
    const slots = this.#segments[segment] ?? this.#make(segment, FIRST_SLOTS);
    let at = find(slots, hash);
    if (slots[at + 3] === 0) {
      if (this.#filled[segment]! + 1 <= (slots.length >> 2) * MOST_FULL) {
        this.#filled[segment]!++;
        this.#entities++;
      } else {
        if (this.#grow(segment)) return this.set(hash, seq, kind);
        this.#isComplete = false;
        this.#hasLost = true;
        // Another's place: whose slots lie behind it are still found, for none becomes empty. An empty one has to stay: searches end there.
        at = home(slots, hash);
        if (slots[at + 3] === 0) return;
      }
      slots[at] = hash.b;
      slots[at + 1] = hash.c;
    }
    slots[at + 2] = seq | 0;
    slots[at + 3] = Math.floor(seq / U32) | (kind << KIND_SHIFT) | ((hash.d >>> 8) << TAG_SHIFT);
  }

  /** An entity as the tree has it: what stands here is as new or newer. False where there is no room left without pushing others out. */
  fill(hash: EntityHash, seq: number, kind: number): boolean {
    const segment = hash.d & (SEGMENTS - 1);
    const slots = this.#segments[segment];
    if (slots !== undefined && slots[find(slots, hash) + 3] !== 0) return true;
    this.set(hash, seq, kind);
    return !this.#hasLost;
  }

  /** Every entity of the tree was filled in since the table was empty. */
  filled(): void {
    this.#isComplete = !this.#hasLost;
  }

  /** Whether others were pushed out: then it cannot be complete. */
  get hasLost(): boolean {
    return this.#hasLost;
  }

  /** What stands here of the entity may be gone. */
  doubt(hash: EntityHash): void {
    const slots = this.#segments[hash.d & (SEGMENTS - 1)];
    if (slots === undefined) return;
    const at = find(slots, hash);
    if (slots[at + 3] !== 0) slots[at + 3]! |= DOUBTED << KIND_SHIFT;
  }

  /** Doubts every version that `goes`. Yields between segments. */
  *doubtThose(goes: { has(seq: number): boolean }): Generator<void, void> {
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const slots = this.#segments[segment];
      if (slots === undefined) continue;
      for (let at = 0; at < slots.length; at += 4) {
        const high = slots[at + 3]!;
        if (high !== 0 && goes.has((high & 0xffff) * U32 + (slots[at + 2]! >>> 0))) slots[at + 3] = high | (DOUBTED << KIND_SHIFT);
      }
      yield;
    }
  }

  #make(segment: number, count: number): Int32Array {
    const slots = new Int32Array(count * 4);
    this.#segments[segment] = slots;
    this.#bytes += count * SLOT_BYTES;
    return slots;
  }

  /** False where the limit does not allow it. */
  #grow(segment: number): boolean {
    const old = this.#segments[segment]!;
    const before = old.length >> 2;
    const count = before < DOUBLING_SLOTS ? before * 2 : Math.ceil(before * GROWTH);
    if (this.#bytes + (count - before) * SLOT_BYTES > this.#limitBytes) return false;
    this.#bytes -= before * SLOT_BYTES;
    const slots = this.#make(segment, count);
    for (let from = 0; from < old.length; from += 4) {
      if (old[from + 3] === 0) continue;
      let at = placeOf(count, old[from]!);
      while (slots[at + 3] !== 0) at = at + 4 === slots.length ? 0 : at + 4;
      slots[at] = old[from]!;
      slots[at + 1] = old[from + 1]!;
      slots[at + 2] = old[from + 2]!;
      slots[at + 3] = old[from + 3]!;
    }
    return true;
  }
}

/** The entity's slot, or the empty one where it would stand. */
function find(slots: Int32Array, hash: EntityHash): number {
  const { b, c } = hash;
  const tag = (hash.d >>> 8) << TAG_SHIFT;
  let at = home(slots, hash);
  for (;;) {
    const high = slots[at + 3]!;
    if (high === 0 || (slots[at] === b && slots[at + 1] === c && (high ^ tag) >>> TAG_SHIFT === 0)) return at;
    at = at + 4 === slots.length ? 0 : at + 4;
  }
}

function home(slots: Int32Array, hash: EntityHash): number {
  return placeOf(slots.length >> 2, hash.b);
}

function placeOf(count: number, word: number): number {
  return Math.floor((word >>> 0) * (count / U32)) << 2;
}
