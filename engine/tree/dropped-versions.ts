/**
 * A fold's changes where versions go: those of a tree whose seqs are listed, found as the fold comes by, merged with versions that are
 * added. One pass over the tree whatever goes, and nothing held in memory but the list of seqs, a bit each.
 */
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import { LeafWalk } from './leaf-walk.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import type { ChangeSource, TreeRoot } from './types.js';

export interface DroppedSeqs {
  has(seq: number): boolean;
}

export class DroppedVersions implements ChangeSource {
  value: Uint8Array | undefined;
  leaf: Node | undefined;
  leafIndex = 0;
  /** How many versions of each collection went so far. */
  readonly counts = new Map<string, number>();
  readonly #walk: LeafWalk;
  readonly #drops: DroppedSeqs;
  readonly #added: ChangeSource;
  /** The key of the drop at hand, made when it is asked for: mostly its place is enough. */
  readonly #key = Buffer.alloc(MAX_TREE_KEY_BYTES);
  #isKeyMade = false;
  #hasDrop: boolean;
  #hasAdded: boolean;
  /** Which of the two was given last, and is to move on first. */
  #gaveDrop = false;
  #gaveAdded = false;
  #collection = '';
  #count = 0;
  #done = 0;

  /** `added` must not be drops. */
  constructor(reader: NodeReader, root: TreeRoot | undefined, drops: DroppedSeqs, added: ChangeSource) {
    this.#walk = new LeafWalk(reader, root);
    this.#drops = drops;
    this.#added = added;
    this.#hasDrop = this.#nextDrop();
    this.#hasAdded = added.advance();
  }

  get key(): Uint8Array {
    return this.#gaveAdded ? this.#added.key : this.#dropKey();
  }

  get length(): number {
    return this.#gaveAdded ? this.#added.length : this.#walk.leaf.keyLength(this.#walk.leafIndex);
  }

  /** Changes given so far. */
  get done(): number {
    return this.#done;
  }

  advance(): boolean {
    if (this.#gaveDrop) this.#hasDrop = this.#nextDrop();
    if (this.#gaveAdded) this.#hasAdded = this.#added.advance();
    this.#gaveDrop = this.#hasDrop && (!this.#hasAdded || this.#isDropFirst());
    this.#gaveAdded = !this.#gaveDrop && this.#hasAdded;
    if (this.#gaveDrop) {
      this.value = undefined;
      this.leaf = this.#walk.leaf;
      this.leafIndex = this.#walk.leafIndex;
    } else if (this.#gaveAdded) {
      this.value = this.#added.value;
      this.leaf = undefined;
    } else return false;
    this.#done++;
    return true;
  }

  #dropKey(): Uint8Array {
    if (!this.#isKeyMade) this.#walk.leaf.copyKey(this.#walk.leafIndex, this.#key, 0);
    this.#isKeyMade = true;
    return this.#key;
  }

  #isDropFirst(): boolean {
    const { key, length } = this.#added;
    return this.#walk.leaf.compareKey(this.#walk.leafIndex, key, length) < 0;
  }

  #nextDrop(): boolean {
    if (!this.#walk.nextIn(this.#drops)) {
      this.#countIn('');
      return false;
    }
    this.#isKeyMade = false;
    this.#countIn(this.#walk.collection);
    return true;
  }

  #countIn(collection: string): void {
    if (collection !== this.#collection) {
      if (this.#count > 0) this.counts.set(this.#collection, (this.counts.get(this.#collection) ?? 0) + this.#count);
      this.#collection = collection;
      this.#count = 0;
    }
    this.#count++;
  }
}
