/** Synchronous reads of one shard: the index says which version, the log gives it. Whether they may be answered is the shard's to say. */
import { isVarveError, VarveError } from './errors.js';
import type { IndexEntry } from './format/leaf-value.js';
import type { ShardLog } from './log/index.js';
import { EntityNames, ListedVersion, StoredVersion } from './record-view.js';
import type { Erasures } from './retention/erasures.js';
import type { ShardIndex } from './shard-index.js';
import type { ShardId } from './types.js';
import { alive, newestFirst, oldestFirst } from './version-ranges.js';

/** An entity of a listing. */
export type ListedEntity = ListedVersion;

export class ShardReader {
  readonly #shard: ShardId;
  readonly #log: ShardLog;
  readonly #index: ShardIndex;
  readonly #erasures: Erasures;
  readonly #readListed: (entry: IndexEntry) => StoredVersion;

  /** `checkOpen` throws once the log is closed: a listed version may be asked for its body long after. */
  constructor(shard: ShardId, log: ShardLog, index: ShardIndex, erasures: Erasures, checkOpen: () => void) {
    this.#shard = shard;
    this.#erasures = erasures;
    this.#log = log;
    this.#index = index;
    this.#readListed = (entry) => {
      checkOpen();
      return this.#read(entry);
    };
  }

  /** The entity's newest version up to `seq`. */
  newest(entity: string, seq: number): StoredVersion | undefined {
    const hint = this.#index.newestHint(entity);
    if (hint > 0 && hint <= seq) {
      const hinted = this.#readHinted(entity, hint);
      if (hinted !== undefined) return hinted;
    }
    const entry = this.#index.find(entity, seq);
    return entry === undefined ? undefined : this.#read(entry);
  }

  /** Versions newest first, seqs within [fromSeq, toSeq], at most `limit`. */
  newestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#readAll(entity, newestFirst(this.#index, entity, fromSeq, toSeq, limit));
  }

  /** The oldest `limit` of those, oldest first. */
  oldestFirst(entity: string, fromSeq: number, toSeq: number, limit: number): StoredVersion[] {
    return this.#readAll(entity, oldestFirst(this.#index, entity, fromSeq, toSeq, limit));
  }

  /** Entities alive at `seq`, from `from` on and before `until`, at most `limit`, in key order; bodies are read when asked for. */
  alive(from: string, until: string, seq: number, limit: number): ListedEntity[] {
    const keyAt = from.indexOf('\0') + 1;
    return alive(this.#index, from, until, seq, limit).map((entry) => new ListedVersion(this.#shard, entry, keyAt, this.#readListed));
  }

  /** The hinted record if it is the entity's. One that cannot be read may be another's: the index will tell. */
  #readHinted(entity: string, seq: number): StoredVersion | undefined {
    try {
      const stored = this.#log.read(seq);
      return stored?.isOf(entity) === true ? new StoredVersion(this.#shard, stored, undefined, this.#erasures) : undefined;
    } catch (error) {
      if (isVarveError(error, 'CORRUPT')) return undefined;
      throw error;
    }
  }

  #readAll(entity: string, entries: readonly IndexEntry[]): StoredVersion[] {
    const names = new EntityNames(entity);
    const versions = new Array<StoredVersion>(entries.length);
    for (let i = 0; i < versions.length; i++) versions[i] = this.#read(entries[i]!, names);
    return versions;
  }

  #read(entry: IndexEntry, names?: EntityNames): StoredVersion {
    const stored = this.#log.read(entry.seq);
    if (stored !== undefined) return new StoredVersion(this.#shard, stored, entry, this.#erasures, names);
    const what = `the index names seq ${entry.seq}, which the log does not hold`;
    throw new VarveError('CORRUPT', `shard ${this.#shard}: ${what}`, { file: this.#log.context.directory, offset: 0, what });
  }
}
