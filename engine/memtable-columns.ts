/**
 * What a memtable keeps, in chunks of shared memory: nothing is moved when it grows, no insert pays for more than one chunk, and the
 * thread that folds reads them where they lie.
 *
 *   version (64 bytes, a cache line)   seq u32 low, u16 high | kind << 16 · supersedes low, high · time low, high
 *                                      slot of the version before · number of its entity · hash, 32 bytes
 *   entity (16 bytes)                  place of its bytes · their length · slot of its newest version · a word of its hash
 *   bytes                              entities one after the other; one that does not fit begins the next chunk
 *
 * Words are in the machine's order: these bytes never leave the process. Invariant: who folds reads only what is frozen.
 */
import type { EntityBytes } from './entity-bytes.js';

/** Versions, and entities, a chunk. */
export const CHUNK_BITS = 12;
export const CHUNK_COUNT = 1 << CHUNK_BITS;
export const CHUNK_MASK = CHUNK_COUNT - 1;
export const VERSION_WORDS = 16;
export const ENTITY_WORDS = 4;
const BYTES_BITS = 18;
export const BYTES_COUNT = 1 << BYTES_BITS;
export const BYTES_MASK = BYTES_COUNT - 1;

/** Words of a version. */
export const SEQ = 0;
export const SUPERSEDES = 2;
export const TIME = 4;
export const PREVIOUS = 6;
export const ENTITY = 7;
/** Where its hash begins, in bytes. */
export const HASH_AT = 32;
export const VERSION_BYTES = VERSION_WORDS * 4;
/** Words of an entity. */
export const PLACE = 0;
export const LENGTH = 1;
export const NEWEST = 2;
export const HASH_WORD = 3;
export const ENTITY_BYTES = ENTITY_WORDS * 4;

const U32 = 2 ** 32;

/** A frozen memtable as the folding thread takes it: the chunks themselves. */
export interface VersionRun {
  /** Versions. */
  readonly count: number;
  /** Entities; some may have no version (slot -1). */
  readonly entityCount: number;
  readonly versions: readonly Int32Array[];
  readonly entities: readonly Int32Array[];
  readonly bytes: readonly Uint8Array[];
}

export class MemtableColumns {
  readonly versions: Int32Array[] = [];
  /** The same memory. */
  readonly versionBytes: Uint8Array[] = [];
  readonly entities: Int32Array[] = [];
  readonly bytes: Buffer[] = [];
  #nextPlace = 0;

  /** Chunk and place of a slot's words: `versions[slot >>> CHUNK_BITS]`, from here on. */
  versionsOf(slot: number): Int32Array {
    return this.versions[slot >>> CHUNK_BITS]!;
  }

  entitiesOf(number: number): Int32Array {
    return this.entities[number >>> CHUNK_BITS]!;
  }

  /** Before slot `slot` is written. */
  makeSlot(slot: number): void {
    if (slot >>> CHUNK_BITS < this.versions.length) return;
    const memory = new SharedArrayBuffer(CHUNK_COUNT * VERSION_BYTES);
    this.versions.push(new Int32Array(memory));
    this.versionBytes.push(new Uint8Array(memory));
  }

  /** Writes an entity's bytes and answers its chunk of words, all but `newest` and the word of its hash filled in. */
  makeEntity(number: number, entity: EntityBytes): void {
    const { length, bytes: from } = entity;
    if (number >>> CHUNK_BITS === this.entities.length)
      this.entities.push(new Int32Array(new SharedArrayBuffer(CHUNK_COUNT * ENTITY_BYTES)));
    let place = this.#nextPlace;
    if ((place & BYTES_MASK) + length > BYTES_COUNT) place = (place | BYTES_MASK) + 1;
    if (place >>> BYTES_BITS === this.bytes.length) this.bytes.push(Buffer.from(new SharedArrayBuffer(BYTES_COUNT)));
    const bytes = this.bytes[place >>> BYTES_BITS]!;
    for (let i = 0, at = place & BYTES_MASK; i < length; i++, at++) bytes[at] = from[i]!;
    const words = this.entitiesOf(number);
    const at = (number & CHUNK_MASK) * ENTITY_WORDS;
    words[at + PLACE] = place;
    words[at + LENGTH] = length;
    this.#nextPlace = place + length;
  }

  /** Bytes of entities, what is left at the ends of chunks counted. */
  get entityBytes(): number {
    return this.#nextPlace;
  }

  entityIs(number: number, entity: EntityBytes): boolean {
    const words = this.entitiesOf(number);
    const at = (number & CHUNK_MASK) * ENTITY_WORDS;
    const { length, bytes: wanted } = entity;
    if (words[at + LENGTH] !== length) return false;
    const place = words[at + PLACE]!;
    const bytes = this.bytes[place >>> BYTES_BITS]!;
    for (let i = 0, from = place & BYTES_MASK; i < length; i++, from++) if (bytes[from] !== wanted[i]) return false;
    return true;
  }

  entity(number: number): string {
    const words = this.entitiesOf(number);
    const at = (number & CHUNK_MASK) * ENTITY_WORDS;
    const place = words[at + PLACE]!;
    const from = place & BYTES_MASK;
    return this.bytes[place >>> BYTES_BITS]!.toString('latin1', from, from + words[at + LENGTH]!);
  }

  /** Byte order of two entities. */
  compare(a: number, b: number): number {
    const aWords = this.entitiesOf(a);
    const bWords = this.entitiesOf(b);
    const aAt = (a & CHUNK_MASK) * ENTITY_WORDS;
    const bAt = (b & CHUNK_MASK) * ENTITY_WORDS;
    const aPlace = aWords[aAt + PLACE]!;
    const bPlace = bWords[bAt + PLACE]!;
    const aBytes = this.bytes[aPlace >>> BYTES_BITS]!;
    const bBytes = this.bytes[bPlace >>> BYTES_BITS]!;
    const aLength = aWords[aAt + LENGTH]!;
    const bLength = bWords[bAt + LENGTH]!;
    let aFrom = aPlace & BYTES_MASK;
    let bFrom = bPlace & BYTES_MASK;
    for (let left = Math.min(aLength, bLength); left > 0; left--) {
      const difference = aBytes[aFrom++]! - bBytes[bFrom++]!;
      if (difference !== 0) return difference;
    }
    return aLength - bLength;
  }

  /** Byte order of an entity and a text of one char a byte. */
  compareTo(number: number, text: string): number {
    const words = this.entitiesOf(number);
    const at = (number & CHUNK_MASK) * ENTITY_WORDS;
    const place = words[at + PLACE]!;
    const bytes = this.bytes[place >>> BYTES_BITS]!;
    const length = words[at + LENGTH]!;
    const from = place & BYTES_MASK;
    const shared = Math.min(length, text.length);
    for (let i = 0; i < shared; i++) {
      const difference = bytes[from + i]! - text.charCodeAt(i);
      if (difference !== 0) return difference;
    }
    return length - text.length;
  }

  /** Bytes of the entities from number `first` up to `end`, one after the other, and where each begins. */
  gather(first: number, end: number): { readonly bytes: Uint8Array; readonly starts: Uint32Array } {
    return gatherEntities(this.entities, this.bytes, first, end);
  }
}

export function gatherEntities(
  entities: readonly Int32Array[],
  chunks: readonly Uint8Array[],
  first: number,
  end: number,
): { readonly bytes: Uint8Array; readonly starts: Uint32Array } {
  const starts = new Uint32Array(end - first + 1);
  let total = 0;
  for (let number = first; number < end; number++) {
    starts[number - first] = total;
    total += entities[number >>> CHUNK_BITS]![(number & CHUNK_MASK) * ENTITY_WORDS + LENGTH]!;
  }
  starts[end - first] = total;
  const bytes = new Uint8Array(total);
  // They lie one behind the other but for the ends of chunks: a copy for each chunk.
  for (let number = first; number < end; ) {
    const place = entities[number >>> CHUNK_BITS]![(number & CHUNK_MASK) * ENTITY_WORDS + PLACE]!;
    const chunk = place >>> BYTES_BITS;
    const at = starts[number - first]!;
    let until = number;
    let length = 0;
    for (; until < end; until++) {
      const words = entities[until >>> CHUNK_BITS]!;
      const word = (until & CHUNK_MASK) * ENTITY_WORDS;
      if (words[word + PLACE]! >>> BYTES_BITS !== chunk) break;
      length += words[word + LENGTH]!;
    }
    const from = place & BYTES_MASK;
    bytes.set(chunks[chunk]!.subarray(from, from + length), at);
    number = until;
  }
  return { bytes, starts };
}

/** A number of 48 or 53 bits in two words. */
export function numberAt(words: Int32Array, at: number): number {
  return (words[at + 1]! >>> 0) * U32 + (words[at]! >>> 0);
}

export function putNumber(words: Int32Array, at: number, value: number): void {
  words[at] = value | 0;
  words[at + 1] = Math.floor(value / U32);
}
