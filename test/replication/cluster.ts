/** Nodes on simulated machines with one clock and one network, for tests of copies. */
import { type Database, type OpenOptions, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SimulatedTime } from '../../engine/platform/memory-clock.js';
import { type PeerHandlers, prepareReplica, type ReplicationConfig, type Replicator, startReplication } from '../../replication/index.js';
import { CALM, type NetworkFaults, SimNetwork } from '../support/sim-network.js';

const OPEN: OpenOptions = { upkeep: { automatic: false }, segmentBytes: 64 * 1024 };

/** What else a node answers its peers. */
interface More {
  readonly handlers?: (replicator: Replicator) => PeerHandlers;
}

export class Node {
  platform: MemoryPlatform;
  db!: Database;
  replicator!: Replicator;
  /** What it told in its log. */
  readonly told: string[] = [];
  readonly url: string;
  readonly #cluster: Cluster;
  readonly #config: ReplicationConfig;
  readonly #more: More;

  constructor(cluster: Cluster, name: string, seed: number, config: ReplicationConfig, more: More = {}) {
    this.#cluster = cluster;
    this.#more = more;
    this.url = `http://${name}:7411`;
    this.platform = new MemoryPlatform({ seed, time: cluster.network.time });
    this.#config = config;
  }

  /** Takes identity and sealed segments from a source, where the directory is empty. */
  async prepare(url: string) {
    const { network } = this.#cluster;
    const prepared = prepareReplica({ platform: this.platform, transport: network.transport(this.url), url });
    let done = false;
    const settled = () => void (done = true);
    prepared.then(settled, settled);
    await network.until(`${this.url} is prepared`, () => done);
    return prepared;
  }

  async start(options: OpenOptions = {}): Promise<this> {
    const { network } = this.#cluster;
    this.db = await openWith(this.platform, { ...OPEN, ...options, replication: { hold: true } });
    const log = (fields: object, message: string) => void this.told.push(`${message} ${JSON.stringify(fields)}`);
    this.replicator = await startReplication({
      db: this.db,
      platform: this.platform,
      transport: network.transport(this.url),
      config: { advertise: this.url, ...this.#config },
      log: { info: log, warn: log },
      ...this.#more,
    });
    network.up(this.url, this.replicator.service);
    return this;
  }

  async stop(): Promise<void> {
    const closing = this.replicator.close().then(() => this.db.close());
    let closed = false;
    closing.finally(() => void (closed = true)).catch(() => {});
    await this.#cluster.network.until(`${this.url} has stopped`, () => closed);
    this.#cluster.network.down(this.url);
    await closing;
  }

  /** The process dies here and now. */
  kill(): void {
    this.#cluster.network.down(this.url);
    const next = this.platform.killProcess({ time: this.#cluster.network.time });
    this.platform.halt('hang');
    this.platform = next;
  }

  /** Another disk, with nothing on it. */
  wipe(seed: number): void {
    this.platform = new MemoryPlatform({ seed, time: this.#cluster.network.time });
  }

  replica(shard = 1) {
    return this.db.replica(shard);
  }
}

export class Cluster {
  readonly network: SimNetwork;
  readonly #nodes: Node[] = [];
  #seed: number;

  constructor(seed: number, faults: NetworkFaults = CALM) {
    this.#seed = seed;
    this.network = new SimNetwork(new SimulatedTime(), seed, faults);
  }

  node(name: string, config: ReplicationConfig = {}, more: More = {}): Node {
    const node = new Node(this, name, ++this.#seed, config, more);
    this.#nodes.push(node);
    return node;
  }

  async put(node: Node, count: number, from = 0, bytes = 100): Promise<void> {
    const puts: Promise<unknown>[] = [];
    for (let i = from; i < from + count; i++) puts.push(node.db.put('c', `key${i % 97}`, { i, pad: 'x'.repeat(bytes) }));
    let done = false;
    const all = Promise.all(puts).finally(() => void (done = true));
    all.catch(() => {});
    await this.network.until('the puts are durable', () => done);
    await all;
  }

  /** Until every shard of one is where the other's is. */
  caughtUp(follower: Node, source: Node, maxMs = 120_000): Promise<void> {
    return this.network.until(
      `${follower.url} has what ${source.url} has`,
      () => {
        for (let shard = 1; shard <= source.db.shardCount; shard++) {
          if (follower.replica(shard).visibleSeq < source.replica(shard).durableSeq) return false;
        }
        return true;
      },
      maxMs,
    );
  }

  async waitFor<T>(work: Promise<T>, maxMs = 60_000): Promise<T> {
    let done = false;
    work.then(
      () => void (done = true),
      () => void (done = true),
    );
    await this.network.until('the call is back', () => done, maxMs);
    return work;
  }
}

/** Roots of all shards: equal exactly where all content is. */
export async function roots(cluster: Cluster, node: Node): Promise<string[]> {
  const found: string[] = [];
  for (let shard = 1; shard <= node.db.shardCount; shard++) {
    const replica = node.replica(shard);
    const { root } = await cluster.waitFor(replica.rootAt(replica.visibleSeq));
    found.push(root);
  }
  return found;
}
