/**
 * How one shard erases: an erasure is logged, then carried out in every file of this copy.
 *
 *   event -> `_erasures`, not done -> no answer holds the bodies -> what rewinds set aside, segments, `.damaged` files -> done
 *
 * Invariants: an erasure is done only once no file here holds a body that it covers, dropped versions included; nothing logged above the
 * quorum's seq is carried out. A crash: `_erasures` says it is not done, and it is carried out again from the start; a copy that takes
 * no writes cannot say so, and looks for bodies when it is opened (shard-upkeep.ts).
 */
import type { BatchLimits } from './batch.js';
import type { CompactHost } from './compaction/compact-host.js';
import type { Certificate, CompactOptions } from './compaction/compact-shard.js';
import type { Pace } from './compaction/pace.js';
import type { ErasedEntity } from './compaction/task.js';
import { VarveError } from './errors.js';
import { entityKey } from './format/keys.js';
import type { JobControl } from './jobs.js';
import type { LogEvent, ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { type AsideFiles, eraseAside, hasAside } from './replica/aside.js';
import { ERASURES, type Erasure, type Erasures, erasureBody, erasureKey } from './retention/erasures.js';
import type { KnownDrops } from './retention/known-drops.js';
import type { Shard } from './shard.js';
import { shardDirectory } from './shard-contents.js';
import type { ShardIndex } from './shard-index.js';
import { logSystemItems } from './system-records.js';
import { recordId } from './types.js';
import { newestFirst } from './version-ranges.js';

export interface ShardErasingDeps {
  readonly shard: Shard;
  readonly platform: Platform;
  readonly databaseId: Uint8Array;
  readonly erasures: Erasures;
  readonly drops: Pick<KnownDrops, 'values' | 'quorumSeq'>;
  log(): ShardLog;
  index(): ShardIndex;
  insertEvent(event: LogEvent): Promise<number>;
  compact(host: CompactHost, pace: Pace, options: CompactOptions, progress: (share: number) => void): Promise<Certificate>;
}

export class ShardErasing {
  readonly #deps: ShardErasingDeps;

  constructor(deps: ShardErasingDeps) {
    this.#deps = deps;
  }

  /** From here on no answer holds the bodies. Throws INVALID where there is nothing to erase. */
  async logErasure(collection: string, key: string, reason: string, limits: BatchLimits): Promise<void> {
    const { shard, erasures, insertEvent } = this.#deps;
    const entity = entityKey(collection, key);
    if (shard.entry(entity, shard.visibleSeq) === undefined) {
      const expected = 'an entity that has versions';
      throw new VarveError('INVALID', `${collection}/${key} has never existed: there is nothing to erase`, { path: 'key', expected });
    }
    const event = { type: 'erasure' as const, collection: Buffer.from(collection), key: Buffer.from(key), reason: Buffer.from(reason) };
    const seq = await insertEvent(event);
    const erasure = { collection, key, reason, seq, done: false };
    await logSystemItems(shard, [{ collection: ERASURES, key: erasureKey(entity), body: erasureBody(erasure) }], limits);
    erasures.set(entity, erasure);
  }

  /** Takes the bodies out of every file of this replica. Throws where a damaged segment still holds some. */
  async carryOut(
    collection: string,
    key: string,
    host: CompactHost,
    pace: Pace,
    limits: BatchLimits,
    control: JobControl,
  ): Promise<{ readonly certificate: Certificate; readonly versions: number }> {
    const { shard, erasures } = this.#deps;
    const entity = entityKey(collection, key);
    const erasure = erasures.get(entity);
    if (erasure === undefined) throw new VarveError('INVALID', 'this entity was not erased', { path: 'key', expected: 'an erased entity' });
    // First: the log is what tells after a crash that this erasure is not done.
    await eraseAside(this.#aside, this.erasedEntities(), (bytes) => pace.spend(bytes));
    const seqs = this.#seqsOf(entity, collection, key, erasure.seq);
    const options = { deadShare: 1, deadBytes: Number.POSITIVE_INFINITY, force: false, urgentSeqs: seqs };
    const certificate = await this.#deps.compact(host, pace, options, (share) => control.progress(share));
    const left = seqs.filter((seq) => (this.#deps.log().read(seq)?.body.length ?? 0) > 0);
    if (left.length > 0) {
      const ids = left.slice(0, 10).map((seq) => recordId(shard.id, seq));
      throw new Error(
        `${left.length} bodies could not be erased, for their segments are damaged or the job was cancelled: ${ids.join(', ')}`,
      );
    }
    this.#removeSetAside();
    if (!shard.replica.takesWrites) {
      erasures.set(entity, { ...erasure, done: true });
      return { certificate, versions: seqs.length };
    }
    const done = { ...erasure, done: true };
    await logSystemItems(shard, [{ collection: ERASURES, key: erasureKey(entity), body: erasureBody(done) }], limits);
    erasures.set(entity, done);
    return { certificate, versions: seqs.length };
  }

  /** Those that may be carried out in files now. */
  erasedEntities(): ErasedEntity[] {
    const { erasures, drops } = this.#deps;
    const safe = erasures.all.filter(({ seq }) => seq <= drops.quorumSeq);
    return safe.map(({ collection, key, seq }) => ({ collection: Buffer.from(collection), key: Buffer.from(key), seq }));
  }

  /** Whether rewinds have set anything aside. */
  get hasAside(): boolean {
    return hasAside(this.#aside);
  }

  /** Whether the log here still reads a body that it covers. */
  holdsBodies(entity: string, { collection, key, seq }: Erasure): boolean {
    return this.#seqsOf(entity, collection, key, seq).some((each) => (this.#deps.log().read(each)?.body.length ?? 0) > 0);
  }

  /** Versions whose bodies may still be in a file, dropped ones not yet compacted away included. */
  #seqsOf(entity: string, collection: string, key: string, beforeSeq: number): number[] {
    const seqs = new Set<number>();
    for (const { seq } of newestFirst(this.#deps.index(), entity, 1, beforeSeq, Number.POSITIVE_INFINITY)) seqs.add(seq);
    for (const seq of this.#deps.drops.values()) {
      const record = seq < beforeSeq ? this.#deps.log().read(seq) : undefined;
      if (record !== undefined && equalText(record.collection, collection) && equalText(record.key, key)) seqs.add(seq);
    }
    return [...seqs].sort((a, b) => a - b);
  }

  get #aside(): AsideFiles {
    const { shard, platform, databaseId } = this.#deps;
    return { platform, directory: `${shardDirectory(shard.id)}/aside`, shard: shard.id, databaseId };
  }

  /** Files that recovery kept because nothing in them could be believed may hold anything. */
  #removeSetAside(): void {
    const { files } = this.#deps.log().context.platform;
    const { directory } = this.#deps.log().context;
    for (const name of files.list(directory)) if (name.endsWith('.damaged')) files.remove(`${directory}/${name}`);
  }
}

function equalText(bytes: Uint8Array, text: string): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(Buffer.from(text));
}
