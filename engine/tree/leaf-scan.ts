/**
 * Every leaf of a tree, in key order, for who goes through the whole of it: neighbours that lie near each other are read at once, into
 * memory that is used again.
 *
 *   parent's addresses   a b c d … p q          a to d in one piece of the file, dead nodes between them and all, then p and q
 *
 * Invariants: every frame's checksum, shape and place in its parent are checked, as NodeReader does; where a longer read fails or falls
 * short, the leaf alone is read by that. A leaf given is good until the next but one is asked for. Reads only; the tree never changes, and
 * whoever scans holds its files. After a throw (CORRUPT) a scan is of no use.
 */
import { LevelWalker } from './level-walker.js';
import type { Node } from './node.js';
import { NodeCache } from './node-cache.js';
import { NodeReader } from './node-reader.js';
import type { TreeFiles } from './tree-files.js';
import type { TreeRoot } from './types.js';

const SLAB_BYTES = 256 * 1024;
/** Rather read than left out by a read of its own. */
const GAP_BYTES = 12 * 1024;
const NO_KEY = new Uint8Array(0);

export class LeafScan {
  readonly #files: TreeFiles;
  readonly #reader: NodeReader;
  readonly #top: Node | undefined;
  readonly #parents: LevelWalker | undefined;
  #parent: Node | undefined;
  #index = 0;
  #hasBegun = false;
  /** What was read last, and what was before: a leaf in it is still good. */
  #slab: Buffer = Buffer.alloc(0);
  #spare: Buffer = this.#slab;
  #file = 0;
  #start = 0;
  #end = 0;

  constructor(files: TreeFiles, root: TreeRoot | undefined) {
    this.#files = files;
    this.#reader = new NodeReader(files, new NodeCache(0));
    this.#top = root && this.#reader.root(root);
    if (this.#top !== undefined && this.#top.level > 0) this.#parents = new LevelWalker(this.#reader, this.#top, 1);
  }

  /** Undefined behind the last. */
  next(): Node | undefined {
    const parents = this.#parents;
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      if (parents === undefined) return this.#top;
      this.#parent = parents.seek(NO_KEY, 0);
    } else if (parents === undefined || this.#parent === undefined) return undefined;
    else if (++this.#index === this.#parent.count) {
      this.#index = 0;
      this.#parent = parents.isLast() ? undefined : parents.next();
      if (this.#parent === undefined) return undefined;
    }
    return this.#read(this.#parent!, this.#index);
  }

  #read(parent: Node, index: number): Node {
    const file = parent.childFile(index);
    const offset = parent.childOffset(index);
    const length = parent.childLength(index);
    const isHeld = file === this.#file && offset >= this.#start && offset + length <= this.#end;
    const leaf =
      isHeld || this.#readAhead(parent, index, file, offset, length)
        ? this.#reader.checked(this.#slab.subarray(offset - this.#start, offset - this.#start + length), file, offset, 0)
        : this.#reader.readFresh(file, offset, length, 0);
    this.#reader.mustFit(leaf, parent, index);
    return leaf;
  }

  /** False where it came to nothing: the disk may be bad where nobody asks. */
  #readAhead(parent: Node, index: number, file: number, offset: number, length: number): boolean {
    if (length > SLAB_BYTES) return false;
    let end = offset + length;
    for (let next = index + 1; next < parent.count && parent.childFile(next) === file; next++) {
      const from = parent.childOffset(next);
      const to = from + parent.childLength(next);
      if (from < end || from - end > GAP_BYTES || to - offset > SLAB_BYTES) break;
      end = to;
    }
    const slab = this.#spare.length >= end - offset ? this.#spare : Buffer.allocUnsafeSlow(Math.min(SLAB_BYTES, 2 * (end - offset)));
    this.#spare = this.#slab;
    this.#slab = slab;
    this.#file = file;
    this.#start = offset;
    this.#end = offset + this.#files.readInto(file, offset, slab, end - offset);
    return offset + length <= this.#end;
  }
}
