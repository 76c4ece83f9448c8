/**
 * One shard's place on this node: decides again whenever something may have changed, and carries it out.
 *
 *   takeRole -> hear peers -> decide -> lead | follow a URL | wait and look again
 *
 * Invariants: one decision at a time, the last asked for always carried out; nothing is applied while the role changes: the follower is over
 * before the shard is told; an owner that was established gives way to a newer epoch that a peer knows, never to silence. A crash starts
 * from the log and the promise; nothing here is durable.
 */
import type { Clock, Platform, ReplicaShard } from '../engine/copying.js';
import { Follower, type FollowerStatus } from './follower.js';
import type { Hearing } from './hearing.js';
import { type Decision, decide, type HeardState, mustHear, type RoleConfig } from './roles.js';
import type { Transport } from './transport.js';

/** As pino's. */
export interface ReplicationLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ShardCopyOptions {
  readonly shard: ReplicaShard;
  readonly config: RoleConfig;
  readonly database: string;
  readonly node: string;
  /** Whether this directory was made from another node's. */
  readonly isCopy: boolean;
  readonly platform: Pick<Platform, 'clock' | 'randomBytes'>;
  readonly transport: Transport;
  readonly hearing: Hearing;
  readonly log: ReplicationLog;
  /** The shard has more than before (`moved`), or its source is to know that it is there. */
  readonly onProgress: (shard: number, sourceUrl: string, moved: boolean) => void;
  /** Those who follow this node must connect again. */
  readonly onInterrupt: (shard: number) => void;
  /** It leads, follows or waits now. */
  readonly onRole: (shard: number, decision: Decision) => void;
  readonly onTooOld: (shard: number) => void;
  /** Asks for the next epoch for this node. */
  readonly promote: ((shard: number) => Promise<unknown>) | undefined;
}

/** To the next look, where there is nobody to follow yet: about, and a tenth of it at first, for mostly somebody is just about to be known. */
const LOOK_MS = 500;
/** A promise that no epoch follows for so long leads to nothing. */
const STUCK_MS = 10_000;
/** An owner of a replica set asks whether anybody knows of a newer epoch: after a partition nobody else would tell it. So does who cannot reach its source. */
const OWNER_LOOK_MS = 2_000;

export class ShardCopy {
  readonly #options: ShardCopyOptions;
  readonly #clock: Clock;
  #follower: Follower | undefined;
  #decision: Decision | undefined;
  #ownerSeen: string | undefined;
  #turning: Promise<void> | undefined;
  #again = false;
  /** Since when a newer epoch was promised that nobody has begun, while this node owns the newest one there is. */
  #stuckMs: number | undefined;
  #cancelLook: (() => void) | undefined;
  /** Looks in a row that found nobody. */
  #looks = 0;
  #closed = false;

  constructor(options: ShardCopyOptions) {
    this.#options = options;
    this.#clock = options.platform.clock;
  }

  get decision(): Decision | undefined {
    return this.#decision;
  }

  get source(): FollowerStatus | undefined {
    return this.#follower?.status;
  }

  /** What must be so before anything can be written: alone it leads, else it takes no writes until it is decided who does. */
  async begin(): Promise<void> {
    const { config } = this.#options;
    if (mustHear(config) || config.follow !== undefined) {
      await this.#options.shard.fence('who owns this shard is being found out');
      void this.takeRole();
    } else await this.takeRole();
  }

  /** Decides anew; resolves once that is carried out. Never rejects: what fails is tried again. */
  takeRole(): Promise<void> {
    this.#again = true;
    this.#turning ??= this.#turn().finally(() => {
      this.#turning = undefined;
    });
    return this.#turning;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook?.();
    await this.#turning;
    await this.#stopFollowing();
  }

  async #turn(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      this.#cancelLook?.();
      this.#cancelLook = undefined;
      try {
        await this.#carryOut(await this.#decide());
      } catch (error) {
        if (this.#closed) return;
        this.#options.log.warn({ shard: this.#options.shard.id, err: error }, 'the place of a shard could not be taken');
        this.#look();
      }
    }
  }

  async #decide(): Promise<Decision> {
    const { shard, config, node, isCopy, hearing } = this.#options;
    const heard = mustHear(config) ? await hearing.heard(shard.id) : [];
    if (heard.some(({ url, role }) => role === 'owner' && url === this.#follower?.url)) this.#follower?.wake();
    const { epoch, promised, owner } = shard;
    const own = {
      node,
      epoch,
      durableSeq: shard.durableSeq,
      promised: promised.epoch,
      promisedTo: promised.candidate,
      caughtUp: promised.caughtUp,
      owner,
      isCopy,
    };
    await this.#unstick(heard);
    // An election may have just made this node the owner.
    if (shard.role === 'owner' && this.#decision !== undefined && owner?.node === node && promised.epoch <= epoch && !newer(heard, epoch)) {
      return { kind: 'lead' };
    }
    return decide(own, config, heard);
  }

  /**
   * A candidate that gave up, or died, leaves promises behind: who gave them takes nothing from this owner any more. Who owned the shard last asks
   * for an epoch beyond them.
   */
  async #unstick(heard: readonly HeardState[]): Promise<void> {
    const { shard, node, isCopy, promote, log } = this.#options;
    const { epoch, promised, owner } = shard;
    const isLast = owner === undefined ? !isCopy : owner.node === node;
    const isStuck = promised.epoch > epoch || heard.some((each) => each.promised > epoch);
    if (promote === undefined || !isLast || !isStuck || newer(heard, epoch)) {
      this.#stuckMs = undefined;
      return;
    }
    const now = this.#clock.monotonicMs();
    this.#stuckMs ??= now;
    if (now - this.#stuckMs < STUCK_MS) return;
    this.#stuckMs = now;
    if (shard.role === 'owner') await shard.fence('a newer epoch was promised, and nobody has begun it');
    log.warn({ shard: shard.id, epoch }, 'a newer epoch was promised, and nobody has begun it: this node asks for another');
    // Not waited for: who is promoted takes its role through here.
    promote(shard.id).catch((error: unknown) => log.warn({ shard: shard.id, err: error }, 'no other epoch could be had'));
  }

  async #carryOut(decision: Decision): Promise<void> {
    const { shard, onInterrupt, log } = this.#options;
    const before = this.#decision;
    const changed = describe(before) !== describe(decision);
    if (decision.kind === 'lead') {
      await this.#stopFollowing();
      if (shard.role !== 'owner' || before?.kind !== 'lead') await shard.lead();
      this.#lookAsOwner();
    } else if (decision.kind === 'follow') {
      if (this.#follower?.url !== decision.url) {
        await this.#stopFollowing();
        if (shard.role === 'owner') onInterrupt(shard.id);
      }
      if (this.#closed) return;
      if (shard.role !== 'follower' || changed) await shard.follow(decision.owner);
      this.#follower ??= this.#follow(decision.url);
      // Whom it follows may be another without a say, or have what this owner lost: then somebody leads later.
      const isMeanwhile =
        !shard.promised.caughtUp || (shard.owner === undefined ? !this.#options.isCopy : shard.owner.node === this.#options.node);
      if (mustHear(this.#options.config) && isMeanwhile) this.#look();
      else if (!this.#follower.status.connected) this.#lookAsOwner();
    } else {
      // Silence is no reason for an owner to stop, and none for a follower.
      const isEstablished = before?.kind === 'lead' && shard.role === 'owner' && shard.promised.epoch <= shard.epoch;
      if (isEstablished) return this.#lookAsOwner();
      if (shard.promised.epoch > shard.epoch) await this.#stopFollowing();
      if (shard.role !== 'follower') await shard.fence(decision.reason);
      this.#look();
    }
    this.#decision = decision;
    if (!changed) return;
    this.#looks = 0;
    this.#options.onRole(shard.id, decision);
    if (decision.kind === 'wait') log.warn({ shard: shard.id, reason: decision.reason }, 'a shard takes no writes');
    else if (decision.kind === 'follow') log.info({ shard: shard.id, url: decision.url }, 'a shard is followed');
    else log.info({ shard: shard.id, epoch: shard.epoch }, 'a shard is owned');
  }

  #follow(url: string): Follower {
    const { shard, database, transport, platform, config, log, onProgress, onInterrupt, onTooOld } = this.#options;
    this.#ownerSeen = shard.owner?.node;
    return new Follower({
      shard,
      database,
      url,
      transport,
      clock: platform.clock,
      randomBytes: (size) => platform.randomBytes(size),
      onProgress: (moved) => {
        onProgress(shard.id, url, moved);
        // The log has told of another owner.
        if (shard.owner?.node === this.#ownerSeen) return;
        this.#ownerSeen = shard.owner?.node;
        void this.takeRole();
      },
      mayHaveSay: () => this.#mayHaveSay(),
      onRewind: (phase, file) => {
        onInterrupt(shard.id);
        if (phase === 'after') log.warn({ shard: shard.id, file, seq: shard.durableSeq }, 'what a newer epoch left behind was set aside');
      },
      onTrouble: (error) => {
        if (error !== undefined) log.info({ shard: shard.id, url, error }, 'a source cannot be followed at the moment');
        if (mustHear(config)) void this.takeRole();
      },
      onTooOld: () => onTooOld(shard.id),
      onRefused: (error) => log.warn({ shard: shard.id, url, error }, 'bytes of a source were refused'),
    });
  }

  /**
   * Whether a copy that was begun anew, and may have forgotten what it promised and acknowledged, can have a say again: once it has all that all
   * the others have. Fewer do not tell. Its earlier life's last acknowledgement may still be on its way, or be counted, where an owner that is not
   * heard waits for one more; its last promise where a candidate does; and others may have forgotten as much.
   */
  async #mayHaveSay(): Promise<number | undefined> {
    const { shard, config, hearing } = this.#options;
    if (!mustHear(config)) return 0;
    const heard = await hearing.heard(shard.id, true);
    if (heard.length < config.replicas.length - 1) return undefined;
    const lacks = heard.some((each) => each.epoch > shard.epoch || (each.epoch === shard.epoch && each.durableSeq > shard.durableSeq));
    return lacks ? undefined : heard.reduce((newest, { promised }) => Math.max(newest, promised), 0);
  }

  async #stopFollowing(): Promise<void> {
    const follower = this.#follower;
    this.#follower = undefined;
    await follower?.close();
  }

  #look(): void {
    const [jitter = 0] = this.#options.platform.randomBytes(1);
    const due = Math.min(LOOK_MS, (LOOK_MS / 10) * 2 ** this.#looks);
    if (this.#lookIn(due / 2 + (due * jitter) / 256)) this.#looks = Math.min(this.#looks + 1, 10);
  }

  /** All shards in the same moment, so that one question to each peer does for all. */
  #lookAsOwner(): void {
    if (mustHear(this.#options.config)) this.#lookIn(OWNER_LOOK_MS);
  }

  #lookIn(ms: number): boolean {
    if (this.#closed || this.#cancelLook !== undefined) return false;
    this.#cancelLook = this.#clock.after(ms, () => {
      this.#cancelLook = undefined;
      void this.takeRole();
    });
    return true;
  }
}

function newer(heard: readonly { readonly epoch: number }[], epoch: number): boolean {
  return heard.some((each) => each.epoch > epoch);
}

function describe(decision: Decision | undefined): string {
  if (decision === undefined) return '';
  if (decision.kind === 'follow') return `follow ${decision.url} ${decision.owner?.node ?? ''}`;
  return decision.kind === 'wait' ? `wait ${decision.reason}` : 'lead';
}
