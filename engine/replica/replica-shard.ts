/**
 * A shard's replication face: hands each call to the part that does it, and says whether this copy may answer.
 *
 * Invariant: it answers nothing while its log is rewound, its tree differs from its owner's, what decides over answers cannot be read, or
 * what its source dropped is not known. Owns no bytes. See engine/replica.ts for what each call promises; what a crash does is told by the
 * parts.
 */
import type { CheckpointChain } from '../checkpoint-chain.js';
import type { CommitQueue } from '../commit-queue.js';
import { isVarveError, VarveError } from '../errors.js';
import { hex } from '../format/hash.js';
import type { IndexHealing } from '../index-healing.js';
import { lazily } from '../lazily.js';
import type { LogEvent } from '../log/index.js';
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
import { type ShardContents, type ShardOptions, shardDirectory } from '../shard-contents.js';
import type { Counts } from '../shard-counts.js';
import type { ShardFolder } from '../shard-folder.js';
import type { ShardRecovery } from '../shard-recovery.js';
import type { ShardWriter } from '../shard-writer.js';
import { EMPTY_ROOT_HASH } from '../tree/tree-store.js';
import type { HashHex, ShardId } from '../types.js';
import { Applier } from './applying.js';
import { epochsOf, ownerOf } from './epochs.js';
import { gapsOf } from './gaps.js';
import type { Prove } from './mend.js';
import { Mending } from './mending.js';
import { Ownership } from './ownership.js';
import { OwnershipChanges } from './ownership-changes.js';
import { PROMISE_FILE } from './promise-file.js';
import { finishRewind, REWIND_FILE } from './rewind.js';
import { Rewinding } from './rewinding.js';
import { RootChecks } from './root-checks.js';
import { GroupWatchers, slicesOf } from './source.js';
import { followSystem, readSystem, type SystemRecord } from './system-following.js';

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
  /** Told after system collections, the role, or whether reads are answered has changed: what the database knows of them may be stale. */
  onChange: () => void = () => undefined;
  readonly #parts: ReplicaParts;
  readonly #ownership: Ownership;
  readonly #applier: Applier;
  readonly #checks: () => RootChecks;
  readonly #changes: () => OwnershipChanges;
  readonly #mending: () => Mending;
  readonly #groups: () => GroupWatchers;
  readonly #rewinds: Rewinding;
  /** Set where the shard's own system records cannot be read. */
  #untold: VarveError | undefined;
  /** Where the roots differ. */
  #divergedAt: number | undefined;
  /** A fold is under way that takes out what a trim lists. */
  #isPaying = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
    const { options, contents, queue, chain, healing, folder } = parts;
    const { platform, shard, nodeId } = options;
    this.#ownership = new Ownership({ platform, shard, directory: shardDirectory(shard), nodeId });
    this.#checks = lazily(() => new RootChecks({ contents, folder, healing, checked: (check, isSame) => this.#checked(check, isSame) }));
    this.#groups = lazily(() => new GroupWatchers(contents.log));
    const settled = () => Promise.all([queue.drained(), this.#checks().settled()]).then(() => undefined);
    this.#rewinds = new Rewinding(parts, { settled, changed: () => this.#updateRefusal() });
    this.#applier = new Applier({
      shard,
      contents,
      queue,
      chain,
      healing,
      checkMayApply: (epoch) => this.#checkMayApply(epoch),
      met: (event, seq) => this.#met(event, seq),
      metSystem: (records) => this.#metSystem(records),
      committed: (seq, counts) => {
        parts.committed(seq, counts);
        this.#updateRefusal();
        this.#payDrops();
      },
    });
    const changed = () => this.onChange();
    this.#changes = lazily(
      () =>
        new OwnershipChanges({
          parts,
          ownership: this.#ownership,
          applier: this.#applier,
          rewinds: this.#rewinds,
          changed,
          rewound: (isShorter) => this.#rewound(isShorter),
        }),
    );
    this.#mending = lazily(
      () => new Mending(parts, { rebuildTree: () => this.rebuildTree(), isUntold: () => this.#untold !== undefined, changed }),
    );
  }

  // ---- state

  get id(): ShardId {
    return this.#parts.shard.id;
  }

  get role(): ShardRole {
    return this.#ownership.role;
  }

  get takesWrites(): boolean {
    return this.#ownership.role === 'owner';
  }

  /** Why it takes no writes although nobody else is known to. */
  get reason(): string | undefined {
    return this.#ownership.reason;
  }

  get epoch(): number {
    return this.#parts.contents.log.epoch;
  }

  get owner(): ShardOwner | undefined {
    return this.#ownership.owner;
  }

  get promised(): ReplicaPromise {
    return this.#ownership.promised;
  }

  /** Where the log begins with an epoch, the seqs before its event belong to nobody: whoever ends where the one before ended can go on here. */
  get firstSeq(): number {
    const { log } = this.#parts.contents;
    const [first] = log.segmentSet.all;
    return Math.min(log.firstSeq, (first?.header?.attestedSeq ?? first?.base ?? 0) + 1);
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
    return epochsOf(this.#parts.contents.log);
  }

  get unreadable(): string | undefined {
    return this.#parts.contents.refusal?.message;
  }

  get gaps(): readonly { readonly fromSeq: number; readonly toSeq: number }[] {
    return gapsOf(this.#parts.contents.log);
  }

  /** Throws NOT_OWNER. */
  checkTakesWrites(): void {
    this.#ownership.checkTakesWrites();
  }

  // ---- what the shard tells

  /** Before its files are read. */
  async beforeOpening(): Promise<void> {
    const { platform, catalog } = this.#parts.options;
    const directory = shardDirectory(this.id);
    if (platform.files.exists(`${directory}/${PROMISE_FILE}`)) this.#ownership.readPromise();
    if (platform.files.exists(`${directory}/${REWIND_FILE}`) && (await finishRewind(platform, directory)))
      catalog.replaceCheckpoints(this.id, []);
  }

  opened(): void {
    const { log } = this.#parts.contents;
    this.#ownership.opened(log.epoch, ownerOf(log), this.#parts.options.hold);
    this.#applier.startFromLog();
    this.#updateRefusal();
  }

  /** The log was read again: what survived of failed groups is part of it now. */
  reopened(): void {
    this.#ownership.reopened(ownerOf(this.#parts.contents.log));
    this.#applier.startFromLog();
    this.#updateRefusal();
    if (!this.takesWrites) this.onChange();
  }

  /** What decides over the answers may lie in what cannot be read: then nothing is answered before it is mended. */
  async lookAtOwnRecords(): Promise<void> {
    const { shard, contents } = this.#parts;
    if (contents.gap !== undefined || (this.#untold === undefined && !shard.tells)) return;
    try {
      await shard.healing(() => shard.readingOwn(() => readSystem(shard)));
      this.#untold = undefined;
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT')) throw error;
      const [gap = { fromSeq: 1, toSeq: contents.visibleSeq }] = this.gaps;
      this.#untold = contents.damage(gap);
    }
    this.#updateRefusal();
  }

  // ---- source

  slices(fromSeq: number, toSeq?: number): Generator<LogSlice, void, undefined> {
    return slicesOf(this.#parts.contents.log, fromSeq, toSeq);
  }

  watchGroups(told: (slice: LogSlice) => void): () => void {
    return this.#groups().watch(told);
  }

  // ---- follower

  follow(owner?: ShardOwner): Promise<void> {
    return this.#changes().follow(owner);
  }

  async apply(slice: LogSlice, sourceEpoch?: number): Promise<void> {
    await this.#applier.apply(slice, sourceEpoch);
  }

  onRootCheck(told: (check: RootCheck) => void): void {
    this.#checks().onCheck(told);
  }

  rebuildTree(): Promise<RootCheck | undefined> {
    return this.#checks().rebuildTree();
  }

  setQuorumSeq(seq: number): void {
    this.#parts.shard.upkeep.setQuorumSeq(seq);
  }

  get erasedThrough(): number {
    return this.#parts.shard.upkeep.erasedThrough;
  }

  // ---- ownership

  promise(epoch: number, candidate: string): Promise<boolean> {
    return this.#changes().promise(epoch, candidate);
  }

  noteCaughtUp(floor = 0): Promise<void> {
    return this.#ownership.noteCaughtUp(true, floor);
  }

  fence(reason: string): Promise<void> {
    return this.#changes().fence(reason);
  }

  lead(): Promise<void> {
    return this.#changes().lead();
  }

  beginEpoch(epoch: number, owner: ShardOwner, reason: string): Promise<void> {
    return this.#changes().beginEpoch(epoch, owner, reason);
  }

  rewind(seq: number): Promise<SetAside | undefined> {
    return this.#changes().rewind(seq);
  }

  get isRewindCutShort(): boolean {
    return this.#rewinds.isCutShort;
  }

  // ---- verification and repair

  async rootAt(seq: number): Promise<{ readonly seq: number; readonly root: HashHex; readonly entries: number }> {
    const { contents, folder, healing, shard } = this.#parts;
    while (contents.visibleSeq < seq) await new Promise<void>((resolve) => void shard.onceVisible(resolve));
    if (contents.gap !== undefined) throw contents.damage(contents.gap);
    const tree = await healing.healing(() => folder.fold(seq));
    if (tree.seq !== seq) throw new VarveError('PASSED', `shard ${this.id}: its tree is at ${tree.seq}`, { shard: this.id, seq: tree.seq });
    return { seq, root: hex(tree.root?.hash ?? EMPTY_ROOT_HASH), entries: tree.root?.entries ?? 0 };
  }

  mend(fromSeq: number, toSeq: number, slices: readonly LogSlice[], prove: Prove): Promise<MendReport> {
    return this.#mending().mend(fromSeq, toSeq, slices, prove);
  }

  // ---- inside

  #checkMayApply(epoch: number): void {
    const { recovery, folder } = this.#parts;
    if (this.role !== 'follower' || this.#rewinds.reason !== undefined) {
      const reason = this.#rewinds.reason ?? `it is ${this.role} here`;
      throw new VarveError('UNAVAILABLE', `shard ${this.id} takes nothing from others: ${reason}`, { shard: this.id, reason });
    }
    this.#ownership.checkMayApply(epoch);
    const reason = recovery.stopped ?? folder.overflow;
    if (reason !== undefined) throw new VarveError('NOT_WRITTEN', `shard ${this.id}: ${reason}`, { shard: this.id, reason });
  }

  #met(event: LogEvent, seq: number): void {
    this.#parts.shard.upkeep.met(event, seq);
    if (event.type === 'checkpoint') this.#checks().met(event.throughSeq, event.root);
    if (event.type === 'epoch') {
      this.#ownership.follow({ node: hex(event.node), url: Buffer.from(event.url).toString() });
    }
  }

  #metSystem(records: readonly SystemRecord[]): void {
    if (followSystem(this.#parts.shard, records)) this.onChange();
  }

  #checked({ seq }: RootCheck, isSame: boolean): void {
    this.#divergedAt = isSame ? undefined : seq;
    this.#updateRefusal();
  }

  /** What was compared may be gone. */
  #rewound(isShorter: boolean): void {
    if (isShorter) {
      this.#checks().newest = undefined;
      this.#divergedAt = undefined;
    }
    this.#updateRefusal();
    this.onChange();
  }

  /** The trim that its source has carried out has come: what is left of what it lists goes before anything is answered. */
  #payDrops(): void {
    const { contents, folder, healing } = this.#parts;
    const seq = this.#applier.compactedThrough;
    if (this.#isPaying || seq > contents.visibleSeq || !contents.index.owesDrops(seq)) return;
    this.#isPaying = true;
    contents.countsInDoubt = true;
    void healing
      .healing(() => folder.fold())
      // A disk that takes no tree: with the next that comes.
      .catch(() => undefined)
      .then(() => {
        this.#isPaying = false;
        this.#updateRefusal();
      });
  }

  #updateRefusal(): void {
    const { contents } = this.#parts;
    const before = contents.refusal;
    contents.refusal = this.#refusal();
    if (before !== undefined && contents.refusal === undefined) this.onChange();
  }

  #refusal(): VarveError | undefined {
    const { contents } = this.#parts;
    const { id: shard } = this;
    const { reason } = this.#rewinds;
    if (reason !== undefined) {
      return new VarveError('UNAVAILABLE', `shard ${shard}: ${reason}`, { shard, reason });
    }
    if (this.#divergedAt !== undefined) {
      const seq = this.#divergedAt;
      return new VarveError('DIVERGED', `shard ${shard}: its tree has another root than its owner's at seq ${seq}`, { shard, seq });
    }
    if (this.#untold !== undefined) return this.#untold;
    const seq = this.#applier.compactedThrough;
    if (seq <= contents.visibleSeq && !contents.index.owesDrops(seq)) return undefined;
    const before = contents.refusal;
    if (before?.code === 'BEHIND' && (before as VarveError<'BEHIND'>).details.seq === seq) return before;
    return new VarveError('BEHIND', `shard ${shard}: what its source dropped is not known before seq ${seq}`, { shard, seq });
  }
}
