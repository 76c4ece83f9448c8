/**
 * A simulated replica set: its nodes on their machines, one clock and one network, what its clients were promised, and what has happened to it.
 *
 * It brings nodes up and down, and knows how much may be lost at a time: a minority. A disk is wiped, or rots, only while a majority of others, not
 * hurt themselves, hold copies that have a say. Of what nobody waits for, the first failure is kept, and ends the run.
 */
import { isVarveError, type OpenOptions } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SimulatedTime } from '../../engine/platform/memory-clock.js';
import { ClusterLedger } from './cluster-ledger.js';
import { Member } from './cluster-member.js';
import { Random } from './random.js';
import { setAsideRecords } from './set-aside.js';
import { CALM, type NetworkFaults, ROUGH, SimNetwork, SLOW } from './sim-network.js';

export interface ClusterOptions {
  readonly seed: number;
  readonly steps: number;
  readonly shards: number;
  /** Three, and five in one seed of four. */
  readonly nodes?: number;
}

export interface ClusterStats {
  written: number;
  safe: number;
  promotions: number;
  refusedPromotions: number;
  crashes: number;
  wipes: number;
  partitions: number;
  setAside: number;
  erased: number;
  rotten: number;
  sick: number;
  snapshots: number;
}

export class SimCluster {
  readonly stats: ClusterStats = {
    written: 0,
    safe: 0,
    promotions: 0,
    refusedPromotions: 0,
    crashes: 0,
    wipes: 0,
    partitions: 0,
    setAside: 0,
    erased: 0,
    rotten: 0,
    sick: 0,
    snapshots: 0,
  };
  readonly options: ClusterOptions;
  /** Of everything that happens: in which order it is asked is what a seed stands for. */
  readonly random: Random;
  readonly time = new SimulatedTime();
  readonly network: SimNetwork;
  readonly members: readonly Member[];
  readonly urls: readonly string[];
  readonly ledger = new ClusterLedger();
  /** What nodes took out of their logs and kept: contents by id. */
  readonly aside = new Map<string, string>();
  readonly #open: OpenOptions;
  /** There is a database to make copies of. */
  #founded = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    const faults: NetworkFaults = this.random.pick([ROUGH, ROUGH, SLOW, { ...CALM, delayMs: [1, 10] }]);
    this.network = new SimNetwork(this.time, options.seed, faults);
    this.#open = {
      segmentBytes: this.random.pick([2_000, 20_000]),
      checkpointRecords: this.random.pick([5, 40, 100_000]),
      upkeep: { automatic: false, deadShare: 0.1, everyMs: 1_000 },
    };
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, options.nodes ?? (options.seed % 4 === 0 ? 5 : 3));
    this.members = names.map((name) => new Member(name, this.#machine()));
    this.urls = this.members.map(({ url }) => url);
  }

  /** Something that nobody waits for has failed. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  owners(shard: number): Member[] {
    return this.members.filter(({ running }) => running?.db.replica(shard).role === 'owner');
  }

  shards(): number[] {
    return Array.from({ length: this.options.shards }, (_, i) => i + 1);
  }

  start(member: Member): void {
    if (member.running !== undefined || member.starting !== undefined) return;
    const { life, url } = member;
    const isFirst = member === this.members[0] && !this.#founded;
    const shards = isFirst ? this.options.shards : undefined;
    member.starting = member
      .begin({ network: this.network, random: this.random, urls: this.urls, open: this.#open, shards })
      .then((running) => {
        if (running === undefined || member.life !== life) return;
        this.#founded = true;
        member.running = running;
        member.unread = false;
        this.network.up(url, running.replicator.service);
      })
      .catch((error: unknown) => {
        // A machine that dies on the way up takes its errors along.
        if (member.life !== life) return;
        // What cannot be read of who it is and what it promised is not guessed: a person moves the directory away.
        if (member.hurt && isVarveError(error, 'CORRUPT')) this.replace(member);
        else if (member.sick) this.#exit(member);
        else this.fail(error);
      })
      .finally(() => {
        if (member.life === life) member.starting = undefined;
      });
  }

  crash(member: Member, successor: (machine: MemoryPlatform) => MemoryPlatform): void {
    if (member.running === undefined && member.starting === undefined) return;
    this.stats.crashes++;
    this.#endProcess(member, successor(member.platform));
  }

  async stop(member: Member): Promise<void> {
    const { running } = member;
    if (running === undefined) return;
    running.verifier.close();
    const closing = running.replicator.close().then(() => running.db.close());
    let closed = false;
    closing.then(
      () => void (closed = true),
      (error: unknown) => {
        closed = true;
        if (!member.sick) this.fail(error);
      },
    );
    await this.network.until(`${member.url} has stopped`, () => closed);
    this.#exit(member);
  }

  /** Another machine takes its place, with an empty disk. */
  replace(member: Member): void {
    this.keepAside(member);
    this.#endProcess(member, this.#machine());
    member.hurt = false;
    member.unread = false;
    this.loseLocal();
  }

  /** What one node alone had may be gone with it; that much was never promised. */
  loseLocal(): void {
    for (const attempt of this.ledger.attempts) if (attempt.outcome === 'local') attempt.outcome = 'unknown';
  }

  /** A minority at a time: a majority of others holds copies that have a say, and are as they were written. */
  maySpare(member: Member, whole: number): boolean {
    return this.members.filter((each) => each !== member && this.#isWhole(each)).length >= whole;
  }

  #isWhole(member: Member): boolean {
    const { running } = member;
    if (running === undefined || member.hurt) return false;
    return this.shards().every((shard) => running.db.replica(shard).promised.caughtUp);
  }

  /** What a node took out of its log and kept. */
  keepAside(member: Member): void {
    for (const shard of this.shards())
      for (const [id, content] of setAsideRecords(member.platform, shard))
        if (typeof content === 'string' && content.startsWith('content')) this.aside.set(id, content);
  }

  async waitFor<T>(work: Promise<T>): Promise<T> {
    let done = false;
    work.then(
      () => void (done = true),
      () => void (done = true),
    );
    await this.network.until('an answer', () => done);
    return work;
  }

  #machine(): MemoryPlatform {
    return new MemoryPlatform({ seed: this.random.uint32(), time: this.time });
  }

  #endProcess(member: Member, next: MemoryPlatform): void {
    this.network.down(member.url);
    member.platform.halt('hang');
    this.#gone(member);
    member.platform = next;
    member.sick = false;
  }

  /** The process ends by itself; what is wrong with the disk stays for a while, or is over. */
  #exit(member: Member): void {
    this.#endProcess(member, member.platform.killProcess({ time: this.time }));
  }

  #gone(member: Member): void {
    member.life++;
    member.running = undefined;
    member.starting = undefined;
  }
}
