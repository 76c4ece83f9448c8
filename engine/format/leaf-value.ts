/**
 * The value of a tree leaf entry, 47 bytes: hash 32, kind u8, time u64, supersedes u48, little-endian.
 * (docs/FORMAT.md, "Tree files")
 */
import { LEAF_VALUE_BYTES } from '../tree/types.js';

const KIND_AT = 32;
const TIME_AT = 33;
const SUPERSEDES_AT = 41;
const U32 = 2 ** 32;

export interface LeafFields {
  readonly seq: number;
  readonly time: number;
  readonly kind: number;
  readonly supersedes: number;
  /** A view into the value's bytes. */
  readonly hash: Uint8Array;
}

export function writeLeafValue(fields: Omit<LeafFields, 'seq'>): Uint8Array {
  const value = new Uint8Array(LEAF_VALUE_BYTES);
  value.set(fields.hash, 0);
  value[KIND_AT] = fields.kind;
  writeUint32(value, TIME_AT, fields.time % U32);
  writeUint32(value, TIME_AT + 4, Math.floor(fields.time / U32));
  writeUint32(value, SUPERSEDES_AT, fields.supersedes % U32);
  const high = Math.floor(fields.supersedes / U32);
  value[SUPERSEDES_AT + 4] = high & 0xff;
  value[SUPERSEDES_AT + 5] = high >>> 8;
  return value;
}

/** A leaf value's fields, read when asked for; `seq` comes from the entry's key. Keeps `value`. */
export class LeafEntry implements LeafFields {
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
    return readUint32(this.#value, TIME_AT) + readUint32(this.#value, TIME_AT + 4) * U32;
  }

  get supersedes(): number {
    const high = (this.#value[SUPERSEDES_AT + 4] as number) + (this.#value[SUPERSEDES_AT + 5] as number) * 0x100;
    return readUint32(this.#value, SUPERSEDES_AT) + high * U32;
  }

  get hash(): Uint8Array {
    return this.#value.subarray(0, KIND_AT);
  }
}

/** The same as a plain object. */
export function readLeafValue(seq: number, value: Uint8Array): LeafFields {
  const { time, kind, supersedes, hash } = new LeafEntry(seq, value);
  return { seq, time, kind, supersedes, hash };
}

function writeUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value & 0xff;
  into[at + 1] = (value >>> 8) & 0xff;
  into[at + 2] = (value >>> 16) & 0xff;
  into[at + 3] = (value >>> 24) & 0xff;
}

function readUint32(from: Uint8Array, at: number): number {
  return (
    (from[at] as number) + (from[at + 1] as number) * 0x100 + (from[at + 2] as number) * 0x10000 + (from[at + 3] as number) * 0x1000000
  );
}
