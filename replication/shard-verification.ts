/**
 * One shard's part of one verification: reads back, mends what is damaged, compares with each peer.
 *
 * Invariants: a peer that cannot be asked, that lies or that differs ends nothing but its own part, and is told; places are counted before
 * and after a repair, so that what was repaired is what is no longer there. Keeps nothing: what it found is the job's.
 */
import { type Clock, messageOf, type Pace } from '../engine/copying.js';
import { type Database, isVarveError, recordId, VarveError } from '../engine/index.js';
import { type Comparison, compare } from './comparison.js';
import { mendDifferences } from './divergence.js';
import type { PeerPlace } from './peer-tree.js';
import { type RepairReport, repairShard } from './repair.js';
import type { ReplicationLog } from './shard-copy.js';
import type { Transport } from './transport.js';
import { UnprovenTree } from './tree-walk.js';

export interface VerificationRequest {
  readonly shard?: number;
  readonly peers?: readonly string[];
  readonly repair?: boolean;
  readonly deep?: boolean;
}

/** Something that is not as it should be, as the job tells it. */
export interface VerificationFinding {
  readonly shard: number;
  readonly kind: 'damaged' | 'missing' | 'unreachable' | 'unproven' | 'refused' | 'unrepairable';
  /** Of what: a file, or a peer's URL. */
  readonly at: string;
  readonly offset: number;
  /** Record ids of what is concerned; null where that is not known, or nothing. */
  readonly from: string | null;
  readonly to: string | null;
  readonly detail: string;
}

export interface VerifiedReplica {
  readonly url: string;
  readonly shard: number;
  readonly seq: number;
  readonly same: boolean;
  readonly roots: readonly [string, string];
  /** Record ids, at most `MAX_IDS`. */
  readonly differing: readonly string[];
  /** There are more than are told. */
  readonly truncated: boolean;
}

export interface ShardRunOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** Undefined: no peers can be asked. */
  readonly transport?: Transport;
  /** Who owns a shard, where that is another node. */
  readonly ownerUrl: (shard: number) => string | undefined;
  readonly log: ReplicationLog;
}

const MAX_IDS = 10_000;

/** One shard's part of one verification. */
export class ShardRun {
  readonly replicas: VerifiedReplica[] = [];
  readonly findings: VerificationFinding[] = [];
  damaged = 0;
  repaired = 0;
  unrepairable = 0;
  readonly #options: ShardRunOptions;
  readonly #shard: number;
  readonly #peers: readonly PeerPlace[];
  readonly #request: VerificationRequest;
  readonly #signal: AbortSignal;
  #treeDamaged = false;

  constructor(options: ShardRunOptions, shard: number, urls: readonly string[], request: VerificationRequest, signal: AbortSignal) {
    this.#options = options;
    this.#shard = shard;
    this.#request = request;
    this.#signal = signal;
    const { transport, clock, db } = options;
    this.#peers = transport === undefined ? [] : urls.map((url) => ({ transport, clock, url, shard, databaseId: db.databaseId }));
  }

  async run(pace: Pace, progress: (share: number) => void): Promise<void> {
    const { db } = this.#options;
    const { deep = false, repair = false } = this.#request;
    const verifiable = db.verifiable(this.#shard);
    if (deep) {
      const scrubbed = await verifiable.scrub(pace, (share) => progress(share * 0.8));
      this.#treeDamaged = scrubbed.treeDamaged;
      for (const { kind, file, offset, fromSeq, toSeq, detail } of scrubbed.findings)
        this.#damage(kind, file, offset, fromSeq, toSeq, detail);
    }
    for (const { kind, file, offset, fromSeq, toSeq, detail } of verifiable.findings)
      if (kind === 'damaged' || kind === 'missing') this.#damage(kind, file, offset, fromSeq, toSeq, detail);
    this.damaged = this.#places();
    if (repair && this.damaged > 0) await this.#repair();
    for (const [i, peer] of this.#peers.entries()) {
      if (this.#signal.aborted) return;
      await this.#compare(peer, repair);
      progress((deep ? 0.8 : 0) + (deep ? 0.2 : 1) * ((i + 1) / this.#peers.length));
    }
  }

  async #repair(): Promise<void> {
    const { log } = this.#options;
    const report: RepairReport = await repairShard(this.#repairing(log), this.#shard, this.#treeDamaged);
    for (const { from, to, reason } of report.unrepairable) {
      const at = `shard ${this.#shard}`;
      this.findings.push({ shard: this.#shard, kind: 'unrepairable', at, offset: 0, from, to, detail: reason });
    }
    if (report.rebuiltTree) this.#treeDamaged = false;
    this.unrepairable = this.#places();
    this.repaired = Math.max(0, this.damaged - this.unrepairable);
  }

  /** Stretches of the log that cannot be read, files that are bad elsewhere, and the tree. */
  #places(): number {
    const { db } = this.#options;
    const { gaps } = db.replica(this.#shard);
    const files = db.verifiable(this.#shard).damagedSegments;
    const elsewhere = files.filter((file) => !gaps.some((gap) => gap.fromSeq <= file.toSeq && file.fromSeq <= gap.toSeq));
    return gaps.length + elsewhere.length + (this.#treeDamaged ? 1 : 0);
  }

  #repairing(log: ReplicationLog) {
    const ownerUrl = this.#options.ownerUrl(this.#shard);
    // The owner first: nobody has more.
    const peers = [...this.#peers].sort((a, b) => Number(b.url === ownerUrl) - Number(a.url === ownerUrl));
    return { db: this.#options.db, peers, ownerUrl, log, signal: this.#signal };
  }

  async #compare(peer: PeerPlace, repair: boolean): Promise<void> {
    const { db, log } = this.#options;
    try {
      let found = await this.#compared(peer);
      if (found.same) return this.#tell(found);
      this.damaged += found.walk?.differences.length ?? 0;
      const isOwners = peer.url === this.#options.ownerUrl(this.#shard);
      if (!repair || !isOwners) return this.#tell(found);
      const differing = found.walk?.differences.length ?? 0;
      log.warn({ shard: this.#shard, peer: peer.url, seq: found.seq, differing }, 'this copy differs from its owner');
      await mendDifferences(this.#repairing(log), db.replica(this.#shard), peer, found);
      found = await this.#compared(peer);
      if (found.same) this.repaired += differing;
      else this.unrepairable += found.walk?.differences.length ?? 0;
      this.#tell(found);
    } catch (error) {
      const isLie = error instanceof UnprovenTree;
      // What the engine refuses, here or of what was offered, is not the peer's silence.
      const kind = isLie ? 'unproven' : error instanceof VarveError ? 'refused' : 'unreachable';
      this.findings.push({ shard: this.#shard, kind, at: peer.url, offset: 0, from: null, to: null, detail: messageOf(error) });
    }
  }

  /** Builds our tree anew, once, where the walk finds it bad. */
  async #compared(peer: PeerPlace): Promise<Comparison> {
    const { db } = this.#options;
    try {
      return await compare(db, peer, { signal: this.#signal });
    } catch (error) {
      const isOurs = isVarveError(error, 'CORRUPT') || (error instanceof UnprovenTree && error.side.isOurs);
      if (!isOurs) throw error;
      this.#damage('damaged', `shard ${this.#shard}`, 0, 0, 0, messageOf(error));
      await db.replica(this.#shard).rebuildTree();
      this.damaged++;
      this.repaired++;
      return compare(db, peer, { signal: this.#signal });
    }
  }

  #tell({ url, shard, seq, same, roots, walk }: Comparison): void {
    const ids = (walk?.differences ?? []).slice(0, MAX_IDS).map((difference) => recordId(shard as never, difference.seq));
    this.replicas.push({
      url,
      shard,
      seq,
      same,
      roots,
      differing: ids,
      truncated: walk?.truncated === true || ids.length < (walk?.differences.length ?? 0),
    });
  }

  #damage(kind: string, at: string, offset: number, fromSeq: number, toSeq: number, detail: string): void {
    const known = this.findings.some((finding) => finding.at === at && finding.offset === offset && finding.detail === detail);
    if (known) return;
    const id = (seq: number): string | null => (seq === 0 ? null : recordId(this.#shard as never, seq));
    const named = kind === 'missing' ? 'missing' : 'damaged';
    this.findings.push({ shard: this.#shard, kind: named, at, offset, from: id(fromSeq), to: id(toSeq), detail });
  }
}
