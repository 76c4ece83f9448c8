/**
 * A tree made anew of what is left of another, where most of it goes: one scan of its leaves, nodes straight into files of their own.
 *
 *   leaves of the old tree, less what is dropped, and what is added -> leaves -> the level above -> … -> a level of one node, the root
 *
 * Node boundaries follow from the content alone, so that the root is the one that taking the versions out would have come to, with
 * no old node taken over and none left to be copied. The old files are only read; a crash leaves an unfinished copy (copy-writer.ts).
 */
import { assert } from '../errors.js';
import { getU16, getU48 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import type { Platform } from '../platform/platform.js';
import { MAX_SEQ } from '../types.js';
import { EMPTY_ROOT, rootOf } from './apply.js';
import { BoundaryRule } from './boundary.js';
import { ChildChanges, ChildList, KeyList } from './child-list.js';
import { type CopyPlace, CopyWriter } from './copy-writer.js';
import type { DroppedSeqs } from './dropped-versions.js';
import { LeafScan } from './leaf-scan.js';
import { LeafCollection } from './leaf-walk.js';
import type { Node } from './node.js';
import { NodeBuilder } from './node-builder.js';
import { TreeFiles } from './tree-files.js';
import { type ChangeSource, SEQ_BYTES, type TreeRoot } from './types.js';
import { seqAt } from './version-key.js';

/** Leaves between two pauses: about a millisecond of work. */
const LEAVES_A_SLICE = 40;
const U32 = 2 ** 32;

export interface RebuildTask extends CopyPlace {
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
  readonly targetBytes: number;
  readonly root: TreeRoot;
}

export interface RebuiltTree {
  /** Durable, and of no effect until a store changes over to it. */
  readonly root: TreeRoot;
  readonly files: readonly number[];
  readonly nodes: number;
  /** How many versions of each collection went. */
  readonly dropped: ReadonlyMap<string, number>;
}

/** `added`: versions that the tree does not hold; `pause` is told the share of the old tree that is done. Throws CORRUPT for a bad tree. */
export async function rebuildTree(
  platform: Platform,
  task: RebuildTask,
  drops: DroppedSeqs,
  added: ChangeSource,
  pause: (share: number) => Promise<void>,
): Promise<RebuiltTree> {
  const { directory, shard, databaseId, targetBytes, root } = task;
  const files = new TreeFiles(platform.files, directory, { databaseId, shard, targetBytes });
  const writer = new CopyWriter(files, task);
  const rule = new BoundaryRule(databaseId, targetBytes);
  try {
    const left = new LeftLeaves(writer, rule, drops, added);
    const leaves = new LeafScan(files, root);
    let seen = 0;
    let slice = 0;
    for (let leaf = leaves.next(); leaf !== undefined; leaf = leaves.next()) {
      left.take(leaf);
      seen += leaf.count;
      if (++slice < LEAVES_A_SLICE) continue;
      slice = 0;
      if (writer.wantsWrite) await writer.write();
      await pause(seen / root.entries);
    }
    left.end();
    const made = await levelsAbove(writer, rule, left.nodes, () => pause(1));
    await writer.finish(() => pause(1));
    return { root: made, files: writer.files, nodes: writer.nodes, dropped: left.dropped };
  } finally {
    files.close();
  }
}

/** The leaves of what is left. */
class LeftLeaves {
  readonly nodes = new ChildList();
  readonly dropped = new Map<string, number>();
  readonly #writer: CopyWriter;
  readonly #builder: NodeBuilder;
  readonly #drops: DroppedSeqs;
  readonly #added: ChangeSource;
  #hasAdded: boolean;
  readonly #collection = new LeafCollection();

  constructor(writer: CopyWriter, rule: BoundaryRule, drops: DroppedSeqs, added: ChangeSource) {
    this.#writer = writer;
    this.#builder = new NodeBuilder(rule, 0);
    this.#drops = drops;
    this.#added = added;
    this.#hasAdded = added.advance();
  }

  take(leaf: Node): void {
    let from = 0;
    while (this.#hasAdded && leaf.compareKey(leaf.count - 1, this.#added.key, this.#added.length) >= 0) {
      const at = leaf.search(this.#added.key, this.#added.length, from);
      assert(leaf.compareKey(at, this.#added.key, this.#added.length) !== 0, 'what is added to a tree is not in it');
      this.#takeRun(leaf, from, at);
      this.#addNext();
      from = at;
    }
    this.#takeRun(leaf, from, leaf.count);
  }

  end(): void {
    while (this.#hasAdded) this.#addNext();
    if (this.#builder.count > 0) this.#write();
  }

  #addNext(): void {
    const { key, value, length } = this.#added;
    assert(value !== undefined, 'a tree is made anew of what is there');
    this.#builder.add(key, value, length);
    if (this.#builder.full) this.#write();
    this.#hasAdded = this.#added.advance();
  }

  /** In one loop: it is the only one that sees every entry. */
  #takeRun(leaf: Node, from: number, to: number): void {
    const { bytes, endsAt, restsAt } = leaf;
    let start = from === 0 ? 0 : getU16(bytes, endsAt + 2 * from - 2);
    let kept = from;
    let went = 0;
    let collection = '';
    for (let i = from; i < to; i++) {
      const end = getU16(bytes, endsAt + 2 * i);
      let seq: number;
      if (end - start < SEQ_BYTES) seq = seqAt(leaf, i);
      else {
        const at = restsAt + end - SEQ_BYTES;
        const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
        seq = MAX_SEQ - (((bytes[at]! << 8) | bytes[at + 1]!) * U32 + low);
      }
      start = end;
      if (!this.#drops.has(seq)) continue;
      if (kept < i) this.#keep(leaf, kept, i);
      kept = i + 1;
      const name = this.#collection.of(leaf, i);
      if (name !== collection) {
        this.#count(collection, went);
        collection = name;
        went = 0;
      }
      went++;
    }
    this.#count(collection, went);
    if (kept < to) this.#keep(leaf, kept, to);
  }

  #count(collection: string, count: number): void {
    if (count > 0) this.dropped.set(collection, (this.dropped.get(collection) ?? 0) + count);
  }

  #keep(leaf: Node, from: number, to: number): void {
    for (let i = from; i < to; ) {
      i = this.#builder.addRun(leaf, i, to);
      if (this.#builder.full) this.#write();
    }
  }

  #write(): void {
    this.nodes.addChild(this.#builder, this.#writer.addNode(this.#builder));
    this.#builder.reset();
  }
}

async function levelsAbove(writer: CopyWriter, rule: BoundaryRule, leaves: ChildList, pause: () => Promise<void>): Promise<TreeRoot> {
  if (leaves.count === 0) return EMPTY_ROOT;
  let below = leaves;
  for (let level = 1; ; level++) {
    if (below.count === 1) {
      const item = below.item(0);
      return rootOf(item, getU48(item, HASH_BYTES), level - 1);
    }
    const builder = new NodeBuilder(rule, level);
    const nodes = new ChildList();
    const children = new ChildChanges(new KeyList(), below);
    const write = (): void => {
      nodes.addChild(builder, writer.addNode(builder));
      builder.reset();
    };
    while (children.advance()) {
      builder.add(children.key, children.value!, children.length);
      if (builder.full) write();
      if (!writer.wantsWrite) continue;
      await writer.write();
      await pause();
    }
    if (builder.count > 0) write();
    below = nodes;
  }
}
