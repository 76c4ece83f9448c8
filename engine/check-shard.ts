/**
 * The check of one shard: its log is read back whole, a tree is built from it from nothing, and everything that
 * names a root is held against that tree.
 *
 *   recovery (in memory) -> scrub -> batches in order -> fold into the scratch tree at every seq that names a root
 *                                                        -> checkpoint events, roots in the tree files, checkTree
 *
 * Independent of how the database got there (law 3): other folds, other files, the same roots. Trims are applied at their place. What
 * compaction has left out counted in roots from before the trims it carried out: those cannot be built again, and are passed over.
 */
import type { CheckFinding } from './check.js';
import { CheckedDrops, removals } from './check-drops.js';
import { isVarveError } from './errors.js';
import { equalBytes } from './format/bytes.js';
import { hashCheckpoint } from './format/checkpoint-hash.js';
import { hex } from './format/hash.js';
import { checkKey, entityKeyFromBytes, treeKey } from './format/keys.js';
import { LeafEntry, writeLeafValue } from './format/leaf-value.js';
import { storedRecordHash } from './format/record-hash.js';
import { canonicalFromBytes } from './format/strict-json.js';
import { isGap } from './log/replay.js';
import { ShardLog } from './log/shard-log.js';
import { type CheckpointEvent, type Finding, KIND_PUT, type StoredBatch, type StoredRecord } from './log/types.js';
import type { Platform } from './platform/platform.js';
import { checkTree } from './tree/check.js';
import { treeFileName } from './tree/tree-file.js';
import { NodeCache, type SeqRoot, TreeStore } from './tree/tree-store.js';
import type { TreeChange, TreeRoot } from './tree/types.js';

export interface ShardReport {
  readonly shard: number;
  readonly segments: number;
  readonly bytes: number;
  readonly batches: number;
  readonly records: number;
  readonly lastSeq: number;
  /** Checkpoint events whose root was built again. */
  readonly checkpoints: number;
  /** Of the tree built from the log. */
  readonly root: string;
  readonly entries: number;
  /** The newest root in the tree files, which must be the same as of its seq. */
  readonly tree: { readonly seq: number; readonly root: string; readonly nodes: number } | undefined;
}

export interface ShardCheckOptions {
  /** Reads the directory, writes nowhere. */
  readonly platform: Platform;
  /** Where the tree is built again. */
  readonly scratch: Platform;
  readonly shard: number;
  readonly directory: string;
  readonly databaseId: Uint8Array;
  readonly report: (finding: CheckFinding) => void;
  readonly progress: (bytes: number, totalBytes: number) => void;
}

/** Never sealed, never rotated: nothing is appended. */
const SEGMENT_BYTES = 2 ** 40;
/** Changes held before they are folded although no root asks for it. */
const MAX_PENDING = 500_000;
/** What a crash leaves, and files that do not belong. */
const HARMLESS: ReadonlySet<Finding['kind']> = new Set(['torn-tail', 'torn-footer', 'stray']);
const CACHE_BYTES = 64 * 1024 * 1024;
const MAX_ROOTS = 10_000;
const YIELD_EVERY = 2000;

export async function checkShard(options: ShardCheckOptions): Promise<ShardReport> {
  return new ShardCheck(options).run();
}

class ShardCheck {
  readonly #options: ShardCheckOptions;
  readonly #logDirectory: string;
  readonly #treeDirectory: string;
  #changes: { readonly seq: number; readonly change: TreeChange }[] = [];
  #scratchTree!: TreeStore;
  #root: TreeRoot | undefined;
  /** What the scratch tree covers, and its root there and at every seq it was folded through. */
  #foldedSeq = -1;
  readonly #built = new Map<number, TreeRoot>();
  #batches = 0;
  #records = 0;
  #checkpoints = 0;
  /** From here on the log has holes: no root can be built again. */
  #holeAt = Number.POSITIVE_INFINITY;
  readonly #drops = new CheckedDrops();
  /** The newest trim that any segment is compacted through. */
  #compactedThrough = 0;
  #lastTime = 0;
  #nextSeq = 0;
  #previousHash: Uint8Array | undefined;
  /** Of the newest checkpoint event: what its root covers. */
  #checkpointSeq = 0;

  constructor(options: ShardCheckOptions) {
    this.#options = options;
    this.#logDirectory = `${options.directory}/log`;
    this.#treeDirectory = `${options.directory}/tree`;
  }

  async run(): Promise<ShardReport> {
    const { platform, scratch, shard, databaseId } = this.#options;
    const log = await ShardLog.open({ platform, directory: this.#logDirectory, shard, databaseId, segmentBytes: SEGMENT_BYTES });
    const tree = await this.#openTree();
    this.#scratchTree = await TreeStore.open({
      platform: scratch,
      directory: this.#treeDirectory,
      shard,
      databaseId,
      cache: new NodeCache(CACHE_BYTES),
    });
    try {
      await log.sealed();
      this.#compactedThrough = log.compactedThrough;
      await this.#scrub(log);
      const roots = tree?.roots(MAX_ROOTS) ?? [];
      await this.#rebuild(log, roots);
      await this.#checkVersions();
      const newest = tree === undefined ? undefined : await this.#checkNewest(tree, roots);
      this.#checkReach(newest?.seq ?? 0, tree?.bytes ?? 0);
      for (const finding of [...log.findings, ...(tree?.findings ?? [])]) this.#found(finding);
      const segments = log.segments();
      return {
        shard,
        segments: segments.length,
        bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
        batches: this.#batches,
        records: this.#records,
        lastSeq: log.durableSeq,
        checkpoints: this.#checkpoints,
        root: this.#root === undefined ? '' : hex(this.#root.hash),
        entries: this.#root?.entries ?? 0,
        tree: newest,
      };
    } finally {
      this.#scratchTree.close();
      tree?.close();
      await log.close();
    }
  }

  #found(finding: Finding): void {
    this.#options.report({ severity: HARMLESS.has(finding.kind) ? 'note' : 'damage', ...finding });
  }

  #damage(file: string, offset: number, fromSeq: number, toSeq: number, detail: string): void {
    this.#options.report({ severity: 'damage', kind: 'damaged', file, offset, fromSeq, toSeq, detail });
  }

  async #openTree(): Promise<TreeStore | undefined> {
    const { platform, shard, databaseId } = this.#options;
    if (!platform.files.exists(this.#treeDirectory)) return undefined;
    return TreeStore.open({ platform, directory: this.#treeDirectory, shard, databaseId, cache: new NodeCache(CACHE_BYTES) });
  }

  async #scrub(log: ShardLog): Promise<void> {
    const { progress, platform } = this.#options;
    const steps = log.scrub();
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) {
        for (const finding of step.value) this.#found(finding);
        return;
      }
      progress(step.value.bytes, 2 * step.value.totalBytes);
      await platform.clock.yield();
    }
  }

  /** Folds the log into the scratch tree, stopping where a root is named, to compare. */
  async #rebuild(log: ShardLog, roots: readonly SeqRoot[]): Promise<void> {
    const { progress, platform } = this.#options;
    const named = new Map<number, SeqRoot[]>();
    for (const root of roots) named.set(root.seq, [...(named.get(root.seq) ?? []), root]);
    const stops = [...named.keys()].sort((a, b) => a - b);
    const total = log.segments().reduce((sum, segment) => sum + segment.bytes, 0);
    let sinceYield = 0;
    for (const item of log.batches(1)) {
      if (isGap(item)) {
        this.#holeAt = Math.min(this.#holeAt, item.gap.fromSeq);
        this.#damage(this.#logDirectory, 0, item.gap.fromSeq, item.gap.toSeq, 'these seqs cannot be read');
        continue;
      }
      while (stops[0] !== undefined && stops[0] < item.firstSeq) await this.#compareRoots(stops.shift() as number, named);
      this.#checkBatch(item);
      if (item.event?.type === 'trim') this.#drops.met(item.firstSeq, item.event.runs);
      if (item.event?.type === 'checkpoint') await this.#checkEvent(item.firstSeq, item.event);
      if (this.#changes.length >= MAX_PENDING) await this.#foldThrough(item.lastSeq);
      sinceYield += item.records.length + 1;
      if (sinceYield >= YIELD_EVERY) {
        sinceYield = 0;
        progress(total + (total * item.lastSeq) / Math.max(1, log.durableSeq), 2 * total);
        await platform.clock.yield();
      }
    }
    for (const stop of stops) {
      if (stop <= log.durableSeq) await this.#compareRoots(stop, named);
      else this.#damage(this.#treeDirectory, 0, stop, stop, `a root is of seq ${stop}, beyond the end of the log`);
    }
    await this.#foldThrough(log.durableSeq);
  }

  #checkBatch(batch: StoredBatch): void {
    this.#batches++;
    const first = batch.records[0];
    if (first !== undefined && batch.time <= this.#lastTime)
      this.#damage(this.#logDirectory, 0, batch.firstSeq, batch.lastSeq, 'the batch is not later than the one before it');
    if (first !== undefined) this.#lastTime = batch.time;
    if (batch.firstSeq < this.#nextSeq) this.#damage(this.#logDirectory, 0, batch.firstSeq, batch.lastSeq, 'seqs come twice');
    this.#nextSeq = batch.lastSeq + 1;
    for (const record of batch.records) {
      const problem = recordProblem(record);
      if (problem !== undefined) this.#damage(this.#logDirectory, 0, record.seq, record.seq, problem);
      this.#records++;
      const { seq, time, kind, supersedes } = record;
      const value = writeLeafValue({ time, kind, supersedes, hash: storedRecordHash(this.#options.shard, record) });
      this.#changes.push({ seq, change: { key: treeKey(entityKeyFromBytes(record.collection, record.key), seq), value } });
    }
  }

  async #checkEvent(seq: number, event: CheckpointEvent): Promise<void> {
    const { throughSeq, root, entries } = event;
    if (this.#previousHash !== undefined && !equalBytes(event.previous, this.#previousHash)) {
      this.#damage(this.#logDirectory, 0, seq, seq, 'the checkpoint does not name the one before it');
    }
    this.#previousHash = hashCheckpoint(event);
    this.#checkpointSeq = throughSeq;
    if (!this.#canBuild(throughSeq)) return;
    await this.#foldThrough(throughSeq);
    // Without its root in the tree files a checkpoint may have been passed by: then only the newest roots tell.
    const built = this.#built.get(throughSeq);
    if (built === undefined && this.#foldedSeq > throughSeq) return;
    this.#checkpoints++;
    if (built === undefined || !equalBytes(built.hash, root) || built.entries !== entries) {
      this.#damage(
        this.#logDirectory,
        0,
        seq,
        seq,
        `the checkpoint through ${throughSeq} names root ${hex(root)} of ${entries} entries; the log gives ${built === undefined ? 'none' : hex(built.hash)} of ${built?.entries ?? 0}`,
      );
    }
  }

  async #compareRoots(seq: number, named: ReadonlyMap<number, readonly SeqRoot[]>): Promise<void> {
    if (!this.#canBuild(seq)) return;
    await this.#foldThrough(seq);
    for (const { root } of named.get(seq) ?? []) {
      const built = this.#built.get(seq);
      if (built !== undefined && equalBytes(built.hash, root.hash) && built.entries === root.entries) continue;
      const path = `${this.#treeDirectory}/${treeFileName(root.file)}`;
      this.#damage(
        path,
        root.offset,
        seq,
        seq,
        `the tree of seq ${seq} has root ${hex(root.hash)}; the log gives ${built === undefined ? 'none' : hex(built.hash)}`,
      );
    }
  }

  /** Whether the log still holds all that the root of `seq` counted. */
  #canBuild(seq: number): boolean {
    return seq < this.#holeAt && seq >= this.#compactedThrough;
  }

  async #foldThrough(seq: number): Promise<void> {
    if (seq < this.#foldedSeq) return;
    const pause = () => this.#options.platform.clock.yield();
    const dropped = this.#drops.take(seq);
    const due = this.#changes.filter((entry) => entry.seq <= seq && dropped?.has(entry.seq) !== true);
    this.#changes = this.#changes.filter((entry) => entry.seq > seq);
    const changes = due.map(({ change }) => change);
    if (dropped !== undefined && this.#root !== undefined)
      changes.push(...(await removals(this.#scratchTree.cursor(this.#root), dropped, pause)));
    changes.sort((a, b) => Buffer.compare(a.key, b.key));
    if (changes.length > 0 || this.#root === undefined) this.#root = await this.#scratchTree.fold(this.#root, changes, seq, pause);
    this.#foldedSeq = seq;
    this.#built.set(seq, this.#root);
  }

  /** Each version names the one before it, over every entity: neighbours in the tree, but for those that a trim dropped. */
  async #checkVersions(): Promise<void> {
    if (this.#root === undefined || this.#holeAt < Number.POSITIVE_INFINITY) return;
    const cursor = this.#scratchTree.cursor(this.#root);
    let newer: { entity: string; seq: number; supersedes: number } | undefined;
    let seen = 0;
    for (let valid = cursor.seekFirst(); valid; valid = cursor.next()) {
      const { seq, supersedes } = new LeafEntry(cursor.seq(), cursor.value());
      const here = { entity: cursor.entity(), seq, supersedes };
      const expected = newer?.entity === here.entity ? here.seq : 0;
      if (newer !== undefined && newer.supersedes !== expected && !this.#isDropped(newer.supersedes, expected)) {
        this.#damage(
          this.#logDirectory,
          0,
          newer.seq,
          newer.seq,
          `the record supersedes ${newer.supersedes}; the version before it is ${expected}`,
        );
      }
      newer = here;
      if (++seen % YIELD_EVERY === 0) await this.#options.platform.clock.yield();
    }
    if (newer !== undefined && newer.supersedes !== 0 && !this.#isDropped(newer.supersedes, 0))
      this.#damage(this.#logDirectory, 0, newer.seq, newer.seq, `the record supersedes ${newer.supersedes}, which is not there`);
  }

  /** Whether a trim dropped the version that was superseded, and with it those between it and `next`. */
  #isDropped(superseded: number, next: number): boolean {
    return superseded > next && this.#drops.has(superseded);
  }

  /** A root is durable before its checkpoint is logged. No tree at all is nothing to worry about: the next open builds one. */
  #checkReach(newestSeq: number, treeBytes: number): void {
    if (newestSeq >= this.#checkpointSeq) return;
    const detail = `the newest checkpoint covers seq ${this.#checkpointSeq}, the newest root in the tree files ${newestSeq === 0 ? 'none' : newestSeq}`;
    const finding = {
      kind: 'missing',
      file: this.#treeDirectory,
      offset: 0,
      fromSeq: newestSeq,
      toSeq: this.#checkpointSeq,
      detail,
    } as const;
    this.#options.report({ severity: treeBytes === 0 ? 'note' : 'damage', ...finding });
  }

  /** Every node of the newest version of the tree, from disk. */
  async #checkNewest(tree: TreeStore, roots: readonly SeqRoot[]): Promise<ShardReport['tree']> {
    const newest = roots[0];
    if (newest === undefined) return undefined;
    const steps = checkTree(tree, newest.root);
    for (let step = steps.next(), seen = 1; ; step = steps.next(), seen++) {
      if (step.done === true) {
        for (const { file, offset, what } of step.value.problems)
          this.#damage(`${this.#treeDirectory}/${treeFileName(file)}`, offset, 0, 0, what);
        return { seq: newest.seq, root: hex(newest.root.hash), nodes: step.value.nodes };
      }
      if (seen % 64 === 0) await this.#options.platform.clock.yield();
    }
  }
}

/** What checksums cannot tell: whether the content was ever right. */
function recordProblem(record: StoredRecord): string | undefined {
  const { seq, refs, supersedes, kind, body, key, bodyHash } = record;
  if (refs.some((ref) => ref >= seq || ref === 0)) return 'the record refers forwards';
  if (supersedes >= seq) return 'the record supersedes a later one';
  try {
    checkKey(Buffer.from(key.buffer, key.byteOffset, key.length).toString('utf8'));
    if (kind === KIND_PUT && bodyHash === undefined && !canonicalFromBytes(body).equals(body)) return 'the body is not canonical JSON';
  } catch (error) {
    if (isVarveError(error, 'INVALID')) return error.message;
    throw error;
  }
  return undefined;
}
