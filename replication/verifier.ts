/**
 * Verification of a node's copy, as jobs: asked for, or every so often by itself.
 *
 *   deep: every byte read back -> repair: what is damaged, from the others -> each peer: roots at one seq, down to the records that differ
 *
 * Invariants: it goes on past a peer that cannot be asked and a shard that cannot answer, and says so; nothing is changed unless repair was
 * asked for, or damage was met on a node that has others to ask. Findings are kept until the next look at that shard.
 */
import { messageOf, nodePlatform, Pace } from '../engine/copying.js';
import { type Database, type JobControl, type JobInfo, type JsonValue, VarveError } from '../engine/index.js';
import { Backoff } from './backoff.js';
import { httpTransport } from './http-transport.js';
import {
  ShardRun,
  type ShardRunOptions,
  type VerificationFinding,
  type VerificationRequest,
  type VerifiedReplica,
} from './shard-verification.js';

export interface VerifierOptions extends ShardRunOptions {
  readonly randomBytes: (size: number) => Uint8Array;
  /** Who is compared with, and asked for what is damaged, unless a request names others. */
  readonly peers: readonly string[];
  /** Of a scrub. Default 64 MiB. */
  readonly bytesPerSecond?: number;
  readonly onClose?: () => void;
  /** 0: never. Default 7 days. */
  readonly scrubEveryMs?: number;
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
    const hurt = shards.find(
      (shard) => this.#diverged.has(shard) || db.replica(shard).gaps.length > 0 || db.verifiable(shard).damagedSegments.length > 0,
    );
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
