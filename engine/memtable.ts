/**
 * Records newer than the last checkpoint, in memory, rebuilt from the log at open.
 *
 *   entity -> its number (memtable-index.ts) -> slot of its newest version -> slot of the one before -> …
 *
 * Slots and numbers are rows in shared memory (memtable-columns.ts): no object per version. Records are added in seq order when they are
 * queued; readers ask with the seq that is visible to them, and what fails on its way to the disk is taken away again.
 * The fold reads a frozen memtable in key order while a new one takes what comes next.
 */
import { EntityBytes } from './entity-bytes.js';
import { EntityHash } from './entity-hash.js';
import { HASH_BYTES } from './format/hash.js';
import {
  CHUNK_BITS,
  CHUNK_MASK,
  ENTITY,
  ENTITY_BYTES,
  ENTITY_WORDS,
  HASH_AT,
  HASH_WORD,
  MemtableColumns,
  NEWEST,
  numberAt,
  PREVIOUS,
  putNumber,
  SEQ,
  SUPERSEDES,
  TIME,
  VERSION_BYTES,
  VERSION_WORDS,
  type VersionRun,
} from './memtable-columns.js';
import { MemtableIndex } from './memtable-index.js';
import { SortedEntities } from './sorted-entities.js';

const KIND_SHIFT = 16;
const U32 = 2 ** 32;

export const NO_SLOT = -1;

export class Memtable {
  readonly #hash: EntityHash;
  readonly #columns = new MemtableColumns();
  readonly #index: MemtableIndex;
  readonly #sorted = new SortedEntities(this.#columns);
  /** Entities in the order met; one that was rolled back stays, without versions. */
  #entities = 0;
  #count = 0;
  /** What was looked up last: who adds a version has just asked for the one before it. */
  #lastEntity: string | undefined;
  #lastBytes: EntityBytes | undefined;
  #lastTurn = 0;
  #lastNumber = NO_SLOT;
  readonly #text = new EntityBytes();

  /** `hash`: of this process; it may serve many. */
  constructor(hash = new EntityHash(new Uint8Array(16))) {
    this.#hash = hash;
    const columns = this.#columns;
    this.#index = new MemtableIndex({
      hashWord: (number) => columns.entitiesOf(number)[(number & CHUNK_MASK) * ENTITY_WORDS + HASH_WORD]!,
      entityIs: (number, entity) => columns.entityIs(number, entity),
    });
  }

  /** Versions held. */
  get count(): number {
    return this.#count;
  }

  /** Memory, bytes; what is left of a chunk is not counted. */
  get bytes(): number {
    const entities = this.#entities * ENTITY_BYTES + this.#columns.entityBytes + this.#index.bytes + this.#sorted.bytes;
    return this.#count * VERSION_BYTES + entities;
  }

  add(entity: string, seq: number, time: number, kind: number, supersedes: number, hash: Uint8Array | undefined): void {
    this.addBytes(this.#text.takeText(entity), seq, time, kind, supersedes, hash);
  }

  /** `hash`: 32 bytes; undefined: `fillHashes` brings it. */
  addBytes(entity: EntityBytes, seq: number, time: number, kind: number, supersedes: number, hash: Uint8Array | undefined): void {
    const columns = this.#columns;
    const slot = this.#count++;
    let number = this.#numberOf(entity);
    if (number === NO_SLOT) number = this.#addEntity(entity);
    columns.makeSlot(slot);
    const words = columns.versionsOf(slot);
    const at = (slot & CHUNK_MASK) * VERSION_WORDS;
    putNumber(words, at + SEQ, seq);
    words[at + SEQ + 1]! |= kind << KIND_SHIFT;
    putNumber(words, at + SUPERSEDES, supersedes);
    putNumber(words, at + TIME, time);
    const entities = columns.entitiesOf(number);
    const newest = (number & CHUNK_MASK) * ENTITY_WORDS + NEWEST;
    words[at + PREVIOUS] = entities[newest]!;
    words[at + ENTITY] = number;
    entities[newest] = slot;
    if (hash !== undefined) this.#putHash(slot, hash, 0);
  }

  /** Of the versions added last, as many as there are hashes. */
  fillHashes(hashes: Uint8Array): void {
    for (let slot = this.#count - hashes.length / HASH_BYTES, from = 0; slot < this.#count; slot++, from += HASH_BYTES)
      this.#putHash(slot, hashes, from);
  }

  #putHash(slot: number, hash: Uint8Array, from: number): void {
    const bytes = this.#columns.versionBytes[slot >>> CHUNK_BITS]!;
    const at = (slot & CHUNK_MASK) * VERSION_BYTES + HASH_AT;
    for (let i = 0; i < HASH_BYTES; i++) bytes[at + i] = hash[from + i]!;
  }

  #numberOf(entity: EntityBytes): number {
    if (entity !== this.#lastBytes || entity.turn !== this.#lastTurn) {
      this.#lastNumber = this.#entities === 0 ? NO_SLOT : this.#index.find(entity, this.#hash.ofBytes(entity).a);
      this.#lastEntity = undefined;
      this.#lastBytes = entity;
      this.#lastTurn = entity.turn;
    }
    return this.#lastNumber;
  }

  #numberOfText(entity: string): number {
    if (entity === this.#lastEntity) return this.#lastNumber;
    const number = this.#numberOf(this.#text.takeText(entity));
    this.#lastEntity = entity;
    return number;
  }

  #addEntity(entity: EntityBytes): number {
    const columns = this.#columns;
    const number = this.#entities++;
    const { a } = this.#hash.ofBytes(entity);
    columns.makeEntity(number, entity);
    const words = columns.entitiesOf(number);
    const at = (number & CHUNK_MASK) * ENTITY_WORDS;
    words[at + NEWEST] = NO_SLOT;
    words[at + HASH_WORD] = a;
    this.#index.add(a);
    this.#sorted.added(this.#entities);
    this.#lastEntity = undefined;
    this.#lastBytes = entity;
    this.#lastTurn = entity.turn;
    this.#lastNumber = number;
    return number;
  }

  /** Takes away every version above `seq`: they were never durable. Their entities stay known, without versions. */
  rollBack(seq: number): void {
    while (this.#count > 0 && this.seqAt(this.#count - 1) > seq) {
      const slot = --this.#count;
      const number = this.#word(slot, ENTITY);
      this.#columns.entitiesOf(number)[(number & CHUNK_MASK) * ENTITY_WORDS + NEWEST] = this.previousOf(slot);
    }
  }

  /** Moves every version above `seq` to a new memtable, which is returned. */
  splitAbove(seq: number): Memtable {
    const rest = this.another();
    let first = this.#count;
    while (first > 0 && this.seqAt(first - 1) > seq) first--;
    this.copyTo(rest, first);
    this.rollBack(seq);
    return rest;
  }

  /** An empty one. */
  another(): Memtable {
    return new Memtable(this.#hash);
  }

  /** Adds every version from slot `first` on to another memtable. */
  copyTo(other: Pick<Memtable, 'add'>, first = 0): void {
    for (let slot = first; slot < this.#count; slot++) {
      other.add(this.entityAt(slot), this.seqAt(slot), this.timeAt(slot), this.kindAt(slot), this.supersedesAt(slot), this.hashAt(slot));
    }
  }

  /** For the fold: the memory itself, which must not change any more. */
  run(): VersionRun {
    const { versions, entities, bytes } = this.#columns;
    return { count: this.#count, entityCount: this.#entities, versions, entities, bytes };
  }

  /** Slot of the entity's newest version, or NO_SLOT. */
  newest(entity: string): number {
    const number = this.#numberOfText(entity);
    return number === NO_SLOT ? NO_SLOT : this.#columns.entitiesOf(number)[(number & CHUNK_MASK) * ENTITY_WORDS + NEWEST]!;
  }

  /** Slot of the entity's newest version with a seq up to `seq`, or NO_SLOT. */
  find(entity: string, seq: number): number {
    let slot = this.newest(entity);
    while (slot !== NO_SLOT && this.seqAt(slot) > seq) slot = this.previousOf(slot);
    return slot;
  }

  entityAt(slot: number): string {
    return this.#columns.entity(this.#word(slot, ENTITY));
  }

  seqAt(slot: number): number {
    return (this.#word(slot, SEQ + 1) & 0xffff) * U32 + (this.#word(slot, SEQ) >>> 0);
  }

  timeAt(slot: number): number {
    return numberAt(this.#columns.versionsOf(slot), (slot & CHUNK_MASK) * VERSION_WORDS + TIME);
  }

  kindAt(slot: number): number {
    return this.#word(slot, SEQ + 1) >>> KIND_SHIFT;
  }

  supersedesAt(slot: number): number {
    return numberAt(this.#columns.versionsOf(slot), (slot & CHUNK_MASK) * VERSION_WORDS + SUPERSEDES);
  }

  /** A view: copy to keep. */
  hashAt(slot: number): Uint8Array {
    const at = (slot & CHUNK_MASK) * VERSION_BYTES + HASH_AT;
    return this.#columns.versionBytes[slot >>> CHUNK_BITS]!.subarray(at, at + HASH_BYTES);
  }

  /** Slot of the same entity's version before this one, or NO_SLOT. */
  previousOf(slot: number): number {
    return this.#word(slot, PREVIOUS);
  }

  #word(slot: number, word: number): number {
    return this.#columns.versionsOf(slot)[(slot & CHUNK_MASK) * VERSION_WORDS + word]!;
  }

  /** Entities from `from` on (inclusive) in byte order, as of this call. */
  entitiesFrom(from: string): Iterator<string, undefined> {
    return this.#sorted.from(from);
  }
}
