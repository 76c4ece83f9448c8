/**
 * The value of a tree leaf entry, 47 bytes: hash 32, kind u8, time u64, supersedes u48, little-endian.
 * (docs/FORMAT.md, "Tree files")
 */
import { LEAF_VALUE_BYTES } from '../tree/types.js';
import { getU48, getU64, putU48, putU64 } from './bytes.js';

export const KIND_AT = 32;
export const TIME_AT = 33;
export const SUPERSEDES_AT = 41;

/** What the index knows of one version. */
export interface IndexEntry {
  readonly seq: number;
  readonly time: number;
  readonly kind: number;
  readonly supersedes: number;
  /** A view: copy to keep. */
  readonly hash: Uint8Array;
}

export function writeLeafValue(fields: Omit<IndexEntry, 'seq'>): Uint8Array {
  const value = new Uint8Array(LEAF_VALUE_BYTES);
  value.set(fields.hash, 0);
  value[KIND_AT] = fields.kind;
  putU64(value, TIME_AT, fields.time);
  putU48(value, SUPERSEDES_AT, fields.supersedes);
  return value;
}

/** A leaf value's fields, read when asked for; `seq` comes from the entry's key. Keeps `value`. */
export class LeafEntry implements IndexEntry {
  readonly seq: number;
  readonly #value: Uint8Array;

  constructor(seq: number, value: Uint8Array) {
    this.seq = seq;
    this.#value = value;
  }

  get kind(): number {
    return this.#value[KIND_AT] as number;
  }

  get time(): number {
    return getU64(this.#value, TIME_AT);
  }

  get supersedes(): number {
    return getU48(this.#value, SUPERSEDES_AT);
  }

  get hash(): Uint8Array {
    return this.#value.subarray(0, KIND_AT);
  }
}
