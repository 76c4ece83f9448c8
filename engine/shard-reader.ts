/** Synchronous reads of one shard: the index says which version, the log gives it. Whether they may be answered is the shard's to say. */
import { VarveError } from './errors.js';
import type { IndexEntry } from './format/leaf-value.js';
import { KIND_PUT, type ShardLog } from './log/index.js';
import { ListedVersion, StoredVersion } from './record-view.js';
import type { Erasures } from './retention/erasures.js';
import type { ShardIndex } from './shard-index.js';
import type { ShardId } from './types.js';

/** An entity of a listing: its key bytes (latin1), for merging shards in order, and its version. */
export interface ListedEntity {
  readonly entity: string;
  readonly version: ListedVersion;
}

export class ShardReader {
  readonly #shard: ShardId;
  readonly #log: ShardLog;
  readonly #index: ShardIndex;
  readonly #erasures: Erasures;
  readonly #readListed: (seq: number) => StoredVersion;

  /** `checkOpen` throws once the log is closed: a listed version may be asked for its body long after. */
  constructor(shard: ShardId, log: ShardLog, index: ShardIndex, erasures: Erasures, checkOpen: () => void) {
    this.#shard = shard;
    this.#erasures = erasures;
    this.#log = log;
    this.#index = index;
    this.#readListed = (seq) => {
      checkOpen();
      return this.#read(seq, undefined);
    };
  }

  /** The entity's newest version up to `seq`. */
  newest(entity: string, seq: number): StoredVersion | undefined {
    const entry = this.#index.find(entity, seq);
    return entry === undefined ? undefined : this.#read(entry.seq, entry);
  }

  /** Versions newest first, seqs within [fromSeq, toSeq], at most `limit`. */
  newestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#take(this.#index.versions(entity, fromSeq, toSeq), limit);
  }

  /** The oldest `limit` of those, oldest first. */
  oldestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#take(this.#index.versionsAscending(entity, fromSeq, toSeq), limit);
  }

  /** Entities alive at `seq`, from `from` on and before `until`, at most `limit`, in key order; bodies are read when asked for. */
  alive(from: string, until: string, seq: number, limit: number): ListedEntity[] {
    const found: ListedEntity[] = [];
    if (limit <= 0) return found;
    for (const { entity, entry } of this.#index.entities(from, seq)) {
      if (entity >= until) break;
      if (entry.kind !== KIND_PUT) continue;
      found.push({ entity, version: new ListedVersion(this.#shard, entity, entry, this.#readListed) });
      if (found.length === limit) break;
    }
    return found;
  }

  #take(entries: Iterable<IndexEntry>, limit: number): StoredVersion[] {
    const taken: StoredVersion[] = [];
    if (limit <= 0) return taken;
    for (const entry of entries) {
      taken.push(this.#read(entry.seq, entry));
      if (taken.length === limit) break;
    }
    return taken;
  }

  #read(seq: number, entry: IndexEntry | undefined): StoredVersion {
    const stored = this.#log.read(seq);
    if (stored !== undefined) return new StoredVersion(this.#shard, stored, entry, this.#erasures);
    const what = `the index names seq ${seq}, which the log does not hold`;
    throw new VarveError('CORRUPT', `shard ${this.#shard}: ${what}`, { file: this.#log.context.directory, offset: 0, what });
  }
}
