/** Hyperbee 2: the rewrite, one root a batch. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import { groupCommit } from '../group-commit.js';
import type { Packages } from '../packages.js';
import { allVersions, entityOf, seqOf, versionedKey } from './versioned-keys.js';

interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

interface Range {
  readonly gte?: Buffer;
  readonly lt?: Buffer;
  readonly limit?: number;
  readonly prefetch?: boolean;
}

interface Bee {
  ready(): Promise<void>;
  write(): { tryPut(key: Buffer, value: Buffer): void; flush(): Promise<void> };
  createReadStream(range?: Range): AsyncIterable<Entry>;
  createDiffStream(older: Bee): AsyncIterable<{ left: Entry | null; right: Entry | null }>;
  snapshot(): Bee;
  close(): Promise<void>;
}

interface CoreStore {
  close(): Promise<void>;
}

const BATCH = 1000;

export const hyperbee2: Adapter = {
  meta: {
    title: 'Hyperbee 2',
    packages: ['hyperbee2', 'corestore', 'hypercore'],
    design: 'key, NUL, seq counted down -> JSON; every look-up is a read stream with a limit',
    durable: false,
    durableNote: 'Hypercore writes to RocksDB and has no setting that syncs a commit',
    sync: false,
    entities: 5000,
    diffHow: 'createDiffStream between an older snapshot and the tree: shared subtrees are passed by',
  },
  async open(directory: string, packages: Packages): Promise<Hyperbee2Store> {
    const make = opener(packages);
    const { store, bee } = make(path.join(directory, 'store'));
    await bee.ready();
    return new Hyperbee2Store(store, bee, make);
  },
};

type Opener = (directory: string) => { store: CoreStore; bee: Bee };

function opener(packages: Packages): Opener {
  const Corestore = packages.require<new (directory: string) => CoreStore>('corestore');
  const Hyperbee2 = packages.require<new (store: CoreStore) => Bee>('hyperbee2');
  return (directory) => {
    const store = new Corestore(directory);
    return { store, bee: new Hyperbee2(store) };
  };
}

class Hyperbee2Store implements Store {
  readonly #store: CoreStore;
  readonly #bee: Bee;
  readonly #make: Opener;
  #before: Bee | undefined;
  readonly putConcurrent = groupCommit((records) => this.putBatch(records));

  constructor(store: CoreStore, bee: Bee, make: Opener) {
    this.#store = store;
    this.#bee = bee;
    this.#make = make;
  }

  putBatch(records: readonly BenchRecord[]): Promise<void> {
    const batch = this.#bee.write();
    for (const { key, seq, body } of records) batch.tryPut(Buffer.from(versionedKey(key, seq)), Buffer.from(JSON.stringify(body)));
    return batch.flush();
  }

  put(record: BenchRecord): Promise<void> {
    return this.putBatch([record]);
  }

  newest(key: string): Promise<Version | undefined> {
    return this.#first(allVersions(key).gte, key);
  }

  asOf(key: string, seq: number): Promise<Version | undefined> {
    return this.#first(versionedKey(key, seq), key);
  }

  async history(key: string): Promise<Version[]> {
    const versions: Version[] = [];
    const { gte, lt } = allVersions(key);
    for await (const entry of this.#bee.createReadStream({ gte: Buffer.from(gte), lt: Buffer.from(lt) })) versions.push(version(entry));
    return versions.reverse();
  }

  async scan(fromKey: string, count: number, seq = Number.MAX_SAFE_INTEGER): Promise<KeyedVersion[]> {
    const found: KeyedVersion[] = [];
    let last: string | undefined;
    for await (const entry of this.#bee.createReadStream({ gte: Buffer.from(allVersions(fromKey).gte) })) {
      const versioned = entry.key.toString();
      const key = entityOf(versioned);
      if (key === last || seqOf(versioned) > seq) continue;
      last = key;
      found.push({ key, ...version(entry) });
      if (found.length === count) break;
    }
    return found;
  }

  async compact(directory: string): Promise<{ into: boolean }> {
    const { store, bee } = this.#make(path.join(directory, 'store'));
    await bee.ready();
    let batch = bee.write();
    let count = 0;
    let last: string | undefined;
    for await (const { key: bytes, value } of this.#bee.createReadStream()) {
      const key = entityOf(bytes.toString());
      if (key === last) continue;
      last = key;
      batch.tryPut(bytes, value);
      if (++count % BATCH === 0) {
        await batch.flush();
        batch = bee.write();
      }
    }
    await batch.flush();
    await bee.close();
    await store.close();
    return { into: true };
  }

  async makeCopy(changes: readonly BenchRecord[]): Promise<void> {
    this.#before = this.#bee.snapshot();
    await this.#before.ready();
    await this.putBatch(changes);
  }

  async diff(): Promise<Set<string>> {
    if (this.#before === undefined) throw new Error('there is no older snapshot');
    const keys = new Set<string>();
    for await (const { left, right } of this.#bee.createDiffStream(this.#before)) {
      const entry = left ?? right;
      if ((left === null || right === null) && entry !== null) keys.add(entityOf(entry.key.toString()));
    }
    return keys;
  }

  async close(): Promise<void> {
    await this.#bee.close();
    await this.#store.close();
  }

  async #first(from: string, key: string): Promise<Version | undefined> {
    const range = { gte: Buffer.from(from), lt: Buffer.from(allVersions(key).lt), limit: 1, prefetch: false };
    for await (const entry of this.#bee.createReadStream(range)) return version(entry);
    return undefined;
  }
}

function version(entry: Entry): Version {
  return { seq: seqOf(entry.key.toString()), body: JSON.parse(entry.value.toString()) as JsonValue };
}
