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
import { getU32, getU48 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import type { BoundaryRule } from './boundary.js';
import { ChildChanges, ChildList, KeyList } from './child-list.js';
import { LevelWalker } from './level-walker.js';
import { EMPTY_ROOT_HASH, INNER_VALUE_BYTES, MAX_LEVEL, type Node } from './node.js';
import { INNER_ITEM_BYTES, NodeBuilder } from './node-builder.js';
import type { NodeReader } from './node-reader.js';
import type { NodeWriter } from './node-writer.js';
import type { ChangeSource, TreeRoot } from './types.js';

/** Nodes read or written between two yields: about a millisecond of work. */
const NODES_PER_SLICE = 40;

export const EMPTY_ROOT: TreeRoot = { hash: EMPTY_ROOT_HASH, entries: 0, height: -1, file: 0, offset: 0, length: 0 };

/** Yields every NODES_PER_SLICE nodes. The caller commits what was written, or gives it up. */
export function* applyChanges(
  reader: NodeReader,
  writer: NodeWriter,
  rule: BoundaryRule,
  root: TreeRoot,
  changes: ChangeSource,
): Generator<void, TreeRoot> {
  const oldRoot = reader.root(root);
  const levels: ChildList[] = [];
  let run = changes;
  for (let level = 0; level <= MAX_LEVEL; level++) {
    const walker = oldRoot !== undefined && level <= oldRoot.level ? new LevelWalker(reader, oldRoot, level) : undefined;
    const fold = new LevelFold(writer, new NodeBuilder(rule, level), run, walker);
    yield* fold.run();
    if (level === 0 && fold.added.count === 0 && fold.removed.count === 0) return root;
    levels.push(fold.added);
    // The root was rechunked, so what was added is all there is on this level.
    if (level >= root.height && fold.added.count < 2) break;
    run = new ChildChanges(fold.removed, fold.added);
  }
  return newRoot(reader, levels);
}

/** Rechunks one level. */
class LevelFold {
  /** Last keys of the old nodes that are no more, and the nodes in their place; both ascending. */
  readonly removed = new KeyList();
  readonly added = new ChildList();
  readonly #writer: NodeWriter;
  readonly #builder: NodeBuilder;
  readonly #changes: ChangeSource;
  readonly #walker: LevelWalker | undefined;
  /** Whether there is a change at hand. */
  #more: boolean;
  #nodes = 0;

  constructor(writer: NodeWriter, builder: NodeBuilder, changes: ChangeSource, walker: LevelWalker | undefined) {
    this.#writer = writer;
    this.#builder = builder;
    this.#changes = changes;
    this.#walker = walker;
    this.#more = changes.advance();
  }

  *run(): Generator<void, void> {
    if (this.#walker === undefined) yield* this.#build();
    while (this.#more) yield* this.#rechunk(this.#walker!);
  }

  /** A level that was not there before. */
  *#build(): Generator<void, void> {
    const changes = this.#changes;
    for (; this.#more; this.#more = changes.advance()) {
      if (changes.value === undefined) continue;
      this.#add(changes.key, changes.length, changes.value);
      if (this.#sliceIsOver()) yield;
    }
    if (this.#builder.count > 0) this.#write();
  }

  /** From the node that holds the next change until old and new boundaries meet. */
  *#rechunk(walker: LevelWalker): Generator<void, void> {
    const changes = this.#changes;
    let node = walker.seek(changes.key, changes.length);
    // Before the first change all is as it was for the node's maker, whom no entry but perhaps the last made end it.
    let untested = node.count - 1;
    for (;;) {
      const last = walker.isLast();
      this.removed.addKeyOf(node, node.count - 1);
      let i = 0;
      while (this.#more) {
        if (changes.leaf === node) {
          const at = changes.leafIndex!;
          this.#keep(node, i, at, untested);
          untested = 0;
          i = at + 1;
          if (this.#sliceIsOver()) yield;
          this.#more = changes.advance();
          continue;
        }
        const { key, length, value } = changes;
        // A drop that is not of this leaf is of a later one, mostly: its last key tells, without what a search makes of all of them.
        const isBehind = changes.leaf !== undefined && node.compareKey(node.count - 1, key, length) < 0;
        const at = isBehind ? node.count : node.searchOnce(key, length, i);
        this.#keep(node, i, at, untested);
        untested = 0;
        i = at;
        if (at === node.count && !last) break;
        if (at < node.count && node.compareKey(at, key, length) === 0) i++;
        if (value !== undefined) this.#add(key, length, value);
        if (this.#sliceIsOver()) yield;
        this.#more = changes.advance();
      }
      this.#keep(node, i, node.count, 0);
      this.#nodes++;
      if (this.#sliceIsOver()) yield;
      if (last && this.#builder.count > 0) this.#write();
      if (last || this.#builder.count === 0) return;
      node = walker.next();
    }
  }

  #add(key: Uint8Array, length: number, value: Uint8Array): void {
    this.#builder.add(key, value, length);
    if (this.#builder.full) this.#write();
  }

  /** Takes over entries of an old node. */
  #keep(node: Node, from: number, to: number, untested: number): void {
    for (let i = from; i < to; ) {
      i = this.#builder.addRun(node, i, to, untested);
      if (this.#builder.full) this.#write();
    }
  }

  #write(): void {
    const builder = this.#builder;
    this.added.addChild(builder, this.#writer.addNode(builder));
    builder.reset();
    this.#nodes++;
  }

  #sliceIsOver(): boolean {
    if (this.#nodes < NODES_PER_SLICE) return false;
    this.#nodes = 0;
    return true;
  }
}

/** Goes down from a top that has a single child. */
function newRoot(reader: NodeReader, levels: readonly ChildList[]): TreeRoot {
  let height = levels.length - 1;
  let list = levels[height]!;
  if (list.count === 0) return EMPTY_ROOT;
  let item = list.item(0);
  const entries = getU48(item, HASH_BYTES);
  for (;;) {
    const root = rootOf(item, entries, height);
    // New nodes are not readable before the commit; old ones are not among the new.
    const fresh = list.find(root.file, root.offset);
    const onlyChild = fresh < 0 ? onlyChildOf(reader, root) : list.onlyChild(fresh);
    if (onlyChild === undefined) return root;
    item = onlyChild;
    height--;
    list = levels[height]!;
  }
}

/** `item`: as an inner node would hold it. */
export function rootOf(item: Uint8Array, entries: number, height: number): TreeRoot {
  const file = getU32(item, INNER_VALUE_BYTES);
  const offset = getU32(item, INNER_VALUE_BYTES + 4);
  const length = getU32(item, INNER_VALUE_BYTES + 8);
  return { hash: Uint8Array.from(item.subarray(0, HASH_BYTES)), entries, height, file, offset, length };
}

function onlyChildOf(reader: NodeReader, root: TreeRoot): Buffer | undefined {
  const node = reader.root(root);
  if (node === undefined || node.level === 0 || node.count > 1) return undefined;
  return Buffer.concat([node.value(0), node.bytes.subarray(node.addressesAt)]).subarray(0, INNER_ITEM_BYTES);
}
