/**
 * Reads of tree files for whoever goes through a tree from one end to the other: neighbours in key order mostly lie one behind the
 * other, so that one read brings many, and their memory is one piece.
 *
 *   node node dead node | …     a read ahead where the next node begins within a slab of the one before it, else the node alone
 *
 * Invariant: answers what a read of those bytes alone would: where a longer one fails or falls short, that is asked. Every node that is
 * kept keeps its slab, so whoever reads this way keeps few.
 */
import { isVarveError } from '../errors.js';
import type { TreeFiles } from './tree-files.js';

const SLAB_BYTES = 64 * 1024;
const EMPTY = Buffer.alloc(0);

export class SlabReads {
  readonly #files: TreeFiles;
  #slab: Buffer = EMPTY;
  #file = 0;
  #start = 0;
  /** Where what was asked for last ends. */
  #end = 0;

  constructor(files: TreeFiles) {
    this.#files = files;
  }

  read(file: number, offset: number, length: number): Buffer | undefined {
    const isSame = file === this.#file;
    const isNear = isSame && offset >= this.#end && offset - this.#end < SLAB_BYTES;
    const isHeld = isSame && offset >= this.#start && offset + length <= this.#start + this.#slab.length;
    if (!isHeld && isNear && length < SLAB_BYTES) this.#readAhead(file, offset);
    this.#file = file;
    this.#end = offset + length;
    const at = offset - this.#start;
    if ((isHeld || isNear) && at >= 0 && at + length <= this.#slab.length) return this.#slab.subarray(at, at + length);
    this.#slab = EMPTY;
    return this.#files.read(file, offset, length);
  }

  #readAhead(file: number, offset: number): void {
    this.#slab = EMPTY;
    this.#start = offset;
    try {
      this.#slab = this.#files.readUpTo(file, offset, SLAB_BYTES);
    } catch (error) {
      // A bad sector may be of something nobody asks for.
      if (!isVarveError(error, 'CORRUPT')) throw error;
    }
  }
}
