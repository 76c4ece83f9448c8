/**
 * What an open database is made of besides its shards, and how all of it comes up and goes down.
 *
 *   lock -> node.json -> every shard (log, tree, replay) -> what their logs say: placements, retention, snapshots, erasures -> upkeep
 *
 * Invariants: all of it is open, or nothing is held. What no first answer needs is made when it is first asked for. A directory without
 * node.json is new; node.json is written last, so that a crash during creation leaves a directory that is simply created again.
 */
import type { BatchLimits } from './batch.js';
import { Catalog } from './catalog.js';
import { listCollections } from './collection-list.js';
import { openDataDirectory } from './data-directory.js';
import type { CollectionInfo, OpenOptions } from './database.js';
import { VarveError } from './errors.js';
import { Following } from './following.js';
import { checkCollection, checkKey, entityKey } from './format/keys.js';
import { DEFAULT_MAX_BATCH_BYTES, DEFAULT_MAX_BODY_BYTES } from './format/limits.js';
import { databaseIdOf, type Identity } from './identity.js';
import { lazily } from './lazily.js';
import { checkOptions, openShards } from './open-shards.js';
import { PlacementDecisions } from './placement-decisions.js';
import { Placements } from './placements.js';
import type { Platform } from './platform/platform.js';
import { Keeping } from './retention/keeping.js';
import type { Shard } from './shard.js';
import { FoldHost } from './tree/tree-store.js';
import type { ShardId } from './types.js';
import { Upkeep } from './upkeep.js';
import type { VerifiableShard } from './verification.js';
import { ShardVerification } from './verifying/shard-verification.js';

const LOCK_FILE = 'lock.sqlite';
/** More than promises hand on what they wait for, from opening to whoever asked for it. */
const MICRO_TURNS = 32;

/** What closing gives back. */
interface Held {
  readonly lock: { release(): void };
  readonly catalog: Catalog;
  readonly foldHost: FoldHost;
}

export class EngineParts {
  readonly platform: Platform;
  readonly identity: Identity;
  readonly shards: readonly Shard[];
  readonly limits: BatchLimits;
  readonly placements: Placements;
  readonly decisions: () => PlacementDecisions;
  readonly keeping: () => Keeping;
  readonly upkeep: () => Upkeep;
  readonly #held: Held;
  readonly #verifications = new Map<number, ShardVerification>();
  readonly #following = new Following(() => this.#loadLogged());
  #closed: Promise<void> | undefined;

  private constructor(platform: Platform, options: OpenOptions, identity: Identity, shards: readonly Shard[], held: Held) {
    this.platform = platform;
    this.identity = identity;
    this.shards = shards;
    this.#held = held;
    const { maxBodyBytes = DEFAULT_MAX_BODY_BYTES, maxBatchBytes = DEFAULT_MAX_BATCH_BYTES } = options;
    this.limits = { maxBodyBytes, maxBatchBytes };
    this.placements = new Placements(shards.length, databaseIdOf(identity));
    this.decisions = lazily(() => {
      const versions = async (collection: string) => (await this.collection(collection))?.versions ?? 0;
      return new PlacementDecisions({ shards, placements: this.placements, limits: this.limits, versions });
    });
    this.keeping = lazily(() => new Keeping({ shards, limits: this.limits }));
    this.upkeep = lazily(() => {
      const shardFor = (collection: string, key: string) => this.shard(this.shardOf(collection, key));
      return new Upkeep({ platform, shards, keeping: this.keeping(), limits: this.limits, options: options.upkeep ?? {}, shardFor });
    });
  }

  static async open(platform: Platform, options: OpenOptions): Promise<EngineParts> {
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
      const parts = new EngineParts(platform, options, identity, shards, { lock, catalog, foldHost });
      await parts.#loadLogged(true);
      for (const shard of shards) shard.replica.onChange = () => parts.#following.changed();
      return parts;
    } catch (error) {
      await Promise.allSettled(shards.map((shard) => shard.close()));
      await foldHost.close();
      catalog?.close();
      lock.release();
      throw error;
    }
  }

  /**
   * Once it is open. Erasures go on at once. Else whoever waited for the opening asks first: Node takes its time over a process's first
   * timer.
   */
  async startUpkeep(): Promise<void> {
    const mayBeBehind = !this.shards.every((shard) => shard.saysNothing);
    for (let i = 0; i < MICRO_TURNS && !mayBeBehind; i++) await undefined;
    if (!this.isClosed) this.upkeep().start();
  }

  /** Damaged shards tell nothing; they refuse what rests on it. */
  async #loadLogged(isFirst = false): Promise<void> {
    for (const shard of this.shards) await shard.replica.lookAtOwnRecords();
    // Where no log says anything, what has just been made is how things are.
    const isPlain = isFirst && this.shards.every((shard) => shard.saysNothing);
    if (!isPlain) await this.decisions().load();
    for (const shard of this.shards) if (shard.tells) await shard.upkeep.load(this.limits);
    if (!isPlain) await this.keeping().load();
    if (!isFirst) this.upkeep().resume();
  }

  // ---- what the others ask

  /** Throws INVALID for one that there is not. */
  shard(id: number): Shard {
    const shard = this.shards[id - 1];
    if (shard !== undefined) return shard;
    throw new VarveError('INVALID', `there is no shard ${id}`, { path: 'shard', expected: `1 to ${this.shards.length}` });
  }

  shardOf(collection: string, key: string): ShardId {
    checkCollection(collection);
    checkKey(key);
    return this.placements.shardOf(collection, entityKey(collection, key));
  }

  async collections(): Promise<CollectionInfo[]> {
    this.checkOpen();
    return listCollections(this.shards, this.placements);
  }

  async collection(name: string): Promise<CollectionInfo | undefined> {
    checkCollection(name);
    return (await this.collections()).find((info) => info.name === name);
  }

  verifiable(id: number): VerifiableShard {
    const known = this.#verifications.get(id);
    if (known !== undefined) return known;
    const shard = this.shard(id);
    const made = new ShardVerification(
      shard,
      this.platform.clock,
      (seq) => shard.replica.rootAt(seq),
      () => this.#held.catalog.check(),
    );
    this.#verifications.set(id, made);
    return made;
  }

  // ---- closing

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Throws CLOSED. */
  checkOpen(): void {
    if (this.#closed !== undefined) throw new VarveError('CLOSED', 'the database is closed', {});
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { lock, catalog, foldHost } = this.#held;
    await this.#following.close();
    await this.upkeep().close();
    for (const verification of this.#verifications.values()) verification.close();
    const results = await Promise.allSettled(this.shards.map((shard) => shard.close()));
    await foldHost.close();
    catalog.close();
    lock.release();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}
