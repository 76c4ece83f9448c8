/**
 * Replication of a whole database on one node: what it answers to peers, whom its shards follow, and what its followers have. Starts the parts and ends them; owns nothing else.
 *
 *   PeerService <- log service, ack book, and what others add (election, verification)
 *   shard copies (one a shard) -> followers -> ack senders (one a source)
 *
 * Invariants: a database of several copies takes no write before `startReplication` is back, and none until who owns the shard is decided.
 */

import { type Platform, readIdentity } from '../engine/copying.js';
import type { Database } from '../engine/index.js';
import { AckBook, type FollowerPosition } from './ack-book.js';
import { AckSender } from './ack-sender.js';
import { Backoff } from './backoff.js';
import { isSeq } from './checks.js';
import type { FollowerStatus } from './follower.js';
import { Hearing } from './hearing.js';
import { LogService } from './log-service.js';
import { createPeerService, type PeerHandlers } from './peer-service.js';
import type { Decision, RoleConfig } from './roles.js';
import { type ReplicationLog, ShardCopy } from './shard-copy.js';
import type { PeerService, Transport } from './transport.js';

export interface ReplicationConfig {
  /** The source of every shard, unless the log names an owner that is configured. */
  readonly follow?: string;
  /** The replica set, this node included under `advertise`; this node alone where there is none. */
  readonly replicas?: readonly string[];
  /** What others call this node. */
  readonly advertise?: string;
  /** For `whenQuorum`. Default 5000. */
  readonly acksTimeoutMs?: number;
}

export interface ReplicationOptions {
  readonly db: Database;
  readonly platform: Platform;
  readonly transport: Transport;
  readonly config?: ReplicationConfig;
  readonly log?: ReplicationLog;
  /** More answers to peers, by method and path: promises, roots, nodes, positions. */
  readonly handlers?: (replicator: Replicator) => PeerHandlers;
  /** A source's log does not reach back to where this copy ends: it must begin anew, from an empty directory. */
  readonly onTooOld?: (shard: number) => void;
  /** Asks for the next epoch of a shard for this node, as a person would; without it promises that lead to nothing wait for one. */
  readonly promote?: (shard: number) => Promise<unknown>;
}

export interface ShardReplication {
  readonly shard: number;
  readonly decision: Decision | undefined;
  /** Where it follows. */
  readonly source: FollowerStatus | undefined;
  readonly quorumSeq: number;
  /** Who reports here. */
  readonly followers: readonly FollowerPosition[];
  /** Streams that are read now, and bytes sent on all so far. */
  readonly streams: number;
  readonly sentBytes: number;
  /** Why reports do not get through to the source. */
  readonly reportError: string | undefined;
}

export interface Replicator {
  /** What peers are answered with. */
  readonly service: PeerService;
  readonly config: ReplicationConfig;
  status(shard: number): ShardReplication;
  quorumSeq(shard: number): number;
  /** True once a majority of the replica set has this seq; false where it has not in time. */
  whenQuorum(shard: number, seq: number, timeoutMs?: number): Promise<boolean>;
  /** Replicas that have not carried out in their files what was erased up to this event. */
  outstanding(shard: number, seq: number): string[];
  /** Decides anew whether the shard leads or follows, and whom: after a promise, an election, a change of ownership. Never rejects. */
  takeRole(shard: number): Promise<void>;
  /** Says goodbye to followers, stops following. The database is somebody else's to close, afterwards. */
  close(): Promise<void>;
}

const DEFAULT_ACKS_TIMEOUT_MS = 5_000;
const MAX_SEQ = 2 ** 48 - 1;
const SILENT: ReplicationLog = { info: () => {}, warn: () => {} };

export async function startReplication(options: ReplicationOptions): Promise<Replicator> {
  const replication = new Replication(options);
  await replication.begin();
  return replication;
}

class Replication implements Replicator {
  readonly config: ReplicationConfig;
  readonly service: PeerService;
  readonly #options: ReplicationOptions;
  readonly #roles: RoleConfig;
  readonly #book: AckBook;
  readonly #logs: LogService;
  readonly #copies: readonly ShardCopy[];
  readonly #senders = new Map<string, AckSender>();
  /** Of shards that are followed: what their owners said. */
  readonly #learned = new Map<number, number>();
  #closing: Promise<void> | undefined;

  constructor(options: ReplicationOptions) {
    const { db, platform, transport, config = {}, log = SILENT } = options;
    const { clock } = platform;
    this.#options = options;
    this.config = config;
    this.#roles = { follow: config.follow, replicas: config.replicas ?? [], self: config.advertise };
    const { replicas, self } = this.#roles;
    this.#book = new AckBook((shard) => db.replica(shard), clock, self, replicas, {
      onQuorum: (shard, seq) => {
        if (replicas.length > 1) db.replica(shard).setQuorumSeq(seq);
      },
      onNewerEpoch: (shard) => void this.takeRole(shard),
    });
    this.#logs = new LogService({
      db,
      clock,
      noteAcks: (report) => {
        if (report.url !== undefined) transport.heardFrom?.(report.url);
        return this.#book.note(report).map(([shard]) => [shard, this.quorumSeq(shard)] as const);
      },
      quorumSeq: (shard) => this.quorumSeq(shard),
    });
    const peers = replicas.filter((url) => url !== self);
    const hearing = new Hearing(transport, clock, db.databaseId, db.shardCount, peers);
    const isCopy = readIdentity(platform)?.copy === true;
    this.#copies = Array.from(
      { length: db.shardCount },
      (_, i) =>
        new ShardCopy({
          shard: db.replica(i + 1),
          config: this.#roles,
          database: db.databaseId,
          node: db.nodeId,
          isCopy,
          platform,
          transport,
          hearing,
          log,
          onProgress: (shard, url, moved) => this.#sender(url).note(shard, moved),
          onInterrupt: (shard) => this.#logs.interrupt(shard),
          onRole: (shard, decision) => this.#roleTaken(shard, decision),
          onTooOld: (shard) => options.onTooOld?.(shard),
          promote: options.promote,
        }),
    );
    this.service = createPeerService(db, { ...this.#logs.handlers, ...options.handlers?.(this) });
  }

  async begin(): Promise<void> {
    await Promise.all(this.#copies.map((copy) => copy.begin()));
  }

  status(shard: number): ShardReplication {
    const copy = this.#copy(shard);
    const source = copy.source;
    const log = this.#logs.source(shard);
    return {
      shard,
      decision: copy.decision,
      source,
      quorumSeq: this.quorumSeq(shard),
      followers: this.#book.followers(shard),
      streams: log.streams,
      sentBytes: log.sentBytes,
      reportError: source === undefined ? undefined : this.#senders.get(source.url)?.lastError,
    };
  }

  quorumSeq(shard: number): number {
    const isOwner = this.#options.db.replica(shard).role === 'owner';
    return isOwner ? this.#book.quorumSeq(shard) : (this.#learned.get(shard) ?? 0);
  }

  whenQuorum(shard: number, seq: number, timeoutMs = this.config.acksTimeoutMs ?? DEFAULT_ACKS_TIMEOUT_MS): Promise<boolean> {
    return this.#book.whenQuorum(shard, seq, timeoutMs);
  }

  outstanding(shard: number, seq: number): string[] {
    return this.#book.outstanding(shard, seq);
  }

  takeRole(shard: number): Promise<void> {
    return this.#closing === undefined ? this.#copy(shard).takeRole() : Promise.resolve();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#logs.close();
    this.#book.close();
    for (const sender of this.#senders.values()) sender.close();
    await Promise.all(this.#copies.map((copy) => copy.close()));
  }

  #copy(shard: number): ShardCopy {
    const copy = this.#copies[shard - 1];
    if (copy === undefined) throw new RangeError(`there is no shard ${shard}`);
    return copy;
  }

  #roleTaken(shard: number, decision: Decision): void {
    const replica = this.#options.db.replica(shard);
    // Until its owner has said what is safe, a follower's files keep everything.
    if (decision.kind === 'follow') replica.setQuorumSeq(this.#learned.get(shard) ?? 0);
    else if (decision.kind === 'lead') replica.setQuorumSeq(this.#roles.replicas.length > 1 ? this.#book.quorumSeq(shard) : MAX_SEQ);
    if (decision.kind !== 'follow') this.#learned.delete(shard);
    for (const [url, sender] of this.#senders) if (decision.kind !== 'follow' || decision.url !== url) sender.forget(shard);
    if (decision.kind !== 'lead') this.#book.giveUp(shard);
  }

  #sender(url: string): AckSender {
    let sender = this.#senders.get(url);
    if (sender === undefined) {
      const { db, platform, transport } = this.#options;
      sender = new AckSender({
        transport,
        clock: platform.clock,
        // Short: writers wait for what it says.
        backoff: new Backoff((size) => platform.randomBytes(size), { mostMs: 1_000 }),
        url,
        node: db.nodeId,
        advertise: this.config.advertise,
        database: db.databaseId,
        shards: db.shardCount,
        shard: (id) => db.replica(id),
        onQuorum: (shard, seq) => this.#learn(shard, url, seq),
      });
      this.#senders.set(url, sender);
    }
    return sender;
  }

  #learn(shard: number, url: string, seq: number): void {
    const decision = this.#copy(shard).decision;
    if (decision?.kind !== 'follow' || decision.url !== url || !isSeq(seq)) return;
    if (seq <= (this.#learned.get(shard) ?? 0)) return;
    this.#learned.set(shard, seq);
    this.#options.db.replica(shard).setQuorumSeq(seq);
  }
}
