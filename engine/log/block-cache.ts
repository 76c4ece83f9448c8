/**
 * Blocks of segment files kept in memory, limited by bytes, one cache for all shards: a point read that hits costs no system call.
 *
 *   segment.blocks[n] -> bytes [n * BLOCK_BYTES, …) of its file | where the records in it begin, by seq
 *
 * A sealed segment's blocks are checked whole, once, when they are loaded; what is read from them then needs no checksum more.
 * A block of a segment that is still written is kept once it is full, and its records are checked one by one, each at its first
 * read. Eviction is the clock's. Where the data is much larger than the cache and reads are spread evenly, filling it costs more
 * than it saves; then only some misses load their block.
 *
 * Invariants: a block is never overwritten (evicted ones live on while somebody holds a record in them). No byte of a record
 * leaves a block before a checksum over it has passed (law 9). In memory only.
 */
import { getU32, getU48 } from '../format/bytes.js';
import { crc32 } from '../format/checksum.js';
import { BLOCK_BYTES } from '../format/footer.js';
import { RECORD_SEQ_AT, RECORD_TAG } from '../format/record.js';
import type { File } from '../platform/platform.js';
import { NO_START } from './block-table.js';
import { afterItem } from './item-walk.js';
import type { Segment } from './segment-state.js';

/** Records a block tells the places of: behind its bytes, 2 for each. The smallest record has 44 bytes. */
const MAX_PLACES = 1024;
const SLOT_BYTES = BLOCK_BYTES + 2 * MAX_PLACES;
/** Blocks are cut from slabs of so many: fresh memory comes cheaper by the megabyte. */
const SLAB_BLOCKS = 30;
/** Misses and hits are weighed against each other over so many reads. */
const WINDOW_READS = 4096;
/** While loading does not pay, one miss in so many loads its block, so that a change of habit is noticed. */
const PROBE_EVERY = 16;

/** In a place: a checksum over the record has passed. The rest is its offset in the block; 0 where there is no such record. */
export const PLACE_CHECKED = 0x8000;
/** Offsets are kept plus one. */
export const PLACE_OFFSET = 0x7fff;

export class CachedBlock {
  /** The block, then the places. */
  readonly bytes: Buffer;
  readonly length: number;
  /** Place 0 is this record's. */
  readonly firstSeq: number;
  readonly owner: Segment;
  readonly number: number;
  places = 0;
  used = true;

  constructor(bytes: Buffer, length: number, firstSeq: number, owner: Segment, number: number) {
    this.bytes = bytes;
    this.length = length;
    this.firstSeq = firstSeq;
    this.owner = owner;
    this.number = number;
  }

  /** Where the record with this seq begins, as PLACE_… say; 0 where the block does not tell. */
  placeOf(seq: number): number {
    const index = seq - this.firstSeq;
    if (!(index >= 0 && index < this.places)) return 0;
    const at = BLOCK_BYTES + 2 * index;
    return this.bytes[at]! | (this.bytes[at + 1]! << 8);
  }

  setPlace(seq: number, place: number): void {
    const at = BLOCK_BYTES + 2 * (seq - this.firstSeq);
    this.bytes[at] = place;
    this.bytes[at + 1] = place >>> 8;
  }
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

  /** The block if it is in memory. */
  peek(owner: Segment, number: number): CachedBlock | undefined {
    if (++this.#reads === WINDOW_READS) this.#weigh();
    const block = owner.blocks[number];
    if (block === undefined) return undefined;
    block.used = true;
    this.#hits++;
    return block;
  }

  /** The block from the file, where keeping it pays and it can be believed; undefined: read past the cache. */
  load(owner: Segment, file: File, number: number): CachedBlock | undefined {
    if (this.#limitBlocks === 0) return undefined;
    this.#misses++;
    if (!this.#pays && this.#misses % PROBE_EVERY !== 0) return undefined;
    const { blockTable, dataEnd } = owner;
    const start = blockTable?.startOf(number) ?? NO_START;
    const length = Math.min(BLOCK_BYTES, dataEnd - number * BLOCK_BYTES);
    if (blockTable === undefined || start === NO_START || (!owner.sealed && length < BLOCK_BYTES)) return undefined;
    const bytes = this.#cut();
    const isWhole = file.read(bytes, 0, length, number * BLOCK_BYTES) === length;
    if (!isWhole || (blockTable.hasSums && crc32(bytes.subarray(0, length), owner.place.seed) !== blockTable.sumOf(number))) {
      this.#slabUsed -= SLOT_BYTES;
      return undefined;
    }
    const block = new CachedBlock(bytes, length, blockTable.seqOf(number), owner, number);
    findPlaces(block, start, blockTable.hasSums ? PLACE_CHECKED : 0);
    owner.blocks[number] = block;
    if (this.#ring.length < this.#limitBlocks) this.#ring.push(block);
    else this.#replaceOne(block);
    return block;
  }

  get stats(): { readonly bytes: number; readonly hits: number; readonly misses: number } {
    const hits = this.#hitsBefore + this.#hits;
    return { bytes: this.#ring.length * BLOCK_BYTES, hits, misses: this.#readsBefore + this.#reads - hits };
  }

  /** Drops what is held of a segment. */
  forget(owner: Segment): void {
    this.#ring = this.#ring.filter((block) => block.owner !== owner);
    owner.blocks.length = 0;
    this.#hand = 0;
  }

  #cut(): Buffer {
    if (this.#slab === undefined || this.#slabUsed === this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLOT_BYTES * Math.min(SLAB_BLOCKS, this.#limitBlocks));
      this.#slabUsed = 0;
    }
    this.#slabUsed += SLOT_BYTES;
    return this.#slab.subarray(this.#slabUsed - SLOT_BYTES, this.#slabUsed);
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

/** Walks the items of a block from its first record on. Bytes that were not checked may lead it astray: what it notes is checked when read. */
function findPlaces(block: CachedBlock, start: number, flag: number): void {
  const { bytes, length, firstSeq, number } = block;
  const offset = number * BLOCK_BYTES;
  const end = length - RECORD_SEQ_AT - 6;
  for (let at = start; at <= end; ) {
    if (bytes[at] !== RECORD_TAG) {
      const next = afterItem(bytes, at, length, offset, 0);
      if (next <= at) return;
      at = next;
      continue;
    }
    const index = getU48(bytes, at + RECORD_SEQ_AT) - firstSeq;
    if (index < block.places || index >= MAX_PLACES) return;
    const place = BLOCK_BYTES + 2 * block.places;
    bytes.fill(0, place, place + 2 * (index - block.places));
    block.places = index + 1;
    block.setPlace(firstSeq + index, (at + 1) | flag);
    const bytesOfRecord = getU32(bytes, at + 4);
    if (bytesOfRecord === 0) return;
    at += bytesOfRecord;
  }
}
