/**
 * Which versions a shard holds: memtable over memtable (while one is being folded) over tree, read as one.
 *
 *   active memtable   newer than the last freeze
 *   frozen memtable   being folded; dropped once the tree holds it
 *   tree              everything up to `treeSeq`
 *
 * A version lies in exactly one of the three, newest on top, so a search may stop at the first that answers.
 * In front of them stands a table of every entity's newest version, for as long as it is complete and fits.
 * Everything is derived from the log: a crash loses the memtables and at worst an unfinished fold.
 */

import { EntityBytes } from './entity-bytes.js';
import { EntityHash } from './entity-hash.js';
import { latin1ToText, treeKey } from './format/keys.js';
import type { IndexEntry } from './format/leaf-value.js';
import { MAX_TREE_KEY_BYTES } from './format/limits.js';
import { countOfRuns, type SeqRun } from './format/seq-runs.js';
import { KIND_PUT } from './log/index.js';
import { Memtable, NO_SLOT } from './memtable.js';
import { addCounts, keptOf } from './memtable-drops.js';
import { NewestFill } from './newest-fill.js';
import { ABSENT, NewestTable } from './newest-table.js';
import type { Platform } from './platform/platform.js';
import { SeqSet } from './retention/seq-set.js';
import type { Cursor } from './tree/cursor.js';
import type { LeafScan } from './tree/leaf-scan.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { versionsInLeaf } from './tree/version-key.js';
import { MAX_SEQ } from './types.js';

/** Some twelve million entities. */
const DEFAULT_NEWEST_BYTES = 256 * 1024 * 1024;
/** A tree is made anew where no more than this part of it is left, one in so many. */
const LEFT_SHARE = 2;
/** The table pays for being filled where so many were not in it. */
const SEARCHES_BEFORE_FILL = 2000;
const SCRATCH = new Uint8Array(MAX_TREE_KEY_BYTES);

/** A version as a listing finds it. */
export interface ListedEntry extends IndexEntry {
  /** Key bytes of its entity, one char a byte. */
  readonly entity: string;
  /** The entity's names from a byte on, without the zero that ends them. */
  text(from: number): string;
}

interface PendingDrop {
  readonly eventSeq: number;
  readonly runs: readonly SeqRun[];
}

export class ShardIndex {
  readonly #platform: Platform;
  readonly #store: TreeStore;
  #active: Memtable;
  #frozen: { readonly table: Memtable; readonly throughSeq: number } | undefined;
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
    this.#store = store;
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
    const entries = this.#root?.entries ?? 0;
    let listed = 0;
    for (const { runs } of this.#drops) listed += countOfRuns(runs);
    return listed * LEFT_SHARE > entries && listed > 0;
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
    const fill = new NewestFill(this.#newest, this.#store, this.#root, this.#hashKey, this.#platform.clock);
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
    return this.memoryCount > 0 || (this.#root !== undefined && this.#store.hasKeyBetween(this.#root, from, until));
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
    const found = this.#store.ceiling(this.#root, entity, seq);
    if (!this.#wasSearched) this.#wasSearched = true;
    else if (found !== undefined && this.#learns && seq >= this.#treeSeq && !this.#isInMemory(entity))
      this.#newest.set(this.#hash.of(entity), found.seq, found.kind);
    return found;
  }

  /** The memtable that is searched after this one. */
  #below(table: Memtable): Memtable | undefined {
    return table === this.#active ? this.#frozen?.table : undefined;
  }

  /** Newest first. */
  #tables(): Memtable[] {
    return this.#frozen === undefined ? [this.#active] : [this.#active, this.#frozen.table];
  }

  /** Queued versions count. */
  #isInMemory(entity: string): boolean {
    for (let table: Memtable | undefined = this.#active; table !== undefined; table = this.#below(table))
      if (table.count > 0 && table.find(entity, MAX_SEQ) !== NO_SLOT) return true;
    return false;
  }

  /** The newest `limit` versions of an entity with seqs within [fromSeq, toSeq], newest first. */
  newestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
    const found: IndexEntry[] = [];
    for (const table of this.#tables()) {
      for (let slot = table.find(entity, toSeq); slot !== NO_SLOT && found.length < limit; slot = table.previousOf(slot)) {
        if (table.seqAt(slot) < fromSeq) return found;
        found.push(new MemtableEntry(table, slot, entity));
      }
    }
    if (this.#root === undefined || found.length >= limit) return found;
    const inLeaf = versionsInLeaf(this.#store.reader, this.#root, entity, fromSeq, toSeq, SCRATCH);
    if (inLeaf !== undefined) {
      for (let i = 0; i < inLeaf.length && found.length < limit; i++) found.push(inLeaf[i]!);
      return found;
    }
    const cursor = this.#store.cursor(this.#root);
    cursor.seek(treeKey(entity, toSeq));
    for (; found.length < limit && cursor.valid && cursor.isAt(entity) && cursor.seq() >= fromSeq; cursor.next())
      found.push(cursor.entry());
    return found;
  }

  /** The oldest `limit` of them, oldest first. */
  oldestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
    const found = this.#root === undefined ? [] : this.#oldestInTree(this.#root, entity, fromSeq, toSeq, limit);
    for (let table = this.#frozen?.table ?? this.#active; found.length < limit; table = this.#active) {
      const newer: IndexEntry[] = [];
      for (let slot = table.find(entity, toSeq); slot !== NO_SLOT && table.seqAt(slot) >= fromSeq; slot = table.previousOf(slot))
        newer.push(new MemtableEntry(table, slot, entity));
      for (let i = newer.length - 1; i >= 0 && found.length < limit; i--) found.push(newer[i]!);
      if (table === this.#active) break;
    }
    return found;
  }

  #oldestInTree(root: TreeRoot, entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
    const inLeaf = versionsInLeaf(this.#store.reader, root, entity, fromSeq, toSeq, SCRATCH)?.reverse();
    if (inLeaf !== undefined) return inLeaf.length > limit ? inLeaf.slice(0, limit) : inLeaf;
    const found: IndexEntry[] = [];
    const cursor = this.#store.cursor(root);
    // Lands on the oldest wanted version or just behind it.
    if (!cursor.seek(treeKey(entity, fromSeq))) cursor.seekLast();
    else if (!cursor.isAt(entity) || cursor.seq() < fromSeq) cursor.previous();
    for (; found.length < limit && cursor.valid && cursor.isAt(entity); cursor.previous()) {
      const seq = cursor.seq();
      if (seq < fromSeq || seq > toSeq) break;
      found.push(cursor.entry());
    }
    return found;
  }

  /**
   * Versions as of `seq` of the entities from `from` on and before `until`, in key order, at most `limit`; entities without one,
   * and those whose version is a tombstone, are left out.
   */
  alive(from: string, until: string, seq: number, limit: number): ListedEntry[] {
    const found: ListedEntry[] = [];
    const cursor = this.#root === undefined ? undefined : this.#store.cursor(this.#root);
    cursor?.seek(bytesOf(from));
    const runs = this.#tables()
      .filter((table) => table.count > 0)
      .map((table) => table.entitiesFrom(from));
    const heads = runs.map((run) => run.next().value);
    while (found.length < limit) {
      // The tree alone tells everything before the next entity that a memtable knows.
      let next = until;
      for (const head of heads) if (head !== undefined && head < next) next = head;
      if (cursor !== undefined) aliveInTree(cursor, bytesOf(next), seq, limit, found);
      if (next === until || found.length >= limit) return found;
      const entry = this.find(next, seq) as ListedEntry | undefined;
      if (entry !== undefined && entry.kind === KIND_PUT) found.push(entry);
      for (let i = 0; i < heads.length; i++) if (heads[i] === next) heads[i] = runs[i]!.next().value;
      if (cursor?.valid === true && cursor.isAt(next)) cursor.nextEntity();
    }
    return found;
  }

  /** Every entry of a tree in key order; its files stay until the last is read, or the reader turns away. */
  *treeEntries(root: TreeRoot | undefined): Generator<{ readonly entity: string; readonly entry: IndexEntry }, undefined> {
    if (root === undefined) return;
    const letGo = this.#store.hold();
    try {
      const cursor = this.#store.cursor(root);
      for (cursor.seekFirst(); cursor.valid; cursor.next()) yield { entity: cursor.entity(), entry: cursor.entry() };
    } finally {
      letGo();
    }
  }

  /** The tree as it is now, to be walked as often as need be; its files stay until it is let go. */
  heldTree(): { leaves(): LeafScan; letGo(): void } {
    const root = this.#root;
    const letGo = this.#store.hold();
    return { leaves: () => this.#store.leaves(root), letGo };
  }

  /**
   * Folds the memtable into the tree up to `throughSeq`, which must be durable. Reads and additions go on meanwhile. If it
   * fails, nothing is lost: the frozen memtable stays and the next fold begins with it.
   */
  async fold(throughSeq: number, progress?: (share: number) => void): Promise<void> {
    // One that failed: with its trims, where it had some.
    if (this.#frozen !== undefined && (this.#drops[0]?.eventSeq ?? Number.POSITIVE_INFINITY) <= this.#frozen.throughSeq)
      await this.#foldDrops(this.#frozen.throughSeq, progress);
    await this.#foldFrozen(progress);
    if (throughSeq < this.#treeSeq) return;
    // What came before a trim first: usually most, and done elsewhere. Then the trim and what is left in one step, for a tree that
    // covers a trim's event without its effect would never see it again.
    for (let [first] = this.#drops; first !== undefined && first.eventSeq <= throughSeq; [first] = this.#drops) {
      if (first.eventSeq - 1 > this.#treeSeq) {
        this.#freeze(first.eventSeq - 1);
        await this.#foldFrozen(progress);
      }
      this.#freeze(throughSeq);
      await this.#foldDrops(throughSeq, progress);
    }
    this.#freeze(throughSeq);
    await this.#foldFrozen(progress);
  }

  async #foldDrops(throughSeq: number, progress: ((share: number) => void) | undefined): Promise<void> {
    const { table } = this.#frozen!;
    const pending = this.#drops.filter(({ eventSeq }) => eventSeq <= throughSeq);
    const seqs = new SeqSet();
    const pause = () => this.#platform.clock.yield();
    for (const { runs } of pending) {
      seqs.addRuns(runs);
      await pause();
    }
    const { kept, dropped } = await keptOf(table, seqs, pause);
    let versions = dropped;
    this.#learns = false;
    // What it reads may be gone when it is done.
    this.#filling?.cancel();
    try {
      for (const _ of this.#newest.doubtThose(seqs)) await pause();
      const root = this.#root;
      const taken = (folded?: { readonly root: TreeRoot; readonly dropped: ReadonlyMap<string, number> }): void => {
        if (folded !== undefined) {
          this.#root = folded.root;
          versions = addCounts(dropped, folded.dropped);
        }
        this.#treeSeq = throughSeq;
        this.#frozen = undefined;
        this.#drops = this.#drops.filter((drop) => !pending.includes(drop));
      };
      if (root !== undefined && this.onMoved !== undefined && seqs.size * LEFT_SHARE > root.entries) {
        const { bytes } = this.#store;
        const rebuild = { root, run: kept.run(), drops: seqs, seq: throughSeq, pause, progress: progress ?? (() => undefined) };
        await this.#store.rebuildDropping(rebuild, (rebuilt) => {
          taken(rebuilt);
          this.onMoved?.(bytes, rebuilt.nodes);
        });
      } else if (kept.count > 0 || root !== undefined)
        taken(await this.#store.foldDropping(root, kept.run(), seqs, throughSeq, pause, progress));
      else taken();
    } finally {
      this.#learns = true;
    }
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
      this.#root = await this.#store.foldVersions(this.#root, table.run(), throughSeq, pause, progress);
    }
    this.#treeSeq = frozen.throughSeq;
    this.#frozen = undefined;
  }
}

/** From where the cursor stands, the first entry of an entity, up to `until`: the cursor is left on the first entry of one not before it. */
function aliveInTree(cursor: Cursor, until: Uint8Array, seq: number, limit: number, found: ListedEntry[]): void {
  while (found.length < limit && cursor.valid && cursor.isBefore(until)) {
    // Where the entity has no version up to `seq`, this leads to another's, which may lie beyond `until` and not be its first.
    cursor.settle(seq);
    if (!cursor.valid) return;
    if (!cursor.isBefore(until)) {
      cursor.seek(until);
      return;
    }
    const entry = cursor.entry();
    if (entry.kind === KIND_PUT) found.push(entry);
    cursor.nextEntity();
  }
}

function bytesOf(entity: string): Buffer {
  return Buffer.from(entity, 'latin1');
}

/** A version in a memtable, whose slots keep what they hold for as long as anybody reads them. */
class MemtableEntry implements ListedEntry {
  readonly seq: number;
  readonly time: number;
  readonly kind: number;
  readonly supersedes: number;
  readonly hash: Uint8Array;
  readonly entity: string;

  constructor(table: Memtable, slot: number, entity: string) {
    this.seq = table.seqAt(slot);
    this.time = table.timeAt(slot);
    this.kind = table.kindAt(slot);
    this.supersedes = table.supersedesAt(slot);
    this.hash = table.hashAt(slot);
    this.entity = entity;
  }

  text(from: number): string {
    return latin1ToText(this.entity.slice(from, -1));
  }
}
