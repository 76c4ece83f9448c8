/**
 * Copies what one root of a tree reaches into files of its own: one pass of a compaction of the tree.
 *
 *   old files  N1 dead N2 dead … ROOT          children before parents, in key order
 *   new files  N1 N2 …                         hashed bytes as they were; addresses, and so the CRCs, are those of the new place
 *
 * Passes: while one goes on, folds add to the old files. The next pass copies only what the newer root reaches and no pass has copied
 * yet (`known`), until a root is found copied whole; then store and index change over to it (tree-store.ts).
 *
 * Invariants: the old files are only read, every node's frame, hash and place in its parent are checked on the way, and what was written is
 * synced and read back. Everything in task and result survives a structured clone, so that a pass may run on a thread.
 * A crash leaves files that their headers tell as an unfinished copy's; opening deletes them (tree-files.ts).
 */
import { VarveError } from '../errors.js';
import { equalBytes, putU32 } from '../format/bytes.js';
import type { Platform } from '../platform/platform.js';
import { type CopyPlace, CopyWriter } from './copy-writer.js';
import { ADDRESS_BYTES, type Node } from './node.js';
import { NodeCache } from './node-cache.js';
import { NodeReader } from './node-reader.js';
import { TreeFiles } from './tree-files.js';
import type { TreeRoot } from './types.js';

const U32 = 2 ** 32;

export interface TreeCopyTask extends CopyPlace {
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
  readonly targetBytes: number;
  readonly root: TreeRoot;
  /** Copied before: the old place of a node and its new one, in turns; a place is file × 2^32 + offset. */
  readonly known: Float64Array;
}

export interface TreeCopyResult {
  /** The same root at its new place. */
  readonly root: TreeRoot;
  /** What this pass has added to `known`. */
  readonly copied: Float64Array;
  readonly files: readonly number[];
  readonly nodes: number;
  readonly bytes: number;
}

export function placeOf(file: number, offset: number): number {
  return file * U32 + offset;
}

/** `pace` is told the bytes read and written by each slice of work; what it throws ends the pass. Whoever asked deletes what was made. */
export async function copyTree(platform: Platform, task: TreeCopyTask, pace: (bytes: number) => Promise<void>): Promise<TreeCopyResult> {
  const copy = new TreeCopy(platform, task, pace);
  try {
    return await copy.run();
  } finally {
    copy.close();
  }
}

/** An inner node whose children are being copied. */
interface Step {
  readonly node: Node;
  readonly file: number;
  readonly offset: number;
  /** The child that comes next. */
  index: number;
  /** Where its children are now. */
  readonly addresses: Buffer;
}

class TreeCopy {
  readonly #task: TreeCopyTask;
  readonly #pace: (bytes: number) => Promise<void>;
  readonly #files: TreeFiles;
  readonly #reader: NodeReader;
  readonly #writer: CopyWriter;
  readonly #places = new Map<number, number>();
  readonly #copied: number[] = [];

  constructor(platform: Platform, task: TreeCopyTask, pace: (bytes: number) => Promise<void>) {
    this.#task = task;
    this.#pace = pace;
    const { databaseId, shard, targetBytes, directory, known } = task;
    this.#files = new TreeFiles(platform.files, directory, { databaseId, shard, targetBytes });
    this.#reader = new NodeReader(this.#files, new NodeCache(0), true);
    this.#writer = new CopyWriter(this.#files, task);
    for (let i = 0; i < known.length; i += 2) this.#places.set(known[i]!, known[i + 1]!);
  }

  async run(): Promise<TreeCopyResult> {
    const { root } = this.#task;
    const place = root.height < 0 ? 0 : await this.#copy(root);
    await this.#writer.finish(this.#pace);
    const moved = { ...root, file: Math.floor(place / U32), offset: place % U32 };
    const { files, nodes, bytes } = this.#writer;
    return { root: moved, copied: Float64Array.from(this.#copied), files, nodes, bytes };
  }

  close(): void {
    this.#files.close();
  }

  /** Everything below the root, and last itself. Answers where it is now. */
  async #copy(root: TreeRoot): Promise<number> {
    const known = this.#places.get(placeOf(root.file, root.offset));
    if (known !== undefined) return known;
    const path: Step[] = [];
    let place = 0;
    let step = await this.#enter(root.file, root.offset, root.length, root.height, root.hash);
    for (;;) {
      if (step.index < step.node.count && step.node.level > 0) {
        const { node, index } = step;
        const file = node.childFile(index);
        const offset = node.childOffset(index);
        const found = this.#places.get(placeOf(file, offset));
        if (found === undefined) {
          path.push(step);
          step = await this.#enter(file, offset, node.childLength(index), node.level - 1, node.childHash(index));
          this.#mustFit(step, node, index);
        } else this.#childIsAt(step, found);
        continue;
      }
      place = await this.#add(step);
      const parent = path.pop();
      if (parent === undefined) return place;
      step = parent;
      this.#childIsAt(step, place);
    }
  }

  async #enter(file: number, offset: number, length: number, level: number, hash: Uint8Array): Promise<Step> {
    const node = this.#reader.readFresh(file, offset, length, level);
    if (!equalBytes(node.hash(), hash)) this.#corrupt(file, offset, 'node does not have the hash its parent names');
    return { node, file, offset, index: 0, addresses: addressesOf(node) };
  }

  #mustFit({ node, file, offset }: Step, parent: Node, index: number): void {
    const fits = equalBytes(node.key(node.count - 1), parent.key(index)) && node.entries() === parent.entriesBelow(index);
    if (!fits) this.#corrupt(file, offset, 'node is not the one its parent names');
  }

  /** Notes the new place of a step's child. */
  #childIsAt(step: Step, place: number): void {
    const at = step.index * ADDRESS_BYTES;
    putU32(step.addresses, at, Math.floor(place / U32));
    putU32(step.addresses, at + 4, place % U32);
    step.index++;
  }

  async #add({ node, file, offset, addresses }: Step): Promise<number> {
    const copy = this.#writer.addCopy(node.hashed(), addresses);
    if (this.#writer.wantsWrite) await this.#pace(2 * (await this.#writer.write()));
    const place = placeOf(copy.file, copy.offset);
    const old = placeOf(file, offset);
    this.#places.set(old, place);
    this.#copied.push(old, place);
    return place;
  }

  #corrupt(file: number, offset: number, what: string): never {
    const path = this.#files.path(file);
    throw new VarveError('CORRUPT', `${path} at ${offset}: ${what}`, { file: path, offset, what });
  }
}

/** A copy; of a leaf none. */
function addressesOf({ bytes, addressesAt, level, count }: Node): Buffer {
  return Buffer.from(bytes.subarray(addressesAt, addressesAt + (level === 0 ? 0 : count * ADDRESS_BYTES)));
}
