/**
 * Which versions a shard holds: memtable over memtable (while one is being folded) over tree, read as one.
 *
 *   active memtable   newer than the last freeze
 *   frozen memtable   being folded; dropped once the tree holds it
 *   tree              everything up to `treeSeq`
 *
 * A version lies in exactly one of the three, newest on top, so a search may stop at the first that answers.
 * In front of them stands a table of every entity's newest version, for as long as it is complete and fits.
 * Versions in order are read by version-ranges.ts; what moves from layer to layer, and when, is index-fold.ts.
 * Everything is derived from the log: a crash loses the memtables and at worst an unfinished fold.
 */
import { EntityBytes } from './entity-bytes.js';
import { EntityHash } from './entity-hash.js';
import type { IndexEntry } from './format/leaf-value.js';
import type { SeqRun } from './format/seq-runs.js';
import { dropsMost, type FrozenMemtable, foldIndex, type IndexFoldParts, type PendingDrop } from './index-fold.js';
import { Memtable, NO_SLOT } from './memtable.js';
import { NewestFill } from './newest-fill.js';
import { ABSENT, NewestTable } from './newest-table.js';
import type { Platform } from './platform/platform.js';
import type { LeafScan } from './tree/leaf-scan.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { MAX_SEQ } from './types.js';
import { MemtableEntry, type VersionLayers } from './version-ranges.js';

/** Some twelve million entities. */
const DEFAULT_NEWEST_BYTES = 256 * 1024 * 1024;
/** The table pays for being filled where so many were not in it. */
const SEARCHES_BEFORE_FILL = 2000;

export class ShardIndex implements VersionLayers {
  readonly #platform: Platform;
  readonly store: TreeStore;
  #active: Memtable;
  #frozen: FrozenMemtable | undefined;
  #root: TreeRoot | undefined;
  #treeSeq = 0;
  /** Made with the first hash. */
  #hashKey: Uint8Array = new Uint8Array(16);
  readonly #hash: EntityHash;
  readonly #text = new EntityBytes();
  readonly #newest: NewestTable;
  /** Nothing is learned from the first answer: many openings ask for no other. */
  #wasSearched = false;
  /** False while a fold takes versions out of the tree: what is found there may be gone a moment later. */
  #learns = true;
  /** Searches of the tree for who writes, since the table was emptied. */
  #searches = 0;
  #filling: NewestFill | undefined;
  #filled: Promise<void> = Promise.resolve();
  #hasEnded = false;
  /** Of what `newestOf` found. */
  newestKind = 0;
  /** In the order of their events, all above `treeSeq`. */
  #drops: PendingDrop[] = [];
  readonly #dropped: (versions: ReadonlyMap<string, number>) => void;

  /** `dropped` is told how many versions of each collection a fold has taken out; `newestBytes`: room for the table of newest versions. */
  constructor(
    platform: Platform,
    store: TreeStore,
    dropped: (versions: ReadonlyMap<string, number>) => void = () => undefined,
    newestBytes = DEFAULT_NEWEST_BYTES,
  ) {
    this.#platform = platform;
    this.store = store;
    this.#dropped = dropped;
    this.#hash = new EntityHash(() => {
      this.#hashKey = platform.randomBytes(16);
      return this.#hashKey;
    });
    this.#newest = new NewestTable(newestBytes);
    this.#active = new Memtable(this.#hash);
  }

  /** Starts from a tree that covers everything up to `seq`; undefined: from nothing. */
  startFrom(root: TreeRoot | undefined, seq: number): void {
    this.#root = root;
    this.#treeSeq = seq;
    if (this.#active.bytes > 0) this.#active = new Memtable(this.#hash);
    this.#frozen = undefined;
    this.#newest.clear(root === undefined || root.entries === 0);
    this.#filling?.cancel();
    this.#searches = 0;
    this.#drops = [];
  }

  /** What is queued above `seq`, to be given back with `restoreQueued` once the index has been loaded anew. */
  takeQueued(seq: number): Memtable {
    return this.#active.splitAbove(seq);
  }

  restoreQueued(queued: Memtable): void {
    queued.copyTo(this);
  }

  /** Covers everything with a seq up to here. */
  get treeSeq(): number {
    return this.#treeSeq;
  }

  get root(): TreeRoot | undefined {
    return this.#root;
  }

  /** Takes what is added. */
  get active(): Memtable {
    return this.#active;
  }

  /** Being folded. */
  get frozen(): Memtable | undefined {
    return this.#frozen?.table;
  }

  /**
   * Where this is set, a fold that takes most of a tree out may make it anew in files of its own, and tells how large the old ones were and
   * how many nodes it made: whoever sets it has seen to it that nobody reads a root from before without holding it.
   */
  onMoved: ((bytesBefore: number, nodes: number) => void) | undefined;

  /** The same tree lies in another place now. */
  moved(root: TreeRoot): void {
    this.#root = root;
  }

  /** A trim that was logged: the fold that covers it takes these versions out of the tree. */
  drop(eventSeq: number, runs: readonly SeqRun[]): void {
    this.#drops.push({ eventSeq, runs });
  }

  /** Whether a logged trim waits for its fold. */
  get hasDrops(): boolean {
    return this.#drops.length > 0;
  }

  /** Whether a trim logged at or before this seq waits for its fold. Where files are rid of a part of what it lists, the rest must not answer before. */
  owesDrops(throughSeq: number): boolean {
    const [first] = this.#drops;
    return first !== undefined && first.eventSeq <= throughSeq;
  }

  /** Whether logged trims that wait for their fold list so much that the tree may be made anew. */
  get dropsMost(): boolean {
    return dropsMost(this.#drops, this.#root);
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
    this.addBytes(this.#text.takeText(entity), seq, time, kind, supersedes, hash);
  }

  /** The same. Without its hash: `fillHashes` brings it. */
  addBytes(entity: EntityBytes, seq: number, time: number, kind: number, supersedes: number, hash: Uint8Array | undefined): void {
    this.#newest.set(this.#hash.ofBytes(entity), seq, kind);
    this.#active.addBytes(entity, seq, time, kind, supersedes, hash);
  }

  /** Of the records added last, which came without. */
  fillHashes(hashes: Uint8Array): void {
    this.#active.fillHashes(hashes);
  }

  /** Of the entity's newest version, queued ones included. */
  newest(entity: string): { readonly seq: number; readonly kind: number } | undefined {
    const seq = this.#newest.get(this.#hash.of(entity));
    if (seq > 0) return { seq, kind: this.#newest.kind };
    if (!this.#newest.isComplete && ++this.#searches % SEARCHES_BEFORE_FILL === 0) this.#fillNewest();
    return this.find(entity, MAX_SEQ);
  }

  /** The same of an entity as bytes: the seq, whose kind is in `newestKind` until the next call; 0: none. */
  newestOf(entity: EntityBytes): number {
    const seq = this.#newest.get(this.#hash.ofBytes(entity));
    if (seq > 0) {
      this.newestKind = this.#newest.kind;
      return seq;
    }
    if (seq === ABSENT && this.#newest.isComplete) return 0;
    const found = this.newest(entity.text());
    if (found === undefined) return 0;
    this.newestKind = found.kind;
    return found.seq;
  }

  /** Whether the table in front tells of every entity. */
  get knowsNewest(): boolean {
    return this.#newest.isComplete;
  }

  #fillNewest(): void {
    if (this.#filling !== undefined || !this.#learns || this.#root === undefined || this.#newest.hasLost || this.#hasEnded) return;
    const fill = new NewestFill(this.#newest, this.store, this.#root, this.#hashKey, this.#platform.clock);
    this.#filling = fill;
    this.#filled = fill.run().finally(() => {
      if (this.#filling === fill) this.#filling = undefined;
    });
  }

  /** Nothing is begun by itself from here on; resolves when nothing is under way. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    this.#filling?.cancel();
    await this.#filled;
  }

  /** False: no entity in [from, until) has or had a version. True: one may have. Cheap where nothing is in memory. */
  mayHold(from: Uint8Array, until: Uint8Array): boolean {
    return this.memoryCount > 0 || (this.#root !== undefined && this.store.hasKeyBetween(this.#root, from, until));
  }

  /** Takes away what was queued above `seq` and failed. */
  rollBack(seq: number): void {
    const { count } = this.#active;
    for (let slot = count - 1; slot >= 0 && this.#active.seqAt(slot) > seq; slot--)
      this.#newest.doubt(this.#hash.of(this.#active.entityAt(slot)));
    this.#active.rollBack(seq);
  }

  /** Where the entity's newest version is, queued ones included: a seq, or 0 where that is not known at once. */
  newestHint(entity: string): number {
    return this.#newest.entities === 0 ? 0 : Math.max(0, this.#newest.get(this.#hash.of(entity)));
  }

  /** The entity's newest version with a seq up to `seq`. */
  find(entity: string, seq: number): IndexEntry | undefined {
    if (this.#newest.isComplete && this.#newest.get(this.#hash.of(entity)) === ABSENT) return undefined;
    for (let table: Memtable | undefined = this.#active; table !== undefined; table = this.#below(table)) {
      const slot = table.count === 0 ? NO_SLOT : table.find(entity, seq);
      if (slot !== NO_SLOT) return new MemtableEntry(table, slot, entity);
    }
    if (this.#root === undefined) return undefined;
    const found = this.store.ceiling(this.#root, entity, seq);
    if (!this.#wasSearched) this.#wasSearched = true;
    else if (found !== undefined && this.#learns && seq >= this.#treeSeq && !this.#isInMemory(entity))
      this.#newest.set(this.#hash.of(entity), found.seq, found.kind);
    return found;
  }

  /** The memtable that is searched after this one. */
  #below(table: Memtable): Memtable | undefined {
    return table === this.#active ? this.#frozen?.table : undefined;
  }

  /** Queued versions count. */
  #isInMemory(entity: string): boolean {
    for (let table: Memtable | undefined = this.#active; table !== undefined; table = this.#below(table))
      if (table.count > 0 && table.find(entity, MAX_SEQ) !== NO_SLOT) return true;
    return false;
  }

  /** Every entry of a tree in key order; its files stay until the last is read, or the reader turns away. */
  *treeEntries(root: TreeRoot | undefined): Generator<{ readonly entity: string; readonly entry: IndexEntry }, undefined> {
    if (root === undefined) return;
    const letGo = this.store.hold();
    try {
      const cursor = this.store.cursor(root);
      for (cursor.seekFirst(); cursor.valid; cursor.next()) yield { entity: cursor.entity(), entry: cursor.entry() };
    } finally {
      letGo();
    }
  }

  /** The tree as it is now, to be walked as often as need be; its files stay until it is let go. */
  heldTree(): { leaves(): LeafScan; letGo(): void } {
    const root = this.#root;
    const letGo = this.store.hold();
    return { leaves: () => this.store.leaves(root), letGo };
  }

  /**
   * Folds the memtable into the tree up to `throughSeq`, which must be durable. Reads and additions go on meanwhile. If it
   * fails, nothing is lost: the frozen memtable stays and the next fold begins with it.
   */
  fold(throughSeq: number, progress: (share: number) => void = () => undefined): Promise<void> {
    const parts: IndexFoldParts = {
      clock: this.#platform.clock,
      store: this.store,
      newest: this.#newest,
      index: this,
      frozen: () => this.#frozen,
      drops: () => this.#drops,
      freeze: (seq) => this.#freeze(seq),
      folded: (root, seq, carriedOut) => this.#folded(root, seq, carriedOut),
      learns: (does) => this.#setLearns(does),
      dropped: this.#dropped,
      progress,
    };
    return foldIndex(parts, throughSeq);
  }

  /** What is queued above `throughSeq` stays in the active memtable. */
  #freeze(throughSeq: number): void {
    const table = this.#active;
    this.#active = table.splitAbove(throughSeq);
    this.#frozen = { table, throughSeq };
  }

  #folded(root: TreeRoot | undefined, throughSeq: number, carriedOut: readonly PendingDrop[] = []): void {
    this.#root = root;
    this.#treeSeq = throughSeq;
    this.#frozen = undefined;
    if (carriedOut.length > 0) this.#drops = this.#drops.filter((drop) => !carriedOut.includes(drop));
  }

  #setLearns(does: boolean): void {
    this.#learns = does;
    // What it reads may be gone when it is done.
    if (!does) this.#filling?.cancel();
  }
}
