/**
 * What an owner knows of its followers, and from it the quorum position.
 *
 *   POST /acks -> one line a (url, shard): epoch, seq, erased through -> the highest seq that a majority of the replica set has
 *
 * Invariants: the quorum position of a shard rises only on words given in the owner's own epoch, by URLs of the replica set, and the owner
 * counts itself; it never falls while the epoch lasts. Whoever else reports is shown and never counted. Nothing here is durable: after a
 * restart it is learned again, from a position that is too low and so promises nothing.
 */
import type { Clock, ReplicaShard } from '../engine/copying.js';
import { isEpoch, isIdentity, isPeerUrl, isSeq, isShard } from './checks.js';
import { isRecord } from './peer-json.js';
import { majorityOf } from './roles.js';

export interface AckReport {
  readonly node: string;
  /** What the follower calls itself; without one it is known by its node alone. */
  readonly url: string | undefined;
  /** Shard, epoch, durable seq, erased through. */
  readonly positions: readonly (readonly [number, number, number, number])[];
}

export interface FollowerPosition {
  readonly node: string;
  readonly url: string | undefined;
  readonly epoch: number;
  readonly ackedSeq: number;
  readonly erasedThrough: number;
  /** Since it last had all that was durable here, or began to report; 0: it has. */
  readonly lagSeconds: number;
  /** Since its last report. */
  readonly heardSeconds: number;
}

export interface AckEvents {
  /** The quorum position has risen. */
  readonly onQuorum?: (shard: number, seq: number) => void;
  /** Somebody reports an epoch that this log has not. */
  readonly onNewerEpoch?: (shard: number) => void;
}

interface Line {
  readonly node: string;
  readonly url: string | undefined;
  epoch: number;
  ackedSeq: number;
  erasedThrough: number;
  heardMs: number;
  currentMs: number;
}

interface Waiter {
  readonly seq: number;
  readonly done: (reached: boolean) => void;
}

interface ShardBook {
  readonly lines: Map<string, Line>;
  readonly waiters: Set<Waiter>;
  /** Epoch of what follows. */
  epoch: number;
  quorumSeq: number;
}

/** Followers that are remembered for one shard; those beyond are not taken in. */
const MAX_FOLLOWERS = 1_000;
/** Who is of no replica set and has said nothing for so long is gone. */
const FORGET_MS = 10 * 60_000;

/** An untrusted body as a report, or undefined. */
export function readAckReport(json: unknown, shards: number): AckReport | undefined {
  if (!isRecord(json)) return undefined;
  const { node, url, positions } = json;
  if (!isIdentity(node) || (url !== undefined && url !== null && !isPeerUrl(url))) return undefined;
  if (!Array.isArray(positions) || positions.length > shards) return undefined;
  const seen = new Set<number>();
  for (const position of positions as unknown[]) {
    if (!Array.isArray(position) || position.length !== 4) return undefined;
    const [shard, epoch, seq, erased] = position as unknown[];
    if (!isShard(shard, shards) || seen.has(shard) || !isEpoch(epoch) || !isSeq(seq) || !isSeq(erased)) return undefined;
    seen.add(shard);
  }
  return { node, url: url ?? undefined, positions: positions as [number, number, number, number][] };
}

export class AckBook {
  readonly #shards: (shard: number) => ReplicaShard;
  readonly #clock: Clock;
  readonly #self: string | undefined;
  readonly #replicas: readonly string[];
  readonly #events: AckEvents;
  readonly #books = new Map<number, ShardBook>();

  /** `replicas`: the replica set, this node included under `self`; empty: this node alone. */
  constructor(
    shards: (shard: number) => ReplicaShard,
    clock: Clock,
    self: string | undefined,
    replicas: readonly string[],
    events: AckEvents = {},
  ) {
    this.#shards = shards;
    this.#clock = clock;
    this.#self = self;
    this.#replicas = replicas;
    this.#events = events;
  }

  /** Takes a report in; the quorum positions of its shards. */
  note(report: AckReport): [shard: number, seq: number][] {
    return report.positions.map(([id, epoch, seq, erasedThrough]) => {
      const shard = this.#shards(id);
      const book = this.#book(shard);
      if (epoch > shard.epoch) this.#events.onNewerEpoch?.(id);
      const now = this.#clock.monotonicMs();
      const key = report.url ?? report.node;
      const before = book.lines.get(key);
      if (before === undefined && book.lines.size >= MAX_FOLLOWERS) this.#forget(book, now);
      if (before !== undefined || book.lines.size < MAX_FOLLOWERS) {
        const currentMs = epoch === shard.epoch && seq >= shard.durableSeq ? now : (before?.currentMs ?? now);
        book.lines.set(key, { node: report.node, url: report.url, epoch, ackedSeq: seq, erasedThrough, heardMs: now, currentMs });
      }
      return [id, this.#advance(shard, book)];
    });
  }

  /** The highest seq that a majority of the replica set has made durable, as far as is known here. */
  quorumSeq(id: number): number {
    const shard = this.#shards(id);
    return this.#advance(shard, this.#book(shard));
  }

  followers(id: number): FollowerPosition[] {
    const shard = this.#shards(id);
    const now = this.#clock.monotonicMs();
    return [...this.#book(shard).lines.values()].map((line) => ({
      node: line.node,
      url: line.url,
      epoch: line.epoch,
      ackedSeq: line.ackedSeq,
      erasedThrough: line.erasedThrough,
      lagSeconds: line.epoch === shard.epoch && line.ackedSeq >= shard.durableSeq ? 0 : (now - line.currentMs) / 1000,
      heardSeconds: (now - line.heardMs) / 1000,
    }));
  }

  /** Replicas that have not confirmed that erasures up to this seq are carried out in their files: of the replica set all but this node, and whoever else follows. */
  outstanding(id: number, seq: number): string[] {
    const { lines } = this.#book(this.#shards(id));
    const named = new Set([...this.#replicas.filter((url) => url !== this.#self), ...lines.keys()]);
    return [...named].filter((key) => (lines.get(key)?.erasedThrough ?? 0) < seq);
  }

  /** True once the quorum position has reached `seq`; false where it has not after `timeoutMs`, or the shard is not owned here any more. */
  whenQuorum(id: number, seq: number, timeoutMs: number): Promise<boolean> {
    const shard = this.#shards(id);
    const book = this.#book(shard);
    if (this.#advance(shard, book) >= seq) return Promise.resolve(true);
    if (shard.role !== 'owner') return Promise.resolve(false);
    return new Promise((resolve) => {
      const done = (reached: boolean): void => {
        cancel();
        book.waiters.delete(waiter);
        resolve(reached);
      };
      const waiter = { seq, done };
      const cancel = this.#clock.after(timeoutMs, () => done(false));
      book.waiters.add(waiter);
    });
  }

  /** The shard is not owned here any more: whoever waits hears no. */
  giveUp(id: number): void {
    for (const waiter of [...(this.#books.get(id)?.waiters ?? [])]) waiter.done(false);
  }

  /** Whoever still waits hears no. */
  close(): void {
    for (const id of this.#books.keys()) this.giveUp(id);
  }

  #book(shard: ReplicaShard): ShardBook {
    let book = this.#books.get(shard.id);
    if (book === undefined) {
      book = { lines: new Map(), waiters: new Set(), epoch: shard.epoch, quorumSeq: 0 };
      this.#books.set(shard.id, book);
    }
    return book;
  }

  #advance(shard: ReplicaShard, book: ShardBook): number {
    if (book.epoch !== shard.epoch) {
      book.epoch = shard.epoch;
      book.quorumSeq = 0;
      // What they wait for may be set aside by now.
      this.giveUp(shard.id);
    }
    // Fenced, or a follower by now: no word that is given here makes anything safe.
    if (shard.role !== 'owner') return book.quorumSeq;
    const seq = this.#majoritySeq(shard, book);
    if (seq > book.quorumSeq) {
      book.quorumSeq = seq;
      this.#events.onQuorum?.(shard.id, seq);
      for (const waiter of [...book.waiters]) if (waiter.seq <= seq) waiter.done(true);
    }
    return book.quorumSeq;
  }

  #majoritySeq(shard: ReplicaShard, book: ShardBook): number {
    if (this.#replicas.length <= 1) return shard.durableSeq;
    const majority = majorityOf(this.#replicas);
    const seqs = this.#replicas.map((url) => {
      if (url === this.#self) return shard.durableSeq;
      const line = book.lines.get(url);
      return line === undefined || line.epoch !== shard.epoch ? 0 : Math.min(line.ackedSeq, shard.durableSeq);
    });
    return seqs.sort((a, b) => b - a)[majority - 1]!;
  }

  #forget(book: ShardBook, now: number): void {
    for (const [key, line] of book.lines) {
      if (now - line.heardMs > FORGET_MS && !this.#replicas.includes(key)) book.lines.delete(key);
    }
  }
}
