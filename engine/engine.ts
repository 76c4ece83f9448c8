/**
 * An open database as its callers have it: the way a call finds its shard, and what it is answered with.
 *
 * Owns nothing: the shards, and what is common to them, come up and go down in engine-parts.ts. Invariant: what reads or writes records is
 * refused once closing has begun. What a crash does is told by the parts.
 */
import { type BatchLimits, type PreparedBatch, prepareBatch } from './batch.js';
import { ChangesReader } from './changes.js';
import type {
  Changes,
  ChangesOptions,
  CollectionInfo,
  Database,
  Differences,
  DiffOptions,
  OpenOptions,
  RecordProof,
  RootInfo,
  ShardInfo,
  View,
} from './database.js';
import { EngineParts } from './engine-parts.js';
import { checkCollection } from './format/keys.js';
import { formatTime } from './format/time.js';
import { insertEach } from './insert-each.js';
import { InsertImages } from './insert-images.js';
import type { JobControl, JobInfo, JobKind } from './jobs.js';
import type { CompactRequest, ConfirmErasure, EraseRequest } from './keep.js';
import { type LogFile, listLogFiles, readLogFile } from './log-files.js';
import type { PlacementDecisions } from './placement-decisions.js';
import { checkPlacement, type Placements } from './placements.js';
import type { Platform } from './platform/platform.js';
import { PointDiff } from './point-diff.js';
import { refuseBeforeHorizons, resolvePoint } from './points.js';
import type { ReplicaShard } from './replica.js';
import type { Snapshot } from './retention/keeping.js';
import type { Retention } from './retention/policy.js';
import type { Shard } from './shard.js';
import { rootInfo, shardInfo } from './shard-info.js';
import { type DatabaseStats, readStats } from './stats.js';
import {
  type InsertedPart,
  type InsertItem,
  type InsertOptions,
  type InsertResult,
  type JsonValue,
  type Point,
  parseRecordId,
  type RecordHeader,
  type ShardId,
  type Timestamp,
  type VersionRecord,
} from './types.js';
import type { VerifiableShard } from './verification.js';
import { PositionsView, type ViewSource } from './view.js';

type OneOptions = InsertOptions & Pick<InsertItem, 'refs' | 'expect'>;

export class Engine implements Database, ViewSource {
  readonly databaseId: string;
  readonly nodeId: string;
  readonly shardList: readonly Shard[];
  readonly #parts: EngineParts;
  readonly #limits: BatchLimits;
  readonly #placements: Placements;
  readonly #decisions: () => PlacementDecisions;

  private constructor(parts: EngineParts) {
    this.#parts = parts;
    this.shardList = parts.shards;
    this.databaseId = parts.identity.database;
    this.nodeId = parts.identity.node;
    this.#limits = parts.limits;
    this.#placements = parts.placements;
    this.#decisions = parts.decisions;
  }

  static async open(platform: Platform, options: OpenOptions): Promise<Engine> {
    const parts = await EngineParts.open(platform, options);
    void parts.startUpkeep();
    return new Engine(parts);
  }

  get shardCount(): number {
    return this.shardList.length;
  }

  // ---- writing

  room(): Promise<void> | undefined {
    for (const shard of this.shardList) {
      const wait = shard.room();
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  insert(items: readonly InsertItem[] | InsertImages, options: InsertOptions = {}): Promise<InsertResult> {
    try {
      this.#parts.checkOpen();
      const batch = this.#batchOf(items);
      const wait = this.#decisions().pending(batch.items);
      return wait === undefined ? this.#shardOf(batch).insert(batch, options) : this.#insertAfter(wait, batch, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #batchOf(items: readonly InsertItem[] | InsertImages): PreparedBatch {
    if (!(items instanceof InsertImages)) return prepareBatch(items, this.#limits, false);
    const prepared = items.isEach ? undefined : items.prepared(this.#limits);
    return prepared ?? prepareBatch(items.asItems(), this.#limits, false);
  }

  async #insertAfter(decision: Promise<unknown>, batch: PreparedBatch, options: InsertOptions): Promise<InsertResult> {
    for (let wait: Promise<unknown> | undefined = decision; wait !== undefined; wait = this.#decisions().pending(batch.items)) await wait;
    return this.#shardOf(batch).insert(batch, options);
  }

  insertEach(items: readonly InsertItem[] | InsertImages): readonly InsertedPart[] | undefined {
    if (this.#parts.isClosed) return undefined;
    return insertEach(items, {
      shards: this.shardCount,
      limits: this.#limits,
      shardOf: (collection, key) => this.#parts.shardOf(collection, key),
      mustWait: (some) => this.#decisions().pending(some) !== undefined,
      insert: (batch) => this.#shardOf(batch).insert(batch, {}),
    });
  }

  /** The one shard that all of it lives in. */
  #shardOf(batch: PreparedBatch): Shard {
    return this.#parts.shard(this.#placements.shardOfAll(batch.items));
  }

  put(collection: string, key: string, body: JsonValue, options: OneOptions = {}): Promise<RecordHeader> {
    return this.#insertOne({ collection, key, body }, options);
  }

  delete(collection: string, key: string, options: OneOptions = {}): Promise<RecordHeader> {
    return this.#insertOne({ collection, key, deleted: true }, options);
  }

  #insertOne(item: InsertItem, options: OneOptions): Promise<RecordHeader> {
    const { refs, expect } = options;
    if (refs !== undefined) item.refs = refs;
    if (expect !== undefined) item.expect = expect;
    return this.insert([item], options).then(firstRecord);
  }

  // ---- reading

  now(): View {
    this.#parts.checkOpen();
    return this.at(this.shardList.map((shard) => shard.visibleSeq));
  }

  at(positions: readonly (number | undefined)[]): View {
    return new PositionsView(this, positions);
  }

  async asOf(point: Point): Promise<View> {
    this.#parts.checkOpen();
    return this.at(await resolvePoint(this.shardList, this.#parts.platform.clock, point));
  }

  record(id: string): VersionRecord | undefined {
    this.#parts.checkOpen();
    const { shard, seq } = parseRecordId(id);
    return this.shardList[shard - 1]?.record(seq);
  }

  async proof(id: string): Promise<RecordProof | undefined> {
    this.#parts.checkOpen();
    const { shard, seq } = parseRecordId(id);
    return this.shardList[shard - 1]?.prove(seq);
  }

  changes(options: ChangesOptions = {}): Changes {
    this.#parts.checkOpen();
    return new ChangesReader(this, options);
  }

  diff(from: View, to: View, options: DiffOptions = {}): Differences {
    this.#parts.checkOpen();
    return new PointDiff(this, from.positions, to.positions, options);
  }

  shardOf(collection: string, key: string): ShardId {
    return this.#parts.shardOf(collection, key);
  }

  newestTime(shard?: number): Timestamp | undefined {
    const shards = shard === undefined ? this.shardList : [this.#parts.shard(shard)];
    const newest = Math.max(...shards.map((each) => each.log.lastTime));
    return newest === 0 ? undefined : (formatTime(newest) as Timestamp);
  }

  // ---- what views need

  shardFor(collection: string, entity: string): Shard {
    this.#parts.checkOpen();
    return this.#parts.shard(this.#placements.shardOf(collection, entity));
  }

  homeOf(collection: string): Shard | undefined {
    this.#parts.checkOpen();
    const home = this.#placements.home(collection);
    return home === undefined ? undefined : this.#parts.shard(home);
  }

  yield(): Promise<void> {
    return this.#parts.platform.clock.yield();
  }

  // ---- collections

  collections(): Promise<CollectionInfo[]> {
    return this.#parts.collections();
  }

  collection(name: string): Promise<CollectionInfo | undefined> {
    return this.#parts.collection(name);
  }

  async setPlacement(collection: string, placement: string): Promise<CollectionInfo> {
    this.#parts.checkOpen();
    checkCollection(collection);
    checkPlacement(collection, placement);
    await this.#decisions().decide(collection, placement);
    return (await this.collection(collection)) as CollectionInfo;
  }

  // ---- keeping, and giving back

  retention(collection: string): Retention {
    checkCollection(collection);
    return this.#parts.keeping().retentionOf(collection);
  }

  async setRetention(collection: string, retention: JsonValue): Promise<Retention> {
    this.#parts.checkOpen();
    return this.#parts.keeping().setRetention(collection, retention);
  }

  snapshots(): readonly Snapshot[] {
    return this.#parts.keeping().snapshots;
  }

  snapshot(name: string): Snapshot | undefined {
    return this.#parts.keeping().snapshot(name);
  }

  async createSnapshot(name: string, asOf: Point): Promise<Snapshot> {
    this.#parts.checkOpen();
    return this.#parts.keeping().createSnapshot(name, asOf, async () => {
      const { positions } = await this.asOf(asOf);
      refuseBeforeHorizons(this.shardList, positions);
      return positions;
    });
  }

  async deleteSnapshot(name: string): Promise<boolean> {
    this.#parts.checkOpen();
    return this.#parts.keeping().deleteSnapshot(name);
  }

  compact(request: CompactRequest = {}): JobInfo {
    this.#parts.checkOpen();
    return this.#parts.upkeep().compact(request);
  }

  async erase(request: EraseRequest): Promise<JobInfo> {
    this.#parts.checkOpen();
    return this.#parts.upkeep().erase(request);
  }

  confirmErasures(confirm: ConfirmErasure): void {
    this.#parts.upkeep().confirmErasure = confirm;
  }

  jobs(): readonly JobInfo[] {
    return this.#parts.upkeep().jobs.all;
  }

  job(id: string): JobInfo | undefined {
    return this.#parts.upkeep().jobs.get(id);
  }

  cancelJob(id: string): JobInfo | undefined {
    return this.#parts.upkeep().jobs.cancel(id);
  }

  pauseJob(id: string, isPaused: boolean): JobInfo | undefined {
    return this.#parts.upkeep().jobs.pause(id, isPaused);
  }

  startJob(kind: JobKind, request: JsonValue, work: (control: JobControl) => Promise<JsonValue>): JobInfo {
    this.#parts.checkOpen();
    return this.#parts.upkeep().jobs.start(kind, request, work);
  }

  watchJob(id: string, tell: (job: JobInfo) => void): () => void {
    return this.#parts.upkeep().jobs.watch(id, tell);
  }

  jobEnded(id: string): Promise<JobInfo | undefined> {
    return this.#parts.upkeep().jobs.ended(id);
  }

  get upkeepFailure(): string | undefined {
    return this.#parts.upkeep().failure;
  }

  // ---- shards

  shards(): ShardInfo[] {
    return this.shardList.map(shardInfo);
  }

  verifiable(shard: number): VerifiableShard {
    return this.#parts.verifiable(shard);
  }

  replica(shard: number): ReplicaShard {
    return this.#parts.shard(shard).replica;
  }

  stats(): DatabaseStats {
    return readStats(this.shardList, this.shards());
  }

  async root(shard: number, seq?: number): Promise<RootInfo | undefined> {
    this.#parts.checkOpen();
    return rootInfo(this.#parts.shard(shard), seq);
  }

  logFiles(): LogFile[] {
    this.#parts.checkOpen();
    return listLogFiles(this.shardList);
  }

  readLogFile(shard: number, name: string, offset: number, length: number): Buffer | undefined {
    this.#parts.checkOpen();
    return readLogFile(this.#parts.platform, this.#parts.shard(shard), name, offset, length);
  }

  async checkpoint(shard?: number): Promise<void> {
    this.#parts.checkOpen();
    await Promise.all((shard === undefined ? this.shardList : [this.#parts.shard(shard)]).map((each) => each.checkpoint()));
  }

  checkOpen(): void {
    this.#parts.checkOpen();
  }

  close(): Promise<void> {
    return this.#parts.close();
  }
}

function firstRecord({ records }: InsertResult): RecordHeader {
  return records[0] as RecordHeader;
}
