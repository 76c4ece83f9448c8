/** LMDB through lmdb-js: the fastest reads there are for Node, by mapped pages. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import { differingKeys, type MergeEntry, type MergeSource } from '../merge.js';
import type { Packages } from '../packages.js';

type Key = [string, number];

interface Range {
  readonly start: unknown[];
  readonly end?: unknown[];
  readonly reverse?: boolean;
  readonly limit?: number;
}

interface Lmdb<V = JsonValue> {
  transaction(work: () => void): Promise<unknown>;
  put(key: Key, value: V): Promise<boolean>;
  get(key: Key): V;
  remove(key: Key): Promise<boolean>;
  getRange(range: Range): Iterable<{ key: Key; value: V }>;
  getKeys(range: Range): Iterable<Key>;
  backup(directory: string, compact: boolean): Promise<void>;
  close(): Promise<void>;
}

interface LmdbModule {
  open<V = JsonValue>(options: Readonly<Record<string, unknown>>): Lmdb<V>;
}

const LAST = Number.MAX_SAFE_INTEGER;
const BLOCK = 1000;

export const lmdb: Adapter = {
  meta: {
    title: 'LMDB',
    packages: ['lmdb'],
    design:
      'lmdb-js; one map from [key, seq], bodies as MessagePack with shared structures; overlappingSync off, so that a resolved put is synced',
    durable: true,
    sync: true,
    diffHow: 'both read in order, bytes of values compared (right for a copy of the files)',
  },
  open: openLmdb,
};

async function openLmdb(directory: string, packages: Packages): Promise<LmdbStore> {
  const module = await packages.import<LmdbModule>('lmdb');
  return new LmdbStore(module, path.join(directory, 'lmdb'));
}

class LmdbStore implements Store {
  readonly #module: LmdbModule;
  readonly #file: string;
  readonly #map: Lmdb;
  /** lmdb-js gathers puts of a turn into one commit by itself. */
  readonly putConcurrent = (record: BenchRecord) => this.put(record);

  constructor(module: LmdbModule, file: string) {
    this.#module = module;
    this.#file = file;
    const shared = { sharedStructuresKey: Symbol.for('structures') };
    this.#map = module.open({ path: file, overlappingSync: false, noReadAhead: false, cache: false, ...shared });
  }

  putBatch(records: readonly BenchRecord[]): Promise<unknown> {
    return this.#map.transaction(() => {
      for (const { key, seq, body } of records) void this.#map.put([key, seq], body);
    });
  }

  put({ key, seq, body }: BenchRecord): Promise<boolean> {
    return this.#map.put([key, seq], body);
  }

  newest(key: string): Version | undefined {
    return this.asOf(key, LAST);
  }

  asOf(key: string, seq: number): Version | undefined {
    for (const found of this.#map.getRange({ start: [key, seq], end: [key], reverse: true, limit: 1 })) {
      return { seq: found.key[1], body: found.value };
    }
    return undefined;
  }

  history(key: string): Version[] {
    const versions: Version[] = [];
    for (const found of this.#map.getRange({ start: [key, 0], end: [key, LAST] })) {
      versions.push({ seq: found.key[1], body: found.value });
    }
    return versions;
  }

  scan(fromKey: string, count: number, seq = LAST): KeyedVersion[] {
    const found: KeyedVersion[] = [];
    let best: Key | undefined;
    const take = (key: Key) => found.push({ key: key[0], seq: key[1], body: this.#map.get(key) });
    // Keys alone until it is known which version is wanted: bodies are then decoded once an entity.
    for (const key of this.#map.getKeys({ start: [fromKey, 0] })) {
      if (best !== undefined && key[0] !== best[0]) {
        take(best);
        best = undefined;
        if (found.length === count) return found;
      }
      if (key[1] <= seq) best = key;
    }
    if (best !== undefined) take(best);
    return found;
  }

  /** The file never shrinks: old versions are removed, then a compacting copy is made. */
  async compact(directory: string): Promise<{ into: boolean }> {
    const old: Key[] = [];
    let last: Key | undefined;
    for (const key of this.#map.getKeys({ start: [''] })) {
      if (last !== undefined && last[0] === key[0]) old.push(last);
      last = key;
    }
    await this.#map.transaction(() => {
      for (const key of old) void this.#map.remove(key);
    });
    await this.#map.backup(directory, true);
    return { into: true };
  }

  diff(other: LmdbStore): Promise<Set<string>> {
    return differingKeys(this.#all(), other.#all(), (x, y) => Buffer.compare(x as Buffer, y as Buffer) === 0);
  }

  close(): Promise<void> {
    return this.#map.close();
  }

  #all(): MergeSource {
    const map = this.#module.open<Buffer>({ path: this.#file, encoding: 'binary', cache: false });
    const entries = map.getRange({ start: [''] })[Symbol.iterator]();
    return {
      next: () => {
        const block: MergeEntry[] = [];
        for (let step = entries.next(); !step.done; step = entries.next()) {
          const { key, value } = step.value;
          block.push({ key: key[0], seq: key[1], value });
          if (block.length === BLOCK) break;
        }
        return block;
      },
    };
  }
}
