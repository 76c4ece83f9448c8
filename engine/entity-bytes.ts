/**
 * One entity at a time as bytes, collection 00 key 00, for who asks about it and adds it without making a string of it: an insert does
 * so a thousand times a batch.
 *
 * Invariants: behind the bytes stand zeros up to the next word. What was taken is there until the next is taken; `turn` tells them apart.
 * Memory only.
 */
import { MAX_ENTITY_BYTES } from './format/limits.js';

const WORD_BYTES = 4;

export class EntityBytes {
  bytes = new Uint8Array(roundUp(MAX_ENTITY_BYTES));
  /** The same memory, in the machine's order. */
  words = new Int32Array(this.bytes.buffer);
  length = 0;
  /** Another number with every entity. */
  turn = 0;

  /** One char a byte. */
  takeText(text: string): this {
    const { length } = text;
    const bytes = this.#begin(length);
    for (let i = 0; i < length; i++) bytes[i] = text.charCodeAt(i);
    return this;
  }

  /** `source[from, to)`, the names of an entity: `collectionBytes` of collection, then the key. */
  takeNames(source: Uint8Array, from: number, collectionBytes: number, to: number): this {
    const keyAt = from + collectionBytes;
    const bytes = this.#begin(to - from + 2);
    for (let i = from, at = 0; i < keyAt; i++, at++) bytes[at] = source[i]!;
    bytes[collectionBytes] = 0;
    for (let i = keyAt, at = collectionBytes + 1; i < to; i++, at++) bytes[at] = source[i]!;
    bytes[this.length - 1] = 0;
    return this;
  }

  /** One char a byte. */
  text(): string {
    return Buffer.from(this.bytes.buffer, 0, this.length).toString('latin1');
  }

  #begin(length: number): Uint8Array {
    if (length > this.bytes.length) {
      this.bytes = new Uint8Array(roundUp(length));
      this.words = new Int32Array(this.bytes.buffer);
    }
    this.length = length;
    this.turn++;
    this.words[length >>> 2] = 0;
    return this.bytes;
  }
}

/** One word at least is behind the last whole one. */
function roundUp(bytes: number): number {
  return (Math.floor(bytes / WORD_BYTES) + 1) * WORD_BYTES;
}
