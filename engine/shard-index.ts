/**
 * Which versions a shard holds: memtable over memtable (while one is being folded) over tree, read as one.
 *
 *   active memtable   newer than the last freeze
 *   frozen memtable   being folded; dropped once the tree holds it
 *   tree              everything up to `treeSeq`
 *
 * A version lies in exactly one of the three, newest on top, so a search may stop at the first that answers.
 * Everything is derived from the log: a crash loses the memtables and at worst an unfinished fold.
 */

import { treeKey } from './format/keys.js';
import { type IndexEntry, LeafEntry } from './format/leaf-value.js';
import { countOfRuns, type SeqRun } from './format/seq-runs.js';
import { Memtable, NO_SLOT } from './memtable.js';
import { droppingChanges } from './memtable-drops.js';
import { runOf } from './memtable-run.js';
import type { Platform } from './platform/platform.js';
import { SeqSet } from './retention/seq-set.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { MAX_SEQ } from './types.js';

/** Taken out by one fold, about: each is an object meanwhile. */
const MOST_DROPS = 200_000;

interface PendingDrop {
  readonly eventSeq: number;
  readonly runs: readonly SeqRun[];
}

export class ShardIndex {
  readonly #platform: Platform;
  readonly #store: TreeStore;
  #active = new Memtable();
  #frozen: { readonly table: Memtable; readonly throughSeq: number } | undefined;
  #root: TreeRoot | undefined;
  #treeSeq = 0;
  /** In the order of their events, all above `treeSeq`. */
  #drops: PendingDrop[] = [];
  readonly #dropped: (versions: ReadonlyMap<string, number>) => void;

  /** `dropped` is told how many versions of each collection a fold has taken out. */
  constructor(platform: Platform, store: TreeStore, dropped: (versions: ReadonlyMap<string, number>) => void = () => undefined) {
    this.#platform = platform;
    this.#store = store;
    this.#dropped = dropped;
  }

  /** Starts from a tree that covers everything up to `seq`; undefined: from nothing. */
  startFrom(root: TreeRoot | undefined, seq: number): void {
    this.#root = root;
    this.#treeSeq = seq;
    this.#active = new Memtable();
    this.#frozen = undefined;
    this.#drops = [];
  }

  /** What is queued above `seq`, to be given back with `restoreQueued` once the index has been loaded anew. */
  takeQueued(seq: number): Memtable {
    return this.#active.splitAbove(seq);
  }

  restoreQueued(queued: Memtable): void {
    queued.copyTo(this.#active);
  }

  /** Covers everything with a seq up to here. */
  get treeSeq(): number {
    return this.#treeSeq;
  }

  get root(): TreeRoot | undefined {
    return this.#root;
  }

  /** A trim that was logged: the fold that covers it takes these versions out of the tree. */
  drop(eventSeq: number, runs: readonly SeqRun[]): void {
    this.#drops.push({ eventSeq, runs });
  }

  /** Whether a logged trim waits for its fold. */
  get hasDrops(): boolean {
    return this.#drops.length > 0;
  }

  /** Versions newer than the tree. */
  get memoryCount(): number {
    return this.#active.count + (this.#frozen?.table.count ?? 0);
  }

  get memoryBytes(): number {
    return this.#active.bytes + (this.#frozen?.table.bytes ?? 0);
  }

  /** Versions in the memtable that takes new ones. */
  get activeCount(): number {
    return this.#active.count;
  }

  get activeBytes(): number {
    return this.#active.bytes;
  }

  /** Adds a record, queued or durable; seqs only grow. */
  add(entity: string, seq: number, time: number, kind: number, supersedes: number, hash: Uint8Array): void {
    this.#active.add(entity, seq, time, kind, supersedes, hash);
  }

  /** Takes away what was queued above `seq` and failed. */
  rollBack(seq: number): void {
    this.#active.rollBack(seq);
  }

  /** The entity's newest version with a seq up to `seq`. */
  find(entity: string, seq: number): IndexEntry | undefined {
    const slot = this.#active.find(entity, seq);
    if (slot !== NO_SLOT) return slotEntry(this.#active, slot);
    const frozen = this.#frozen?.table;
    if (frozen !== undefined) {
      const older = frozen.find(entity, seq);
      if (older !== NO_SLOT) return slotEntry(frozen, older);
    }
    return this.#findInTree(entity, seq);
  }

  #findInTree(entity: string, seq: number): IndexEntry | undefined {
    if (this.#root === undefined) return undefined;
    const found = this.#store.ceiling(this.#root, entity, seq);
    return found === undefined ? undefined : new LeafEntry(found.seq, found.value);
  }

  /** Versions of an entity, newest first, with seqs from `toSeq` down to `fromSeq`. */
  *versions(entity: string, fromSeq: number, toSeq: number): Generator<IndexEntry, undefined> {
    for (const table of [this.#active, this.#frozen?.table]) {
      if (table === undefined) continue;
      for (let slot = table.find(entity, toSeq); slot !== NO_SLOT; slot = table.previousOf(slot)) {
        if (table.seqAt(slot) < fromSeq) return;
        yield slotEntry(table, slot);
      }
    }
    if (this.#root === undefined) return;
    const cursor = this.#store.cursor(this.#root);
    if (!cursor.seek(treeKey(entity, toSeq))) return;
    while (cursor.valid && cursor.isAt(entity) && cursor.seq() >= fromSeq) {
      yield new LeafEntry(cursor.seq(), cursor.value());
      cursor.next();
    }
  }

  /** The same, oldest first. */
  *versionsAscending(entity: string, fromSeq: number, toSeq: number): Generator<IndexEntry, undefined> {
    if (this.#root !== undefined) {
      const cursor = this.#store.cursor(this.#root);
      // Lands on the oldest wanted version or just behind it.
      if (!cursor.seek(treeKey(entity, fromSeq))) cursor.seekLast();
      else if (!cursor.isAt(entity) || cursor.seq() < fromSeq) cursor.previous();
      while (cursor.valid && cursor.isAt(entity) && cursor.seq() >= fromSeq && cursor.seq() <= toSeq) {
        yield new LeafEntry(cursor.seq(), cursor.value());
        cursor.previous();
      }
    }
    for (const table of [this.#frozen?.table, this.#active]) {
      if (table === undefined) continue;
      const slots: number[] = [];
      for (let slot = table.find(entity, toSeq); slot !== NO_SLOT && table.seqAt(slot) >= fromSeq; slot = table.previousOf(slot))
        slots.push(slot);
      for (const slot of slots.reverse()) yield slotEntry(table, slot);
    }
  }

  /**
   * Entities from `from` on (inclusive) in key order, each with its newest version up to `seq`; entities without
   * one are left out. Holds for as long as nothing is awaited between two steps.
   */
  *entities(from: string, seq: number): Generator<{ readonly entity: string; readonly entry: IndexEntry }, undefined> {
    const tables = this.#frozen === undefined ? [this.#active] : [this.#active, this.#frozen.table];
    const keys = tables.map((table) => table.entitiesFrom(from));
    const heads = keys.map((iterator) => iterator.next().value);
    const cursor = this.#root === undefined ? undefined : this.#store.cursor(this.#root);
    cursor?.seek(treeKey(from, MAX_SEQ));
    let inTree = cursor?.valid === true ? cursor.entity() : undefined;
    for (;;) {
      let entity = inTree;
      for (const head of heads) if (head !== undefined && (entity === undefined || head < entity)) entity = head;
      if (entity === undefined) return;
      let entry: IndexEntry | undefined;
      for (let i = 0; i < tables.length; i++) {
        if (heads[i] !== entity) continue;
        const table = tables[i] as Memtable;
        const slot = entry === undefined ? table.find(entity, seq) : NO_SLOT;
        if (slot !== NO_SLOT) entry = slotEntry(table, slot);
        heads[i] = (keys[i] as Iterator<string, undefined>).next().value;
      }
      if (cursor !== undefined && inTree === entity) {
        if (entry === undefined && (cursor.seq() <= seq || cursor.seekSeq(seq))) entry = new LeafEntry(cursor.seq(), cursor.value());
        cursor.nextEntity(entity);
        inTree = cursor.valid ? cursor.entity() : undefined;
      }
      if (entry !== undefined) yield { entity, entry };
    }
  }

  /** Every entry of a tree in key order. */
  *treeEntries(root: TreeRoot | undefined): Generator<{ readonly entity: string; readonly entry: IndexEntry }, undefined> {
    if (root === undefined) return;
    const cursor = this.#store.cursor(root);
    for (cursor.seekFirst(); cursor.valid; cursor.next())
      yield { entity: cursor.entity(), entry: new LeafEntry(cursor.seq(), cursor.value()) };
  }

  /**
   * Folds the memtable into the tree up to `throughSeq`, which must be durable. Reads and additions go on meanwhile. If it
   * fails, nothing is lost: the frozen memtable stays and the next fold begins with it.
   */
  async fold(throughSeq: number, progress?: (share: number) => void): Promise<void> {
    // One that failed: with its trims, where it had some.
    if (this.#frozen !== undefined && (this.#drops[0]?.eventSeq ?? Number.POSITIVE_INFINITY) <= this.#frozen.throughSeq)
      await this.#foldDrops(this.#frozen.throughSeq);
    await this.#foldFrozen(progress);
    // What came before a trim first: usually most, and done elsewhere. Then the trim and what is left in one step, for a tree that
    // covers a trim's event without its effect would never see it again.
    for (let [first] = this.#drops; first !== undefined && first.eventSeq <= throughSeq; [first] = this.#drops) {
      if (first.eventSeq - 1 > this.#treeSeq) {
        this.#freeze(first.eventSeq - 1);
        await this.#foldFrozen(progress);
      }
      const through = this.#endOfDrops(throughSeq);
      this.#freeze(through);
      await this.#foldDrops(through);
    }
    this.#freeze(throughSeq);
    await this.#foldFrozen(progress);
  }

  /** Where a fold of trims must end that takes out no more than it can hold in memory. */
  #endOfDrops(throughSeq: number): number {
    let count = 0;
    for (const [i, { runs }] of this.#drops.entries()) {
      count += countOfRuns(runs);
      const next = this.#drops[i + 1];
      if (next === undefined || next.eventSeq > throughSeq) return throughSeq;
      if (count >= MOST_DROPS) return next.eventSeq - 1;
    }
    return throughSeq;
  }

  async #foldDrops(throughSeq: number): Promise<void> {
    const { table } = this.#frozen!;
    const pending = this.#drops.filter(({ eventSeq }) => eventSeq <= throughSeq);
    const seqs = new SeqSet();
    for (const { runs } of pending) seqs.addRuns(runs);
    const pause = () => this.#platform.clock.yield();
    const { changes, versions } = await droppingChanges(this.treeEntries(this.#root), table, seqs, pause);
    if (changes.length > 0) this.#root = await this.#store.fold(this.#root, changes, throughSeq, pause);
    this.#treeSeq = throughSeq;
    this.#frozen = undefined;
    this.#drops = this.#drops.filter((drop) => !pending.includes(drop));
    this.#dropped(versions);
  }

  /** What is queued above `throughSeq` stays in the active memtable. */
  #freeze(throughSeq: number): void {
    const table = this.#active;
    this.#active = table.splitAbove(throughSeq);
    this.#frozen = { table, throughSeq };
  }

  async #foldFrozen(progress: ((share: number) => void) | undefined): Promise<void> {
    const frozen = this.#frozen;
    if (frozen === undefined) return;
    if (frozen.table.count > 0) {
      const { table, throughSeq } = frozen;
      const pause = () => this.#platform.clock.yield();
      const makeRun = async () => {
        const slices = runOf(table);
        let slice = slices.next();
        for (; slice.done !== true; slice = slices.next()) await pause();
        return slice.value;
      };
      this.#root = await this.#store.foldVersions(this.#root, table.count, makeRun, throughSeq, pause, progress);
    }
    this.#treeSeq = frozen.throughSeq;
    this.#frozen = undefined;
  }
}

function slotEntry(table: Memtable, slot: number): IndexEntry {
  return {
    seq: table.seqAt(slot),
    time: table.timeAt(slot),
    kind: table.kindAt(slot),
    supersedes: table.supersedesAt(slot),
    hash: table.hashAt(slot),
  };
}
