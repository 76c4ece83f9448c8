/**
 * The steps by which a shard comes to another owner, as its copy here takes them: follow, promise, fence, lead, begin an epoch, rewind.
 *
 *   fence -> what was queued is in the log, or has failed -> the epoch's event -> lead        follower: rewind -> goes on from the log
 *
 * Invariants: nothing of ours is on its way into the log when others are told, or come to be followed; an epoch of our own and a rewind
 * never overlap. A crash: an epoch's event is in the log or not (epoch-event.ts), a promise is kept (ownership.ts), a rewind is finished
 * (rewind.ts).
 */
import { assert, VarveError } from '../errors.js';
import type { SetAside, ShardOwner } from '../replica.js';
import type { Applier } from './applying.js';
import { logEpoch } from './epoch-event.js';
import { ownerOf } from './epochs.js';
import type { Ownership } from './ownership.js';
import type { ReplicaParts } from './replica-shard.js';
import type { Rewinding } from './rewinding.js';

export interface OwnershipChangesDeps {
  readonly parts: ReplicaParts;
  readonly ownership: Ownership;
  readonly applier: Applier;
  readonly rewinds: Rewinding;
  /** The role, or what the log says, has changed. */
  changed(): void;
  /** A rewind is over; `isShorter`: it took something out. */
  rewound(isShorter: boolean): void;
}

export class OwnershipChanges {
  readonly #deps: OwnershipChangesDeps;
  #isBeginning = false;

  constructor(deps: OwnershipChangesDeps) {
    this.#deps = deps;
  }

  async follow(owner?: ShardOwner): Promise<void> {
    const { ownership, applier, changed } = this.#deps;
    const wasFollower = ownership.role === 'follower';
    ownership.follow(owner);
    if (!wasFollower) {
      // An owner was fenced first, perhaps: what it wrote is where others go on.
      await this.#drained();
      applier.startFromLog();
    }
    changed();
  }

  async promise(epoch: number, candidate: string): Promise<boolean> {
    const { parts, ownership, changed } = this.#deps;
    const wasOwner = this.#isOwner;
    const { log } = parts.contents;
    const given = await ownership.promise(
      epoch,
      candidate,
      () => log.epoch,
      () => this.#drained(),
    );
    if (wasOwner && !this.#isOwner) changed();
    return given;
  }

  async fence(reason: string): Promise<void> {
    const { ownership, changed } = this.#deps;
    ownership.fence(reason);
    await this.#drained();
    changed();
  }

  async lead(): Promise<void> {
    const { parts, ownership } = this.#deps;
    const { contents, options } = parts;
    const { shard } = options;
    if (this.#isOwner) return;
    await this.#drained();
    const owner = ownerOf(contents.log);
    if (owner !== undefined && owner.node !== options.nodeId) {
      const message = `shard ${shard}: epoch ${contents.log.epoch} is that of ${owner.url}`;
      throw new VarveError('NOT_OWNER', message, { shard, owner: owner.node, url: owner.url });
    }
    await ownership.noteCaughtUp();
    this.#take(owner);
  }

  async beginEpoch(epoch: number, owner: ShardOwner, reason: string): Promise<void> {
    const { parts, ownership } = this.#deps;
    const { contents, options } = parts;
    const { shard } = options;
    ownership.checkNotPromised(epoch);
    assert(owner.node === options.nodeId, 'an epoch is begun by its owner');
    if (epoch <= contents.log.epoch) {
      const message = `shard ${shard}: epoch ${contents.log.epoch} has begun meanwhile`;
      throw new VarveError('NOT_OWNER', message, { shard, owner: ownership.owner?.node, url: ownership.owner?.url });
    }
    this.#checkNotTurning();
    this.#isBeginning = true;
    try {
      ownership.fence(`epoch ${epoch} begins`);
      await this.#drained();
      await logEpoch(parts, epoch, owner, reason);
      await ownership.noteCaughtUp();
      this.#take(owner);
    } finally {
      this.#isBeginning = false;
    }
  }

  async rewind(seq: number): Promise<SetAside | undefined> {
    const { parts, applier, rewinds, rewound } = this.#deps;
    const { log } = parts.contents;
    const { shard } = parts.options;
    if (this.#isOwner) throw new VarveError('UNAVAILABLE', `shard ${shard}: it is the owner`, { shard, reason: 'it is the owner' });
    if (this.#isBeginning) this.#checkNotTurning();
    const { durableSeq } = log;
    const aside = await rewinds.rewind(seq);
    const isShorter = log.durableSeq < durableSeq;
    applier.startFromLog();
    rewound(isShorter);
    return aside;
  }

  get #isOwner(): boolean {
    return this.#deps.ownership.role === 'owner';
  }

  /** An event that is being written must not be what a rewind takes out, nor follow what one takes out. */
  #checkNotTurning(): void {
    const { parts, rewinds } = this.#deps;
    const { shard } = parts.options;
    const reason = rewinds.reason ?? (this.#isBeginning ? 'an epoch of its own begins' : undefined);
    if (reason !== undefined) throw new VarveError('UNAVAILABLE', `shard ${shard}: ${reason}`, { shard, reason });
  }

  /** What was queued is in the log, or has failed. */
  #drained(): Promise<void> {
    return this.#deps.parts.queue.drained();
  }

  #take(owner: ShardOwner | undefined): void {
    const { parts, ownership, changed } = this.#deps;
    const { contents, writer } = parts;
    const { log } = contents;
    writer.startFrom(log.durableSeq, Math.max(log.lastTime, writer.lastTime));
    ownership.lead(log.epoch, owner);
    changed();
  }
}
