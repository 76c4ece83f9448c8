/**
 * An open database: the shards, what is common to them, and the way a call finds its shard.
 *
 * Opening: lock -> node.json -> every shard (log, tree, replay) -> placements. A directory without node.json is new;
 * node.json is written last, so that a crash during creation leaves a directory that is simply created again.
 */
import { type BatchLimits, type PreparedBatch, prepareBatch } from './batch.js';
import { Catalog } from './catalog.js';
import { ChangesReader } from './changes.js';
import { listCollections } from './collection-list.js';
import { openDataDirectory } from './data-directory.js';
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
import { VarveError } from './errors.js';
import { Following } from './following.js';
import { checkCollection, checkKey, entityKey } from './format/keys.js';
import { DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_BODY_BYTES } from './format/limits.js';
import { formatTime } from './format/time.js';
import { databaseIdOf, type Identity } from './identity.js';
import { insertEach } from './insert-each.js';
import { InsertImages } from './insert-images.js';
import type { JobControl, JobInfo, JobKind } from './jobs.js';
import type { CompactRequest, ConfirmErasure, EraseRequest } from './keep.js';
import { lazily } from './lazily.js';
import { type LogFile, listLogFiles, readLogFile } from './log-files.js';
import { checkOptions, openShards } from './open-shards.js';
import { PlacementDecisions } from './placement-decisions.js';
import { checkPlacement, Placements } from './placements.js';
import type { Platform } from './platform/platform.js';
import { PointDiff } from './point-diff.js';
import { refuseBeforeHorizons, resolvePoint } from './points.js';
import type { ReplicaShard } from './replica.js';
import { Keeping, type Snapshot } from './retention/keeping.js';
import type { Retention } from './retention/policy.js';
import type { Shard } from './shard.js';
import { rootInfo, shardInfo } from './shard-info.js';
import { type DatabaseStats, readStats } from './stats.js';
import { FoldHost } from './tree/tree-store.js';
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
import { Upkeep } from './upkeep.js';
import type { VerifiableShard } from './verification.js';
import { ShardVerification } from './verifying/shard-verification.js';
import { PositionsView, type ViewSource } from './view.js';

type OneOptions = InsertOptions & Pick<InsertItem, 'refs' | 'expect'>;

const LOCK_FILE = 'lock.sqlite';
/** More than promises hand on what they wait for, from opening to whoever asked for it. */
const MICRO_TURNS = 32;

export class Engine implements Database, ViewSource {
  readonly databaseId: string;
  readonly nodeId: string;
  readonly shardList: readonly Shard[];
  readonly #platform: Platform;
  readonly #limits: BatchLimits;
  readonly #catalog: Catalog;
  readonly #placements: Placements;
  readonly #lock: { release(): void };
  readonly #foldHost: FoldHost;
  readonly #decisions: () => PlacementDecisions;
  readonly #keeping: () => Keeping;
  readonly #upkeep: () => Upkeep;
  readonly #verifications = new Map<number, ShardVerification>();
  readonly #following = new Following(() => this.#loadLogged());
  #closed: Promise<void> | undefined;

  private constructor(parts: {
    platform: Platform;
    options: OpenOptions;
    identity: Identity;
    catalog: Catalog;
    shards: readonly Shard[];
    lock: { release(): void };
    foldHost: FoldHost;
  }) {
    this.#platform = parts.platform;
    this.#catalog = parts.catalog;
    this.#lock = parts.lock;
    this.#foldHost = parts.foldHost;
    this.shardList = parts.shards;
    this.databaseId = parts.identity.database;
    this.nodeId = parts.identity.node;
    const { maxBodyBytes = DEFAULT_MAX_BODY_BYTES, maxBatchBytes = DEFAULT_MAX_BATCH_BYTES } = parts.options;
    this.#limits = { maxBodyBytes, maxBatchBytes };
    this.#placements = new Placements(parts.shards.length, databaseIdOf(parts.identity));
    const { platform, shards, options } = parts;
    this.#decisions = lazily(() => {
      const versions = async (collection: string) => (await this.collection(collection))?.versions ?? 0;
      return new PlacementDecisions({ shards, placements: this.#placements, limits: this.#limits, versions });
    });
    this.#keeping = lazily(() => new Keeping({ shards, limits: this.#limits }));
    this.#upkeep = lazily(() => {
      const shardFor = (collection: string, key: string) => this.#shard(this.shardOf(collection, key));
      return new Upkeep({ platform, shards, keeping: this.#keeping(), limits: this.#limits, options: options.upkeep ?? {}, shardFor });
    });
  }

  static async open(platform: Platform, options: OpenOptions): Promise<Engine> {
    checkOptions(platform, options);
    platform.files.makeDirectory('');
    const lock = platform.files.lock(LOCK_FILE);
    let catalog: Catalog | undefined;
    let shards: readonly Shard[] = [];
    const foldHost = new FoldHost(platform);
    try {
      const identity = await openDataDirectory(platform, options.shards);
      const databaseId = databaseIdOf(identity);
      catalog = new Catalog(platform, databaseId);
      shards = await openShards(platform, options, identity, databaseId, catalog, foldHost);
      const engine = new Engine({ platform, options, identity, catalog, shards, lock, foldHost });
      await engine.#loadLogged(true);
      for (const shard of shards) shard.replica.onChange = () => engine.#following.changed();
      void engine.#startUpkeep();
      return engine;
    } catch (error) {
      await Promise.allSettled(shards.map((shard) => shard.close()));
      await foldHost.close();
      catalog?.close();
      lock.release();
      throw error;
    }
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
      this.checkOpen();
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
    if (this.#closed !== undefined) return undefined;
    return insertEach(items, {
      shards: this.shardCount,
      limits: this.#limits,
      shardOf: (collection, key) => this.shardOf(collection, key),
      mustWait: (some) => this.#decisions().pending(some) !== undefined,
      insert: (batch) => this.#shardOf(batch).insert(batch, {}),
    });
  }

  /** The one shard that all of it lives in. */
  #shardOf(batch: PreparedBatch): Shard {
    return this.#shard(this.#placements.shardOfAll(batch.items));
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
    this.checkOpen();
    return this.at(this.shardList.map((shard) => shard.visibleSeq));
  }

  at(positions: readonly (number | undefined)[]): View {
    return new PositionsView(this, positions);
  }

  async asOf(point: Point): Promise<View> {
    this.checkOpen();
    return this.at(await resolvePoint(this.shardList, this.#platform.clock, point));
  }

  record(id: string): VersionRecord | undefined {
    this.checkOpen();
    const { shard, seq } = parseRecordId(id);
    return this.shardList[shard - 1]?.record(seq);
  }

  async proof(id: string): Promise<RecordProof | undefined> {
    this.checkOpen();
    const { shard, seq } = parseRecordId(id);
    return this.shardList[shard - 1]?.prove(seq);
  }

  changes(options: ChangesOptions = {}): Changes {
    this.checkOpen();
    return new ChangesReader(this, options);
  }

  diff(from: View, to: View, options: DiffOptions = {}): Differences {
    this.checkOpen();
    return new PointDiff(this, from.positions, to.positions, options);
  }

  shardOf(collection: string, key: string): ShardId {
    checkCollection(collection);
    checkKey(key);
    return this.#placements.shardOf(collection, entityKey(collection, key));
  }

  newestTime(shard?: number): Timestamp | undefined {
    const shards = shard === undefined ? this.shardList : [this.#shard(shard)];
    const newest = Math.max(...shards.map((each) => each.log.lastTime));
    return newest === 0 ? undefined : (formatTime(newest) as Timestamp);
  }

  // ---- what views need

  shardFor(collection: string, entity: string): Shard {
    this.checkOpen();
    return this.#shard(this.#placements.shardOf(collection, entity));
  }

  homeOf(collection: string): Shard | undefined {
    this.checkOpen();
    const home = this.#placements.home(collection);
    return home === undefined ? undefined : this.#shard(home);
  }

  yield(): Promise<void> {
    return this.#platform.clock.yield();
  }

  // ---- collections

  async collections(): Promise<CollectionInfo[]> {
    this.checkOpen();
    return listCollections(this.shardList, this.#placements);
  }

  async collection(name: string): Promise<CollectionInfo | undefined> {
    checkCollection(name);
    return (await this.collections()).find((info) => info.name === name);
  }

  async setPlacement(collection: string, placement: string): Promise<CollectionInfo> {
    this.checkOpen();
    checkCollection(collection);
    checkPlacement(collection, placement);
    await this.#decisions().decide(collection, placement);
    return (await this.collection(collection)) as CollectionInfo;
  }

  // ---- keeping, and giving back

  /** Erasures go on at once. Else whoever waited for the opening asks first: Node takes its time over a process's first timer. */
  async #startUpkeep(): Promise<void> {
    const mayBeBehind = !this.shardList.every((shard) => shard.saysNothing);
    for (let i = 0; i < MICRO_TURNS && !mayBeBehind; i++) await undefined;
    if (this.#closed === undefined) this.#upkeep().start();
  }

  /** Damaged shards tell nothing; they refuse what rests on it. */
  async #loadLogged(isFirst = false): Promise<void> {
    for (const shard of this.shardList) await shard.replica.lookAtOwnRecords();
    // Where no log says anything, what has just been made is how things are.
    const isPlain = isFirst && this.shardList.every((shard) => shard.saysNothing);
    if (!isPlain) await this.#decisions().load();
    for (const shard of this.shardList) if (shard.tells) await shard.upkeep.load(this.#limits);
    if (!isPlain) await this.#keeping().load();
    if (!isFirst) this.#upkeep().resume();
  }

  retention(collection: string): Retention {
    checkCollection(collection);
    return this.#keeping().retentionOf(collection);
  }

  async setRetention(collection: string, retention: JsonValue): Promise<Retention> {
    this.checkOpen();
    return this.#keeping().setRetention(collection, retention);
  }

  snapshots(): readonly Snapshot[] {
    return this.#keeping().snapshots;
  }

  snapshot(name: string): Snapshot | undefined {
    return this.#keeping().snapshot(name);
  }

  async createSnapshot(name: string, asOf: Point): Promise<Snapshot> {
    this.checkOpen();
    return this.#keeping().createSnapshot(name, asOf, async () => {
      const { positions } = await this.asOf(asOf);
      refuseBeforeHorizons(this.shardList, positions);
      return positions;
    });
  }

  async deleteSnapshot(name: string): Promise<boolean> {
    this.checkOpen();
    return this.#keeping().deleteSnapshot(name);
  }

  compact(request: CompactRequest = {}): JobInfo {
    this.checkOpen();
    return this.#upkeep().compact(request);
  }

  async erase(request: EraseRequest): Promise<JobInfo> {
    this.checkOpen();
    return this.#upkeep().erase(request);
  }

  confirmErasures(confirm: ConfirmErasure): void {
    this.#upkeep().confirmErasure = confirm;
  }

  jobs(): readonly JobInfo[] {
    return this.#upkeep().jobs.all;
  }

  job(id: string): JobInfo | undefined {
    return this.#upkeep().jobs.get(id);
  }

  cancelJob(id: string): JobInfo | undefined {
    return this.#upkeep().jobs.cancel(id);
  }

  pauseJob(id: string, isPaused: boolean): JobInfo | undefined {
    return this.#upkeep().jobs.pause(id, isPaused);
  }

  startJob(kind: JobKind, request: JsonValue, work: (control: JobControl) => Promise<JsonValue>): JobInfo {
    this.checkOpen();
    return this.#upkeep().jobs.start(kind, request, work);
  }

  watchJob(id: string, tell: (job: JobInfo) => void): () => void {
    return this.#upkeep().jobs.watch(id, tell);
  }

  jobEnded(id: string): Promise<JobInfo | undefined> {
    return this.#upkeep().jobs.ended(id);
  }

  get upkeepFailure(): string | undefined {
    return this.#upkeep().failure;
  }

  // ---- shards

  shards(): ShardInfo[] {
    return this.shardList.map(shardInfo);
  }

  verifiable(shard: number): VerifiableShard {
    const known = this.#verifications.get(shard);
    if (known !== undefined) return known;
    const made = new ShardVerification(
      this.#shard(shard),
      this.#platform.clock,
      (seq) => this.replica(shard).rootAt(seq),
      () => this.#catalog.check(),
    );
    this.#verifications.set(shard, made);
    return made;
  }

  replica(shard: number): ReplicaShard {
    return this.#shard(shard).replica;
  }

  stats(): DatabaseStats {
    return readStats(this.shardList, this.shards());
  }

  async root(shard: number, seq?: number): Promise<RootInfo | undefined> {
    this.checkOpen();
    return rootInfo(this.#shard(shard), seq);
  }

  logFiles(): LogFile[] {
    this.checkOpen();
    return listLogFiles(this.shardList);
  }

  readLogFile(shard: number, name: string, offset: number, length: number): Buffer | undefined {
    this.checkOpen();
    return readLogFile(this.#platform, this.#shard(shard), name, offset, length);
  }

  async checkpoint(shard?: number): Promise<void> {
    this.checkOpen();
    await Promise.all((shard === undefined ? this.shardList : [this.#shard(shard)]).map((each) => each.checkpoint()));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#following.close();
    await this.#upkeep().close();
    for (const verification of this.#verifications.values()) verification.close();
    const results = await Promise.allSettled(this.shardList.map((shard) => shard.close()));
    await this.#foldHost.close();
    this.#catalog.close();
    this.#lock.release();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  #shard(id: number): Shard {
    const shard = this.shardList[id - 1];
    if (shard !== undefined) return shard;
    throw new VarveError('INVALID', `there is no shard ${id}`, { path: 'shard', expected: `1 to ${this.shardList.length}` });
  }

  checkOpen(): void {
    if (this.#closed !== undefined) throw new VarveError('CLOSED', 'the database is closed', {});
  }
}

function firstRecord({ records }: InsertResult): RecordHeader {
  return records[0] as RecordHeader;
}
