/**
 * A shard's log as a stream for followers, from memory where they keep up, from the disk where they do not.
 *
 *   follower pulls -> recent groups (shared) | slices of the log | heartbeat
 *
 * Invariants: only what is durable is sent; nothing is made before it is pulled, so that a follower that does not read costs nothing
 * but its place; no generator over the log is held while a follower makes up its mind, so that slow ones keep no old files alive.
 */
import type { Clock, EpochSpan, LogSlice, ReplicaShard } from '../engine/copying.js';
import { encodeMessage, heartbeat } from './message.js';
import { RecentGroups } from './recent-groups.js';
import { joins } from './slices.js';

export const HEARTBEAT_MS = 2_000;
/** Batches read from the disk for one message; a larger frame goes alone. */
const DISK_BYTES = 1024 * 1024;
/** Of recent groups for one piece. */
const PIECE_BYTES = 256 * 1024;
/** Streams of one shard at a time. */
const MAX_STREAMS = 1_000;

export type StreamRefusal =
  | { readonly why: 'diverged'; readonly epochs: readonly EpochSpan[] }
  | { readonly why: 'bootstrap'; readonly firstSeq: number }
  | { readonly why: 'crowded' };

export interface StreamRequest {
  /** Position of the follower. */
  readonly after: number;
  readonly epoch: number;
  readonly until?: number;
}

export class LogSource {
  readonly #shard: ReplicaShard;
  readonly #clock: Clock;
  readonly #seed: number;
  readonly #recent: RecentGroups;
  #turn = 0;
  #closed = false;
  #sentBytes = 0;

  constructor(shard: ReplicaShard, clock: Clock, seed: number, recentBytes: number) {
    this.#shard = shard;
    this.#clock = clock;
    this.#seed = seed;
    this.#recent = new RecentGroups(shard, clock, seed, recentBytes);
  }

  get streams(): number {
    return this.#recent.followers;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  get recentBytes(): number {
    return this.#recent.heldBytes;
  }

  /** Why a follower at this position cannot be served. */
  refusal({ after, epoch }: StreamRequest): StreamRefusal | undefined {
    if (this.#recent.followers >= MAX_STREAMS) return { why: 'crowded' };
    if (after + 1 < this.#shard.firstSeq) return { why: 'bootstrap', firstSeq: this.#shard.firstSeq };
    if (after === 0) return undefined;
    const epochs = this.#shard.epochs();
    const span = epochs.find((each) => each.epoch === epoch);
    const holds = span !== undefined && after <= span.lastSeq && after + 1 >= span.firstSeq;
    return holds ? undefined : { why: 'diverged', epochs };
  }

  /** Pieces of the stream; ends at `until`, at a goodbye, or with the signal. Throws what reading the log throws. */
  async *stream({ after, until }: StreamRequest, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const leave = this.#recent.enter();
    const turn = this.#turn;
    const changed = () => this.#closed || this.#turn !== turn;
    try {
      yield this.#told('heartbeat');
      let position = after;
      while (!signal.aborted && (until === undefined || position < until)) {
        const groups = until === undefined ? this.#recent.after(position, PIECE_BYTES) : undefined;
        if (groups !== undefined) {
          position = groups[groups.length - 1]!.lastSeq;
          yield this.#counted(groups.length === 1 ? groups[0]!.message : Buffer.concat(groups.map((group) => group.message)));
        } else if (changed() || this.#shard.durableSeq < position) {
          yield this.#told('goodbye');
          return;
        } else if (this.#shard.durableSeq > position) {
          const read = this.#read(position, until);
          if (read === undefined) {
            // Between two epochs are seqs that nobody has: who asks for those is told that this is all.
            if (until !== undefined && this.#shard.durableSeq >= until) return;
            await this.#recent.wait(HEARTBEAT_MS, signal);
          } else {
            position = read.lastSeq;
            yield this.#counted(read.message);
            // Whoever pulls at once must not keep everybody else waiting.
            await this.#clock.yield();
          }
        } else {
          const from = this.#clock.monotonicMs();
          await this.#recent.wait(HEARTBEAT_MS, signal);
          if (!signal.aborted && this.#clock.monotonicMs() - from >= HEARTBEAT_MS) yield this.#told('heartbeat');
        }
      }
    } finally {
      leave();
    }
  }

  /** Every stream says goodbye and ends: the log is about to lose something, or whose it is has changed. */
  interrupt(): void {
    this.#turn++;
    this.#recent.clear();
    this.#recent.wake();
  }

  close(): void {
    this.#closed = true;
    this.interrupt();
  }

  #read(position: number, until: number | undefined): { message: Uint8Array; lastSeq: number } | undefined {
    let whole: LogSlice | undefined;
    const parts: Uint8Array[] = [];
    let bytes = 0;
    let lastSeq = 0;
    for (const slice of this.#shard.slices(position + 1, until)) {
      if (whole !== undefined && (!joins({ ...whole, lastSeq }, slice) || bytes + slice.batches.length > DISK_BYTES)) break;
      whole ??= slice;
      lastSeq = slice.lastSeq;
      bytes += slice.batches.length;
      // What a slice shows may be gone with the next one.
      parts.push(Buffer.from(slice.batches));
      if (bytes >= DISK_BYTES) break;
    }
    if (whole === undefined) return undefined;
    const now = { kind: 'batches', durableSeq: this.#shard.durableSeq, time: this.#clock.nowMicros() } as const;
    return { message: encodeMessage({ ...whole, lastSeq, ...now }, this.#seed, parts), lastSeq };
  }

  #told(kind: 'heartbeat' | 'goodbye'): Uint8Array {
    const { epoch, durableSeq } = this.#shard;
    return this.#counted(encodeMessage(heartbeat(kind, epoch, durableSeq, this.#clock.nowMicros()), this.#seed));
  }

  #counted(bytes: Uint8Array): Uint8Array {
    this.#sentBytes += bytes.length;
    return bytes;
  }
}
