/**
 * Blocks of segment files kept in memory, limited by bytes, one cache for all shards: a point read that hits costs no system call.
 *
 *   segment.blocks[n] -> bytes [n * BLOCK_BYTES, …) of its file, or what its nth packed block unpacks to
 *                     -> places: where the records in it begin, by seq       of many blocks together: looking one up seldom leaves the processor's caches
 *                     -> known: hashes of the records in it that somebody has computed       beside the limit: 33 bytes a record
 *
 * A sealed segment's blocks are checked whole, once, when they are loaded; what is read from them then needs no checksum more.
 * A block of a segment that is still written is kept once it is full, and its records are checked one by one, each at its first
 * read, and so is, of any block, the record that ends behind it: a little more than the block is read. Eviction is the clock's. Where the data is much larger than the cache and reads are spread evenly, filling it costs more
 * than it saves; then only some misses load their block. Packed blocks are unpacked at every miss, and always kept.
 *
 * Invariants: a block is never overwritten (evicted ones live on while somebody holds a record in them). No byte of a record
 * leaves a block before a checksum over it has passed (law 9). A kept hash is that of the very bytes beside it, and goes with them. In memory only.
 */
import { getU32, getU48 } from '../format/bytes.js';
import { crc32 } from '../format/checksum.js';
import { BLOCK_BYTES } from '../format/footer.js';
import { HASH_BYTES } from '../format/hash.js';
import { RECORD_MIN_BYTES, RECORD_SEQ_AT, RECORD_TAG } from '../format/record.js';
import type { File } from '../platform/platform.js';
import { NO_START } from './block-table.js';
import { afterItem } from './item-walk.js';
import type { Segment } from './segment-state.js';
import type { KnownHashes } from './types.js';

/** Records a block tells the places of. The smallest record has 44 bytes. */
const MAX_PLACES = 1024;
/** Read behind a block, for the record that begins in it and ends there. */
const BEHIND_BYTES = 1024;
const SLOT_BYTES = BLOCK_BYTES + BEHIND_BYTES;
/** Places are cut from slabs of so many. */
const SLAB_PLACES = 32 * 1024;
/** Blocks are cut from slabs of so many, at first and later: fresh memory comes cheaper by the megabyte, and is paid for when it is written to. */
const FIRST_SLAB_BLOCKS = 30;
const SLAB_BLOCKS = 240;
/** Misses and hits are weighed against each other over so many reads. */
const WINDOW_READS = 4096;
/** While loading does not pay, one miss in so many loads its block, so that a change of habit is noticed. */
const PROBE_EVERY = 16;

/** In a place: a checksum over the record has passed. The rest is its offset in the block; 0 where there is no such record. */
export const PLACE_CHECKED = 0x8000;
/** Offsets are kept plus one. */
export const PLACE_OFFSET = 0x7fff;

export class CachedBlock {
  readonly bytes: Buffer;
  /** Of the block itself. */
  readonly length: number;
  /** Of what was read. */
  readonly extent: number;
  /** Place 0 is this record's. */
  readonly firstSeq: number;
  readonly owner: Segment;
  readonly number: number;
  /** Of these, how many may there be. */
  readonly maxPlaces: number;
  used = true;
  #known: BlockHashes | undefined;
  #count = 0;
  /** Its own from `#placesAt` on, others' before and behind. */
  readonly #places: Uint16Array;
  readonly #placesAt: number;

  constructor(
    bytes: Buffer,
    length: number,
    extent: number,
    firstSeq: number,
    owner: Segment,
    number: number,
    places: Uint16Array,
    placesAt: number,
    maxPlaces: number,
  ) {
    this.bytes = bytes;
    this.length = length;
    this.extent = extent;
    this.firstSeq = firstSeq;
    this.owner = owner;
    this.number = number;
    this.maxPlaces = maxPlaces;
    this.#places = places;
    this.#placesAt = placesAt;
  }

  /** Records that have a place, those between them counted. */
  get places(): number {
    return this.#count;
  }

  /** Where the record with this seq begins, as PLACE_… say; 0 where the block does not tell. */
  placeOf(seq: number): number {
    const index = seq - this.firstSeq;
    return index >= 0 && index < this.#count ? this.#places[this.#placesAt + index]! : 0;
  }

  /** What records of this block keep of themselves: no way from them back to the block, which they may outlive. */
  get known(): KnownHashes {
    this.#known ??= new BlockHashes(this.firstSeq, this.#count);
    return this.#known;
  }

  setPlace(seq: number, place: number): void {
    this.#places[this.#placesAt + seq - this.firstSeq] = place;
  }

  /** Makes room for the place of the record `index` seqs behind the first. */
  extendPlaces(index: number): void {
    if (index > this.#count) this.#places.fill(0, this.#placesAt + this.#count, this.#placesAt + index);
    this.#count = index + 1;
  }
}

/** A flag and a hash. */
const KNOWN_BYTES = 1 + HASH_BYTES;

/** Computing a record's hash costs more than all else of a read from memory. Room for those of a block is taken when one is first kept. */
class BlockHashes implements KnownHashes {
  readonly #firstSeq: number;
  readonly #count: number;
  #bytes: Uint8Array | undefined;

  constructor(firstSeq: number, count: number) {
    this.#firstSeq = firstSeq;
    this.#count = count;
  }

  of(seq: number): Uint8Array | undefined {
    const at = (seq - this.#firstSeq) * KNOWN_BYTES;
    return this.#bytes?.[at] === 1 ? this.#bytes.subarray(at + 1, at + KNOWN_BYTES) : undefined;
  }

  keep(seq: number, hash: Uint8Array): void {
    const index = seq - this.#firstSeq;
    if (index < 0 || index >= this.#count) return;
    this.#bytes ??= new Uint8Array(this.#count * KNOWN_BYTES);
    this.#bytes.set(hash, index * KNOWN_BYTES + 1);
    this.#bytes[index * KNOWN_BYTES] = 1;
  }
}

export class BlockCache {
  readonly #limitBytes: number;
  #heldBytes = 0;
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
  #places = new Uint16Array(0);
  #placesUsed = 0;

  /** 0 turns it off. */
  constructor(limitBytes: number) {
    this.#limitBytes = Math.floor(limitBytes / BLOCK_BYTES) * BLOCK_BYTES;
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
    if (this.#limitBytes === 0) return undefined;
    this.#misses++;
    if (!this.#pays && this.#misses % PROBE_EVERY !== 0) return undefined;
    const { blockTable, dataEnd } = owner;
    const start = blockTable?.startOf(number) ?? NO_START;
    const length = Math.min(BLOCK_BYTES, dataEnd - number * BLOCK_BYTES);
    if (blockTable === undefined || start === NO_START || (!owner.sealed && length < BLOCK_BYTES)) return undefined;
    const wanted = Math.min(SLOT_BYTES, dataEnd - number * BLOCK_BYTES);
    const bytes = this.#cut(SLOT_BYTES);
    const extent = file.read(bytes, 0, wanted, number * BLOCK_BYTES);
    if (extent < length || (blockTable.hasSums && crc32(bytes.subarray(0, length), owner.place.seed) !== blockTable.sumOf(number))) {
      this.#slabUsed -= SLOT_BYTES;
      return undefined;
    }
    const block = this.#blockOf(bytes, length, extent, blockTable.seqOf(number), owner, number, length / RECORD_MIN_BYTES);
    findPlaces(block, start, blockTable.hasSums ? PLACE_CHECKED : 0);
    this.#placesUsed += block.places;
    this.#keep(block);
    return block;
  }

  /** A packed block that was just unpacked, which stands for `span` seqs from `firstSeq` on: kept, unless it is too large or nothing is. */
  keepPacked(owner: Segment, number: number, items: Buffer, firstSeq: number, span: number): CachedBlock {
    this.#misses++;
    const isKept = this.#limitBytes > 0 && items.length <= BLOCK_BYTES;
    const bytes = isKept ? this.#cut(items.length) : items;
    if (isKept) items.copy(bytes);
    const { length } = items;
    const block = this.#blockOf(bytes, length, length, firstSeq, owner, number, isKept ? Math.min(span, length / RECORD_MIN_BYTES) : 0);
    if (!isKept) return block;
    findPlaces(block, 0, PLACE_CHECKED);
    this.#placesUsed += block.places;
    this.#keep(block);
    return block;
  }

  /** Its places at the free end of a slab, of which the caller says in the end how much it took. */
  #blockOf(bytes: Buffer, length: number, extent: number, firstSeq: number, owner: Segment, number: number, places: number): CachedBlock {
    const most = Math.min(MAX_PLACES, Math.ceil(places));
    if (this.#placesUsed + most > this.#places.length) {
      this.#places = new Uint16Array(SLAB_PLACES);
      this.#placesUsed = 0;
    }
    return new CachedBlock(bytes, length, extent, firstSeq, owner, number, this.#places, this.#placesUsed, most);
  }

  get stats(): { readonly bytes: number; readonly hits: number; readonly misses: number } {
    const hits = this.#hitsBefore + this.#hits;
    return { bytes: this.#heldBytes, hits, misses: this.#readsBefore + this.#reads - hits };
  }

  /** Drops what is held of a segment. */
  forget(owner: Segment): void {
    this.#ring = this.#ring.filter((block) => block.owner !== owner);
    this.#heldBytes = this.#ring.reduce((sum, block) => sum + weightOf(block), 0);
    owner.blocks.length = 0;
    this.#hand = 0;
  }

  #cut(bytes: number): Buffer {
    if (this.#slab === undefined || this.#slabUsed + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(
        SLOT_BYTES * Math.min(this.#slab === undefined ? FIRST_SLAB_BLOCKS : SLAB_BLOCKS, this.#limitBytes / BLOCK_BYTES),
      );
      this.#slabUsed = 0;
    }
    this.#slabUsed += bytes;
    return this.#slab.subarray(this.#slabUsed - bytes, this.#slabUsed);
  }

  /** In the place of one that has to go, if any has; packed ones are smaller than others, so that more may have to. */
  #keep(block: CachedBlock): void {
    const weight = weightOf(block);
    block.owner.blocks[block.number] = block;
    let place = -1;
    while (this.#heldBytes + weight > this.#limitBytes && this.#ring.length > (place < 0 ? 0 : 1)) {
      const victim = this.#nextVictim(place);
      const candidate = this.#ring[victim] as CachedBlock;
      candidate.owner.blocks[candidate.number] = undefined;
      this.#heldBytes -= weightOf(candidate);
      if (place < 0) {
        place = victim;
        this.#ring[place] = block;
        continue;
      }
      const last = this.#ring.pop() as CachedBlock;
      if (victim < this.#ring.length) this.#ring[victim] = last;
      if (place === this.#ring.length) place = victim;
    }
    if (place < 0) this.#ring.push(block);
    this.#heldBytes += weight;
  }

  /** Where the hand stops: at a block that was not used since it last came by. Never at `except`. */
  #nextVictim(except: number): number {
    for (;;) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const at = this.#hand++;
      const candidate = this.#ring[at] as CachedBlock;
      if (!candidate.used && at !== except) return at;
      if (at !== except) candidate.used = false;
    }
  }

  /** Loading pays while there is room, or while seven reads of eight hit: a load costs several times what a hit saves. */
  #weigh(): void {
    this.#pays = this.#heldBytes + BLOCK_BYTES <= this.#limitBytes || this.#hits * 8 > this.#reads * 7;
    this.#readsBefore += this.#reads;
    this.#hitsBefore += this.#hits;
    this.#reads = 0;
    this.#hits = 0;
  }
}

/** What it counts for: its bytes, as if every block of a file were whole. */
function weightOf({ bytes }: CachedBlock): number {
  return Math.min(BLOCK_BYTES, bytes.length);
}

/** Walks the items of a block from its first record on. Bytes that were not checked may lead it astray: what it notes is checked when read. */
function findPlaces(block: CachedBlock, start: number, flag: number): void {
  const { bytes, length, firstSeq, number, maxPlaces } = block;
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
    if (index < block.places || index >= maxPlaces) return;
    const bytesOfRecord = getU32(bytes, at + 4);
    block.extendPlaces(index);
    // What ends behind the block its checksum does not cover.
    block.setPlace(firstSeq + index, at + bytesOfRecord > length ? at + 1 : (at + 1) | flag);
    if (bytesOfRecord === 0) return;
    at += bytesOfRecord;
  }
}
