/**
 * A shard's replication face: hands each call to the part that does it, and keeps them from disturbing each other.
 *
 * Owns no bytes. See engine/replica.ts for what each call promises; what a crash does is told by the parts.
 */

import type { CheckpointChain } from '../checkpoint-chain.js';
import type { CommitQueue } from '../commit-queue.js';
import { VarveError } from '../errors.js';
import type { IndexHealing } from '../index-healing.js';
import type {
  EpochSpan,
  LogSlice,
  MendReport,
  ReplicaPromise,
  ReplicaShard,
  RootCheck,
  SetAside,
  ShardOwner,
  ShardRole,
} from '../replica.js';
import type { Shard } from '../shard.js';
import type { ShardContents, ShardOptions } from '../shard-contents.js';
import type { Counts } from '../shard-counts.js';
import type { ShardFolder } from '../shard-folder.js';
import type { ShardRecovery } from '../shard-recovery.js';
import type { ShardWriter } from '../shard-writer.js';
import type { HashHex, ShardId } from '../types.js';

export interface ReplicaParts {
  readonly shard: Shard;
  readonly options: ShardOptions;
  readonly contents: ShardContents;
  readonly queue: CommitQueue;
  readonly writer: ShardWriter;
  readonly folder: ShardFolder;
  readonly chain: CheckpointChain;
  readonly healing: IndexHealing;
  readonly recovery: ShardRecovery;
  committed(seq: number, counts: Counts | undefined): void;
}

export class ReplicaControl implements ReplicaShard {
  readonly #parts: ReplicaParts;
  readonly role: ShardRole = 'owner';
  readonly owner: ShardOwner | undefined = undefined;
  readonly promised: ReplicaPromise = { epoch: 0, candidate: '', caughtUp: false };
  readonly unreadable: string | undefined = undefined;
  readonly erasedThrough = 0;
  readonly gaps: readonly { readonly fromSeq: number; readonly toSeq: number }[] = [];

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  get id(): ShardId {
    return this.#parts.shard.id;
  }

  get epoch(): number {
    return this.#parts.contents.log.epoch;
  }

  get firstSeq(): number {
    return this.#parts.contents.log.firstSeq;
  }

  get durableSeq(): number {
    return this.#parts.contents.log.durableSeq;
  }

  get visibleSeq(): number {
    return this.#parts.contents.visibleSeq;
  }

  get compactedThrough(): number {
    return this.#parts.contents.log.compactedThrough;
  }

  epochs(): readonly EpochSpan[] {
    return [{ epoch: this.epoch, firstSeq: this.firstSeq, lastSeq: this.durableSeq }];
  }

  // biome-ignore lint/correctness/useYield: comes next
  *slices(_fromSeq: number, _toSeq?: number): Generator<LogSlice, void, undefined> {
    throw this.#notYet();
  }

  watchGroups(_told: (slice: LogSlice) => void): () => void {
    throw this.#notYet();
  }

  async follow(_owner?: ShardOwner): Promise<void> {
    throw this.#notYet();
  }

  async apply(_slice: LogSlice): Promise<void> {
    throw this.#notYet();
  }

  onRootCheck(_told: (check: RootCheck) => void): void {}

  async rebuildTree(): Promise<RootCheck | undefined> {
    throw this.#notYet();
  }

  setQuorumSeq(_seq: number): void {}

  async promise(_epoch: number, _candidate: string): Promise<boolean> {
    throw this.#notYet();
  }

  async noteCaughtUp(): Promise<void> {
    throw this.#notYet();
  }

  async fence(_reason: string): Promise<void> {
    throw this.#notYet();
  }

  async lead(): Promise<void> {}

  async beginEpoch(_epoch: number, _owner: ShardOwner, _reason: string): Promise<void> {
    throw this.#notYet();
  }

  async rewind(_seq: number): Promise<SetAside | undefined> {
    throw this.#notYet();
  }

  async rootAt(_seq: number): Promise<{ readonly seq: number; readonly root: HashHex; readonly entries: number }> {
    throw this.#notYet();
  }

  async mend(
    _fromSeq: number,
    _toSeq: number,
    _slices: readonly LogSlice[],
    _prove: (seq: number, root: HashHex) => Promise<boolean>,
  ): Promise<MendReport> {
    throw this.#notYet();
  }

  #notYet(): VarveError {
    return new VarveError('UNAVAILABLE', 'replication of this shard is being built', { shard: this.id, reason: 'not built' });
  }
}
