/**
 * From an entity to its number in a memtable: open addressing over numbers, by a word of the entity's hash.
 *
 * A table that is half full gives way to one of twice the size, into which each addition carries a few of the old ones over: no
 * insert pays for all of them. Entities are never taken out. In memory only.
 */
import type { EntityBytes } from './entity-bytes.js';

const FIRST_SLOTS = 1024;
/** Carried over with each addition: done long before the new table is half full, too. */
const CARRIED = 4;

const NONE = -1;

export interface NumberedEntities {
  /** The word of the hash that an entity was added with. */
  hashWord(number: number): number;
  entityIs(number: number, entity: EntityBytes): boolean;
}

export class MemtableIndex {
  readonly #entities: NumberedEntities;
  /** Number + 1 of an entity, or 0. */
  #slots = new Int32Array(0);
  #old: Int32Array | undefined;
  #count = 0;
  #carried = 0;

  constructor(entities: NumberedEntities) {
    this.#entities = entities;
  }

  get bytes(): number {
    return (this.#slots.length + (this.#old?.length ?? 0)) * 4;
  }

  /** -1: none. `word`: of the entity's hash. */
  find(entity: EntityBytes, word: number): number {
    if (this.#count === 0) return NONE;
    const number = this.#findIn(this.#slots, entity, word);
    return number === NONE && this.#old !== undefined ? this.#findIn(this.#old, entity, word) : number;
  }

  #findIn(slots: Int32Array, entity: EntityBytes, word: number): number {
    const mask = slots.length - 1;
    for (let at = word & mask; ; at = (at + 1) & mask) {
      const number = slots[at]! - 1;
      if (number < 0) return NONE;
      if (this.#entities.hashWord(number) === word && this.#entities.entityIs(number, entity)) return number;
    }
  }

  /** The next number, of an entity that is not here. */
  add(word: number): void {
    if (this.#count * 2 >= this.#slots.length) {
      if (this.#count > 0) this.#old = this.#slots;
      this.#slots = new Int32Array(Math.max(FIRST_SLOTS, this.#slots.length * 2));
      this.#carried = 0;
    }
    this.#put(word, this.#count++);
    if (this.#old === undefined) return;
    const end = this.#old.length / 2;
    for (let n = 0; n < CARRIED && this.#carried < end; n++, this.#carried++)
      this.#put(this.#entities.hashWord(this.#carried), this.#carried);
    if (this.#carried === end) this.#old = undefined;
  }

  #put(word: number, number: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = word & mask;
    while (slots[at] !== 0) at = (at + 1) & mask;
    slots[at] = number + 1;
  }
}
