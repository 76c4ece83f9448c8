/**
 * The tree of one shard: versions of a persistent, history-independent B-tree in append-only files (law 3, docs/FORMAT.md).
 *
 *   fold:   apply (generator, sliced by the caller; drain now and then) -> commit -> the root may be announced
 *   read:   root -> cursor, ceiling, get, countRange: synchronous, on any root not yet removed
 *
 * Invariants: everything here is derived from the log (law 2): where it is damaged the caller removes it all and folds anew.
 * A root that `commit` answered is durable. A failed or abandoned fold changes no root. One fold at a time.
 * A crash loses at most the fold under way. A root found at `open` is whole, yet may never have been announced.
 */
import { assert } from '../errors.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import type { Finding } from '../log/types.js';
import type { Platform } from '../platform/platform.js';
import { applyChanges, EMPTY_ROOT } from './apply.js';
import { BoundaryRule, TARGET_BYTES } from './boundary.js';
import { Cursor } from './cursor.js';
import type { NodeCache } from './node-cache.js';
import { NodeReader } from './node-reader.js';
import { NodeWriter } from './node-writer.js';
import { findRoots, rootAt, rootsFrom } from './root-list.js';
import { TreeFiles } from './tree-files.js';
import type { TreeChange, TreeRoot } from './types.js';
import { type FoundVersion, findVersion, rank } from './version-key.js';

export const DEFAULT_TREE_FILE_BYTES = 64 * 1024 * 1024;
/** A fold's writes are drained once this much is buffered. */
const DRAIN_BYTES = 1024 * 1024;

export interface TreeStoreOptions {
  readonly platform: Platform;
  /** `shards/0001/tree`; made where it is missing. */
  readonly directory: string;
  readonly shard: number;
  /** 16 bytes. */
  readonly databaseId: Uint8Array;
  readonly cache: NodeCache;
  /** A file that reaches this gives way to the next. */
  readonly fileBytes?: number;
  /** Only for tests that want deep trees of few entries; other targets make other roots. */
  readonly targetBytes?: number;
}

export interface SeqRoot {
  readonly seq: number;
  readonly root: TreeRoot;
}

export class TreeStore {
  /** What opening met. */
  readonly findings: readonly Finding[];
  /** @internal For check, diff and proof. */
  readonly reader: NodeReader;
  /** @internal */
  readonly rule: BoundaryRule;
  readonly #files: TreeFiles;
  readonly #writer: NodeWriter;
  readonly #scratch = new Uint8Array(MAX_TREE_KEY_BYTES);
  /** Of the fold under way; a generator of another one is stale. */
  #fold = 0;

  private constructor(files: TreeFiles, reader: NodeReader, writer: NodeWriter, rule: BoundaryRule, findings: readonly Finding[]) {
    this.#files = files;
    this.reader = reader;
    this.#writer = writer;
    this.rule = rule;
    this.findings = findings;
  }

  static async open(options: TreeStoreOptions): Promise<TreeStore> {
    const { platform, directory, shard, databaseId, cache, fileBytes = DEFAULT_TREE_FILE_BYTES, targetBytes = TARGET_BYTES } = options;
    assert(databaseId.length === 16, 'a database id has 16 bytes');
    const files = new TreeFiles(platform.files, directory, { databaseId, shard, targetBytes });
    const strays = await files.prepare();
    const { newest, tail, findings } = findRoots(files);
    for (const file of strays) findings.push({ kind: 'stray', file, offset: 0, fromSeq: 0, toSeq: 0, detail: 'not a tree file' });
    // Its writer may have been killed between writing and syncing it; what is served must not vanish in a power cut.
    if (newest !== undefined) await files.writableFile(newest.file).sync();
    const last = { file: newest?.file ?? 0, offset: newest?.offset ?? 0 };
    const writer = new NodeWriter(files, fileBytes, last, tail !== undefined && tail.end < fileBytes ? tail : undefined);
    return new TreeStore(files, new NodeReader(files, cache), writer, new BoundaryRule(databaseId, targetBytes), findings);
  }

  /** Roots in the files, newest first. The log decides which may be used. */
  roots(limit = 64): SeqRoot[] {
    const { file, offset } = this.#writer.last;
    if (file === 0) return [];
    return rootsFrom(this.#files, rootAt(this.#files, file, offset), limit).map(({ frame }) => ({ seq: frame.seq, root: frame.root }));
  }

  /**
   * Applies changes, strictly ascending by key; each key its own array, not changed afterwards. Yields every few milliseconds of
   * work: let others run there, and `drain` when `wantsDrain`. What it returns is to be passed to `commit` before anything
   * reads it. Dropping the generator gives the fold up.
   */
  *apply(root: TreeRoot | undefined, changes: Iterable<TreeChange>): Generator<void, TreeRoot> {
    this.#writer.begin();
    const fold = ++this.#fold;
    const steps = applyChanges(this.reader, this.#writer, this.rule, root ?? EMPTY_ROOT, changes);
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) return step.value;
      yield;
      assert(fold === this.#fold, 'a fold goes on only until the next one begins');
    }
  }

  /** True while a fold has enough buffered to be worth a write. */
  get wantsDrain(): boolean {
    return this.#writer.pendingBytes >= DRAIN_BYTES;
  }

  /** Writes what a fold has buffered, without a sync. A rejection ends the fold. */
  async drain(): Promise<void> {
    await this.#writer.drain();
  }

  /** Makes the fold durable; `seq` is what the root covers. Rejects without a trace otherwise: the old roots stay. */
  async commit(root: TreeRoot, seq: number): Promise<TreeRoot> {
    await this.#writer.commit(seq, root);
    return root;
  }

  /** Apply, drain and commit in one; `pause` lets others run. */
  async fold(root: TreeRoot | undefined, changes: Iterable<TreeChange>, seq: number, pause: () => Promise<void>): Promise<TreeRoot> {
    const steps = this.apply(root, changes);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) {
      if (this.wantsDrain) await this.drain();
      await pause();
    }
    return this.commit(step.value, seq);
  }

  cursor(root: TreeRoot): Cursor {
    return new Cursor(this.reader, root);
  }

  /** The entity's newest version with a seq <= `seq`. `entity` is one char a byte and ends in a zero. */
  ceiling(root: TreeRoot, entity: string, seq: number): FoundVersion | undefined {
    return findVersion(this.reader, root, entity, seq, this.#scratch);
  }

  /** The value at exactly this key: a view. */
  get(root: TreeRoot, key: Uint8Array): Buffer | undefined {
    let node = this.reader.root(root);
    while (node !== undefined) {
      const index = node.search(key, key.length);
      if (index === node.count) return undefined;
      if (node.level === 0) return node.compareKey(index, key, key.length) === 0 ? node.value(index) : undefined;
      node = this.reader.child(node, index);
    }
    return undefined;
  }

  /** How many entries have a key in [fromKey, toKey). */
  countRange(root: TreeRoot, fromKey: Uint8Array, toKey: Uint8Array): number {
    return Math.max(0, rank(this.reader, root, toKey) - rank(this.reader, root, fromKey));
  }

  /** For a rebuild. Every root and cursor of this store is void afterwards. */
  async removeAll(): Promise<void> {
    this.#fold++;
    this.#writer.forgetRoots();
    this.reader.forget();
    await this.#files.removeAll();
  }

  /** Bytes of the tree files. */
  get bytes(): number {
    return this.#files.bytes();
  }

  close(): void {
    this.#fold++;
    this.reader.forget();
    this.#files.close();
  }
}

export { EMPTY_ROOT_HASH } from './node.js';
export { NodeCache } from './node-cache.js';
