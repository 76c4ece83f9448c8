/**
 * The trivial model: every version ever acknowledged, in arrays and maps, answering by looking at all of
 * them. Too slow to be useful and too simple to be wrong, which is the point.
 *
 * Seqs and times are the engine's (it alone gives them out); everything else follows from them here. The
 * SQLite table of sqlite-model.ts answers the same questions in its own way.
 */

export interface ModelVersion {
  readonly shard: number;
  readonly seq: number;
  /** RFC 3339 with microseconds, so that text order is time order. */
  readonly time: string;
  /** Last seq of its batch. */
  readonly batchEnd: number;
  readonly collection: string;
  readonly key: string;
  /** Seq of the version before, 0 for none. */
  readonly supersedes: number;
  readonly refs: readonly string[];
  readonly deleted: boolean;
  /** Canonical JSON, empty for a tombstone. */
  readonly body: string;
}

export interface ModelList {
  prefix?: string;
  after?: string;
  limit?: number;
}

/** `positions[shard - 1]` is the last seq seen in a shard. */
export type Positions = readonly number[];

export interface HistoryModel {
  add(versions: readonly ModelVersion[]): void;
  /** Newest version with a seq up to `at`. */
  versionAt(collection: string, key: string, at: number): ModelVersion | undefined;
  /** Newest first. */
  history(collection: string, key: string, fromSeq: number, toSeq: number): ModelVersion[];
  /** Alive at `positions`, in order of the keys' UTF-8 bytes. */
  list(collection: string, positions: Positions, options?: ModelList): ModelVersion[];
  /** Last seq in the shard of a version not later than `time`, or 0. */
  positionAt(shard: number, time: string): number;
  byId(shard: number, seq: number): ModelVersion | undefined;
  counts(collection: string): { entities: number; versions: number };
  collections(): string[];
}

export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

export class ArrayModel implements HistoryModel {
  readonly all: ModelVersion[] = [];
  readonly #byEntity = new Map<string, ModelVersion[]>();
  readonly #byId = new Map<string, ModelVersion>();

  add(versions: readonly ModelVersion[]): void {
    for (const version of versions) {
      this.all.push(version);
      const entity = `${version.collection}/${version.key}`;
      const history = this.#byEntity.get(entity);
      if (history) history.push(version);
      else this.#byEntity.set(entity, [version]);
      this.#byId.set(`${version.shard}:${version.seq}`, version);
    }
  }

  versionAt(collection: string, key: string, at: number): ModelVersion | undefined {
    return this.history(collection, key, 1, at)[0];
  }

  history(collection: string, key: string, fromSeq: number, toSeq: number): ModelVersion[] {
    const all = this.#byEntity.get(`${collection}/${key}`) ?? [];
    return all.filter((version) => version.seq >= fromSeq && version.seq <= toSeq).sort((a, b) => b.seq - a.seq);
  }

  list(collection: string, positions: Positions, options: ModelList = {}): ModelVersion[] {
    const keys = new Set(this.all.filter((version) => version.collection === collection).map((version) => version.key));
    const out: ModelVersion[] = [];
    for (const key of [...keys].sort(compareUtf8)) {
      if (options.prefix !== undefined && !key.startsWith(options.prefix)) continue;
      if (options.after !== undefined && compareUtf8(key, options.after) <= 0) continue;
      const shard = this.#byEntity.get(`${collection}/${key}`)?.[0]?.shard ?? 1;
      const version = this.versionAt(collection, key, positions[shard - 1] ?? 0);
      if (version && !version.deleted) out.push(version);
    }
    return options.limit === undefined ? out : out.slice(0, options.limit);
  }

  positionAt(shard: number, time: string): number {
    let position = 0;
    for (const version of this.all) {
      if (version.shard === shard && version.time <= time && version.seq > position) position = version.seq;
    }
    return position;
  }

  byId(shard: number, seq: number): ModelVersion | undefined {
    return this.#byId.get(`${shard}:${seq}`);
  }

  counts(collection: string): { entities: number; versions: number } {
    const positions = new Array<number>(65535).fill(Number.MAX_SAFE_INTEGER);
    return {
      entities: this.list(collection, positions).length,
      versions: this.all.filter((version) => version.collection === collection).length,
    };
  }

  collections(): string[] {
    return [...new Set(this.all.map((version) => version.collection))].sort();
  }
}
