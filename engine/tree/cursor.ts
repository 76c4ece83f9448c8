/**
 * Stands on an entry of one version of a tree and moves on from there.
 *
 *   #nodes[0] root … #nodes[depth] leaf; #indexes[d]: the child taken, or in the leaf the entry stood on
 *
 * A seek begins where the cursor stands: it looks in the leaf first and climbs only as far as the key makes it, so that going
 * from entity to entity mostly stays within a node.
 *
 * Invariants: the tree under a cursor never changes, whatever is folded meanwhile; views it gave out stay as they are. After a
 * throw (CORRUPT) the cursor is not valid. Reads only.
 */
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import type { TreeEntry } from './tree-entry.js';
import { SEQ_BYTES, type TreeRoot } from './types.js';
import { sameEntities, sameEntity, seqAt, treeEntry, writeSeq } from './version-key.js';

/** Entries within the leaf that are tried one by one before a search. */
const NEAR_ENTRIES = 8;
/** For keys searched for: every method writes it before it reads it, and none is interrupted. */
const SCRATCH = new Uint8Array(MAX_TREE_KEY_BYTES + 1);

export class Cursor {
  readonly #reader: NodeReader;
  readonly #root: TreeRoot;
  readonly #nodes: Node[] = [];
  readonly #indexes: number[] = [];
  /** Of the leaf on the path; -1 while there is no path. */
  #depth = -1;
  #valid = false;
  /** For `isBefore`. */
  #bound: Uint8Array | undefined;
  #boundLeaf: Node | undefined;
  #boundIndex = 0;

  constructor(reader: NodeReader, root: TreeRoot) {
    this.#reader = reader;
    this.#root = root;
  }

  /** Whether it stands on an entry. */
  get valid(): boolean {
    return this.#valid;
  }

  /** Goes to the first entry with a key >= `key`; answers `valid`. */
  seek(key: Uint8Array): boolean {
    return this.#seek(key, key.length);
  }

  seekFirst(): boolean {
    return this.#seek(SCRATCH, 0);
  }

  #seek(key: Uint8Array, length: number): boolean {
    this.#valid = false;
    let depth = this.#depth;
    // The answer lies below the lowest node on the path that holds keys on both sides of it.
    while (depth > 0 && !spans(this.#nodes[depth]!, key, length)) depth--;
    this.#depth = -1;
    let node = depth >= 0 ? this.#nodes[depth]! : this.#reader.root(this.#root);
    if (node === undefined) return false;
    if (depth < 0) depth = 0;
    for (;;) {
      node.used = true;
      const index = node.search(key, length);
      this.#nodes[depth] = node;
      this.#indexes[depth] = index;
      if (index === node.count) {
        // Only the root's keys can all be smaller; the path is kept for the next seek.
        this.#indexes[depth] = node.count - 1;
        if (node.level === 0) this.#depth = depth;
        return false;
      }
      if (node.level === 0) break;
      node = this.#reader.child(node, index);
      depth++;
    }
    this.#depth = depth;
    this.#valid = true;
    return true;
  }

  /** Goes to the next entry; answers `valid`. */
  next(): boolean {
    if (!this.#valid) return false;
    const leaf = this.#depth;
    const index = this.#indexes[leaf]! + 1;
    if (index < this.#nodes[leaf]!.count) {
      this.#indexes[leaf] = index;
      return true;
    }
    return this.#step(1);
  }

  /** Goes to the entry before; answers `valid`. */
  previous(): boolean {
    if (!this.#valid) return false;
    if (this.#indexes[this.#depth]! > 0) {
      this.#indexes[this.#depth] = this.#indexes[this.#depth]! - 1;
      return true;
    }
    return this.#step(-1);
  }

  /** To the neighbouring leaf. */
  #step(direction: 1 | -1): boolean {
    const leaf = this.#depth;
    this.#valid = false;
    let depth = leaf - 1;
    while (depth >= 0 && this.#indexes[depth] === (direction > 0 ? this.#nodes[depth]!.count - 1 : 0)) depth--;
    if (depth < 0) return false;
    this.#depth = -1;
    this.#indexes[depth] = this.#indexes[depth]! + direction;
    for (; depth < leaf; depth++) {
      const child = this.#reader.child(this.#nodes[depth]!, this.#indexes[depth]!);
      this.#nodes[depth + 1] = child;
      this.#indexes[depth + 1] = direction > 0 ? 0 : child.count - 1;
    }
    this.#depth = leaf;
    this.#valid = true;
    return true;
  }

  /** Goes to the last entry; answers `valid`. */
  seekLast(): boolean {
    this.#valid = false;
    this.#depth = -1;
    let node = this.#reader.root(this.#root);
    if (node === undefined) return false;
    for (let depth = 0; ; depth++) {
      this.#nodes[depth] = node;
      this.#indexes[depth] = node.count - 1;
      if (node.level === 0) {
        this.#depth = depth;
        this.#valid = true;
        return true;
      }
      node = this.#reader.child(node, node.count - 1);
    }
  }

  // What it stands on; only while `valid`.

  /** A copy. */
  key(): Buffer {
    return this.#leaf().key(this.#index());
  }

  keyLatin1(): string {
    return this.#leaf().keyLatin1(this.#index());
  }

  /** A view. */
  value(): Buffer {
    return this.#leaf().value(this.#index());
  }

  entry(): TreeEntry {
    return treeEntry(this.#leaf(), this.#index());
  }

  /** The key without its seq, one char a byte. */
  entity(): string {
    return this.#leaf().keyLatin1(this.#index(), SEQ_BYTES);
  }

  /** Whether it stands on a version of this entity: `entity() === entity`, without making the string. */
  isAt(entity: string): boolean {
    const node = this.#leaf();
    const index = this.#index();
    const length = entity.length;
    if (node.keyLength(index) !== length + SEQ_BYTES) return false;
    // Neighbours differ near their ends.
    for (let i = length - 1; i >= 0; i--) if (node.keyByte(index, i) !== entity.charCodeAt(i)) return false;
    return true;
  }

  seq(): number {
    return seqAt(this.#leaf(), this.#index());
  }

  /**
   * From an entity's first entry to its version as of `seq`; where it has none, to that of the next entity that has. Answers
   * `valid`.
   */
  settle(seq: number): boolean {
    let steps = 0;
    while (this.#valid) {
      if (this.seq() <= seq) return true;
      if (++steps > NEAR_ENTRIES) {
        const length = this.#copyEntity();
        writeSeq(SCRATCH, length, seq);
        this.#seek(SCRATCH, length + SEQ_BYTES);
        steps = 0;
      } else if (!this.#nextOfEntity()) steps = 0;
    }
    return false;
  }

  /** To the first entry of the next entity; answers `valid`. */
  nextEntity(): boolean {
    if (!this.#valid) return false;
    for (let steps = 0; steps < NEAR_ENTRIES; steps++) if (!this.#nextOfEntity()) return this.#valid;
    const length = this.#copyEntity();
    // The zero that ends an entity, made a one: above all its versions, not above any entity that follows.
    SCRATCH[length - 1] = 1;
    return this.#seek(SCRATCH, length);
  }

  /** Goes to the next entry; false where that is of another entity, or none is left. */
  #nextOfEntity(): boolean {
    const node = this.#leaf();
    const index = this.#index();
    if (index + 1 < node.count) {
      this.#indexes[this.#depth] = index + 1;
      return sameEntities(node, index, index + 1);
    }
    const length = this.#copyEntity();
    return this.#step(1) && sameEntity(this.#leaf(), this.#index(), SCRATCH, length);
  }

  /** Whether it stands on a key < `key`. Asked with one and the same array, it compares once a leaf. */
  isBefore(key: Uint8Array): boolean {
    const node = this.#leaf();
    if (node !== this.#boundLeaf || key !== this.#bound) {
      this.#bound = key;
      this.#boundLeaf = node;
      this.#boundIndex = node.search(key, key.length);
    }
    return this.#index() < this.#boundIndex;
  }

  #copyEntity(): number {
    const node = this.#leaf();
    const index = this.#index();
    const length = node.keyLength(index) - SEQ_BYTES;
    for (let i = 0; i < length; i++) SCRATCH[i] = node.keyByte(index, i);
    return length;
  }

  #leaf(): Node {
    return this.#nodes[this.#depth]!;
  }

  #index(): number {
    return this.#indexes[this.#depth]!;
  }
}

/** Whether the first entry >= key lies below this node for certain: some key of it is smaller and some is not. */
function spans(node: Node, key: Uint8Array, length: number): boolean {
  return node.compareKey(0, key, length) < 0 && node.compareKey(node.count - 1, key, length) >= 0;
}
