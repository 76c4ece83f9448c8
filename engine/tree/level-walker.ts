/**
 * Walks the nodes of one level of a tree from left to right: what a fold rechunks.
 *
 * Holds the path from the root to the current node. Reads only.
 */

import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';

export class LevelWalker {
  readonly #reader: NodeReader;
  readonly #level: number;
  /** Nodes above the level, the root first, and which child of each the path takes. */
  readonly #path: Node[] = [];
  readonly #indexes: number[] = [];
  readonly #root: Node;

  constructor(reader: NodeReader, root: Node, level: number) {
    this.#reader = reader;
    this.#level = level;
    this.#root = root;
  }

  /** The node that holds the first key >= `key[0, length)`, or the last one of the level. */
  seek(key: Uint8Array, length: number): Node {
    // Mostly it is below the lowest node of the path that has a smaller key before it and no smaller one last.
    let depth = this.#path.length - 1;
    while (depth > 0 && !spans(this.#path[depth]!, this.#indexes[depth]!, key, length)) depth--;
    let node = depth > 0 ? this.#path[depth]! : this.#root;
    this.#path.length = Math.max(depth, 0);
    this.#indexes.length = this.#path.length;
    while (node.level > this.#level) {
      const index = Math.min(node.search(key, length), node.count - 1);
      this.#path.push(node);
      this.#indexes.push(index);
      node = this.#reader.child(node, index);
    }
    return node;
  }

  isLast(): boolean {
    return this.#indexes.every((index, depth) => index === this.#path[depth]!.count - 1);
  }

  /** The next node of the level; there must be one. */
  next(): Node {
    let depth = this.#path.length - 1;
    while (this.#indexes[depth]! === this.#path[depth]!.count - 1) depth--;
    this.#indexes[depth] = this.#indexes[depth]! + 1;
    let node = this.#reader.child(this.#path[depth]!, this.#indexes[depth]!);
    for (depth++; node.level > this.#level; depth++) {
      this.#path[depth] = node;
      this.#indexes[depth] = 0;
      node = this.#reader.child(node, 0);
    }
    return node;
  }
}

/** Whether the first key >= `key` lies below this node, for certain: one before `index` or there is smaller, and the last is not. */
function spans(node: Node, index: number, key: Uint8Array, length: number): boolean {
  return node.compareKey(index, key, length) < 0 && node.compareKey(node.count - 1, key, length) >= 0;
}
