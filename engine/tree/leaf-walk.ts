/**
 * Walks the entries of a tree in key order, leaf by leaf, where they lie: no entry becomes an object, none of its keys a string.
 *
 * Reads only; the tree under it never changes. After a throw (CORRUPT) it is of no use.
 */
import { getU64 } from '../format/bytes.js';
import { KIND_AT, TIME_AT } from '../format/leaf-value.js';
import { LevelWalker } from './level-walker.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import { SEQ_BYTES, type TreeRoot } from './types.js';
import { sameEntities, sameEntity, seqAt } from './version-key.js';

const NO_KEY = new Uint8Array(0);

/** Keys from `from` on, and none from `until` on, which may not lie between versions of one entity. */
export interface LeafRange {
  readonly from?: Uint8Array;
  readonly until?: Uint8Array;
}

export class LeafWalk {
  readonly #walker: LevelWalker | undefined;
  #leaf: Node | undefined;
  #index = -1;
  /** The entity of the last entry of the leaf before, and whether the entry stood on is of another than the one before it. */
  #entity = Buffer.alloc(256);
  #entityBytes = 0;
  #isNew = true;
  /** Whether the entry stood on was found by its seq. */
  #isFound = false;
  /** Whether another entity was met since the collection was looked at. */
  #isCollectionOpen = true;
  #collection = '';
  /** With the zero that ends it. */
  #collectionBytes: Uint8Array = NO_KEY;
  /** All of it is of the collection asked for last. */
  #wholeLeaf: Node | undefined;
  readonly #from: Uint8Array;
  readonly #until: Uint8Array | undefined;
  /** Whether the end lies in the leaf it stands in. */
  #mayEnd = false;

  constructor(reader: NodeReader, root: TreeRoot | undefined, { from = NO_KEY, until }: LeafRange = {}) {
    this.#from = from;
    this.#until = until;
    const top = root === undefined ? undefined : reader.root(root);
    if (top === undefined) return;
    this.#walker = new LevelWalker(reader, top, 0);
  }

  /** To the next entry, at first to the first one; false where there is none. */
  next(): boolean {
    if (!this.#advance()) return false;
    if (!this.#mayEnd || !this.#isNew) return true;
    const until = this.#until!;
    if (this.#leaf!.compareKey(this.#index, until, until.length) < 0) return true;
    this.#leaf = undefined;
    return false;
  }

  #advance(): boolean {
    const leaf = this.#leaf;
    if (leaf === undefined) {
      if (this.#walker === undefined || this.#index >= 0) return false;
      const first = this.#walker.seek(this.#from, this.#from.length);
      const index = first.search(this.#from, this.#from.length);
      this.#index = 0;
      if (index === first.count) return false;
      this.#enter(first);
      this.#index = index;
      this.#isNew = true;
      return true;
    }
    if (this.#index + 1 < leaf.count) {
      this.#index++;
      this.#isNew = !sameEntities(leaf, this.#index - 1, this.#index);
      if (this.#isNew) this.#isCollectionOpen = true;
      return true;
    }
    this.#keepEntity(leaf);
    if (this.#walker!.isLast()) {
      this.#leaf = undefined;
      return false;
    }
    this.#enter(this.#walker!.next());
    this.#isNew = !sameEntity(this.#leaf!, 0, this.#entity, this.#entityBytes);
    if (this.#isNew) this.#isCollectionOpen = true;
    return true;
  }

  /** To the next entry whose seq is in `seqs`, whatever entities lie between; only `leaf`, `leafIndex`, `seq` and `collection` tell of it. */
  nextIn(seqs: { has(seq: number): boolean }): boolean {
    this.#isCollectionOpen = true;
    if (this.#leaf === undefined && !this.next()) return false;
    else if (this.#isFound) this.#index++;
    for (;;) {
      const leaf = this.#leaf!;
      for (let index = this.#index; index < leaf.count; index++) {
        if (!seqs.has(seqAt(leaf, index))) continue;
        this.#index = index;
        this.#isFound = true;
        return true;
      }
      if (this.#walker!.isLast()) {
        this.#leaf = undefined;
        this.#isFound = false;
        return false;
      }
      this.#enter(this.#walker!.next());
    }
  }

  // What it stands on.

  /** Whether it is the first, and so the newest, of its entity. */
  get isNewEntity(): boolean {
    return this.#isNew;
  }

  get seq(): number {
    return seqAt(this.#leaf!, this.#index);
  }

  get time(): number {
    return getU64(this.#leaf!.bytes, this.#leaf!.valueAt(this.#index) + TIME_AT);
  }

  get kind(): number {
    return this.#leaf!.bytes[this.#leaf!.valueAt(this.#index) + KIND_AT]!;
  }

  get leaf(): Node {
    return this.#leaf!;
  }

  get leafIndex(): number {
    return this.#index;
  }

  /** The same string for neighbours of one collection. */
  get collection(): string {
    if (!this.#isCollectionOpen) return this.#collection;
    this.#isCollectionOpen = false;
    const leaf = this.#leaf!;
    if (leaf === this.#wholeLeaf) return this.#collection;
    const known = this.#collectionBytes;
    if (known.length === 0 || leaf.keyLength(this.#index) < known.length || !leaf.beginsWith(this.#index, known, known.length)) {
      const key = leaf.key(this.#index);
      const end = key.indexOf(0);
      this.#collection = key.toString('latin1', 0, end);
      this.#collectionBytes = key.subarray(0, end + 1);
    }
    if (isWithin(leaf, 0, this.#collectionBytes) && isWithin(leaf, leaf.count - 1, this.#collectionBytes)) this.#wholeLeaf = leaf;
    return this.#collection;
  }

  #enter(leaf: Node): void {
    this.#leaf = leaf;
    this.#index = 0;
    const until = this.#until;
    if (until !== undefined) this.#mayEnd = leaf.compareKey(leaf.count - 1, until, until.length) >= 0;
  }

  #keepEntity(leaf: Node): void {
    const length = leaf.keyLength(this.#index);
    if (length > this.#entity.length) this.#entity = Buffer.alloc(length * 2);
    leaf.copyKey(this.#index, this.#entity, 0);
    this.#entityBytes = length - SEQ_BYTES;
  }
}

function isWithin(leaf: Node, index: number, collection: Uint8Array): boolean {
  return leaf.keyLength(index) >= collection.length && leaf.beginsWith(index, collection, collection.length);
}

/** A key behind the versions of an entity, about half of the entries before it; undefined for a tree of one node. */
export function halfWay(reader: NodeReader, root: TreeRoot): Uint8Array | undefined {
  const top = reader.root(root);
  if (top === undefined || top.level === 0) return undefined;
  const key = top.key((top.count - 1) >> 1);
  // Seqs are the last bytes; none is written as ones alone and more.
  return Buffer.concat([key.subarray(0, key.length - SEQ_BYTES), Buffer.alloc(SEQ_BYTES, 0xff), Buffer.alloc(1)]);
}
