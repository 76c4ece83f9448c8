/**
 * Who takes a shard's writes, as this node knows it, and the words it has given about that.
 *
 *   owner <-> fenced <-> follower      a promise for a newer epoch fences an owner; only `lead` and `beginEpoch` make one
 *
 * Invariants: a promise is durable before it is told, and holds from the moment it is asked for; no epoch at or below the log's, and none
 * below a promised one, is promised. A crash between promise and answer leaves a promise that nobody knows of: harmless.
 */
import { VarveError } from '../errors.js';
import type { Platform } from '../platform/platform.js';
import type { ReplicaPromise, ShardOwner, ShardRole } from '../replica.js';
import type { ShardId } from '../types.js';
import { readPromise, writePromise } from './promise-file.js';

export interface OwnershipOptions {
  readonly platform: Platform;
  readonly shard: ShardId;
  /** `shards/0001` */
  readonly directory: string;
  readonly nodeId: string;
}

const HELD = 'this node has not been told yet whether it owns the shard';

export class Ownership {
  readonly #options: OwnershipOptions;
  #role: ShardRole = 'owner';
  #owner: ShardOwner | undefined;
  #reason: string | undefined;
  #promised: ReplicaPromise = { epoch: 0, candidate: '', caughtUp: false };
  /** Whether the file says what is promised: a write of it may have failed. */
  #isWritten = true;
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  /** Before the log: throws CORRUPT for a damaged promise. */
  readPromise(): void {
    this.#promised = readPromise(this.#options.platform, this.#options.directory);
  }

  /** What the log says of ownership outranks everything but a newer promise. */
  opened(epoch: number, owner: ShardOwner | undefined, hold: boolean): void {
    this.#owner = owner;
    if (owner !== undefined && owner.node !== this.#options.nodeId) this.#be('follower', undefined);
    else if (this.#promised.epoch > epoch) this.#be('fenced', `epoch ${this.#promised.epoch} was promised to ${this.#promised.candidate}`);
    else if (hold) this.#be('fenced', HELD);
  }

  /** The log was read again: a failed write of an epoch's event may have left it there. */
  reopened(owner: ShardOwner | undefined): void {
    this.#owner = owner ?? this.#owner;
  }

  get role(): ShardRole {
    return this.#role;
  }

  get owner(): ShardOwner | undefined {
    return this.#owner;
  }

  /** Why writes are refused although this node knows of no other owner. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Whoever owns a shard is never behind itself. */
  get promised(): ReplicaPromise {
    return this.#role === 'owner' ? { ...this.#promised, caughtUp: true } : this.#promised;
  }

  checkTakesWrites(): void {
    if (this.#role === 'owner') return;
    const { shard } = this.#options;
    const why = this.#reason ?? `its owner is ${this.#owner?.url ?? 'another node'}`;
    const owner = this.#role === 'follower' ? this.#owner : undefined;
    throw new VarveError('NOT_OWNER', `shard ${shard} takes no writes here: ${why}`, { shard, owner: owner?.node, url: owner?.url });
  }

  follow(owner: ShardOwner | undefined): void {
    this.#owner = owner ?? this.#owner;
    this.#be('follower', undefined);
  }

  fence(reason: string): void {
    this.#be('fenced', reason);
  }

  /** Throws NOT_OWNER where the epoch was given away. */
  lead(epoch: number, owner: ShardOwner | undefined): void {
    this.checkNotPromised(epoch);
    this.#owner = owner;
    this.#be('owner', undefined);
  }

  /** Throws NOT_OWNER where a newer epoch, or this one to another node, was promised. */
  checkNotPromised(epoch: number): void {
    const { epoch: promised, candidate } = this.#promised;
    if (promised < epoch || (promised === epoch && (candidate === this.#options.nodeId || candidate === ''))) return;
    const { shard } = this.#options;
    const message = `shard ${shard}: epoch ${promised} was promised to ${candidate}`;
    throw new VarveError('NOT_OWNER', message, { shard, owner: candidate, url: undefined });
  }

  /** Throws UNSOUND for an epoch that nothing is taken from any more. */
  checkMayApply(epoch: number): void {
    if (epoch >= this.#promised.epoch) return;
    const what = `epoch ${epoch} is over: ${this.#promised.epoch} was promised to ${this.#promised.candidate}`;
    throw new VarveError('UNSOUND', `shard ${this.#options.shard}: ${what}`, { shard: this.#options.shard, what });
  }

  /** `logEpoch`: the newest this copy has; `drained`: waits for what is on its way into the log. */
  promise(epoch: number, candidate: string, logEpoch: () => number, drained: () => Promise<void>): Promise<boolean> {
    return this.#inTurn(async () => {
      const given = this.#promised;
      if (epoch <= logEpoch() || epoch < given.epoch || !this.promised.caughtUp) return false;
      if (epoch === given.epoch && candidate !== given.candidate) return false;
      if (epoch === given.epoch && this.#isWritten) return true;
      // From here on nothing of an older epoch is taken, whether this becomes durable or not.
      this.#promised = { epoch, candidate, caughtUp: true };
      if (this.#role === 'owner') this.#be('fenced', `epoch ${epoch} was promised to ${candidate}`);
      await drained();
      await this.#write();
      return true;
    });
  }

  /** `floor`: nothing of an older epoch is taken from now on; it is promised to nobody. */
  noteCaughtUp(caughtUp = true, floor = 0): Promise<void> {
    return this.#inTurn(async () => {
      const { epoch } = this.#promised;
      if (this.#promised.caughtUp === caughtUp && floor <= epoch && this.#isWritten) return;
      this.#promised = floor > epoch ? { epoch: floor, candidate: '', caughtUp } : { ...this.#promised, caughtUp };
      await this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#isWritten = false;
    await writePromise(this.#options.platform, this.#options.directory, this.#promised);
    this.#isWritten = true;
  }

  #be(role: ShardRole, reason: string | undefined): void {
    this.#role = role;
    this.#reason = reason;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => undefined);
    return turn;
  }
}
