/**
 * One version as it stands in a leaf: fields are read from its bytes when asked for. Keeps the node.
 */
import { getU48, getU64 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { type IndexEntry, KIND_AT, SUPERSEDES_AT, TIME_AT } from '../format/leaf-value.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import type { Node } from './node.js';
import { SEQ_BYTES } from './types.js';

const SCRATCH = Buffer.alloc(MAX_TREE_KEY_BYTES);

export class TreeEntry implements IndexEntry {
  readonly seq: number;
  readonly #node: Node;
  readonly #index: number;

  constructor(seq: number, node: Node, index: number) {
    this.seq = seq;
    this.#node = node;
    this.#index = index;
  }

  get kind(): number {
    return this.#node.bytes[this.#node.valueAt(this.#index) + KIND_AT]!;
  }

  get time(): number {
    return getU64(this.#node.bytes, this.#node.valueAt(this.#index) + TIME_AT);
  }

  get supersedes(): number {
    return getU48(this.#node.bytes, this.#node.valueAt(this.#index) + SUPERSEDES_AT);
  }

  get hash(): Uint8Array {
    const at = this.#node.valueAt(this.#index);
    return this.#node.bytes.subarray(at, at + HASH_BYTES);
  }

  /** All of the value: a view. */
  get value(): Buffer {
    return this.#node.value(this.#index);
  }

  /** The key without its seq, one char a byte. */
  get entity(): string {
    return this.#node.keyLatin1(this.#index, SEQ_BYTES);
  }

  /** The entity from a byte on, without the zero that ends it. */
  text(from: number): string {
    const node = this.#node;
    const index = this.#index;
    const length = node.keyLength(index) - SEQ_BYTES - 1;
    for (let i = from; i < length; i++) SCRATCH[i] = node.keyByte(index, i);
    return SCRATCH.toString('utf8', from, length);
  }
}
