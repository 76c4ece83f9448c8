/**
 * What differs between two trees, found by walking only where their hashes differ.
 *
 * Each side stands on an item: a subtree not yet opened, or an entry. Two subtrees of one level with equal hashes hold the same
 * entries and are passed over, wherever they lie; otherwise the higher item (both, where level) is opened. What was passed before
 * is settled, so equal subtrees need not be aligned. Two versions of one tree, or the trees of two replicas: nodes are the same
 * wherever their entries are (history independence), so the cost follows the differences, not the sizes.
 *
 * Reads only; holds no state between steps but the two paths, so either tree may be folded on meanwhile.
 */
import { equalBytes } from '../format/bytes.js';
import { compareBytes } from './bytes.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import type { TreeStore } from './tree-store.js';
import type { TreeRoot } from './types.js';

export interface TreeDifference {
  readonly key: Buffer;
  /** Views; undefined where that side has no such entry. */
  readonly left: Buffer | undefined;
  readonly right: Buffer | undefined;
}

export interface DiffSide {
  readonly store: TreeStore;
  readonly root: TreeRoot;
}

/** In key order. */
export function* diffTrees(left: DiffSide, right: DiffSide): Generator<TreeDifference, undefined> {
  if (equalBytes(left.root.hash, right.root.hash)) return;
  const a = new Side(left.store.reader, left.root);
  const b = new Side(right.store.reader, right.root);
  while (!a.done || !b.done) {
    if (a.level > 0 || b.level > 0) {
      if (a.level === b.level && a.hash().equals(b.hash())) {
        a.pass();
        b.pass();
      } else {
        const level = Math.max(a.level, b.level);
        if (a.level === level) a.open();
        if (b.level === level) b.open();
      }
      continue;
    }
    const order = a.done ? 1 : b.done ? -1 : compareBytes(a.key(), b.key());
    const key = order <= 0 ? a.key() : b.key();
    const leftValue = order <= 0 ? a.value() : undefined;
    const rightValue = order >= 0 ? b.value() : undefined;
    if (order <= 0) a.pass();
    if (order >= 0) b.pass();
    if (leftValue === undefined || rightValue === undefined || !leftValue.equals(rightValue))
      yield { key, left: leftValue, right: rightValue };
  }
}

class Side {
  readonly #reader: NodeReader;
  readonly #nodes: Node[] = [];
  readonly #indexes: number[] = [];

  constructor(reader: NodeReader, root: TreeRoot) {
    this.#reader = reader;
    const node = reader.root(root);
    if (node !== undefined) this.#push(node);
  }

  get done(): boolean {
    return this.#nodes.length === 0;
  }

  /** Of the node the item lies in: 0 for an entry, more for a subtree; 0 at the end too. */
  get level(): number {
    return this.#nodes.at(-1)?.level ?? 0;
  }

  hash(): Buffer {
    return this.#node().childHash(this.#indexes.at(-1)!);
  }

  key(): Buffer {
    return this.#node().key(this.#indexes.at(-1)!);
  }

  value(): Buffer {
    return this.#node().value(this.#indexes.at(-1)!);
  }

  /** To the item after this one. */
  pass(): void {
    for (let depth = this.#nodes.length - 1; depth >= 0; depth--) {
      const next = this.#indexes[depth]! + 1;
      if (next < this.#nodes[depth]!.count) {
        this.#indexes[depth] = next;
        return;
      }
      this.#nodes.pop();
      this.#indexes.pop();
    }
  }

  /** To the first item of this subtree. */
  open(): void {
    this.#push(this.#reader.child(this.#node(), this.#indexes.at(-1)!));
  }

  #push(node: Node): void {
    this.#nodes.push(node);
    this.#indexes.push(0);
  }

  #node(): Node {
    return this.#nodes.at(-1)!;
  }
}
