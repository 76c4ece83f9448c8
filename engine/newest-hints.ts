/**
 * Where an entity's newest version probably is: entity -> seq, in front of the tree, which costs several cache misses more.
 *
 *   slot (8 bytes): 16 bits of the entity's hash | seq u48        two slots to a bucket; what does not fit pushes another out
 *
 * A hint may be of another entity with the same 16 bits: whoever reads the record compares its names. It is never of an older
 * version: the index takes an entity's hint away before it adds a version, and gives one only while no memtable knows the
 * entity. What drops versions must `clear`. In memory only.
 */
const MIN_SLOTS = 1024;
/** A table that is half full gives way to an empty one of so many times its slots: an open pays for none it does not need. */
const GROWTH = 8;
/** 8 MB a shard. */
const MAX_SLOTS = 2 ** 20;
const U32 = 2 ** 32;

export class NewestHints {
  #slots: Uint32Array | undefined;
  #mask = 0;
  #filled = 0;

  /** A seq, or 0. */
  get(entity: string): number {
    const slots = this.#slots;
    if (slots === undefined) return 0;
    const hash = hashOf(entity);
    const tag = tagOf(hash);
    let at = (hash & this.#mask) << 1;
    if (slots[at]! >>> 16 !== tag) {
      at ^= 2;
      if (slots[at]! >>> 16 !== tag) return 0;
    }
    return (slots[at]! & 0xffff) * U32 + slots[at + 1]!;
  }

  /** `expected`: how many there may be at most. */
  set(entity: string, seq: number, expected: number): void {
    if (this.#slots === undefined) this.#make(MIN_SLOTS);
    else if (this.#filled > this.#mask >>> 1 && expected > this.#mask && this.#mask + 1 < MAX_SLOTS)
      this.#make(Math.min(MAX_SLOTS, (this.#mask + 1) * GROWTH));
    const slots = this.#slots!;
    const hash = hashOf(entity);
    const tag = tagOf(hash);
    let at = (hash & this.#mask) << 1;
    const other = at ^ 2;
    // Where it stands already it stays: there must be no second, older one.
    if (slots[at]! >>> 16 !== tag && (slots[other]! >>> 16 === tag || (slots[at] !== 0 && slots[other] === 0))) at = other;
    if (slots[at] === 0) this.#filled++;
    slots[at] = (tag << 16) | Math.floor(seq / U32);
    slots[at + 1] = seq >>> 0;
  }

  /** Takes away what there is of the entity. */
  remove(entity: string): void {
    const slots = this.#slots;
    if (slots === undefined) return;
    const hash = hashOf(entity);
    const tag = tagOf(hash);
    const at = (hash & this.#mask) << 1;
    if (slots[at]! >>> 16 === tag) slots[at] = slots[at + 1] = 0;
    if (slots[at ^ 2]! >>> 16 === tag) slots[at ^ 2] = slots[(at ^ 2) + 1] = 0;
  }

  clear(): void {
    this.#slots = undefined;
    this.#mask = 0;
    this.#filled = 0;
  }

  #make(slots: number): void {
    this.#slots = new Uint32Array(2 * slots);
    this.#mask = slots - 1;
    this.#filled = 0;
  }
}

function hashOf(entity: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < entity.length; i++) hash = Math.imul(hash ^ entity.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

/** Never 0: that marks an empty slot. */
function tagOf(hash: number): number {
  return (Math.imul(hash, 0xc2b2ae35) >>> 16) | 1;
}
