/**
 * Verification of a node's copy, as jobs: asked for, or every so often by itself.
 *
 *   deep: every byte read back -> repair: what is damaged, from the others -> each peer: roots at one seq, down to the records that differ
 *
 * Invariants: it goes on past a peer that cannot be asked and a shard that cannot answer, and says so; nothing is changed unless repair was
 * asked for, or damage was met on a node that has others to ask. Findings are kept until the next look at that shard.
 */
import { type Clock, messageOf, nodePlatform, Pace } from '../engine/copying.js';
import { type Database, isVarveError, type JobControl, type JobInfo, type JsonValue, recordId, VarveError } from '../engine/index.js';
import { Backoff } from './backoff.js';
import { type Comparison, compare } from './comparison.js';
import { mendDifferences } from './divergence.js';
import { httpTransport } from './http-transport.js';
import type { PeerPlace } from './peer-tree.js';
import { type RepairReport, repairShard } from './repair.js';
import type { ReplicationLog } from './shard-copy.js';
import type { Transport } from './transport.js';
import { UnprovenTree } from './tree-walk.js';

export interface VerifierOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly randomBytes: (size: number) => Uint8Array;
  /** Undefined: no peers can be asked. */
  readonly transport?: Transport;
  /** Who is compared with, and asked for what is damaged, unless a request names others. */
  readonly peers: readonly string[];
  /** Who owns a shard, where that is another node. */
  readonly ownerUrl: (shard: number) => string | undefined;
  readonly log: ReplicationLog;
  /** Of a scrub. Default 64 MiB. */
  readonly bytesPerSecond?: number;
  readonly onClose?: () => void;
  /** 0: never. Default 7 days. */
  readonly scrubEveryMs?: number;
}

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

export interface VerifierFigures {
  /** Damage and differences that are known now. */
  readonly open: number;
  readonly scrubs: number;
  readonly repaired: number;
  /** Unix milliseconds of the last scrub that ended; 0: none since the start. */
  readonly lastScrubMs: number;
}

const DEFAULT_BYTES_PER_SECOND = 64 * 1024 * 1024;
const DEFAULT_SCRUB_EVERY_MS = 7 * 24 * 3600 * 1000;
const MAX_IDS = 10_000;
const MAX_FINDINGS = 1000;
/** How often damage that readers have met is looked for. */
const LOOK_MS = 5_000;

export class Verifier {
  readonly #options: VerifierOptions;
  /** By shard. */
  readonly #findings = new Map<number, readonly VerificationFinding[]>();
  readonly #backoff: Backoff;
  /** Shards whose root was not their owner's at a checkpoint. */
  readonly #diverged = new Set<number>();
  #cancelScrub: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;
  #closed = false;
  #repairing = false;
  #scrubs = 0;
  #repaired = 0;
  #lastScrubMs = 0;

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.randomBytes);
  }

  /** Scrubs by itself, and mends what is met, from here on. */
  start(): void {
    const { db, clock, peers } = this.#options;
    for (let shard = 1; shard <= db.shardCount; shard++) {
      db.replica(shard).onRootCheck(({ seq, expected, found }) => {
        if (expected !== found) this.#differs(shard, seq);
        else this.#diverged.delete(shard);
      });
    }
    this.#scrubLater();
    if (peers.length > 0) this.#cancelLook = clock.after(LOOK_MS, () => this.#look());
  }

  close(): void {
    this.#closed = true;
    this.#cancelScrub();
    this.#cancelLook();
    this.#options.onClose?.();
  }

  get findings(): readonly VerificationFinding[] {
    return [...this.#findings.values()].flat();
  }

  get figures(): VerifierFigures {
    const open = this.findings.length;
    return { open, scrubs: this.#scrubs, repaired: this.#repaired, lastScrubMs: this.#lastScrubMs };
  }

  /** URLs that were configured: others are for those who may say so alone. */
  knows(url: string): boolean {
    return this.#options.peers.includes(url);
  }

  /** Throws INVALID. `isDiverged`: its root was not its owner's. */
  verify(request: VerificationRequest, isDiverged = false): JobInfo {
    const { db } = this.#options;
    const { shard } = request;
    if (shard !== undefined && (shard < 1 || shard > db.shardCount))
      throw new VarveError('INVALID', `there is no shard ${shard}`, { path: 'shard', expected: `1 to ${db.shardCount}` });
    return db.startJob('verification', { ...request, peers: [...(request.peers ?? this.#options.peers)] }, (control) =>
      this.#run(request, control, isDiverged),
    );
  }

  async #run(request: VerificationRequest, control: JobControl, isDiverged: boolean): Promise<JsonValue> {
    const { db, clock, bytesPerSecond = DEFAULT_BYTES_PER_SECOND } = this.#options;
    const urls = request.peers ?? this.#options.peers;
    const shards = request.shard === undefined ? Array.from({ length: db.shardCount }, (_, i) => i + 1) : [request.shard];
    const pace = new Pace(clock, bytesPerSecond);
    const abort = new AbortController();
    control.onCancel(() => {
      pace.cancel();
      abort.abort();
    });
    control.onPause((isPaused) => (isPaused ? pace.pause() : pace.resume()));
    const total = { replicas: [] as VerifiedReplica[], damaged: 0, repaired: 0, unrepairable: 0, findings: [] as VerificationFinding[] };
    for (const [i, shard] of shards.entries()) {
      if (control.cancelled) break;
      const progress = (share: number): void => control.progress((i + share) / shards.length);
      const one = new ShardRun(this.#options, shard, urls, request, abort.signal);
      // The tree may be wrong and the log right.
      if (isDiverged) await db.replica(shard).rebuildTree();
      await one.run(pace, progress);
      this.#findings.set(shard, one.findings);
      this.#repaired += one.repaired;
      total.replicas.push(...one.replicas);
      total.damaged += one.damaged;
      total.repaired += one.repaired;
      total.unrepairable += one.unrepairable;
      total.findings.push(...one.findings.slice(0, Math.max(0, MAX_FINDINGS - total.findings.length)));
      progress(1);
    }
    if (request.deep === true && !control.cancelled) {
      this.#scrubs++;
      this.#lastScrubMs = Math.floor(clock.nowMicros() / 1000);
    }
    return total as unknown as JsonValue;
  }

  #scrubLater(): void {
    const { clock, scrubEveryMs = DEFAULT_SCRUB_EVERY_MS } = this.#options;
    if (scrubEveryMs === 0) return;
    this.#cancelScrub = clock.after(scrubEveryMs, () => {
      this.#start({ deep: true, repair: this.#options.peers.length > 0 });
      this.#scrubLater();
    });
  }

  /** What opening or a reader has met is mended without being asked, where there is somebody to ask. */
  #look(): void {
    const { db, clock } = this.#options;
    if (this.#closed) return;
    let waitMs = LOOK_MS;
    const shards = Array.from({ length: db.shardCount }, (_, i) => i + 1);
    const hurt = shards.find((shard) => this.#diverged.has(shard) || db.replica(shard).gaps.length > 0);
    if (hurt === undefined) this.#backoff.reset();
    else {
      waitMs += this.#backoff.next();
      this.#repairNow(hurt);
    }
    this.#cancelLook = clock.after(waitMs, () => this.#look());
  }

  #differs(shard: number, seq: number): void {
    this.#diverged.add(shard);
    this.#options.log.warn({ shard, seq }, 'this copy has another root than its owner: it is being mended');
    this.#repairNow(shard);
  }

  #repairNow(shard: number): void {
    if (this.#repairing || this.#options.peers.length === 0) return;
    this.#repairing = true;
    const job = this.#start({ shard, repair: true }, this.#diverged.has(shard));
    const done = (): void => {
      this.#repairing = false;
    };
    if (job === undefined) done();
    else void this.#options.db.jobEnded(job.id).then(done, done);
  }

  #start(request: VerificationRequest, isDiverged = false): JobInfo | undefined {
    if (this.#closed) return undefined;
    try {
      return this.verify(request, isDiverged);
    } catch (error) {
      this.#options.log.warn({ why: messageOf(error) }, 'a verification cannot begin');
      return undefined;
    }
  }
}

/** For a database that has no other copies: it reads back, and asks only whom it is told to. Does nothing by itself. */
export function loneVerifier(db: Database): Verifier {
  const platform = nodePlatform('.');
  const quiet = { info: () => undefined, warn: () => undefined };
  const transport = httpTransport({ clock: platform.clock });
  return new Verifier({
    db,
    clock: platform.clock,
    randomBytes: (size) => platform.randomBytes(size),
    transport,
    onClose: () => transport.close(),
    peers: [],
    ownerUrl: () => undefined,
    log: quiet,
    scrubEveryMs: 0,
  });
}

/** One shard's part of one verification. */
class ShardRun {
  readonly replicas: VerifiedReplica[] = [];
  readonly findings: VerificationFinding[] = [];
  damaged = 0;
  repaired = 0;
  unrepairable = 0;
  readonly #options: VerifierOptions;
  readonly #shard: number;
  readonly #peers: readonly PeerPlace[];
  readonly #request: VerificationRequest;
  readonly #signal: AbortSignal;
  #treeDamaged = false;

  constructor(options: VerifierOptions, shard: number, urls: readonly string[], request: VerificationRequest, signal: AbortSignal) {
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
