/**
 * The tree of one shard: versions of a persistent, history-independent B-tree in append-only files (law 3, docs/FORMAT.md).
 *
 *   fold:   apply (generator, sliced by the caller; drain now and then) -> commit -> the root may be announced
 *   read:   root -> cursor, ceiling, get, countRange: synchronous, on any root not yet removed
 *   shrink: reserveCopy -> copyTree (tree-copy.ts), pass after pass -> changeOver: the newest root alone, in files of its own
 *
 * Invariants: everything here is derived from the log (law 2): where it is damaged the caller removes it all and folds anew.
 * A root that `commit` answered is durable. A failed or abandoned fold changes no root. One fold at a time, and none while a copy takes over.
 * Whoever reads a root across turns of the event loop holds the files: superseded ones go once their holders have let go.
 * A crash loses at most the fold under way. A root found at `open` is whole, yet may never have been announced.
 */
import { assert } from '../errors.js';
import { MAX_TREE_KEY_BYTES } from '../format/limits.js';
import type { Finding } from '../log/types.js';
import type { VersionRun } from '../memtable-columns.js';
import type { Platform } from '../platform/platform.js';
import type { SeqSet } from '../retention/seq-set.js';
import { applyChanges, EMPTY_ROOT } from './apply.js';
import { BoundaryRule, TARGET_BYTES } from './boundary.js';
import { Cursor } from './cursor.js';
import type { FoldHost } from './fold-host.js';
import type { TreeAt, WriterState } from './fold-message.js';
import { LeafScan } from './leaf-scan.js';
import { sourceOf } from './listed-changes.js';
import { type NewestRows, newestHereOrThere } from './newest-scan.js';
import { NodeCache } from './node-cache.js';
import { NodeReader } from './node-reader.js';
import { NodeWriter } from './node-writer.js';
import type { RebuiltTree } from './rebuild.js';
import { type Rebuild, rebuildAndChangeOver } from './rebuild-host.js';
import { type FoundRoot, findRoots, rootAt, rootsFrom } from './root-list.js';
import { SupersededFiles } from './superseded-files.js';
import type { TreeCopyTask } from './tree-copy.js';
import type { TreeEntry } from './tree-entry.js';
import { encodeRootFrame, FILE_HEADER_BYTES, ROOT_FRAME_BYTES } from './tree-file.js';
import { TreeFiles } from './tree-files.js';
import type { ChangeSource, TreeChange, TreeRoot } from './types.js';
import { type FoldedVersions, foldHereOrThere } from './version-folds.js';
import { findValue, findVersion, hasKeyBetween, rank } from './version-key.js';

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
  /** Where large folds are done instead of here. */
  readonly host?: FoldHost;
  /** Whoever opens it calls `makeDurable` where nothing else vouches for the newest root. */
  readonly syncsLater?: boolean;
}

type FoldingOptions = Omit<TreeStoreOptions, 'host' | 'syncsLater'>;

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
  readonly #options: TreeStoreOptions;
  readonly #files: TreeFiles;
  readonly #writer: NodeWriter;
  /** See WriterState. */
  #life = 1;
  readonly #scratch = new Uint8Array(MAX_TREE_KEY_BYTES);
  /** The newest root as it was found at open. */
  #found: FoundRoot | undefined;
  /** Of the fold under way; a generator of another one is stale. */
  #fold = 0;
  readonly #superseded = new SupersededFiles();

  private constructor(options: TreeStoreOptions, files: TreeFiles, writer: NodeWriter, findings: readonly Finding[], inOrder = false) {
    this.#options = options;
    this.#files = files;
    this.reader = new NodeReader(files, options.cache, inOrder);
    this.#writer = writer;
    this.rule = new BoundaryRule(options.databaseId, options.targetBytes ?? TARGET_BYTES);
    this.findings = findings;
  }

  static async open(options: TreeStoreOptions): Promise<TreeStore> {
    const { fileBytes = DEFAULT_TREE_FILE_BYTES } = options;
    const files = filesOf(options);
    const strays = files.prepare();
    if (files.numbers.length === 0) await files.syncParents();
    const superseded = files.superseded();
    if (superseded.length > 0) await files.removeSuperseded(superseded);
    const { newest, tail, findings } = findRoots(files);
    for (const file of strays) findings.push({ kind: 'stray', file, offset: 0, fromSeq: 0, toSeq: 0, detail: 'not a tree file' });
    const last = { file: newest?.file ?? 0, offset: newest?.offset ?? 0 };
    const writer = new NodeWriter(files, fileBytes, last, tail !== undefined && tail.end < fileBytes ? tail : undefined);
    const store = new TreeStore(options, files, writer, findings);
    store.#found = newest;
    if (options.syncsLater !== true) await store.makeDurable();
    return store;
  }

  /** The newest root's writer may have been killed between writing and syncing it; what is served must not vanish in a power cut. */
  async makeDurable(): Promise<void> {
    const { file } = this.#writer.last;
    if (file > 0) await this.#files.writableFile(file).sync();
  }

  /** For another thread's folds: nothing is looked for on the disk, `takeOver` says how things stand before each. */
  static forFolding(options: FoldingOptions): TreeStore {
    const files = filesOf(options);
    const writer = new NodeWriter(files, options.fileBytes ?? DEFAULT_TREE_FILE_BYTES, { file: 0, offset: 0 }, undefined);
    return new TreeStore(options, files, writer, [], true);
  }

  /** Roots in the files, newest first. The log decides which may be used. */
  roots(limit = 64): SeqRoot[] {
    const { file, offset } = this.#writer.last;
    if (file === 0) return [];
    const found = this.#found?.file === file && this.#found.offset === offset ? this.#found : rootAt(this.#files, file, offset);
    return rootsFrom(this.#files, found, limit).map(({ frame }) => ({ seq: frame.seq, root: frame.root }));
  }

  /**
   * Applies changes, strictly ascending by key; each key its own array, not changed afterwards. Yields every few milliseconds of
   * work: let others run there, and `drain` when `wantsDrain`. What it returns is to be passed to `commit` before anything
   * reads it. Dropping the generator gives the fold up.
   */
  *apply(root: TreeRoot | undefined, changes: ChangeSource | Iterable<TreeChange>): Generator<void, TreeRoot> {
    this.#writer.begin();
    const checkCurrent = this.beginFold();
    const steps = applyChanges(this.reader, this.#writer, this.rule, root ?? EMPTY_ROOT, sourceOf(changes));
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) return step.value;
      yield;
      checkCurrent();
    }
  }

  /** @internal What it answers throws once another fold has begun: the tree is not what it was. */
  beginFold(): () => void {
    const fold = ++this.#fold;
    return () => assert(fold === this.#fold, 'a fold goes on only until the next one begins');
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
  async fold(
    root: TreeRoot | undefined,
    changes: ChangeSource | Iterable<TreeChange>,
    seq: number,
    pause: () => Promise<void>,
  ): Promise<TreeRoot> {
    const steps = this.apply(root, changes);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) {
      if (this.wantsDrain) await this.drain();
      await pause();
    }
    return this.commit(step.value, seq);
  }

  /**
   * Folds versions of a memtable that does not change any more, on another thread where there is one and it is worth it; here, where
   * that thread dies. `progress` is told the share that is done, now and then.
   */
  async foldVersions(
    root: TreeRoot | undefined,
    run: VersionRun,
    seq: number,
    pause: () => Promise<void>,
    progress: (share: number) => void = () => undefined,
  ): Promise<TreeRoot> {
    return (await foldHereOrThere(this, this.#options.host, { root, run, seq }, pause, progress)).root;
  }

  /** The same, and takes out of the tree, in one pass, the versions in `drops`; `run`'s are none of them. Tells how many went of each collection. */
  foldDropping(
    root: TreeRoot | undefined,
    run: VersionRun,
    drops: SeqSet,
    seq: number,
    pause: () => Promise<void>,
    progress: (share: number) => void = () => undefined,
  ): Promise<FoldedVersions> {
    return foldHereOrThere(this, this.#options.host, { root, run, drops, seq }, pause, progress);
  }

  /**
   * The same, but for where it comes to lie: made anew of what is left, in files that take the place of those there are. `taken` is called
   * in the turn in which the old ones become superseded: nobody may begin to read them afterwards.
   */
  rebuildDropping(rebuild: Rebuild, taken: (rebuilt: RebuiltTree) => void): Promise<void> {
    return rebuildAndChangeOver(this, this.#options.platform, this.#options.host, rebuild, taken);
  }

  /** @internal A fold by somebody else, who appends to these files: `work` is told how they stand, and answers how it left them. */
  async foldElsewhere<T extends { readonly state: WriterState }>(work: (at: TreeAt) => Promise<T>): Promise<T> {
    this.#writer.begin();
    const checkCurrent = this.beginFold();
    const state = this.handOver();
    try {
      const done = await work({ ...this.place, state });
      checkCurrent();
      this.takeOver(done.state);
      return done;
    } catch (error) {
      // What it wrote, and how far, is not known: its files are left alone.
      this.#writer.resume(state.last, undefined);
      this.#files.relist();
      throw error;
    }
  }

  /**
   * Newest versions of entities from a key on, a part of them all, hashed with `key`; read on the thread that folds, between folds, where
   * there is one. Whoever asks for part after part holds the files.
   */
  newestOf(root: TreeRoot, key: Uint8Array, from: Uint8Array | undefined): Promise<NewestRows> {
    return newestHereOrThere(this, this.#options.host, root, key, from);
  }

  /** How far the files are written, for whoever folds next. */
  handOver(): WriterState {
    const { numbers, highest } = this.#files;
    const { last, tail } = this.#writer;
    return { life: this.#life, numbers: [...numbers], highest, last, tail };
  }

  /** Goes on from where another left off. */
  takeOver(state: WriterState): void {
    if (state.life !== this.#life) {
      this.reader.forget();
      this.#files.close();
      this.#life = state.life;
    }
    this.#files.adopt(state.numbers, state.highest);
    this.#writer.resume(state.last, state.tail);
  }

  /** @internal For one walk through a whole tree: what it reads takes nobody's place in the cache. */
  readerInOrder(): NodeReader {
    return new NodeReader(this.#files, new NodeCache(0), true);
  }

  /** @internal All of its leaves, in order; whoever reads them holds the files. */
  leaves(root: TreeRoot | undefined): LeafScan {
    return new LeafScan(this.#files, root);
  }

  cursor(root: TreeRoot): Cursor {
    return new Cursor(this.reader, root);
  }

  /** The entity's newest version with a seq <= `seq`. `entity` is one char a byte and ends in a zero. */
  ceiling(root: TreeRoot, entity: string, seq: number): TreeEntry | undefined {
    return findVersion(this.reader, root, entity, seq, this.#scratch);
  }

  /** Whether any key lies from `from` on and before `until`, versions of what is gone among them. */
  hasKeyBetween(root: TreeRoot, from: Uint8Array, until: Uint8Array): boolean {
    return hasKeyBetween(this.reader, root, from, until);
  }

  /** The value at exactly this key: a view. */
  get(root: TreeRoot, key: Uint8Array): Buffer | undefined {
    return findValue(this.reader, root, key);
  }

  /** How many entries have a key in [fromKey, toKey). */
  countRange(root: TreeRoot, fromKey: Uint8Array, toKey: Uint8Array): number {
    return Math.max(0, rank(this.reader, root, toKey) - rank(this.reader, root, fromKey));
  }

  /** Grows when what was read of the files, or is being copied, is void. */
  get life(): number {
    return this.#life;
  }

  /** Keeps every root there is now readable until the answer is called. */
  hold(): () => void {
    // What cannot be removed now is at the next open.
    return this.#superseded.hold(() => void this.removeSuperseded().catch(() => undefined));
  }

  /** Numbers for one pass of a copy: no fold may be under way. */
  reserveCopy(): { readonly from: number; readonly count: number } {
    const { fileBytes = DEFAULT_TREE_FILE_BYTES } = this.#options;
    const count = this.#files.numbers.length + Math.ceil(this.bytes / fileBytes) + 1;
    return { from: this.#files.reserve(count), count };
  }

  copyTask(root: TreeRoot, first: number, numbers: { readonly from: number; readonly count: number }, known: Float64Array): TreeCopyTask {
    return { ...this.place, root, first, ...numbers, known };
  }

  /** Where its files are, and what they are made like: for who reads them elsewhere. */
  get place() {
    const { directory, shard, databaseId, fileBytes = DEFAULT_TREE_FILE_BYTES, targetBytes = TARGET_BYTES } = this.#options;
    return { directory, shard, databaseId, fileBytes, targetBytes };
  }

  /** A copy that comes to nothing: its files go. */
  async discardCopy(numbers: Iterable<number>): Promise<void> {
    await this.#files.discard(numbers);
  }

  /**
   * From here on the tree is `root`, which covers `seq` and lies with all it reaches in `files`, durably; everything else is removed. The
   * last file's rename is what counts: a crash before it leaves the old tree, after it the new. No fold may be under way. `taken` is called
   * in the turn in which the old files become superseded: nobody may begin to read them afterwards.
   */
  async changeOver(first: number, files: readonly number[], root: TreeRoot, seq: number, taken: () => void): Promise<void> {
    const life = this.#life;
    const last = this.#files.reserve(1);
    const place = { file: last, offset: FILE_HEADER_BYTES };
    const frame = encodeRootFrame({ seq, root, previousFile: 0, previousOffset: 0 }, this.#files.seed(last), place.offset);
    try {
      await this.#files.createMarked(last, { first, closes: true }, frame);
      if (life !== this.#life) throw new Error('the tree was removed while it was being copied');
    } catch (error) {
      await this.#files.discard([last]);
      throw error;
    }
    this.#superseded.add(this.#files.supersede([...files, last]));
    this.#life++;
    this.#writer.resume(place, { file: last, end: FILE_HEADER_BYTES + ROOT_FRAME_BYTES });
    taken();
    this.#options.host?.release(this.#options.directory);
  }

  /** Deletes, of the files that copies have replaced, those that nobody reads any more. */
  async removeSuperseded(): Promise<void> {
    for (const files of this.#superseded.takeFree()) {
      this.reader.forget(new Set(files));
      await this.#files.discard(files);
    }
  }

  /** For a rebuild. Every root and cursor of this store is void afterwards. */
  async removeAll(): Promise<void> {
    this.#found = undefined;
    this.#fold++;
    this.#life++;
    this.#writer.forgetRoots();
    this.reader.forget();
    const superseded = this.#superseded.takeAll();
    await this.#files.removeAll();
    if (superseded.length > 0) await this.#files.discard(superseded);
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

function filesOf({ platform, directory, shard, databaseId, targetBytes = TARGET_BYTES }: FoldingOptions): TreeFiles {
  assert(databaseId.length === 16, 'a database id has 16 bytes');
  return new TreeFiles(platform.files, directory, { databaseId, shard, targetBytes });
}

export { FoldHost } from './fold-host.js';
export { EMPTY_ROOT_HASH } from './node.js';
export { NodeCache } from './node-cache.js';
