/**
 * Records newer than the last checkpoint, in memory, rebuilt from the log at open.
 *
 *   entity (latin1 string of its key bytes) -> its number -> slot of its newest version -> slot of the one before -> …
 *
 * Slots and numbers are columns of typed arrays: no object per version. Records are added in seq order when they are queued;
 * readers ask with the seq that is visible to them, and what fails on its way to the disk is taken away again.
 * The fold reads a frozen memtable in key order while a new one takes what comes next.
 */
import { HASH_BYTES } from './format/hash.js';
import { SortedKeys } from './sorted-keys.js';

const FIRST_CAPACITY = 1024;
/** Rough bytes per slot (columns) and per entity (map entry, string header, sorted runs). */
const SLOT_BYTES = 8 + 8 + 8 + 4 + 4 + 1 + HASH_BYTES;
const ENTITY_BYTES = 108;

export const NO_SLOT = -1;

export class Memtable {
  /** Entities in the order met; one that was rolled back stays, without versions. */
  readonly #numbers = new Map<string, number>();
  readonly #entities: string[] = [];
  #newest = new Int32Array(FIRST_CAPACITY);
  readonly #keys = new SortedKeys();
  /** What was looked up last: who adds a version has just asked for the one before it. */
  #lastEntity = '';
  #lastNumber = NO_SLOT;
  #capacity = FIRST_CAPACITY;
  #seqs = new Float64Array(FIRST_CAPACITY);
  #times = new Float64Array(FIRST_CAPACITY);
  #supersedes = new Float64Array(FIRST_CAPACITY);
  #previous = new Int32Array(FIRST_CAPACITY);
  #kinds = new Uint8Array(FIRST_CAPACITY);
  #hashes = new Uint8Array(FIRST_CAPACITY * HASH_BYTES);
  #entityNumbers = new Int32Array(FIRST_CAPACITY);
  #count = 0;
  #keyBytes = 0;

  /** Versions held. */
  get count(): number {
    return this.#count;
  }

  /** Approximate memory, bytes. */
  get bytes(): number {
    return this.#count * SLOT_BYTES + this.#entities.length * ENTITY_BYTES + this.#keyBytes;
  }

  /** `hash`: 32 bytes from `hashAt` on; undefined: `fillHashes` brings it. */
  add(entity: string, seq: number, time: number, kind: number, supersedes: number, hash: Uint8Array | undefined, hashAt = 0): void {
    if (this.#count === this.#capacity) this.#grow();
    const slot = this.#count++;
    let number = this.#numberOf(entity);
    if (number === NO_SLOT) number = this.#addEntity(entity);
    this.#seqs[slot] = seq;
    this.#times[slot] = time;
    this.#supersedes[slot] = supersedes;
    this.#previous[slot] = this.#newest[number]!;
    this.#kinds[slot] = kind;
    const to = slot * HASH_BYTES;
    if (hash !== undefined) for (let i = 0; i < HASH_BYTES; i++) this.#hashes[to + i] = hash[hashAt + i]!;
    this.#entityNumbers[slot] = number;
    this.#newest[number] = slot;
  }

  /** Of the versions added last, as many as there are hashes. */
  fillHashes(hashes: Uint8Array): void {
    this.#hashes.set(hashes, this.#count * HASH_BYTES - hashes.length);
  }

  #numberOf(entity: string): number {
    if (entity !== this.#lastEntity) {
      this.#lastNumber = this.#numbers.get(entity) ?? NO_SLOT;
      this.#lastEntity = entity;
    }
    return this.#lastNumber;
  }

  #addEntity(entity: string): number {
    const number = this.#entities.length;
    if (number === this.#newest.length) this.#newest = grown(this.#newest, new Int32Array(number * 2));
    this.#newest[number] = NO_SLOT;
    this.#entities.push(entity);
    this.#numbers.set(entity, number);
    this.#lastNumber = number;
    this.#keys.add(entity);
    this.#keyBytes += entity.length;
    return number;
  }

  /** Takes away every version above `seq`: they were never durable. Their entities stay known, without versions. */
  rollBack(seq: number): void {
    while (this.#count > 0 && this.seqAt(this.#count - 1) > seq) {
      const slot = --this.#count;
      this.#newest[this.#entityNumbers[slot]!] = this.previousOf(slot);
    }
  }

  /** Moves every version above `seq` to a new memtable, which is returned. */
  splitAbove(seq: number): Memtable {
    const rest = new Memtable();
    let first = this.#count;
    while (first > 0 && this.seqAt(first - 1) > seq) first--;
    this.copyTo(rest, first);
    this.rollBack(seq);
    return rest;
  }

  /** Adds every version from slot `first` on to another memtable. */
  copyTo(other: Memtable, first = 0): void {
    for (let slot = first; slot < this.#count; slot++) {
      other.add(this.entityAt(slot), this.seqAt(slot), this.timeAt(slot), this.kindAt(slot), this.supersedesAt(slot), this.hashAt(slot));
    }
  }

  /** Slot of the entity's newest version, or NO_SLOT. */
  newest(entity: string): number {
    const number = this.#numberOf(entity);
    return number === NO_SLOT ? NO_SLOT : this.#newest[number]!;
  }

  /** Slot of the entity's newest version with a seq up to `seq`, or NO_SLOT. */
  find(entity: string, seq: number): number {
    let slot = this.newest(entity);
    while (slot !== NO_SLOT && this.seqAt(slot) > seq) slot = this.previousOf(slot);
    return slot;
  }

  entityAt(slot: number): string {
    return this.#entities[this.#entityNumbers[slot]!] as string;
  }

  seqAt(slot: number): number {
    return this.#seqs[slot] as number;
  }

  timeAt(slot: number): number {
    return this.#times[slot] as number;
  }

  kindAt(slot: number): number {
    return this.#kinds[slot] as number;
  }

  supersedesAt(slot: number): number {
    return this.#supersedes[slot] as number;
  }

  /** A view: copy to keep. */
  hashAt(slot: number): Uint8Array {
    return this.#hashes.subarray(slot * HASH_BYTES, slot * HASH_BYTES + HASH_BYTES);
  }

  /** Slot of the same entity's version before this one, or NO_SLOT. */
  previousOf(slot: number): number {
    return this.#previous[slot] as number;
  }

  /** Entities from `from` on (inclusive) in byte order, as of this call. */
  entitiesFrom(from: string): Iterator<string, undefined> {
    return this.#keys.from(from);
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#seqs = grown(this.#seqs, new Float64Array(this.#capacity));
    this.#times = grown(this.#times, new Float64Array(this.#capacity));
    this.#supersedes = grown(this.#supersedes, new Float64Array(this.#capacity));
    this.#previous = grown(this.#previous, new Int32Array(this.#capacity));
    this.#entityNumbers = grown(this.#entityNumbers, new Int32Array(this.#capacity));
    this.#kinds = grown(this.#kinds, new Uint8Array(this.#capacity));
    this.#hashes = grown(this.#hashes, new Uint8Array(this.#capacity * HASH_BYTES));
  }
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
