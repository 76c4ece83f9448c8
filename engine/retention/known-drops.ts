/**
 * Which versions trims have dropped and some file of this shard may still hold, and what of that may be left out of files now.
 *
 *   trim event -> add -> dropped, for every answer at once -> at or below the quorum's seq: safe, left out by whoever rewrites -> rewritten
 *
 * Invariants: a drop is forgotten only once the segments that held it were rewritten; what is logged above the quorum's seq is in no
 * answer and stays in every file. Nothing here is durable: after a crash it is read from the log again (shard-upkeep.ts says from where).
 */
import type { CompactOptions } from '../compaction/compact-shard.js';
import type { SeqRun } from '../format/seq-runs.js';
import { isGap, type ShardLog } from '../log/index.js';
import { SeqSet } from './seq-set.js';

export class KnownDrops {
  readonly #log: () => ShardLog;
  readonly #drops = new SeqSet();
  /** Runs of trims beyond the quorum's seq, by event: not carried out in files yet. */
  readonly #young = new Map<number, readonly SeqRun[]>();
  #trimmedThrough = 0;
  #quorumSeq: number;

  constructor(log: () => ShardLog, quorumSeq: number) {
    this.#log = log;
    this.#quorumSeq = quorumSeq;
  }

  get size(): number {
    return this.#drops.size;
  }

  /** The newest trim that is known; 0 for none. */
  get trimmedThrough(): number {
    return this.#trimmedThrough;
  }

  get quorumSeq(): number {
    return this.#quorumSeq;
  }

  setQuorumSeq(seq: number): void {
    this.#quorumSeq = seq;
    for (const event of this.#young.keys()) if (event <= seq) this.#young.delete(event);
  }

  has(seq: number): boolean {
    return this.#drops.has(seq);
  }

  values(): Iterable<number> {
    return this.#drops.values();
  }

  clear(): void {
    this.#drops.clear();
    this.#young.clear();
    this.#trimmedThrough = 0;
  }

  add(eventSeq: number, runs: readonly SeqRun[]): void {
    if (eventSeq > this.#quorumSeq) this.#young.set(eventSeq, runs);
    this.#trimmedThrough = Math.max(this.#trimmedThrough, eventSeq);
    // The segments that are rid of it already: none, where it was just logged.
    const rid = this.#log().segmentSet.all.filter(({ header }) => (header?.compactedThrough ?? 0) >= eventSeq);
    if (rid.length === 0) {
      this.#drops.addRuns(runs);
      return;
    }
    const held = new SeqSet();
    held.addRuns(runs);
    for (const { base, lastSeq } of rid) held.deleteIn(base, lastSeq);
    this.#drops.addRuns(held.runs());
  }

  /** Adds what the trim logged at `seq` lists, if there is one. */
  readTrim(seq: number): void {
    for (const batch of this.#log().batches(seq, seq)) {
      if (!isGap(batch) && batch.event?.type === 'trim') this.add(seq, batch.event.runs);
    }
  }

  /** Seqs of trim events. Reads the log. */
  *trimsFrom(seq: number): Generator<number, void, undefined> {
    const log = this.#log();
    for (const batch of log.batches(seq, log.durableSeq)) if (!isGap(batch) && batch.event?.type === 'trim') yield batch.firstSeq;
  }

  /** What may be left out of files now: everything, but for what the quorum may not have yet. */
  safe(): { readonly drops: SeqSet; readonly trimmedThrough: number } {
    const trimmedThrough = Math.min(this.#trimmedThrough, this.#quorumSeq);
    if (this.#young.size === 0) return { drops: this.#drops, trimmedThrough };
    const drops = new SeqSet();
    drops.addRuns(this.#drops.runs());
    for (const runs of this.#young.values()) for (const { fromSeq, toSeq } of runs) drops.deleteIn(fromSeq, toSeq);
    return { drops, trimmedThrough: Math.min(trimmedThrough, ...[...this.#young.keys()].map((seq) => seq - 1)) };
  }

  /** After segments over `groups` were rewritten without `drops`, which is what `safe` gave. */
  rewritten(drops: SeqSet, groups: readonly SeqRun[]): void {
    if (drops === this.#drops) return;
    for (const { fromSeq, toSeq } of groups) this.#drops.deleteIn(fromSeq, toSeq);
    for (const runs of this.#young.values()) this.#drops.addRuns(runs);
  }

  /** Whether enough is dead somewhere in the segments. */
  isWorthCompacting({ deadShare, deadBytes }: Pick<CompactOptions, 'deadShare' | 'deadBytes'>): boolean {
    if (this.#drops.size === 0) return false;
    let all = 0;
    return this.#log().segmentSet.all.some(({ base, lastSeq, records, fileBytes, sealed, damaged, gaps }) => {
      const dead = sealed && !damaged && gaps.length === 0 ? this.#drops.countIn(base, lastSeq) : 0;
      all += dead === 0 ? 0 : (fileBytes * dead) / records;
      return dead > 0 && (dead >= records * deadShare || all >= deadBytes);
    });
  }

  /** As if records were all of a size. */
  get deadBytes(): number {
    if (this.#drops.size === 0) return 0;
    return this.#log().segmentSet.all.reduce((sum, { base, lastSeq, records, fileBytes }) => {
      const dead = this.#drops.countIn(base, lastSeq);
      return dead === 0 ? sum : sum + Math.round((fileBytes * dead) / Math.max(dead, records));
    }, 0);
  }
}
