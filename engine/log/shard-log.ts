/**
 * The log of one shard: the truth (law 2). Appends groups as frames, reads records by seq, finds positions by time, replays.
 *
 *   beginGroup -> append: one write, one sync -> durable, readable        segments: sealed | sealed | active
 *
 * Invariants: `durableSeq` moves only after a sync, and nothing above it is ever read. Writers go one at a time, in order;
 * reads are synchronous and wait for nobody. After a failed write or sync the log only reads, until `reopen` (law 9). What a crash
 * does at each step is told in recovery.ts, segment-writer.ts and sealing.ts.
 */
import { assert, VarveError } from '../errors.js';
import { type FrameHead, frameBytes } from '../format/frame.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { Micros } from '../platform/platform.js';
import { BlockingSync } from './blocking-sync.js';
import { LogContext, type LogOptions } from './context.js';
import { LogFailure } from './failure.js';
import { loadBlockTable, loadFooter } from './footer-loading.js';
import { GroupBuilder } from './frame-builder.js';
import type { IdempotentAnswer } from './idempotency.js';
import { checkNoGapBetween, findIdempotent, positionAt } from './log-search.js';
import { type Recovered, recover } from './recovery.js';
import { isGap, type LogGap, type ReplaySource, replay } from './replay.js';
import { type ScrubProgress, scrubSegments } from './scrub.js';
import { Sealer } from './sealing.js';
import * as reader from './segment-reader.js';
import { SegmentSet } from './segment-set.js';
import type { Segment } from './segment-state.js';
import { type ActiveSegment, appendFrame, appendFrameNow, appendMark, createSegment, isPlainAppend } from './segment-writer.js';
import type { Finding, ReadRecord, StoredBatch } from './types.js';

/** A larger group is dear to write, and its sync long. */
const BLOCKING_BYTES = 64 * 1024;

export interface AppendedLocation {
  readonly segment: string;
  readonly offset: number;
  readonly length: number;
}

/** For the catalog. */
export interface SegmentInfo {
  readonly base: number;
  readonly generation: number;
  readonly lastSeq: number;
  readonly bytes: number;
  readonly records: number;
  readonly sealed: boolean;
  readonly minTime: Micros;
  readonly maxTime: Micros;
}

export class ShardLog implements ReplaySource {
  readonly context: LogContext;
  /** Told of each group right after it is durable; the bytes are valid during the call only. */
  onGroup: ((frame: Buffer, head: FrameHead, segment: Segment) => void) | undefined;
  #segments = new SegmentSet();
  #active: ActiveSegment | undefined;
  #sealer: Sealer;
  #incarnation = 0;
  #durableSeq = 0;
  #attestedSeq = 0;
  #lastTime = 0;
  #epoch = 1;
  #failure: LogFailure | undefined;
  #closed = false;
  /** The writer that came last; the next one waits for it. */
  #lastWriter: Promise<unknown> = Promise.resolve();
  /** How many are writing or wait to. */
  #writers = 0;
  readonly #blockingSync: BlockingSync;
  readonly #freeBuilders: GroupBuilder[] = [];
  readonly #loadIndex = (segment: Segment): void => this.loadFooter(segment);

  private constructor(options: LogOptions) {
    this.context = new LogContext(options);
    this.#blockingSync = new BlockingSync(options.platform.clock);
    this.#sealer = this.#newSealer();
  }

  static async open(options: LogOptions): Promise<ShardLog> {
    const log = new ShardLog(options);
    try {
      log.#adopt(await recover(log.context, 0));
    } catch (error) {
      log.context.pool.closeAll();
      throw error;
    }
    return log;
  }

  /** First seq the log stands for. */
  get firstSeq(): number {
    return this.#segments.all[0]?.base ?? 1;
  }

  /** Highest seq known to be synced; 0 while empty. */
  get durableSeq(): number {
    return this.#durableSeq;
  }

  /** The durable position as the disk itself tells it: a frame, mark, header or trailer vouches for it. */
  get attestedSeq(): number {
    return this.#attestedSeq;
  }

  /** Time of the newest record, 0 while there is none. */
  get lastTime(): Micros {
    return this.#lastTime;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The newest trim whose drops are physically gone from some segment; 0 for none. */
  get compactedThrough(): number {
    return this.#segments.all.reduce((newest, { header }) => Math.max(newest, header?.compactedThrough ?? 0), 0);
  }

  get findings(): readonly Finding[] {
    return this.context.findings;
  }

  /** Of all segments. */
  get bytes(): number {
    return this.#segments.all.reduce((sum, segment) => sum + segment.fileBytes, 0);
  }

  /** Set after a failed write or sync: only reads work, until `reopen`. */
  get failure(): LogFailure | undefined {
    return this.#failure;
  }

  segments(): SegmentInfo[] {
    return this.#segments.all.map((segment) => {
      const { base, lastSeq, records, sealed, minTime, maxTime, fileBytes } = segment;
      return { base, generation: segment.place.generation, lastSeq, bytes: fileBytes, records, sealed, minTime, maxTime };
    });
  }

  /** A builder to encode batches into; `append` takes it back. */
  beginGroup(): GroupBuilder {
    return this.#freeBuilders.pop() ?? new GroupBuilder(this.context.recordSeed);
  }

  /** Makes the group durable, then readable. Rejects with LogFailure; the group is spent either way. */
  append(group: GroupBuilder): Promise<AppendedLocation> {
    return this.#inTurn(async () => {
      try {
        return await this.#append(group);
      } finally {
        this.#takeBack(group);
      }
    });
  }

  /** The same before it returns, where that is quicker: true, or throws LogFailure. False, and nothing done, where it is not. */
  appendNow(group: GroupBuilder): boolean {
    const active = this.#active;
    const file = active?.file.now;
    if (active === undefined || file === undefined || this.#writers > 0 || this.#closed || this.#failure !== undefined) return false;
    if (!this.#continues(active.segment, group) || group.bytes > BLOCKING_BYTES) return false;
    if (!isPlainAppend(active, frameBytes(group.bytes)) || !this.#blockingSync.paysHere()) return false;
    try {
      const { segment } = active;
      const offset = segment.dataEnd;
      const { frame, head } = this.#finish(group, segment, offset);
      this.#blockingSync.measure(() => appendFrameNow(active, file, frame));
      this.#admit(segment, frame, head, offset);
      return true;
    } catch (error) {
      if (error instanceof LogFailure) this.#failure = error;
      throw error;
    } finally {
      this.#takeBack(group);
    }
  }

  #takeBack(group: GroupBuilder): void {
    group.reset();
    if (this.#freeBuilders.length < 2) this.#freeBuilders.push(group);
  }

  /** Ends the active segment, so that it can be sealed and rewritten; the next group begins another. */
  roll(): Promise<void> {
    return this.#inTurn(async () => {
      const active = this.#active;
      if (active === undefined || active.segment.lastSeq < active.segment.base) return;
      this.#active = undefined;
      active.file.close();
      this.#sealer.enqueue(active.segment);
    });
  }

  /** Writes down how far the log is durable, where the disk does not tell yet. For idle and closing shards. */
  mark(): Promise<void> {
    return this.#inTurn(() => this.#mark());
  }

  /** The record; undefined where there is none (an event's seq, dropped, not durable). Throws CORRUPT where its bytes are bad. */
  read(seq: number): ReadRecord | undefined {
    const segment = this.#segmentOf(seq);
    return segment === undefined ? undefined : reader.readRecord(segment, this.context, seq, this.#loadIndex);
  }

  /** Last seq of the record's batch; undefined as for `read`. */
  readBatchEnd(seq: number): number | undefined {
    const segment = this.#segmentOf(seq);
    return segment === undefined ? undefined : reader.readBatchEnd(segment, this.context, seq, this.#loadIndex);
  }

  /** Last seq of the newest record batch with a time up to `time`; 0 where there is none. Throws CORRUPT where damage hides the answer. */
  positionAt(time: Micros): number {
    return positionAt(this, time, false).seq;
  }

  /** The same, and the seq of the first record after it; one more than what is durable where there is none. */
  positionsAround(time: Micros): { readonly seq: number; readonly nextSeq: number } {
    return positionAt(this, time, true);
  }

  /** Batches from the first with a last seq from `fromSeq` on, up to what is durable at the call; gaps where they cannot be read. */
  batches(fromSeq: number, toSeq: number = this.#durableSeq): Generator<StoredBatch | LogGap, void, undefined> {
    return replay(this, fromSeq, Math.min(toSeq, this.#durableSeq));
  }

  /** The answer this key got since `notBefore`, the newest where there are several. */
  findIdempotent(key: string, notBefore: Micros): IdempotentAnswer | undefined {
    return findIdempotent(this, key, notBefore);
  }

  /**
   * After a failure: recovers from disk again, knowing what was durable. Whole frames beyond that are made durable in a new
   * segment, for they count now; all batches beyond `appliedSeq` are returned. Rejects, and goes on only reading, where the disk
   * still fails.
   */
  reopen(appliedSeq: number = this.#durableSeq): Promise<{ recovered: StoredBatch[] }> {
    const reopened = this.#lastWriter.then(async () => {
      await this.#sealer.stop();
      this.#active?.file.close();
      this.#active = undefined;
      const recovered = await recover(this.context, Math.max(appliedSeq, this.#durableSeq));
      this.#letGoOfFiles();
      this.#sealer = this.#newSealer();
      this.#adopt(recovered);
      this.#failure = undefined;
      return { recovered: [...this.batches(appliedSeq + 1)].filter((item): item is StoredBatch => !isGap(item)) };
    });
    this.#lastWriter = reopened.catch(() => undefined);
    return reopened;
  }

  /** No file stays open, and no block of one in memory. */
  #letGoOfFiles(): void {
    for (const segment of this.#segments.all) {
      this.context.pool.drop(segment);
      this.context.cache.forget(segment);
    }
  }

  /**
   * Nobody has its files open while `work` puts others in their place; then it is read anew, through `durableSeq` at least. Where that
   * fails it takes no writes any more.
   */
  replaceFiles(durableSeq: number, work: () => Promise<void>): Promise<void> {
    const replaced = this.#lastWriter.then(async () => {
      if (this.#closed) throw new VarveError('CLOSED', 'the log is closed', {});
      await this.#sealer.stop();
      this.#active?.file.close();
      this.#active = undefined;
      this.#letGoOfFiles();
      try {
        await work();
        this.context.findings = [];
        const recovered = await recover(this.context, durableSeq);
        this.#sealer = this.#newSealer();
        this.#lastTime = this.#attestedSeq = 0;
        this.#adopt(recovered);
        this.#failure = undefined;
      } catch (error) {
        this.#failure = new LogFailure('its files were being replaced', 'write', 'maybe', error);
        throw error;
      }
    });
    this.#lastWriter = replaced.catch(() => undefined);
    return replaced;
  }

  /** Checks every byte of every segment. Yields after each slice; returns what it found. */
  scrub(): Generator<ScrubProgress, Finding[], undefined> {
    return scrubSegments(this.context, [...this.#segments.all]);
  }

  /** Resolves when no segment is being sealed; tries those again that a full disk, or an error of it, left unsealed. */
  sealed(): Promise<void> {
    for (const segment of this.#segments.all) if (segment !== this.#active?.segment) this.#sealer.enqueue(segment);
    return this.#sealer.idle();
  }

  /** Marks, seals and closes. Everything durable stays so whatever fails here; only the next open may take longer. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#lastWriter.catch(() => undefined);
    if (this.#failure === undefined) await this.#mark().catch(() => undefined);
    const active = this.#active;
    this.#active = undefined;
    active?.file.close();
    if (this.#failure !== undefined) await this.#sealer.stop();
    else if (active !== undefined && active.segment.lastSeq >= active.segment.base) this.#sealer.enqueue(active.segment);
    await this.#sealer.idle();
    this.context.pool.closeAll();
  }

  /** For replay and search. */
  get segmentSet(): SegmentSet {
    return this.#segments;
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  /** After segments were replaced by others: whoever reads on finds its place anew. */
  segmentsReplaced(): void {
    this.#incarnation++;
  }

  loadFooter(segment: Segment): void {
    if (segment.index === undefined) loadFooter(this.context, segment, (rebuilt) => this.#sealer.enqueue(rebuilt));
  }

  /** One writer at a time, in the order they came; a failed one stops those behind it. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastWriter.then(async () => {
      if (this.#closed) throw new VarveError('CLOSED', 'the log is closed', {});
      if (this.#failure !== undefined)
        throw new LogFailure(`the log takes no writes: ${this.#failure.message}`, this.#failure.stage, 'no', this.#failure);
      try {
        return await work();
      } catch (error) {
        if (error instanceof LogFailure) this.#failure = error;
        throw error;
      }
    });
    this.#writers++;
    const ended = () => {
      this.#writers--;
    };
    this.#lastWriter = turn.then(ended, ended);
    return turn;
  }

  async #append(group: GroupBuilder): Promise<AppendedLocation> {
    let active = this.#active;
    const fits = active !== undefined && this.#continues(active.segment, group);
    const segment = fits ? active!.segment : this.context.segment(group.firstSeq, 0);
    const offset = fits ? segment.dataEnd : SEGMENT_HEADER_BYTES;
    const { frame, head } = this.#finish(group, segment, offset);
    if (fits) {
      await appendFrame(active!, frame);
    } else {
      const { epoch = this.#epoch, compactedThrough = 0, endsAt = segment.base - 1 } = group.origin ?? {};
      active = await createSegment(this.context, segment, epoch, frame, { compactedThrough, attestedSeq: endsAt });
    }
    this.#admit(segment, frame, head, offset, fits ? undefined : active);
    return { segment: segment.name, offset, length: frame.length };
  }

  /** Whether the group may stand in this segment: there is room, and the header says what it would of one of its own. */
  #continues({ dataEnd, header }: Segment, { origin }: GroupBuilder): boolean {
    if (dataEnd >= this.context.options.segmentBytes) return false;
    return origin === undefined || (origin.epoch === header?.epoch && origin.compactedThrough === header.compactedThrough);
  }

  #finish(group: GroupBuilder, segment: Segment, offset: number): { frame: Buffer; head: FrameHead } {
    const { endsAt = group.firstSeq - 1, epoch = this.#epoch } = group.origin ?? {};
    assert(endsAt === this.#durableSeq, 'a group begins after what is durable');
    return group.finish(segment.place, offset, epoch, this.#durableSeq);
  }

  /** The frame is durable; `begun`: with the segment it begins. */
  #admit(segment: Segment, frame: Buffer, head: FrameHead, offset: number, begun?: ActiveSegment): void {
    assert(segment.admit(frame, 0, head, offset), 'a frame we wrote is sound');
    if (begun !== undefined) this.#activate(begun);
    this.#durableSeq = head.lastSeq;
    this.#epoch = Math.max(this.#epoch, head.epoch);
    this.#attestedSeq = Math.max(this.#attestedSeq, head.attestedSeq);
    this.#lastTime = Math.max(this.#lastTime, segment.maxTime);
    this.onGroup?.(frame, head, segment);
  }

  async #mark(): Promise<void> {
    if (this.#attestedSeq >= this.#durableSeq) return;
    const attests = this.#durableSeq;
    if (this.#active === undefined) {
      // A new segment's name and header vouch for everything before it.
      const segment = this.context.segment(attests + 1, 0);
      this.#activate(await createSegment(this.context, segment, this.#epoch, new Uint8Array(0)));
    } else {
      await appendMark(this.#active, this.#epoch, attests);
    }
    this.#attestedSeq = attests;
  }

  /** Makes a new segment the one that is written; the old one is sealed behind the scenes. */
  #activate(active: ActiveSegment): void {
    const old = this.#active;
    this.#active = active;
    this.#segments.add(active.segment);
    if (old === undefined) return;
    old.file.close();
    if (old.segment.lastSeq >= old.segment.base) this.#sealer.enqueue(old.segment);
    else this.#removeEmpty(old.segment, active.segment);
  }

  /** A segment that a mark began, and another takes the place of: under its name, or of another epoch. */
  #removeEmpty(empty: Segment, next: Segment): void {
    if (empty.name === next.name) return;
    this.#segments.remove(empty);
    this.context.pool.drop(empty);
    this.context.platform.files.remove(empty.path);
  }

  #adopt(recovered: Recovered): void {
    this.#incarnation++;
    this.#segments = recovered.segments;
    this.#active = recovered.active;
    this.#durableSeq = recovered.durableSeq;
    this.#attestedSeq = recovered.attestedSeq;
    this.#epoch = recovered.epoch;
    this.#lastTime = Math.max(this.#lastTime, recovered.lastTime);
    for (const segment of recovered.toSeal) if (segment !== recovered.active?.segment) this.#sealer.enqueue(segment);
  }

  #newSealer(): Sealer {
    return new Sealer(this.context, (segment) => {
      this.context.pool.drop(segment);
      this.#attestedSeq = Math.max(this.#attestedSeq, segment.lastSeq);
    });
  }

  /** The segment that stands for a durable seq, its block table loaded where it can be. Throws CORRUPT where the seq is missing. */
  #segmentOf(seq: number): Segment | undefined {
    if (seq < 1 || seq > this.#durableSeq) return undefined;
    const segment = this.#segments.find(seq);
    if (segment === undefined) {
      checkNoGapBetween(this.context, seq - 1, seq + 1);
      return undefined;
    }
    if (!segment.hasTable) loadBlockTable(this.context, segment);
    return segment;
  }
}
