/** Hyperbee on Hypercore: an append-only log with a B-tree in it, the nearest relative among the peers. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import { BASE, type BenchRecord } from '../data/index.js';
import { groupCommit } from '../group-commit.js';
import type { Packages } from '../packages.js';

interface Core {
  readonly length: number;
  treeHash(length: number): Promise<Buffer>;
}

/** What is stored for a key; `previous` is the block of the version before, 0 for none. */
interface Value {
  readonly seq: number;
  readonly previous: number;
  readonly body: JsonValue;
}

interface Node {
  readonly key: string;
  /** Its block in the core. */
  readonly seq: number;
  readonly value: Value;
}

interface Batch {
  get(key: string): Promise<Node | null>;
  put(key: string, value: Value): Promise<void>;
  flush(): Promise<void>;
}

interface Bee {
  readonly version: number;
  ready(): Promise<void>;
  batch(): Batch;
  get(key: string): Promise<Node | null>;
  getBySeq(block: number): Promise<Node | null>;
  checkout(version: number): Bee;
  createReadStream(range?: { gte: string }): AsyncIterable<Node>;
  createDiffStream(version: number): AsyncIterable<{ left: Node | null; right: Node | null }>;
  close(): Promise<void>;
}

/** The load's: only the last block of a batch carries the tree, so a checkout is possible at the ends of batches alone. */
const LOAD_BATCH = 1000;
const PLACES = { keyEncoding: 'utf-8', valueEncoding: 'json' };

export const hyperbee: Adapter = {
  meta: {
    title: 'Hyperbee',
    packages: ['hyperbee', 'hypercore', 'hypercore-storage'],
    design:
      'one bee from key to body and the block of the version before; as of: a checkout at the end of the batch, then back along the versions',
    durable: false,
    durableNote: 'Hypercore writes to RocksDB and has no setting that syncs a commit',
    sync: false,
    entities: 20_000,
    diffHow: 'createDiffStream of an older version of the same core: shared subtrees are passed by; no way for two cores',
    equalHow: 'treeHash of both cores at the same length',
  },
  async open(directory: string, packages: Packages): Promise<HyperbeeStore> {
    const make = opener(packages);
    const { core, bee } = make(path.join(directory, 'core'));
    await bee.ready();
    return new HyperbeeStore(core, bee, make);
  },
};

type Opener = (directory: string) => { core: Core; bee: Bee };

function opener(packages: Packages): Opener {
  const Hypercore = packages.require<new (storage: unknown) => Core>('hypercore');
  const Storage = packages.require<new (directory: string, options: object) => unknown>('hypercore-storage');
  const Hyperbee = packages.require<new (core: Core, options: object) => Bee>('hyperbee');
  return (directory) => {
    // allowBackup: a copy of its files can be opened too.
    const core = new Hypercore(new Storage(directory, { allowBackup: true }));
    return { core, bee: new Hyperbee(core, PLACES) };
  };
}

class HyperbeeStore implements Store {
  readonly #core: Core;
  readonly #bee: Bee;
  readonly #make: Opener;
  readonly putConcurrent = groupCommit((records) => this.putBatch(records));

  constructor(core: Core, bee: Bee, make: Opener) {
    this.#core = core;
    this.#bee = bee;
    this.#make = make;
  }

  async putBatch(records: readonly BenchRecord[]): Promise<void> {
    const batch = this.#bee.batch();
    for (const { key, seq, body } of records) {
      const before = await batch.get(key);
      await batch.put(key, { seq, previous: before?.seq ?? 0, body });
    }
    await batch.flush();
  }

  put(record: BenchRecord): Promise<void> {
    return this.putBatch([record]);
  }

  async newest(key: string): Promise<Version | undefined> {
    return version(await this.#bee.get(key));
  }

  async asOf(key: string, seq: number): Promise<Version | undefined> {
    const then = this.#checkout(seq);
    try {
      return version(await this.#back(await then.get(key), seq));
    } finally {
      await then.close();
    }
  }

  async history(key: string): Promise<Version[]> {
    const versions: Version[] = [];
    let node = await this.#bee.get(key);
    while (node !== null) {
      versions.push({ seq: node.value.seq, body: node.value.body });
      node = await this.#before(node);
    }
    return versions.reverse();
  }

  async scan(fromKey: string, count: number, seq?: number): Promise<KeyedVersion[]> {
    const found: KeyedVersion[] = [];
    const bee = seq === undefined ? this.#bee : this.#checkout(seq);
    try {
      for await (const node of bee.createReadStream({ gte: fromKey })) {
        const then = seq === undefined ? node : await this.#back(node, seq);
        if (then !== null) found.push({ key: then.key, seq: then.value.seq, body: then.value.body });
        if (found.length === count) break;
      }
    } finally {
      if (bee !== this.#bee) await bee.close();
    }
    return found;
  }

  /** A core only grows: the newest versions go to a new one. */
  async compact(directory: string): Promise<{ into: boolean }> {
    const { bee } = this.#make(path.join(directory, 'core'));
    await bee.ready();
    let batch = bee.batch();
    let count = 0;
    for await (const { key, value } of this.#bee.createReadStream()) {
      await batch.put(key, { ...value, previous: 0 });
      if (++count % LOAD_BATCH === 0) {
        await batch.flush();
        batch = bee.batch();
      }
    }
    await batch.flush();
    await bee.close();
    return { into: true };
  }

  async equal(other: HyperbeeStore): Promise<boolean> {
    if (this.#core.length !== other.#core.length) return false;
    const [a, b] = await Promise.all([this.#core.treeHash(this.#core.length), other.#core.treeHash(other.#core.length)]);
    return a.equals(b);
  }

  async diff(other: HyperbeeStore): Promise<Set<string>> {
    const keys = new Set<string>();
    for await (const { left, right } of other.#bee.createDiffStream(this.#bee.version)) keys.add((left ?? right)?.key ?? '');
    return keys;
  }

  close(): Promise<void> {
    return this.#bee.close();
  }

  /** The first block is a header. */
  #checkout(seq: number): Bee {
    const end = 1 + Math.ceil((seq - BASE) / LOAD_BATCH) * LOAD_BATCH;
    return this.#bee.checkout(Math.min(end, this.#bee.version));
  }

  async #back(node: Node | null, seq: number): Promise<Node | null> {
    let at = node;
    while (at !== null && at.value.seq > seq) at = await this.#before(at);
    return at;
  }

  #before(node: Node): Promise<Node | null> {
    return node.value.previous === 0 ? Promise.resolve(null) : this.#bee.getBySeq(node.value.previous);
  }
}

function version(node: Node | null): Version | undefined {
  return node === null ? undefined : { seq: node.value.seq, body: node.value.body };
}
