/**
 * Walks the records of one shard in the order of its log: what the feed and the difference of two points stand on.
 *
 *   position ──▶ chunk (up to 1 MiB of bodies, read with every frame's checksum) ──▶ take(n) ──▶ position
 *
 * The log is read on demand, by seq: nothing is queued for a walker that does not ask, and segments may be sealed, replaced or reopened
 * between two questions. A short chunk up to the log's end is kept for all walkers of the shard, so that a commit is read once
 * however many feeds wait for it. Seqs may jump (epochs, compaction): a walk costs what is there, not how far apart it lies.
 *
 * Invariants: nothing above `visibleSeq` is ever given out; what cannot be read is DAMAGED at its place, never passed over. A crash
 * loses nothing: there is no state but the position, which callers hold.
 */
import { VarveError } from './errors.js';
import { isGap, type ReadRecord, type SeqRange, type StoredBatch } from './log/index.js';
import type { Shard } from './shard.js';

const CHUNK_BYTES = 1024 * 1024;
/** Bodies of an end of the log that is kept for others who come for it. */
const TAIL_BYTES = 256 * 1024;
/** Records that others than the caller want are passed over; after so many it is somebody else's turn. */
const MOST_PASSED = 4096;

interface Chunk {
  /** Of the log it was read from: one that was rewritten since may hold less. */
  readonly incarnation: number;
  /** Holds what lies above this … */
  readonly after: number;
  /** … up to here. */
  readonly through: number;
  readonly batches: readonly StoredBatch[];
  /** What begins behind `through` and cannot be read. */
  readonly gap: SeqRange | undefined;
}

/** The end of each shard's log as it was last read. */
const tails = new WeakMap<Shard, Chunk>();

export class ShardWalk {
  readonly shard: Shard;
  readonly #wants: (record: ReadRecord) => boolean;
  readonly #until: number;
  #position: number;
  #chunk: Chunk | undefined;
  #batch = 0;
  #record = 0;

  /** Begins after seq `after` and ends with seq `until`; without one it follows the log. */
  constructor(shard: Shard, after: number, until: number | undefined, wants: (record: ReadRecord) => boolean) {
    this.shard = shard;
    this.#position = after;
    this.#until = until ?? Number.POSITIVE_INFINITY;
    this.#wants = wants;
  }

  /** Everything up to this seq has been given out or passed over. */
  get position(): number {
    return this.#position;
  }

  /** Whether there is nothing more for now. */
  get atEnd(): boolean {
    return this.#position >= this.#end;
  }

  /** Whether there will never be more. */
  get done(): boolean {
    return this.#position >= this.#until;
  }

  /**
   * The next wanted records: at most `max`, and no more once their bodies reach `maxBytes`. Empty at the end, and where a long
   * stretch held none: `atEnd` tells which. Throws DAMAGED once it stands before what cannot be read.
   */
  take(max: number, maxBytes: number): ReadRecord[] {
    const taken: ReadRecord[] = [];
    let bytes = 0;
    let passed = 0;
    while (taken.length < max && bytes < maxBytes && passed < MOST_PASSED && !this.atEnd) {
      const chunk = this.#current();
      const batch = chunk.batches[this.#batch];
      const record = batch?.records[this.#record];
      if (record !== undefined) {
        if (record.seq > this.#end) {
          this.#position = this.#end;
          break;
        }
        this.#record++;
        if (record.seq <= this.#position) continue;
        this.#position = record.seq;
        passed++;
        if (!this.#wants(record)) continue;
        taken.push(record);
        bytes += record.body.length;
      } else if (batch !== undefined) {
        this.#position = Math.max(this.#position, Math.min(batch.lastSeq, this.#end));
        this.#batch++;
        this.#record = 0;
      } else {
        if (chunk.gap !== undefined && chunk.through <= this.#position) {
          if (taken.length > 0) break;
          throw this.#damage(chunk.gap);
        }
        this.#position = Math.max(this.#position, Math.min(chunk.through, this.#end));
        this.rest();
      }
    }
    return taken;
  }

  /** Lets go of what was read ahead; for a caller who will not ask again soon. */
  rest(): void {
    this.#chunk = undefined;
  }

  get #end(): number {
    return Math.min(this.#until, this.shard.visibleSeq);
  }

  #current(): Chunk {
    const { incarnation } = this.shard.log;
    if (this.#chunk?.incarnation === incarnation) return this.#chunk;
    const tail = tails.get(this.shard);
    if (tail !== undefined && tail.incarnation !== incarnation) tails.delete(this.shard);
    else if (tail !== undefined && tail.after <= this.#position && this.#position < tail.through) this.#chunk = tail;
    if (this.#chunk?.incarnation !== incarnation) this.#chunk = this.#read(incarnation);
    this.#batch = this.#record = 0;
    return this.#chunk;
  }

  #read(incarnation: number): Chunk {
    const after = this.#position;
    const visible = this.shard.visibleSeq;
    const batches: StoredBatch[] = [];
    let bytes = 0;
    let through = after;
    for (const item of this.shard.log.batches(after + 1, visible)) {
      if (isGap(item)) return { incarnation, after, through, batches, gap: item.gap };
      batches.push(item);
      through = item.lastSeq;
      for (const record of item.records) bytes += record.body.length;
      if (bytes >= CHUNK_BYTES && through < visible) return { incarnation, after, through, batches, gap: undefined };
    }
    const tail: Chunk = { incarnation, after, through: Math.max(through, visible), batches, gap: undefined };
    if (bytes <= TAIL_BYTES) tails.set(this.shard, tail);
    return tail;
  }

  #damage({ fromSeq, toSeq }: SeqRange): VarveError {
    return new VarveError('DAMAGED', `shard ${this.shard.id}: seqs ${fromSeq} to ${toSeq} of its log cannot be read`, {
      shard: this.shard.id,
      fromSeq,
      toSeq,
    });
  }
}
