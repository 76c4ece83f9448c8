/**
 * Gathers entries in key order and encodes them as one node (the layout is node.ts's).
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
import { copyBytes } from './bytes.js';
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
  /** Keys one after the other, whole; `#ends[i]` is where key i ends. */
  readonly #keys: Buffer;
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
    this.#keys = Buffer.allocUnsafeSlow(room);
    this.#ends = new Uint32Array(most);
    this.#values = Buffer.allocUnsafeSlow(most * this.#valueBytes);
    this.#addresses = Buffer.allocUnsafeSlow(most * this.#addressBytes);
  }

  /** The key is `key[0, length)`; `value`: of a leaf its 47 bytes, of an inner node INNER_ITEM_BYTES. */
  add(key: Uint8Array, value: Uint8Array, length = key.length): void {
    assert(length <= MAX_TREE_KEY_BYTES, 'a tree key is within its limit');
    assert(value.length === this.#valueBytes + this.#addressBytes, 'a tree value has its fixed length');
    const at = this.#keyEnd();
    copyBytes(key, 0, length, this.#keys, at);
    copyBytes(value, 0, this.#valueBytes, this.#values, this.count * this.#valueBytes);
    if (this.#addressBytes > 0) {
      copyBytes(value, this.#valueBytes, value.length, this.#addresses, this.count * ADDRESS_BYTES);
      this.entries += getU48(value, HASH_BYTES);
    }
    this.#added(at, at + length, true);
  }

  /**
   * Adds entries from `from` on of a node of the same level, up to `to` or the node's end; answers where it stopped. Those before
   * `untested` are known not to end the node: the rule is not asked.
   */
  addRun(node: Node, from: number, to: number, untested = 0): number {
    const { bytes, prefixBytes, restsAt } = node;
    const prefixAt = node.start + NODE_HEADER_BYTES;
    const before = this.count;
    let rest = node.restStart(from);
    let index = from;
    while (index < to && !this.full) {
      const restEnd = restsAt + getU16(bytes, node.endsAt + 2 * index);
      const at = this.#keyEnd();
      copyBytes(bytes, prefixAt, prefixAt + prefixBytes, this.#keys, at);
      copyBytes(bytes, rest, restEnd, this.#keys, at + prefixBytes);
      this.#added(at, at + prefixBytes + restEnd - rest, index >= untested);
      rest = restEnd;
      index++;
    }
    const value = node.valuesAt + from * this.#valueBytes;
    bytes.copy(this.#values, before * this.#valueBytes, value, value + (index - from) * this.#valueBytes);
    if (this.#addressBytes > 0) {
      const address = node.addressesAt + from * ADDRESS_BYTES;
      bytes.copy(this.#addresses, before * ADDRESS_BYTES, address, address + (index - from) * ADDRESS_BYTES);
      for (let i = before; i < this.count; i++) this.entries += getU48(this.#values, i * INNER_VALUE_BYTES + HASH_BYTES);
    }
    return index;
  }

  #keyEnd(): number {
    return this.count === 0 ? 0 : this.#ends[this.count - 1]!;
  }

  #added(keyStart: number, keyEnd: number, tested: boolean): void {
    if (this.level === 0) this.entries++;
    this.#ends[this.count] = keyEnd;
    this.count++;
    const size = keyEnd - keyStart + this.#valueBytes + 2;
    this.#filled += size;
    if (tested) this.full = this.#rule.ends(this.level, this.count, this.#filled, size, this.#keys, keyStart, keyEnd);
  }

  get lastKeyLength(): number {
    return this.#keyEnd() - this.#lastKeyStart();
  }

  copyLastKey(into: Buffer, at: number): void {
    this.#keys.copy(into, at, this.#lastKeyStart(), this.#keyEnd());
  }

  #lastKeyStart(): number {
    return this.count < 2 ? 0 : this.#ends[this.count - 2]!;
  }

  /** A copy of the first entry's value and address. */
  firstItem(): Buffer {
    return Buffer.concat([this.#values.subarray(0, this.#valueBytes), this.#addresses.subarray(0, this.#addressBytes)]);
  }

  #prefixBytes(): number {
    const firstEnd = this.#ends[0]!;
    const last = this.count < 2 ? 0 : this.#ends[this.count - 2]!;
    const most = Math.min(firstEnd, this.#keyEnd() - last);
    let shared = 0;
    while (shared < most && this.#keys[shared] === this.#keys[last + shared]) shared++;
    return shared;
  }

  hashedBytes(): number {
    return NODE_HEADER_BYTES + this.#keyEnd() - this.#prefixBytes() * (this.count - 1) + this.count * (2 + this.#valueBytes);
  }

  addressBytes(): number {
    return this.count * this.#addressBytes;
  }

  /** Writes `hashedBytes() + addressBytes()` bytes at `at`. */
  encode(into: Buffer, at: number): void {
    const prefix = this.#prefixBytes();
    into[at] = this.level === 0 ? LEAF_MARK : INNER_MARK;
    into[at + 1] = this.level;
    putU16(into, at + 2, this.count);
    putU16(into, at + 4, prefix);
    putU16(into, at + 6, this.#valueBytes);
    let ends = at + NODE_HEADER_BYTES;
    copyBytes(this.#keys, 0, prefix, into, ends);
    ends += prefix;
    const rests = ends + 2 * this.count;
    let to = rests;
    let keyStart = 0;
    for (let i = 0; i < this.count; i++) {
      const keyEnd = this.#ends[i]!;
      copyBytes(this.#keys, keyStart + prefix, keyEnd, into, to);
      to += keyEnd - keyStart - prefix;
      putU16(into, ends + 2 * i, to - rests);
      keyStart = keyEnd;
    }
    to += this.#values.copy(into, to, 0, this.count * this.#valueBytes);
    this.#addresses.copy(into, to, 0, this.addressBytes());
  }

  reset(): void {
    this.count = 0;
    this.entries = 0;
    this.full = false;
    this.#filled = 0;
  }
}
