/**
 * Gathers entries in key order and encodes them as one node (the layout is node.ts's).
 *
 *   base               bytes that all keys gathered so far begin with: of a run of an old node, its prefix
 *   rests              what each key has behind it, one after the other: a run of an old node is taken over in one piece
 *
 * A key that does not begin with the base makes it shorter, and all rests longer. The node's prefix is the base and what all rests share.
 *
 * Invariants: entries come strictly ascending (the caller's part); once `full` the node must be encoded and the builder
 * `reset` before it takes more; an empty builder is at a boundary. Its buffers hold the largest node
 * the rule allows, so nothing grows. In memory only.
 */
import { assert } from '../errors.js';
import { getU16, getU48, putU16 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import type { BoundaryRule } from './boundary.js';
import { copyBytes, moveBytes, sharedBytes } from './bytes.js';
import { ADDRESS_BYTES, INNER_MARK, INNER_VALUE_BYTES, LEAF_MARK, NODE_HEADER_BYTES, type Node } from './node.js';
import { LEAF_VALUE_BYTES } from './types.js';

/** An inner entry in flight: its value, then the child's address. */
export const INNER_ITEM_BYTES = INNER_VALUE_BYTES + ADDRESS_BYTES;

export class NodeBuilder {
  readonly level: number;
  count = 0;
  /** Entries below, this node's own if it is a leaf. */
  entries = 0;
  /** The boundary rule ends the node here. */
  full = false;
  readonly #rule: BoundaryRule;
  readonly #valueBytes: number;
  readonly #addressBytes: number;
  /** The base, and behind it what is left of a key that the rule is asked about. */
  readonly #base = Buffer.allocUnsafeSlow(MAX_TREE_KEY_BYTES);
  #baseBytes = 0;
  readonly #rests: Buffer;
  /** Where each rest ends. */
  readonly #ends: Uint32Array;
  readonly #values: Buffer;
  readonly #addresses: Buffer;
  #filled = 0;

  constructor(rule: BoundaryRule, level: number) {
    this.level = level;
    this.#rule = rule;
    this.#valueBytes = level === 0 ? LEAF_VALUE_BYTES : INNER_VALUE_BYTES;
    this.#addressBytes = level === 0 ? 0 : ADDRESS_BYTES;
    // The cap is passed by one entry at most, or by two large keys where an inner node needs a second.
    const room = rule.capBytes + 3 * (MAX_TREE_KEY_BYTES + LEAF_VALUE_BYTES);
    const most = Math.ceil(rule.capBytes / INNER_VALUE_BYTES) + 3;
    this.#rests = Buffer.allocUnsafeSlow(room);
    this.#ends = new Uint32Array(most);
    this.#values = Buffer.allocUnsafeSlow(most * this.#valueBytes);
    this.#addresses = Buffer.allocUnsafeSlow(most * this.#addressBytes);
  }

  /** The key is `key[0, length)`; `value`: of a leaf its 47 bytes, of an inner node INNER_ITEM_BYTES. */
  add(key: Uint8Array, value: Uint8Array, length = key.length): void {
    assert(length <= MAX_TREE_KEY_BYTES, 'a tree key is within its limit');
    assert(value.length === this.#valueBytes + this.#addressBytes, 'a tree value has its fixed length');
    this.#shareBase(key, 0, length);
    const at = this.#restsEnd();
    const base = this.#baseBytes;
    copyBytes(key, base, length, this.#rests, at);
    copyBytes(value, 0, this.#valueBytes, this.#values, this.count * this.#valueBytes);
    if (this.#addressBytes > 0) {
      copyBytes(value, this.#valueBytes, value.length, this.#addresses, this.count * ADDRESS_BYTES);
      this.entries += getU48(value, HASH_BYTES);
    } else this.entries++;
    this.#ends[this.count++] = at + length - base;
    const size = length + this.#valueBytes + 2;
    this.#filled += size;
    this.full = this.#rule.ends(this.level, this.count, this.#filled, size, key, 0, length);
  }

  /**
   * Adds entries from `from` on of a node of the same level, up to `to` or the node's end; answers where it stopped. Those before
   * `untested` are known not to end the node: the rule is not asked.
   */
  addRun(node: Node, from: number, to: number, untested = 0): number {
    const { bytes, prefixBytes, restsAt, endsAt } = node;
    const prefixAt = node.start + NODE_HEADER_BYTES;
    this.#shareBase(bytes, prefixAt, prefixBytes);
    const before = this.count;
    const ends = this.#ends;
    const rule = this.#rule;
    const gap = prefixBytes - this.#baseBytes;
    const base = this.#base;
    copyBytes(bytes, prefixAt + this.#baseBytes, prefixAt + prefixBytes, base, this.#baseBytes);
    const start = node.restStart(from);
    const fixed = prefixBytes + this.#valueBytes + 2;
    let at = this.#restsEnd();
    let rest = start;
    let index = from;
    let count = before;
    let filled = this.#filled;
    while (index < to && !this.full) {
      const restEnd = restsAt + getU16(bytes, endsAt + 2 * index);
      const size = fixed + restEnd - rest;
      filled += size;
      at += gap + restEnd - rest;
      ends[count++] = at;
      if (index >= untested && filled >= rule.minBytes) {
        copyBytes(bytes, rest, restEnd, base, prefixBytes);
        this.full = rule.ends(this.level, count, filled, size, base, 0, prefixBytes + restEnd - rest);
      }
      rest = restEnd;
      index++;
    }
    if (gap === 0) moveBytes(bytes, start, rest, this.#rests, before === 0 ? 0 : ends[before - 1]!);
    else this.#copyRests(node, from, index, before);
    this.count = count;
    this.#filled = filled;
    const value = node.valuesAt + from * this.#valueBytes;
    moveBytes(bytes, value, value + (index - from) * this.#valueBytes, this.#values, before * this.#valueBytes);
    if (this.#addressBytes > 0) {
      const address = node.addressesAt + from * ADDRESS_BYTES;
      moveBytes(bytes, address, address + (index - from) * ADDRESS_BYTES, this.#addresses, before * ADDRESS_BYTES);
      for (let i = before; i < count; i++) this.entries += getU48(this.#values, i * INNER_VALUE_BYTES + HASH_BYTES);
    } else this.entries += count - before;
    return index;
  }

  /** Of a node whose prefix is longer than the base: what it is longer by goes in front of each. */
  #copyRests(node: Node, from: number, to: number, count: number): void {
    const base = this.#baseBytes;
    let at = count === 0 ? 0 : this.#ends[count - 1]!;
    let rest = node.restStart(from);
    for (let index = from; index < to; index++) {
      const restEnd = node.restEnd(index);
      copyBytes(this.#base, base, node.prefixBytes, this.#rests, at);
      at += node.prefixBytes - base;
      copyBytes(node.bytes, rest, restEnd, this.#rests, at);
      at += restEnd - rest;
      rest = restEnd;
    }
  }

  #restsEnd(): number {
    return this.count === 0 ? 0 : this.#ends[this.count - 1]!;
  }

  /** Makes the base a beginning of `bytes[start, start + length)`, and the longest where there are no entries yet. */
  #shareBase(bytes: Uint8Array, start: number, length: number): void {
    if (this.count === 0) {
      copyBytes(bytes, start, start + length, this.#base, 0);
      this.#baseBytes = length;
      return;
    }
    const base = this.#baseBytes;
    const shared = sharedBytes(this.#base, 0, bytes, start, base < length ? base : length);
    if (shared === base) return;
    // From the last on: none is written over before it was moved.
    const longer = base - shared;
    const rests = this.#rests;
    for (let i = this.count - 1; i >= 0; i--) {
      const from = i === 0 ? 0 : this.#ends[i - 1]!;
      const end = this.#ends[i]!;
      const to = from + longer * i;
      rests.copyWithin(to + longer, from, end);
      copyBytes(this.#base, shared, base, rests, to);
      this.#ends[i] = end + longer * (i + 1);
    }
    this.#baseBytes = shared;
  }

  get lastKeyLength(): number {
    return this.#baseBytes + this.#restsEnd() - this.#lastRestStart();
  }

  copyLastKey(into: Buffer, at: number): void {
    copyBytes(this.#base, 0, this.#baseBytes, into, at);
    copyBytes(this.#rests, this.#lastRestStart(), this.#restsEnd(), into, at + this.#baseBytes);
  }

  #lastRestStart(): number {
    return this.count < 2 ? 0 : this.#ends[this.count - 2]!;
  }

  /** A copy of the first entry's value and address. */
  firstItem(): Buffer {
    return Buffer.concat([this.#values.subarray(0, this.#valueBytes), this.#addresses.subarray(0, this.#addressBytes)]);
  }

  /** How much of the prefix lies in the rests. */
  #sharedRest(): number {
    const last = this.#lastRestStart();
    const most = Math.min(this.#ends[0]!, this.#restsEnd() - last);
    return sharedBytes(this.#rests, 0, this.#rests, last, most);
  }

  hashedBytes(): number {
    const shared = this.#sharedRest();
    const rests = this.#restsEnd() - shared * (this.count - 1);
    return NODE_HEADER_BYTES + this.#baseBytes + rests + this.count * (2 + this.#valueBytes);
  }

  addressBytes(): number {
    return this.count * this.#addressBytes;
  }

  /** Writes `hashedBytes() + addressBytes()` bytes at `at`. */
  encode(into: Buffer, at: number): void {
    const { count } = this;
    const ends = this.#ends;
    const shared = this.#sharedRest();
    const prefix = this.#baseBytes + shared;
    into[at] = this.level === 0 ? LEAF_MARK : INNER_MARK;
    into[at + 1] = this.level;
    putU16(into, at + 2, count);
    putU16(into, at + 4, prefix);
    putU16(into, at + 6, this.#valueBytes);
    let endsAt = at + NODE_HEADER_BYTES;
    copyBytes(this.#base, 0, this.#baseBytes, into, endsAt);
    copyBytes(this.#rests, 0, shared, into, endsAt + this.#baseBytes);
    endsAt += prefix;
    for (let i = 0; i < count; i++) putU16(into, endsAt + 2 * i, ends[i]! - shared * (i + 1));
    let to = endsAt + 2 * count;
    if (shared === 0) {
      moveBytes(this.#rests, 0, this.#restsEnd(), into, to);
      to += this.#restsEnd();
    } else {
      for (let i = 0, start = 0; i < count; i++) {
        const end = ends[i]!;
        copyBytes(this.#rests, start + shared, end, into, to);
        to += end - start - shared;
        start = end;
      }
    }
    moveBytes(this.#values, 0, count * this.#valueBytes, into, to);
    moveBytes(this.#addresses, 0, this.addressBytes(), into, to + count * this.#valueBytes);
  }

  reset(): void {
    this.count = 0;
    this.entries = 0;
    this.full = false;
    this.#filled = 0;
  }
}
