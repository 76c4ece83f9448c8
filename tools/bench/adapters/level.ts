/** LevelDB through classic-level. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import { groupCommit } from '../group-commit.js';
import { differingKeys, type MergeSource } from '../merge.js';
import type { Packages } from '../packages.js';
import { allVersions, entityOf, seqOf, versionedKey } from './versioned-keys.js';

interface Bounds {
  readonly gte?: string;
  readonly lt?: string;
  readonly limit?: number;
}

interface LevelIterator<T> {
  nextv(count: number): Promise<T[]>;
  all(): Promise<T[]>;
  close(): Promise<void>;
}

type Operation = { type: 'put'; key: string; value: string } | { type: 'del'; key: string };

interface Level {
  open(): Promise<void>;
  batch(operations: readonly Operation[], options: { sync: boolean }): Promise<void>;
  put(key: string, value: string, options: { sync: boolean }): Promise<void>;
  iterator(bounds: Bounds): LevelIterator<[string, string]>;
  iterator(bounds: Bounds & { valueEncoding: 'view' }): LevelIterator<[string, Uint8Array]>;
  keys(): LevelIterator<string>;
  compactRange(from: string, to: string): Promise<void>;
  close(): Promise<void>;
}

const SYNC = { sync: true };
const BLOCK = 1000;

export const level: Adapter = {
  meta: {
    title: 'LevelDB',
    packages: ['classic-level'],
    design: 'classic-level; key, NUL, seq counted down -> JSON; sync on, 64 MB of block cache, 16 MB of write buffer',
    durable: true,
    sync: false,
    diffHow: 'both read in order, bodies compared',
  },
  async open(directory: string, packages: Packages): Promise<LevelStore> {
    const { ClassicLevel } = packages.require<{ ClassicLevel: new (directory: string, options: object) => Level }>('classic-level');
    const db = new ClassicLevel(path.join(directory, 'level'), { cacheSize: 64 << 20, writeBufferSize: 16 << 20 });
    await db.open();
    return new LevelStore(db);
  },
};

class LevelStore implements Store {
  readonly #db: Level;
  readonly putConcurrent = groupCommit((records) => this.putBatch(records));

  constructor(db: Level) {
    this.#db = db;
  }

  putBatch(records: readonly BenchRecord[]): Promise<void> {
    const put = ({ key, seq, body }: BenchRecord): Operation => ({
      type: 'put',
      key: versionedKey(key, seq),
      value: JSON.stringify(body),
    });
    return this.#db.batch(records.map(put), SYNC);
  }

  put({ key, seq, body }: BenchRecord): Promise<void> {
    return this.#db.put(versionedKey(key, seq), JSON.stringify(body), SYNC);
  }

  newest(key: string): Promise<Version | undefined> {
    return this.#first(allVersions(key));
  }

  asOf(key: string, seq: number): Promise<Version | undefined> {
    return this.#first({ gte: versionedKey(key, seq), lt: allVersions(key).lt });
  }

  async history(key: string): Promise<Version[]> {
    const found = await this.#db.iterator(allVersions(key)).all();
    return found.map(([versioned, text]) => ({ seq: seqOf(versioned), body: JSON.parse(text) as JsonValue })).reverse();
  }

  async historyBytes(key: string): Promise<{ seq: number; bytes: Uint8Array }[]> {
    const found = await this.#db.iterator({ ...allVersions(key), valueEncoding: 'view' }).all();
    return found.map(([versioned, bytes]) => ({ seq: seqOf(versioned), bytes })).reverse();
  }

  async scan(fromKey: string, count: number, seq = Number.MAX_SAFE_INTEGER): Promise<KeyedVersion[]> {
    const found: KeyedVersion[] = [];
    const iterator = this.#db.iterator({ gte: allVersions(fromKey).gte });
    try {
      let last: string | undefined;
      for (;;) {
        const block = await iterator.nextv(BLOCK);
        if (block.length === 0) return found;
        for (const [versioned, text] of block) {
          const key = entityOf(versioned);
          const own = seqOf(versioned);
          if (key === last || own > seq) continue;
          last = key;
          found.push({ key, seq: own, body: JSON.parse(text) as JsonValue });
          if (found.length === count) return found;
        }
      }
    } finally {
      await iterator.close();
    }
  }

  async compact(): Promise<{ into: boolean }> {
    const keys = this.#db.keys();
    let last: string | undefined;
    for (let block = await keys.nextv(BLOCK * 5); block.length > 0; block = await keys.nextv(BLOCK * 5)) {
      const old: Operation[] = [];
      for (const versioned of block) {
        const key = entityOf(versioned);
        if (key === last) old.push({ type: 'del', key: versioned });
        last = key;
      }
      await this.#db.batch(old, SYNC);
    }
    await keys.close();
    await this.#db.compactRange('', '\u00ff');
    return { into: false };
  }

  diff(other: LevelStore): Promise<Set<string>> {
    return differingKeys(this.#all(), other.#all(), (x, y) => x === y, true);
  }

  close(): Promise<void> {
    return this.#db.close();
  }

  async #first(bounds: Bounds): Promise<Version | undefined> {
    const iterator = this.#db.iterator({ ...bounds, limit: 1 });
    try {
      const [entry] = await iterator.nextv(1);
      return entry && { seq: seqOf(entry[0]), body: JSON.parse(entry[1]) as JsonValue };
    } finally {
      await iterator.close();
    }
  }

  #all(): MergeSource {
    const iterator = this.#db.iterator({});
    return {
      async next() {
        const block = await iterator.nextv(BLOCK);
        if (block.length === 0) await iterator.close();
        return block.map(([versioned, value]) => ({ key: entityOf(versioned), seq: seqOf(versioned), value }));
      },
    };
  }
}
