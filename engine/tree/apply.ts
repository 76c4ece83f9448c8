/**
 * Applies a sorted run of changes to a tree, level by level, and answers the new root.
 *
 *   level 0    changes of entries          -> nodes replaced: changes of level 1
 *   level 1    changes of children         -> nodes replaced: changes of level 2
 *   …          until a level is one node; a root with one child gives way to the child, and so on down
 *
 * On each level rechunking begins at the node that holds the next change, in the state "empty, at a boundary" its maker was in,
 * and goes on over the nodes that follow until a boundary falls on the end of an old node. From there on every old node is what
 * rechunking would make again, up to the one that holds the next change. So the result is the tree a fresh build gives.
 *
 * Invariants: changes are strictly ascending (checked); nodes are only added, the old tree stays whole. A level's last node ends
 * for want of entries, not by the rule, so it is rechunked whenever keys come after it. Only the root collapses: a last node
 * of one entry on a lower level stays.
 */
import { assert } from '../errors.js';
import { getU32, putU32, putU48 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import type { BoundaryRule } from './boundary.js';
import { compareBytes } from './bytes.js';
import { LevelWalker } from './level-walker.js';
import { EMPTY_ROOT_HASH, INNER_VALUE_BYTES, MAX_LEVEL, type Node } from './node.js';
import { INNER_ITEM_BYTES, NodeBuilder } from './node-builder.js';
import type { NodeReader } from './node-reader.js';
import type { NodeWriter, WrittenNode } from './node-writer.js';
import type { TreeChange, TreeRoot } from './types.js';

/** Nodes read or written between two yields: a few milliseconds of work. */
const NODES_PER_SLICE = 100;

export const EMPTY_ROOT: TreeRoot = { hash: EMPTY_ROOT_HASH, entries: 0, height: -1, file: 0, offset: 0, length: 0 };

/** A node this fold wrote. */
interface NewNode extends WrittenNode {
  readonly lastKey: Buffer;
  readonly entries: number;
  /** The child's item where there is but one. */
  readonly onlyChild: Buffer | undefined;
}

/** Yields every NODES_PER_SLICE nodes. The caller commits what was written, or gives it up. */
export function* applyChanges(
  reader: NodeReader,
  writer: NodeWriter,
  rule: BoundaryRule,
  root: TreeRoot,
  changes: Iterable<TreeChange>,
): Generator<void, TreeRoot> {
  const oldRoot = reader.root(root);
  const levels: NewNode[][] = [];
  let run: Iterable<TreeChange> = changes;
  for (let level = 0; level <= MAX_LEVEL; level++) {
    const walker = oldRoot !== undefined && level <= oldRoot.level ? new LevelWalker(reader, oldRoot, level) : undefined;
    const fold = new LevelFold(writer, new NodeBuilder(rule, level), run, walker);
    yield* fold.run();
    if (level === 0 && fold.added.length === 0 && fold.removed.length === 0) return root;
    levels.push(fold.added);
    // The root was rechunked, so what was added is all there is on this level.
    if (level >= root.height && fold.added.length < 2) break;
    run = childChanges(fold.removed, fold.added);
  }
  return newRoot(reader, levels);
}

/** Rechunks one level. */
class LevelFold {
  /** Last keys of the old nodes that are no more, and the nodes in their place; both ascending. */
  readonly removed: Buffer[] = [];
  readonly added: NewNode[] = [];
  readonly #writer: NodeWriter;
  readonly #builder: NodeBuilder;
  readonly #changes: Iterator<TreeChange>;
  readonly #walker: LevelWalker | undefined;
  #change: TreeChange | undefined;
  #nodes = 0;

  constructor(writer: NodeWriter, builder: NodeBuilder, changes: Iterable<TreeChange>, walker: LevelWalker | undefined) {
    this.#writer = writer;
    this.#builder = builder;
    this.#changes = changes[Symbol.iterator]();
    this.#walker = walker;
  }

  *run(): Generator<void, void> {
    this.#advance();
    if (this.#walker === undefined) yield* this.#build();
    while (this.#change !== undefined) yield* this.#rechunk(this.#walker!, this.#change.key);
  }

  #advance(): void {
    const next = this.#changes.next();
    const before = this.#change;
    this.#change = next.done === true ? undefined : next.value;
    if (before !== undefined && this.#change !== undefined) {
      assert(compareBytes(before.key, this.#change.key) < 0, 'changes to a tree are strictly ascending');
    }
  }

  /** A level that was not there before. */
  *#build(): Generator<void, void> {
    for (; this.#change !== undefined; this.#advance()) {
      const { key, value } = this.#change;
      if (value === undefined) continue;
      this.#add(key, value);
      if (this.#sliceIsOver()) yield;
    }
    if (this.#builder.count > 0) this.#write();
  }

  /** From the node that holds `key` until old and new boundaries meet. */
  *#rechunk(walker: LevelWalker, key: Uint8Array): Generator<void, void> {
    let node = walker.seek(key);
    for (;;) {
      const last = walker.isLast();
      this.removed.push(node.key(node.count - 1));
      let i = 0;
      while (this.#change !== undefined) {
        const { key: changed, value } = this.#change;
        const at = node.search(changed, changed.length, i);
        this.#keep(node, i, at);
        i = at;
        if (at === node.count && !last) break;
        if (at < node.count && node.compareKey(at, changed, changed.length) === 0) i++;
        if (value !== undefined) this.#add(changed, value);
        if (this.#sliceIsOver()) yield;
        this.#advance();
      }
      this.#keep(node, i, node.count);
      this.#nodes++;
      if (this.#sliceIsOver()) yield;
      if (last && this.#builder.count > 0) this.#write();
      if (last || this.#builder.count === 0) return;
      node = walker.next();
    }
  }

  #add(key: Uint8Array, value: Uint8Array): void {
    this.#builder.add(key, value);
    if (this.#builder.full) this.#write();
  }

  /** Takes over entries of an old node. */
  #keep(node: Node, from: number, to: number): void {
    for (let i = from; i < to; ) {
      i = this.#builder.addRun(node, i, to);
      if (this.#builder.full) this.#write();
    }
  }

  #write(): void {
    const builder = this.#builder;
    this.added.push({
      ...this.#writer.addNode(builder),
      lastKey: builder.lastKey(),
      entries: builder.entries,
      onlyChild: builder.level > 0 && builder.count === 1 ? builder.firstItem() : undefined,
    });
    builder.reset();
    this.#nodes++;
  }

  #sliceIsOver(): boolean {
    if (this.#nodes < NODES_PER_SLICE) return false;
    this.#nodes = 0;
    return true;
  }
}

/** What the level above must change: a merge of two ascending runs, in which a key of both is a replacement. */
function* childChanges(removed: readonly Buffer[], added: readonly NewNode[]): Generator<TreeChange, undefined> {
  let r = 0;
  let a = 0;
  while (r < removed.length || a < added.length) {
    const gone = removed[r];
    const node = added[a];
    const order = gone === undefined ? 1 : node === undefined ? -1 : compareBytes(gone, node.lastKey);
    if (order <= 0) r++;
    if (order < 0) {
      yield { key: gone!, value: undefined };
    } else {
      a++;
      yield { key: node!.lastKey, value: childItem(node!) };
    }
  }
}

function childItem(node: NewNode): Buffer {
  const item = Buffer.allocUnsafe(INNER_ITEM_BYTES);
  node.hash.copy(item, 0);
  putU48(item, HASH_BYTES, node.entries);
  putU32(item, INNER_VALUE_BYTES, node.file);
  putU32(item, INNER_VALUE_BYTES + 4, node.offset);
  putU32(item, INNER_VALUE_BYTES + 8, node.length);
  return item;
}

/** Goes down from a top that has a single child. */
function newRoot(reader: NodeReader, levels: readonly NewNode[][]): TreeRoot {
  let height = levels.length - 1;
  const top = levels[height]![0];
  if (top === undefined) return EMPTY_ROOT;
  let root: TreeRoot = {
    hash: Uint8Array.from(top.hash),
    entries: top.entries,
    height,
    file: top.file,
    offset: top.offset,
    length: top.length,
  };
  let onlyChild = top.onlyChild;
  while (onlyChild !== undefined) {
    height--;
    const file = getU32(onlyChild, INNER_VALUE_BYTES);
    const offset = getU32(onlyChild, INNER_VALUE_BYTES + 4);
    const length = getU32(onlyChild, INNER_VALUE_BYTES + 8);
    root = { hash: Uint8Array.from(onlyChild.subarray(0, HASH_BYTES)), entries: root.entries, height, file, offset, length };
    // New nodes are not readable before the commit; old ones are not among the new.
    const fresh = levels[height]!.find((node) => node.file === file && node.offset === offset);
    if (fresh !== undefined) onlyChild = fresh.onlyChild;
    else onlyChild = onlyChildOf(reader, root);
  }
  return root;
}

function onlyChildOf(reader: NodeReader, root: TreeRoot): Buffer | undefined {
  const node = reader.root(root);
  if (node === undefined || node.level === 0 || node.count > 1) return undefined;
  return Buffer.concat([node.value(0), node.bytes.subarray(node.addressesAt)]).subarray(0, INNER_ITEM_BYTES);
}
