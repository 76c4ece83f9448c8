/**
 * Reads of tree files for whoever goes through a tree from one end to the other: neighbours in key order mostly lie one behind the
 * other, so that one read brings many, and their memory is one piece.
 *
 *   a fold's nodes          node node dead node | …     a read ahead where the next node begins within a slab of the one before it, else the node alone
 *   those of one before it  node dead dead node | …     where every other node is of another fold, the walk goes through the files of both at once
 *
 * Invariant: answers what a read of those bytes alone would: where a longer one fails or falls short, that is asked. Every node that is
 * kept keeps its slab, so whoever reads this way keeps few.
 */
import { isVarveError } from '../errors.js';
import type { TreeFiles } from './tree-files.js';

const SLAB_BYTES = 64 * 1024;
/** Places read from by turns. Folds rewrite some nodes and leave others: a tree lies in the files of a few of them, mostly of the last. */
const STREAMS = 8;
const EMPTY = Buffer.alloc(0);

/** Going forward through one file. */
interface Stream {
  file: number;
  slab: Buffer;
  /** Where the slab begins. */
  start: number;
  /** Where what was asked for last ends. */
  end: number;
  /** The number of the read that used it last. */
  used: number;
}

export class SlabReads {
  readonly #files: TreeFiles;
  readonly #streams: Stream[] = [];
  #reads = 0;

  constructor(files: TreeFiles) {
    this.#files = files;
  }

  read(file: number, offset: number, length: number): Buffer | undefined {
    const stream = this.#streamTo(file, offset, length);
    const isNew = stream.used === 0;
    stream.used = ++this.#reads;
    if (!isNew && !holds(stream, offset, length) && length < SLAB_BYTES) this.#readAhead(stream, offset);
    stream.end = offset + length;
    const at = offset - stream.start;
    if (holds(stream, offset, length)) return stream.slab.subarray(at, at + length);
    stream.slab = EMPTY;
    return this.#files.read(file, offset, length);
  }

  /** The files were removed, and others may bear their numbers. */
  forget(): void {
    this.#streams.length = 0;
  }

  /** The one that holds it, or gets there next; else a new one, in place of the one that was idle longest. */
  #streamTo(file: number, offset: number, length: number): Stream {
    let nearest: Stream | undefined;
    let idle: Stream | undefined;
    for (const stream of this.#streams) {
      if (stream.file === file) {
        if (holds(stream, offset, length)) return stream;
        const isNear = offset >= stream.end && offset - stream.end < SLAB_BYTES;
        if (isNear && (nearest === undefined || stream.end > nearest.end)) nearest = stream;
      }
      if (idle === undefined || stream.used < idle.used) idle = stream;
    }
    if (nearest !== undefined) return nearest;
    if (idle === undefined || this.#streams.length < STREAMS) {
      idle = { file, slab: EMPTY, start: offset, end: offset, used: 0 };
      this.#streams.push(idle);
      return idle;
    }
    idle.file = file;
    idle.slab = EMPTY;
    idle.start = offset;
    idle.used = 0;
    return idle;
  }

  #readAhead(stream: Stream, offset: number): void {
    stream.slab = EMPTY;
    stream.start = offset;
    try {
      stream.slab = this.#files.readUpTo(stream.file, offset, SLAB_BYTES);
    } catch (error) {
      // A bad sector may be of something nobody asks for.
      if (!isVarveError(error, 'CORRUPT')) throw error;
    }
  }
}

function holds({ start, slab }: Stream, offset: number, length: number): boolean {
  return offset >= start && offset + length <= start + slab.length;
}
