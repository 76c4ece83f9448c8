/**
 * A node of a simulated replica set: its machine, the process on it if one runs, and how one comes up, wired as the server wires it.
 *
 * Invariant: what an earlier life of the process began never touches a later one: `life` tells them apart.
 */
import { type OpenOptions, openWith } from '../../engine/index.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import {
  Candidate,
  electionHandlers,
  prepareReplica,
  type Replicator,
  startReplication,
  treeHandlers,
  Verifier,
} from '../../replication/index.js';
import type { Random } from './random.js';
import type { SimNetwork } from './sim-network.js';

export interface Running {
  readonly db: Awaited<ReturnType<typeof openWith>>;
  readonly replicator: Replicator;
  readonly verifier: Verifier;
  /** Asks for the next epoch of a shard. */
  promote(shard: number): Promise<void>;
}

export interface Surroundings {
  readonly network: SimNetwork;
  readonly random: Random;
  readonly urls: readonly string[];
  readonly open: OpenOptions;
  /** Set for the node that begins the database. */
  readonly shards: number | undefined;
}

const SCRUB_EVERY_MS = 60_000;

export class Member {
  readonly url: string;
  platform: MemoryPlatform;
  running: Running | undefined;
  starting: Promise<void> | undefined;
  life = 0;
  /** Something of its disk has rotted, and has not been found whole since. */
  hurt = false;
  /** What has rotted is not read before the next start. */
  unread = false;
  /** Its disk refuses things for a while. */
  sick = false;
  readonly told: string[] = [];

  constructor(name: string, platform: MemoryPlatform) {
    this.url = `http://${name}:7411`;
    this.platform = platform;
  }

  /** Undefined where it died meanwhile. */
  async begin(surroundings: Surroundings): Promise<Running | undefined> {
    const { platform, url, life } = this;
    const { network, random, urls, open, shards } = surroundings;
    const transport = network.transport(url);
    const peers = urls.filter((each) => each !== url);
    while (shards === undefined && !platform.files.exists('node.json')) {
      const source = random.pick(peers);
      // It waits for its source for as long as that takes; another may be there sooner.
      const patience = new AbortController();
      const cancel = network.time.after(5_000, () => patience.abort());
      try {
        await prepareReplica({ platform, transport, url: source, signal: patience.signal });
      } catch (error) {
        if (!patience.signal.aborted) throw error;
      } finally {
        cancel();
      }
      if (this.life !== life) return undefined;
    }
    const db = await openWith(platform, { ...open, ...(shards === undefined ? {} : { shards }), replication: { hold: true } });
    if (this.life !== life) return undefined;
    const log = { info: this.#tell, warn: this.#tell };
    const { clock } = platform;
    const candidates = new Map<number, Candidate>();
    const promote = async (shard: number): Promise<void> => {
      const { databaseId, nodeId: node } = db;
      const stopFollowing = () => replicator.takeRole(shard);
      const options = { shard: db.replica(shard), databaseId, node, url, replicas: urls, transport, clock, stopFollowing };
      const candidate = candidates.get(shard) ?? new Candidate(options);
      candidates.set(shard, candidate);
      try {
        await candidate.run();
      } finally {
        await replicator.takeRole(shard);
      }
    };
    const replicator = await startReplication({
      db,
      platform,
      transport,
      config: { replicas: urls, advertise: url, acksTimeoutMs: 3_000 },
      log,
      handlers: (self) => ({
        ...treeHandlers(db, clock),
        ...electionHandlers({ db, replicas: urls, onPromised: ({ id }) => void self.takeRole(id) }),
      }),
      promote,
    });
    if (this.life !== life) return undefined;
    const verifier = new Verifier({
      db,
      clock,
      randomBytes: (size) => platform.randomBytes(size),
      transport,
      peers,
      ownerUrl: (shard) => {
        const { decision } = replicator.status(shard);
        return db.replica(shard).role === 'follower' && decision?.kind === 'follow' ? decision.url : undefined;
      },
      log,
      bytesPerSecond: Number.POSITIVE_INFINITY,
      scrubEveryMs: SCRUB_EVERY_MS,
    });
    verifier.start();
    return { db, replicator, verifier, promote };
  }

  readonly #tell = (fields: object, message: string): void => void this.told.push(`${message} ${JSON.stringify(fields)}`);
}
