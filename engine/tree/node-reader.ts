/**
 * From addresses to nodes, by way of the cache. Reads are synchronous. Who reads in order meets each leaf once, or a few times in
 * a row: the cache is for inner nodes alone there.
 *
 * Invariants: no byte of a frame is looked at before its CRC, which covers its place, has passed; then every length is checked;
 * whatever is wrong is CORRUPT with file and offset. A child must have the keys its parent names. The hash a parent names is compared by `check` alone: a CRC finds accidents.
 */
import { VarveError } from '../errors.js';
import { getU32 } from '../format/bytes.js';
import { type Node, parseNode } from './node.js';
import type { NodeCache } from './node-cache.js';
import { SlabReads } from './slab-reads.js';
import { NODE_FRAME_HEAD_BYTES, nodeFrameProblem } from './tree-file.js';
import type { TreeFiles } from './tree-files.js';
import type { TreeRoot } from './types.js';

/** Leaves that a reader in order remembers: who walks ahead of another by a few shares them with it. */
const RECENT_LEAVES = 8;
/** More than the largest node the format allows needs. */
const MAX_FRAME_BYTES = 256 * 1024;
const U32 = 2 ** 32;

export class NodeReader {
  readonly #files: TreeFiles;
  /** Where nodes are read in order. */
  readonly #slabs: SlabReads | undefined;
  /** Addresses and leaves met last, in turns; empty where leaves are cached. */
  readonly #recent: { address: number; leaf: Node | undefined }[] = [];
  #nextRecent = 0;
  readonly #cache: NodeCache;
  /** This store's nodes in the cache. */
  readonly #home = new Map<number, Node>();
  #lastRoot: TreeRoot | undefined;
  #lastRootNode: Node | undefined;

  /** `inOrder`: nodes are mostly asked for in the order of their keys. */
  constructor(files: TreeFiles, cache: NodeCache, inOrder = false) {
    this.#files = files;
    this.#cache = cache;
    if (!inOrder) return;
    this.#slabs = new SlabReads(files);
    for (let i = 0; i < RECENT_LEAVES; i++) this.#recent.push({ address: 0, leaf: undefined });
  }

  /** Undefined for the empty tree. */
  root(root: TreeRoot): Node | undefined {
    if (root === this.#lastRoot) return this.#lastRootNode;
    const node = root.height < 0 ? undefined : this.#at(root.file, root.offset, root.length, root.height);
    this.#lastRoot = root;
    this.#lastRootNode = node;
    return node;
  }

  child(parent: Node, index: number): Node {
    const linked = parent.links?.[index];
    if (linked !== undefined) {
      linked.used = true;
      return linked;
    }
    const child = this.#at(parent.childFile(index), parent.childOffset(index), parent.childLength(index), parent.level - 1);
    this.mustFit(child, parent, index);
    this.#cache.link(parent, index, child);
    return child;
  }

  #at(file: number, offset: number, length: number, level: number): Node {
    const address = file * U32 + offset;
    if (level === 0 && this.#slabs !== undefined) return this.#leafAt(address, file, offset, length);
    const cached = this.#home.get(address);
    if (cached !== undefined) {
      cached.used = true;
      if (cached.level !== level) this.#corrupt(file, offset, 'node lies on another level');
      return cached;
    }
    const node = this.readFresh(file, offset, length, level);
    this.#cache.add(this.#home, address, node);
    return node;
  }

  #leafAt(address: number, file: number, offset: number, length: number): Node {
    for (const { address: held, leaf } of this.#recent) if (held === address && leaf !== undefined) return leaf;
    const leaf = this.readFresh(file, offset, length, 0);
    const place = this.#recent[this.#nextRecent]!;
    place.address = address;
    place.leaf = leaf;
    this.#nextRecent = (this.#nextRecent + 1) % RECENT_LEAVES;
    return leaf;
  }

  /** From disk, past the cache: what a check must look at. */
  readFresh(file: number, offset: number, length: number, level: number): Node {
    if (length < NODE_FRAME_HEAD_BYTES || length > MAX_FRAME_BYTES) this.#corrupt(file, offset, 'node frame of an impossible length');
    const frame = this.#frame(file, offset, length, level);
    if (frame === undefined) this.#corrupt(file, offset, 'file ends before this node');
    return this.checked(frame, file, offset, level);
  }

  /** What lies there, read already. */
  checked(frame: Buffer, file: number, offset: number, level: number): Node {
    const problem = nodeFrameProblem(frame, this.#files.seed(file), offset);
    if (problem !== undefined) this.#corrupt(file, offset, problem);
    const node = parseNode(frame, NODE_FRAME_HEAD_BYTES, getU32(frame, 4), true);
    if (typeof node === 'string') this.#corrupt(file, offset, node);
    if (node.level !== level) this.#corrupt(file, offset, 'node lies on another level');
    return node;
  }

  /** A child must have the keys its parent names. */
  mustFit(child: Node, parent: Node, index: number): void {
    if (fits(child, parent, index)) return;
    this.#corrupt(parent.childFile(index), parent.childOffset(index), 'node is not the one its parent names');
  }

  #frame(file: number, offset: number, length: number, level: number): Buffer | undefined {
    const frame = (this.#slabs ?? this.#files).read(file, offset, length);
    if (level === 0 || this.#slabs === undefined || frame === undefined) return frame;
    // It stays in the cache, and would keep all that was read with it.
    const copy = Buffer.allocUnsafeSlow(length);
    copy.set(frame);
    return copy;
  }

  /** Drops this store's nodes from the cache, or those of some files. */
  forget(files?: ReadonlySet<number>): void {
    this.#cache.forget(this.#home, files && ((address) => files.has(Math.floor(address / U32))));
    this.#lastRoot = undefined;
    this.#lastRootNode = undefined;
    this.#slabs?.forget();
    for (const place of this.#recent) place.leaf = undefined;
  }

  #corrupt(file: number, offset: number, what: string): never {
    const path = this.#files.path(file);
    throw new VarveError('CORRUPT', `${path} at ${offset}: ${what}`, { file: path, offset, what });
  }
}

/** Whether a child's keys lie where its parent says: order within nodes and this make the order of the whole tree. */
function fits(child: Node, parent: Node, index: number): boolean {
  if (child.compareKeyTo(child.count - 1, parent, index) !== 0) return false;
  return index === 0 || child.compareKeyTo(0, parent, index - 1) > 0;
}
