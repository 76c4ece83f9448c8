/**
 * One node of the tree, searched where it lies: no entry becomes an object.
 *
 *   0  u8   'L' leaf or 'I' inner          8  prefix            shared by all keys
 *   1  u8   level, 0 for leaves               u16 × count       where each key's rest ends, from the first rest's start
 *   2  u16  count, never 0                    rests of the keys
 *   4  u16  bytes of the prefix               values            count × 47 (leaf) or × 38 (inner: hash 32, entries below u48)
 *   6  u16  bytes of a value
 *
 * These bytes are what is hashed; they are the only encoding of their entries (the prefix is the longest that the first and
 * the last key share). Beside them an inner node keeps its children's addresses, 12 bytes each, which are not hashed.
 *
 * Invariants: `parseNode` has checked every length, so that no search can leave the bytes, and that keys are strictly ascending.
 * A key of an inner node is the last key of that child (the reader checks it). Nodes never change.
 */

import { getU16, getU32, getU48, putU16 } from '../format/bytes.js';
import { blake3, HASH_BYTES } from '../format/hash.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import { LEAF_VALUE_BYTES } from './types.js';

export const NODE_HEADER_BYTES = 8;
export const LEAF_MARK = 0x4c;
export const INNER_MARK = 0x49;
/** Child's hash, entries below it. */
export const INNER_VALUE_BYTES = 38;
/** File, offset and length of a child's frame. */
export const ADDRESS_BYTES = 12;
/** A tree of 2^48 entries whose inner nodes hold two each is lower. */
export const MAX_LEVEL = 60;
const SEARCHES_WITHOUT_HEADS = 2;

const LEAF_TAG = Buffer.from('varve tree leaf 1\0', 'latin1');
const INNER_TAG = Buffer.from('varve tree inner 1\0', 'latin1');

export class Node {
  readonly bytes: Buffer;
  /** Where the hashed bytes begin. */
  readonly start: number;
  readonly hashedBytes: number;
  readonly level: number;
  readonly count: number;
  readonly prefixBytes: number;
  readonly valueBytes: number;
  readonly endsAt: number;
  readonly restsAt: number;
  readonly valuesAt: number;
  readonly addressesAt: number;

  // The cache's (see node-cache.ts): children that are cached, the one parent that links here, the clock's mark.
  links: (Node | undefined)[] | undefined = undefined;
  parent: Node | undefined = undefined;
  parentIndex = 0;
  used = false;
  home: Map<number, Node> | undefined = undefined;
  place = 0;

  /** The first four bytes of every rest as a number: a search compares these, in memory that lies together, before it looks at keys. */
  #heads: Uint32Array | undefined = undefined;
  #searches = 0;

  /** Only `parseNode` makes nodes. */
  constructor(bytes: Buffer, start: number, hashedBytes: number, restBytes: number) {
    this.bytes = bytes;
    this.start = start;
    this.hashedBytes = hashedBytes;
    this.level = bytes[start + 1]!;
    this.count = getU16(bytes, start + 2);
    this.prefixBytes = getU16(bytes, start + 4);
    this.valueBytes = getU16(bytes, start + 6);
    this.endsAt = start + NODE_HEADER_BYTES + this.prefixBytes;
    this.restsAt = this.endsAt + 2 * this.count;
    this.valuesAt = this.restsAt + restBytes;
    this.addressesAt = start + hashedBytes;
  }

  /** Index of the first entry whose key is >= `key[0, length)`, from `from` on; `count` where there is none. */
  search(key: Uint8Array, length: number, from = 0): number {
    if (this.#searches < SEARCHES_WITHOUT_HEADS) {
      // A few cost less than all heads, and many nodes see no more.
      this.#searches++;
      return this.searchOnce(key, length, from);
    }
    const { prefixBytes } = this;
    const order = this.#comparePrefix(key, length);
    if (order !== 0) return order < 0 ? from : this.count;
    let low = from;
    let high = this.count;
    const heads = this.#heads ?? this.#makeHeads();
    const head = headOf(key, prefixBytes, length);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const here = heads[middle]!;
      if (here < head || (here === head && this.#isBelow(middle, key, length))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The same, for who asks no more than a few times: nothing is made for the next. */
  searchOnce(key: Uint8Array, length: number, from: number): number {
    const order = this.#comparePrefix(key, length);
    if (order !== 0) return order < 0 ? from : this.count;
    let low = from;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBelow(middle, key, length)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Of a key against what all keys here begin with: 0 where it begins with that too, negative where it is its beginning. */
  #comparePrefix(key: Uint8Array, length: number): number {
    const { bytes, prefixBytes } = this;
    const prefixAt = this.start + NODE_HEADER_BYTES;
    for (let i = 0; i < prefixBytes; i++) {
      if (i >= length) return -1;
      const difference = key[i]! - bytes[prefixAt + i]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** Whether entry `index`'s key is smaller, given that it shares the prefix. */
  #isBelow(index: number, key: Uint8Array, length: number): boolean {
    const { bytes } = this;
    let rest = this.restStart(index);
    const end = this.restEnd(index);
    let i = this.prefixBytes;
    while (rest < end && i < length && bytes[rest] === key[i]) {
      rest++;
      i++;
    }
    return i < length && (rest >= end || bytes[rest]! < key[i]!);
  }

  #makeHeads(): Uint32Array {
    const heads = new Uint32Array(this.count);
    let rest = this.restsAt;
    for (let i = 0; i < heads.length; i++) {
      const end = this.restEnd(i);
      heads[i] = headOf(this.bytes, rest, end);
      rest = end;
    }
    this.#heads = heads;
    return heads;
  }

  /** Byte order of entry `index`'s key against `key[0, length)`. */
  compareKey(index: number, key: Uint8Array, length: number): number {
    const { bytes, prefixBytes } = this;
    const prefixAt = this.start + NODE_HEADER_BYTES;
    for (let i = 0; i < prefixBytes; i++) {
      if (i >= length) return 1;
      const difference = bytes[prefixAt + i]! - key[i]!;
      if (difference !== 0) return difference;
    }
    const end = this.restEnd(index);
    let i = prefixBytes;
    for (let rest = this.restStart(index); rest < end; rest++, i++) {
      if (i >= length) return 1;
      const difference = bytes[rest]! - key[i]!;
      if (difference !== 0) return difference;
    }
    return i - length;
  }

  /** The same against an entry's key of another node. */
  compareKeyTo(index: number, other: Node, otherIndex: number): number {
    const length = this.keyLength(index);
    const otherLength = other.keyLength(otherIndex);
    for (let i = 0; i < length && i < otherLength; i++) {
      const difference = this.keyByte(index, i) - other.keyByte(otherIndex, i);
      if (difference !== 0) return difference;
    }
    return length - otherLength;
  }

  /** Whether entry `index`'s key, at least that long, begins with `key[0, length)`. */
  beginsWith(index: number, key: Uint8Array, length: number): boolean {
    const { bytes } = this;
    const prefixAt = this.start + NODE_HEADER_BYTES;
    const shared = Math.min(this.prefixBytes, length);
    for (let i = 0; i < shared; i++) if (bytes[prefixAt + i] !== key[i]) return false;
    for (let i = shared, rest = this.restStart(index); i < length; i++, rest++) if (bytes[rest] !== key[i]) return false;
    return true;
  }

  restStart(index: number): number {
    return this.restsAt + (index === 0 ? 0 : getU16(this.bytes, this.endsAt + 2 * index - 2));
  }

  restEnd(index: number): number {
    return this.restsAt + getU16(this.bytes, this.endsAt + 2 * index);
  }

  keyLength(index: number): number {
    return this.prefixBytes + this.restEnd(index) - this.restStart(index);
  }

  /** Byte `at` of entry `index`'s key; it may lie in the prefix or in the rest, wherever the node's keys happen to part. */
  keyByte(index: number, at: number): number {
    return at < this.prefixBytes
      ? this.bytes[this.start + NODE_HEADER_BYTES + at]!
      : this.bytes[this.restStart(index) + at - this.prefixBytes]!;
  }

  /** A copy. */
  key(index: number): Buffer {
    const key = Buffer.allocUnsafe(this.keyLength(index));
    this.copyKey(index, key, 0);
    return key;
  }

  /** Writes `keyLength(index)` bytes at `at`. */
  copyKey(index: number, into: Buffer, at: number): void {
    const prefixAt = this.start + NODE_HEADER_BYTES;
    this.bytes.copy(into, at, prefixAt, prefixAt + this.prefixBytes);
    this.bytes.copy(into, at + this.prefixBytes, this.restStart(index), this.restEnd(index));
  }

  /** The key's bytes as a string of one character each; `less` bytes left off at its end. */
  keyLatin1(index: number, less = 0): string {
    const prefixAt = this.start + NODE_HEADER_BYTES;
    const rest = this.restStart(index);
    const end = this.restEnd(index) - less;
    if (end <= rest) return this.bytes.toString('latin1', prefixAt, prefixAt + this.prefixBytes + end - rest);
    return this.bytes.toString('latin1', prefixAt, prefixAt + this.prefixBytes) + this.bytes.toString('latin1', rest, end);
  }

  valueAt(index: number): number {
    return this.valuesAt + index * this.valueBytes;
  }

  /** A view. */
  value(index: number): Buffer {
    const at = this.valueAt(index);
    return this.bytes.subarray(at, at + this.valueBytes);
  }

  // Inner nodes only.

  childHash(index: number): Buffer {
    const at = this.valuesAt + index * INNER_VALUE_BYTES;
    return this.bytes.subarray(at, at + HASH_BYTES);
  }

  entriesBelow(index: number): number {
    return getU48(this.bytes, this.valuesAt + index * INNER_VALUE_BYTES + HASH_BYTES);
  }

  childFile(index: number): number {
    return getU32(this.bytes, this.addressesAt + index * ADDRESS_BYTES);
  }

  childOffset(index: number): number {
    return getU32(this.bytes, this.addressesAt + index * ADDRESS_BYTES + 4);
  }

  childLength(index: number): number {
    return getU32(this.bytes, this.addressesAt + index * ADDRESS_BYTES + 8);
  }

  /** A view of what is hashed. */
  hashed(): Buffer {
    return this.bytes.subarray(this.start, this.start + this.hashedBytes);
  }

  hash(): Buffer {
    return hashNode(this.hashed());
  }

  /** Entries in this subtree. */
  entries(): number {
    if (this.level === 0) return this.count;
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.entriesBelow(i);
    return sum;
  }
}

/** Up to four bytes from `at` on, big-endian, zeros behind `end`: in the order of the bytes, but that a byte 0 and none are the same. */
function headOf(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  let head = 0;
  for (let i = 0; i < 4; i++) head = head * 256 + (at + i < end ? bytes[at + i]! : 0);
  return head;
}

/** BLAKE3 over the tag of its kind and a node's hashed bytes. */
export function hashNode(hashed: Uint8Array): Buffer {
  return blake3(hashed[0] === LEAF_MARK ? LEAF_TAG : INNER_TAG, hashed);
}

/** The root hash of a tree without entries: that of a leaf that holds none (no such leaf is ever stored). */
export const EMPTY_ROOT_HASH: Uint8Array = (() => {
  const leaf = new Uint8Array(NODE_HEADER_BYTES);
  leaf[0] = LEAF_MARK;
  putU16(leaf, 6, LEAF_VALUE_BYTES);
  return hashNode(leaf);
})();

/**
 * The node whose hashed bytes are `bytes[start, start + hashedBytes)`, its children's addresses following them if `addressed`;
 * a sentence saying what is wrong with them otherwise. Takes any bytes.
 */
export function parseNode(bytes: Buffer, start: number, hashedBytes: number, addressed: boolean): Node | string {
  if (hashedBytes < NODE_HEADER_BYTES || start + hashedBytes > bytes.length) return 'node is cut short';
  const leaf = bytes[start] === LEAF_MARK;
  if (!leaf && bytes[start] !== INNER_MARK) return 'node is of no known kind';
  const level = bytes[start + 1]!;
  if (leaf ? level !== 0 : level === 0 || level > MAX_LEVEL) return 'node is on an impossible level';
  const count = getU16(bytes, start + 2);
  if (count === 0) return 'node is empty';
  const valueBytes = getU16(bytes, start + 6);
  if (valueBytes !== (leaf ? LEAF_VALUE_BYTES : INNER_VALUE_BYTES)) return 'node has values of another length';
  const endsAt = NODE_HEADER_BYTES + getU16(bytes, start + 4);
  const restsAt = endsAt + 2 * count;
  const restBytes = hashedBytes - restsAt - count * valueBytes;
  if (restBytes < 0) return 'node is shorter than its parts';
  const rests = start + restsAt;
  const longest = MAX_TREE_KEY_BYTES - (endsAt - NODE_HEADER_BYTES);
  let before = 0;
  let previous = 0;
  for (let at = start + endsAt, end = at + 2 * count; at < end; at += 2) {
    const rest = bytes[at]! | (bytes[at + 1]! << 8);
    if (rest < previous || rest > restBytes || rest - previous > longest) return 'node has a key of an impossible length';
    if (at > start + endsAt && !isAscending(bytes, rests + before, rests + previous, rests + rest)) return 'keys are not ascending';
    before = previous;
    previous = rest;
  }
  if (previous !== restBytes) return 'node is not as long as its parts';
  const addressBytes = addressed && !leaf ? count * ADDRESS_BYTES : 0;
  if (start + hashedBytes + addressBytes > bytes.length) return 'node lacks addresses';
  return new Node(bytes, start, hashedBytes, restBytes);
}

/** Whether the bytes in [from, middle) come before those in [middle, end). */
function isAscending(bytes: Buffer, from: number, middle: number, end: number): boolean {
  let a = from;
  let b = middle;
  while (a < middle && b < end && bytes[a] === bytes[b]) {
    a++;
    b++;
  }
  return a < middle ? b < end && bytes[a]! < bytes[b]! : b < end;
}
