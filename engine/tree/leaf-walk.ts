/**
 * Walks the leaves of a tree in key order; entries are looked at where they lie: none becomes an object, none of its keys a string.
 *
 * Reads only; the tree under it never changes. After a throw (CORRUPT) it is of no use.
 */
import { LevelWalker } from './level-walker.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import type { TreeRoot } from './types.js';
import { seqAt } from './version-key.js';

const NO_KEY = new Uint8Array(0);

export class LeafWalk {
  readonly #walker: LevelWalker | undefined;
  #leaf: Node | undefined;
  #index = 0;
  #hasBegun = false;
  /** Whether the entry stood on was found by its seq. */
  #isFound = false;
  readonly #collection = new LeafCollection();

  constructor(reader: NodeReader, root: TreeRoot | undefined) {
    const top = root === undefined ? undefined : reader.root(root);
    if (top !== undefined) this.#walker = new LevelWalker(reader, top, 0);
  }

  /** To the next entry whose seq is in `seqs`, whatever lies between; `leaf`, `leafIndex` and `collection` tell of it. */
  nextIn(seqs: { has(seq: number): boolean }): boolean {
    let leaf = this.#hasBegun ? this.#leaf : this.#nextLeaf();
    let index = this.#isFound ? this.#index + 1 : 0;
    for (; leaf !== undefined; leaf = this.#nextLeaf(), index = 0) {
      for (const { count } = leaf; index < count; index++) {
        if (!seqs.has(seqAt(leaf, index))) continue;
        this.#index = index;
        this.#isFound = true;
        return true;
      }
    }
    this.#isFound = false;
    return false;
  }

  get leaf(): Node {
    return this.#leaf!;
  }

  get leafIndex(): number {
    return this.#index;
  }

  /** Of the entry stood on. */
  get collection(): string {
    return this.#collection.of(this.#leaf!, this.#index);
  }

  /** At first the first one; undefined where there is none. */
  #nextLeaf(): Node | undefined {
    const walker = this.#walker;
    if (walker === undefined || (this.#hasBegun && (this.#leaf === undefined || walker.isLast()))) this.#leaf = undefined;
    else this.#leaf = this.#hasBegun ? walker.next() : walker.seek(NO_KEY, 0);
    this.#hasBegun = true;
    return this.#leaf;
  }
}

/** Which collection entries of leaves are of, asked for in key order: the same string for neighbours, and no look at most keys. */
export class LeafCollection {
  #collection = '';
  /** With the zero that ends it. */
  #bytes: Uint8Array = NO_KEY;
  /** All of it is of the collection asked for last. */
  #wholeLeaf: Node | undefined;

  of(leaf: Node, index: number): string {
    if (leaf === this.#wholeLeaf) return this.#collection;
    if (this.#bytes.length === 0 || !isWithin(leaf, index, this.#bytes)) {
      const key = leaf.key(index);
      const end = key.indexOf(0);
      this.#collection = key.toString('latin1', 0, end);
      this.#bytes = key.subarray(0, end + 1);
    }
    if (isWithin(leaf, 0, this.#bytes) && isWithin(leaf, leaf.count - 1, this.#bytes)) this.#wholeLeaf = leaf;
    return this.#collection;
  }
}

function isWithin(leaf: Node, index: number, collection: Uint8Array): boolean {
  return leaf.keyLength(index) >= collection.length && leaf.beginsWith(index, collection, collection.length);
}
