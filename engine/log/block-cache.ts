/**
 * Blocks of segment files kept in memory, limited by bytes, one cache for all shards: a point read that hits costs no system call.
 *
 *   segment.blocks[n] -> BLOCK_BYTES of its file from n * BLOCK_STRIDE on: blocks overlap, so that what begins in one mostly ends in it
 *
 * Only whole blocks of durable frames are kept: those bytes never change. Eviction is the clock's. Where the data is much larger
 * than the cache and reads are spread evenly, filling it costs more than it saves; then only some misses load their block.
 *
 * Invariants: a block given out is never overwritten (evicted ones live on while somebody holds a record in them). Bytes
 * are as untrusted as the disk's: the reader checks them. In memory only.
 */
import type { File } from '../platform/platform.js';

export const BLOCK_BYTES = 32 * 1024;
export const BLOCK_STRIDE = 28 * 1024;
/** Blocks are cut from slabs of this size: fresh memory comes cheaper by the megabyte (14 against 66 µs a block, measured). */
const SLAB_BYTES = 1024 * 1024;
/** Misses and hits are weighed against each other over so many reads. */
const WINDOW_READS = 4096;
/** While loading does not pay, one miss in so many loads its block, so that a change of habit is noticed. */
const PROBE_EVERY = 16;

/** What the cache needs of a segment. */
export interface BlockOwner {
  readonly blocks: (CachedBlock | undefined)[];
}

export interface CachedBlock {
  readonly bytes: Buffer;
  readonly owner: BlockOwner;
  readonly number: number;
  used: boolean;
}

export class BlockCache {
  readonly #limitBlocks: number;
  #ring: CachedBlock[] = [];
  #hand = 0;
  #hits = 0;
  #reads = 0;
  #misses = 0;
  #pays = true;
  /** Of earlier windows. */
  #hitsBefore = 0;
  #readsBefore = 0;
  #slab: Buffer | undefined;
  #slabUsed = 0;

  /** 0 turns it off. */
  constructor(limitBytes: number) {
    this.#limitBlocks = Math.floor(limitBytes / BLOCK_BYTES);
  }

  /** The block, from memory or, where that pays, from the file; undefined: read past the cache. `end`: of what is durable. */
  get(owner: BlockOwner, file: File, number: number, end: number): Buffer | undefined {
    if (++this.#reads === WINDOW_READS) this.#weigh();
    const block = owner.blocks[number];
    if (block !== undefined) {
      block.used = true;
      this.#hits++;
      return block.bytes;
    }
    if (number * BLOCK_STRIDE + BLOCK_BYTES > end || this.#limitBlocks === 0) return undefined;
    this.#misses++;
    if (!this.#pays && this.#misses % PROBE_EVERY !== 0) return undefined;
    return this.#load(owner, file, number);
  }

  get stats(): { readonly bytes: number; readonly hits: number; readonly misses: number } {
    const hits = this.#hitsBefore + this.#hits;
    return { bytes: this.#ring.length * BLOCK_BYTES, hits, misses: this.#readsBefore + this.#reads - hits };
  }

  /** Drops what is held of a segment. */
  forget(owner: BlockOwner): void {
    this.#ring = this.#ring.filter((block) => block.owner !== owner);
    owner.blocks.length = 0;
    this.#hand = 0;
  }

  #load(owner: BlockOwner, file: File, number: number): Buffer | undefined {
    const bytes = this.#cut();
    if (file.read(bytes, 0, BLOCK_BYTES, number * BLOCK_STRIDE) !== BLOCK_BYTES) return undefined;
    const block = { bytes, owner, number, used: true };
    owner.blocks[number] = block;
    if (this.#ring.length < this.#limitBlocks) this.#ring.push(block);
    else this.#replaceOne(block);
    return bytes;
  }

  #cut(): Buffer {
    if (this.#slab === undefined || this.#slabUsed === SLAB_BYTES) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    this.#slabUsed += BLOCK_BYTES;
    return this.#slab.subarray(this.#slabUsed - BLOCK_BYTES, this.#slabUsed);
  }

  #replaceOne(by: CachedBlock): void {
    for (;;) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const candidate = this.#ring[this.#hand] as CachedBlock;
      if (!candidate.used) {
        candidate.owner.blocks[candidate.number] = undefined;
        this.#ring[this.#hand++] = by;
        return;
      }
      candidate.used = false;
      this.#hand++;
    }
  }

  /** Loading pays while there is room, or while seven reads of eight hit: a load costs several times what a hit saves. */
  #weigh(): void {
    this.#pays = this.#ring.length < this.#limitBlocks || this.#hits * 8 > this.#reads * 7;
    this.#readsBefore += this.#reads;
    this.#hitsBefore += this.#hits;
    this.#reads = 0;
    this.#hits = 0;
  }
}
