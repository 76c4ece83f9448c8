/**
 * What one level of a fold tells the next: last keys of the nodes that are no more, and the nodes in their place, packed. A fold
 * into a large tree rewrites hundreds of thousands of nodes: as objects they would take more memory than the memtable folded.
 *
 *   KeyList    keys one after the other
 *   ChildList  the same, and for each the item its parent will hold: hash, entries below, address; for a node of a single
 *              child that child's item too
 *
 * In memory, for the length of a fold.
 */
import { putU32, putU48 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import { copyBytes } from './bytes.js';
import { INNER_VALUE_BYTES, type Node } from './node.js';
import { INNER_ITEM_BYTES, type NodeBuilder } from './node-builder.js';
import type { WrittenNode } from './node-writer.js';
import type { ChangeSource } from './types.js';

const FIRST_NODES = 64;
const FIRST_BYTES = 4096;

export class KeyList {
  bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where each key ends. */
  ends = new Uint32Array(FIRST_NODES);
  count = 0;

  startOf(index: number): number {
    return index === 0 ? 0 : this.ends[index - 1]!;
  }

  addKeyOf(node: Node, index: number): void {
    const at = this.reserve(node.keyLength(index));
    node.copyKey(index, this.bytes, at);
  }

  /** Room for one more key; answers where. */
  protected reserve(length: number): number {
    const at = this.startOf(this.count);
    if (at + length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * (at + length));
      this.bytes.copy(larger, 0, 0, at);
      this.bytes = larger;
    }
    if (this.count === this.ends.length) {
      const larger = new Uint32Array(2 * this.count);
      larger.set(this.ends);
      this.ends = larger;
    }
    this.ends[this.count++] = at + length;
    return at;
  }
}

export class ChildList extends KeyList {
  #items = Buffer.allocUnsafeSlow(FIRST_NODES * INNER_ITEM_BYTES);
  /** Of nodes with a single child, which are rare. */
  readonly #onlyChildren = new Map<number, Buffer>();

  addChild(builder: NodeBuilder, written: WrittenNode): void {
    const index = this.count;
    const keyAt = this.reserve(builder.lastKeyLength);
    builder.copyLastKey(this.bytes, keyAt);
    if ((index + 1) * INNER_ITEM_BYTES > this.#items.length) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#items.length);
      this.#items.copy(larger);
      this.#items = larger;
    }
    const at = index * INNER_ITEM_BYTES;
    copyBytes(written.hash, 0, HASH_BYTES, this.#items, at);
    putU48(this.#items, at + HASH_BYTES, builder.entries);
    putU32(this.#items, at + INNER_VALUE_BYTES, written.file);
    putU32(this.#items, at + INNER_VALUE_BYTES + 4, written.offset);
    putU32(this.#items, at + INNER_VALUE_BYTES + 8, written.length);
    if (builder.level > 0 && builder.count === 1) this.#onlyChildren.set(index, builder.firstItem());
  }

  /** A view. */
  item(index: number): Buffer {
    return this.#items.subarray(index * INNER_ITEM_BYTES, (index + 1) * INNER_ITEM_BYTES);
  }

  onlyChild(index: number): Buffer | undefined {
    return this.#onlyChildren.get(index);
  }

  /** Index of the node that lies there, -1 where it is none of these. */
  find(file: number, offset: number): number {
    const address = Buffer.allocUnsafe(8);
    putU32(address, 0, file);
    putU32(address, 4, offset);
    for (let i = 0; i < this.count; i++) {
      const at = i * INNER_ITEM_BYTES + INNER_VALUE_BYTES;
      if (this.#items.compare(address, 0, 8, at, at + 8) === 0) return i;
    }
    return -1;
  }
}

/** What the level above must change: a merge of two ascending runs, in which a key of both is a replacement. */
export class ChildChanges implements ChangeSource {
  readonly key = new Uint8Array(MAX_TREE_KEY_BYTES);
  length = 0;
  value: Uint8Array | undefined;
  readonly #item = new Uint8Array(INNER_ITEM_BYTES);
  readonly #removed: KeyList;
  readonly #added: ChildList;
  #r = 0;
  #a = 0;

  constructor(removed: KeyList, added: ChildList) {
    this.#removed = removed;
    this.#added = added;
  }

  advance(): boolean {
    const order = this.#order();
    if (order === undefined) return false;
    this.#take(order < 0 ? this.#removed : this.#added, order < 0 ? this.#r : this.#a);
    this.value = undefined;
    if (order >= 0) {
      this.#item.set(this.#added.item(this.#a));
      this.value = this.#item;
      this.#a++;
    }
    if (order <= 0) this.#r++;
    return true;
  }

  /** Of the next removed key against the next added one; undefined where both lists are used up. */
  #order(): number | undefined {
    const removed = this.#removed;
    const added = this.#added;
    if (this.#r === removed.count) return this.#a === added.count ? undefined : 1;
    if (this.#a === added.count) return -1;
    const start = removed.startOf(this.#r);
    const end = removed.ends[this.#r]!;
    return -added.bytes.compare(removed.bytes, start, end, added.startOf(this.#a), added.ends[this.#a]!);
  }

  #take(list: KeyList, index: number): void {
    const start = list.startOf(index);
    this.length = list.ends[index]! - start;
    copyBytes(list.bytes, start, start + this.length, this.key, 0);
  }
}
