/**
 * The server's copies as replication has them: who owns, who follows, what is safe, promotions.
 *
 * Owns one candidate a shard, made when it is first asked for. Nothing here is durable; after a crash all of it is learned again.
 */
import type { Database, Platform } from '../engine/index.js';
import {
  askJson,
  Candidate,
  type FollowerPosition,
  type HttpTransport,
  isRecord,
  type PeerHealth,
  type Replicator,
  type Transport,
} from '../replication/index.js';
import type { Copies, CopyFigures, CopyTrouble, FollowerStatus, Owner, ShardCopies } from './copies.js';

export interface ReplicatedCopiesOptions {
  readonly db: Database;
  readonly replicator: Replicator;
  readonly transport: Transport & Partial<Pick<HttpTransport, 'peers'>>;
  readonly clock: Platform['clock'];
  /** What others call this node. */
  readonly url: string;
  /** The replica set, this node included; empty where none was configured. */
  readonly replicas: readonly string[];
}

/** A question about a time is a reader's: it does not wait long. */
const ASK_MS = 2000;
/** A follower that is so far behind is told of. */
const FAR_BEHIND_SECONDS = 30;

export class ReplicatedCopies implements Copies {
  readonly nodeId: string;
  readonly #options: ReplicatedCopiesOptions;
  readonly #candidates = new Map<number, Candidate>();
  readonly #startedMs: number;

  constructor(options: ReplicatedCopiesOptions) {
    this.#options = options;
    this.nodeId = options.db.nodeId;
    this.#startedMs = options.clock.monotonicMs();
  }

  get allHere(): boolean {
    const { db } = this.#options;
    for (let shard = 1; shard <= db.shardCount; shard++) if (db.replica(shard).role !== 'owner') return false;
    return true;
  }

  get figures(): CopyFigures {
    const { db, replicator } = this.#options;
    const sums = { bytesStreamedOut: 0, bytesStreamedIn: 0, reconnects: 0, refused: 0 };
    for (let shard = 1; shard <= db.shardCount; shard++) {
      const { sentBytes, source } = replicator.status(shard);
      sums.bytesStreamedOut += sentBytes;
      sums.bytesStreamedIn += source?.receivedBytes ?? 0;
      sums.reconnects += source?.connections ?? 0;
      sums.refused += source?.refused ?? 0;
    }
    return sums;
  }

  owner(shard: number): Owner {
    const { db, replicator } = this.#options;
    const { role, owner } = db.replica(shard);
    if (role === 'owner') return { here: true, node: this.nodeId, url: undefined };
    const { decision } = replicator.status(shard);
    // Whoever is followed owns it, or knows who does; one that is fenced knows nobody.
    const url = role === 'follower' && decision?.kind === 'follow' ? decision.url : undefined;
    return { here: false, node: owner?.node, url };
  }

  status(shard: number): ShardCopies {
    const { db, replicator } = this.#options;
    const { role, owner } = db.replica(shard);
    const { quorumSeq, source, followers } = replicator.status(shard);
    return {
      role,
      owner: owner ?? null,
      quorumSeq,
      followers: role === 'owner' ? this.#followers(followers) : [],
      lagSeconds: role === 'owner' ? 0 : rounded(source?.lagSeconds ?? 0),
      trouble: this.#trouble(shard),
    };
  }

  /** Those who report, and those of the replica set who never did. */
  #followers(reported: readonly FollowerPosition[]): FollowerStatus[] {
    const { replicas, url: self, clock, transport } = this.#options;
    const health = new Map((transport.peers?.() ?? []).map((peer): [string, PeerHealth] => [peer.url, peer]));
    const silent = replicas.filter((url) => url !== self && !reported.some((each) => each.url === url));
    const all = [
      ...reported.map(({ url, node, ackedSeq, lagSeconds }) => ({ url: url ?? `node ${node}`, ackedSeq, lagSeconds })),
      ...silent.map((url) => ({ url, ackedSeq: 0, lagSeconds: (clock.monotonicMs() - this.#startedMs) / 1000 })),
    ];
    return all.map(({ url, ackedSeq, lagSeconds }) => ({
      url,
      ackedSeq,
      lagSeconds: rounded(lagSeconds),
      breaker: health.get(url)?.breaker ?? 'closed',
      lastError: health.get(url)?.lastError ?? null,
    }));
  }

  #trouble(shard: number): CopyTrouble | undefined {
    const { db, replicator } = this.#options;
    const replica = db.replica(shard);
    const { decision, source } = replicator.status(shard);
    if (replica.unreadable !== undefined) {
      const isBehind = replica.compactedThrough > replica.visibleSeq;
      return isBehind
        ? { state: 'behind', serious: true, reason: 'answers no reads: it has not come past what its source has compacted' }
        : { state: 'diverged', serious: true, reason: "answers no reads: it differs from its owner's" };
    }
    if (replica.role === 'fenced') {
      const why = decision?.kind === 'wait' ? decision.reason : 'who owns it is being found out';
      return { state: 'fenced', serious: true, reason: `takes no writes: ${why}` };
    }
    const lag = replica.role === 'follower' ? (source?.lagSeconds ?? 0) : 0;
    if (lag < FAR_BEHIND_SECONDS) return undefined;
    return {
      state: 'behind',
      serious: false,
      reason: `is ${Math.round(lag)} s behind its source${source?.connected === true ? '' : ', which cannot be followed now'}`,
    };
  }

  whenQuorum(shard: number, seq: number): Promise<boolean> {
    return this.#options.replicator.whenQuorum(shard, seq);
  }

  async positionAt(shard: number, time: string): Promise<number | undefined> {
    const { db, transport } = this.#options;
    const { url } = this.owner(shard);
    if (url === undefined) return undefined;
    try {
      const path = `/replication/v1/shards/${shard}/position?time=${encodeURIComponent(time)}`;
      const { status, headers, json } = await askJson(transport, url, { method: 'GET', path, timeoutMs: ASK_MS });
      const seq = isRecord(json) ? json['seq'] : undefined;
      if (status !== 200 || headers['varve-database'] !== db.databaseId) return undefined;
      return Number.isSafeInteger(seq) && (seq as number) >= 0 ? (seq as number) : undefined;
    } catch {
      return undefined;
    }
  }

  async promote(shard: number, force: boolean): Promise<void> {
    const { replicator } = this.#options;
    try {
      await this.#candidate(shard).run(force);
    } finally {
      await replicator.takeRole(shard);
    }
  }

  #candidate(shard: number): Candidate {
    let candidate = this.#candidates.get(shard);
    if (candidate === undefined) {
      const { db, replicator, transport, clock, url, replicas } = this.#options;
      candidate = new Candidate({
        shard: db.replica(shard),
        databaseId: db.databaseId,
        node: db.nodeId,
        url,
        replicas,
        transport,
        clock,
        stopFollowing: () => replicator.takeRole(shard),
      });
      this.#candidates.set(shard, candidate);
    }
    return candidate;
  }
}

/** To the millisecond. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
