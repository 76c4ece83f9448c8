/**
 * Versions of a shard's index in order: of one entity by seq, and of one entity after the other as of a seq.
 *
 *   newestFirst   active memtable, frozen one, tree: each holds only what is older than the one before
 *   oldestFirst   the other way round
 *   alive         all three side by side, in key order: the tree alone up to the next entity that a memtable knows
 *
 * Invariants: a version lies in exactly one layer, newest on top. Nothing here is kept: everything is read from the layers as they are
 * at the call, and a crash has nothing to lose.
 */
import { latin1ToText, treeKey } from './format/keys.js';
import type { IndexEntry } from './format/leaf-value.js';
import { MAX_TREE_KEY_BYTES } from './format/limits.js';
import { KIND_PUT } from './log/index.js';
import { type Memtable, NO_SLOT } from './memtable.js';
import type { Cursor } from './tree/cursor.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import { versionsInLeaf } from './tree/version-key.js';

const SCRATCH = new Uint8Array(MAX_TREE_KEY_BYTES);

/** A version as a listing finds it. */
export interface ListedEntry extends IndexEntry {
  /** Key bytes of its entity, one char a byte. */
  readonly entity: string;
  /** The entity's names from a byte on, without the zero that ends them. */
  text(from: number): string;
}

/** Newest on top. */
export interface VersionLayers {
  readonly active: Memtable;
  readonly frozen: Memtable | undefined;
  readonly root: TreeRoot | undefined;
  readonly store: TreeStore;
  /** The entity's newest version with a seq up to `seq`. */
  find(entity: string, seq: number): IndexEntry | undefined;
}

/** The newest `limit` versions of an entity with seqs within [fromSeq, toSeq], newest first. */
export function newestFirst(layers: VersionLayers, entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
  const found: IndexEntry[] = [];
  for (const table of tablesOf(layers)) {
    for (let slot = table.find(entity, toSeq); slot !== NO_SLOT && found.length < limit; slot = table.previousOf(slot)) {
      if (table.seqAt(slot) < fromSeq) return found;
      found.push(new MemtableEntry(table, slot, entity));
    }
  }
  const { root, store } = layers;
  if (root === undefined || found.length >= limit) return found;
  const inLeaf = versionsInLeaf(store.reader, root, entity, fromSeq, toSeq, SCRATCH);
  if (inLeaf !== undefined) {
    for (let i = 0; i < inLeaf.length && found.length < limit; i++) found.push(inLeaf[i]!);
    return found;
  }
  const cursor = store.cursor(root);
  cursor.seek(treeKey(entity, toSeq));
  for (; found.length < limit && cursor.valid && cursor.isAt(entity) && cursor.seq() >= fromSeq; cursor.next()) found.push(cursor.entry());
  return found;
}

/** The oldest `limit` of them, oldest first. */
export function oldestFirst(layers: VersionLayers, entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
  const { active, frozen, root, store } = layers;
  const found = root === undefined ? [] : oldestInTree(store, root, entity, fromSeq, toSeq, limit);
  for (let table = frozen ?? active; found.length < limit; table = active) {
    const newer: IndexEntry[] = [];
    for (let slot = table.find(entity, toSeq); slot !== NO_SLOT && table.seqAt(slot) >= fromSeq; slot = table.previousOf(slot))
      newer.push(new MemtableEntry(table, slot, entity));
    for (let i = newer.length - 1; i >= 0 && found.length < limit; i--) found.push(newer[i]!);
    if (table === active) break;
  }
  return found;
}

function oldestInTree(store: TreeStore, root: TreeRoot, entity: string, fromSeq: number, toSeq: number, limit: number): IndexEntry[] {
  const inLeaf = versionsInLeaf(store.reader, root, entity, fromSeq, toSeq, SCRATCH)?.reverse();
  if (inLeaf !== undefined) return inLeaf.length > limit ? inLeaf.slice(0, limit) : inLeaf;
  const found: IndexEntry[] = [];
  const cursor = store.cursor(root);
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
export function alive(layers: VersionLayers, from: string, until: string, seq: number, limit: number): ListedEntry[] {
  const { root, store } = layers;
  const found: ListedEntry[] = [];
  const cursor = root === undefined ? undefined : store.cursor(root);
  cursor?.seek(bytesOf(from));
  const runs = tablesOf(layers)
    .filter((table) => table.count > 0)
    .map((table) => table.entitiesFrom(from));
  const heads = runs.map((run) => run.next().value);
  while (found.length < limit) {
    // The tree alone tells everything before the next entity that a memtable knows.
    let next = until;
    for (const head of heads) if (head !== undefined && head < next) next = head;
    if (cursor !== undefined) aliveInTree(cursor, bytesOf(next), seq, limit, found);
    if (next === until || found.length >= limit) return found;
    const entry = layers.find(next, seq) as ListedEntry | undefined;
    if (entry !== undefined && entry.kind === KIND_PUT) found.push(entry);
    for (let i = 0; i < heads.length; i++) if (heads[i] === next) heads[i] = runs[i]!.next().value;
    if (cursor?.valid === true && cursor.isAt(next)) cursor.nextEntity();
  }
  return found;
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

/** Newest first. */
function tablesOf({ active, frozen }: VersionLayers): Memtable[] {
  return frozen === undefined ? [active] : [active, frozen];
}

function bytesOf(entity: string): Buffer {
  return Buffer.from(entity, 'latin1');
}

/** A version in a memtable, whose slots keep what they hold for as long as anybody reads them. */
export class MemtableEntry implements ListedEntry {
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
