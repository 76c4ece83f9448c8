/**
 * Drives a replica set of simulated nodes over a simulated network through writes, partitions, kills, power cuts, wiped, rotting and failing disks,
 * promotions, retention, snapshots and compactions, all from one seed; then lets everything heal, and insists (I1, I4–I6):
 *
 *   all copies have one root, that of a fresh build · what a quorum acknowledged is there · no id ever names two contents · epochs have one owner each
 *
 * What is lost at a time is a minority: a disk is wiped, or rots, only while a majority of others, not hurt themselves, hold copies that have a say.
 */
import assert from 'node:assert/strict';
import { isVarveError, type OpenOptions, type openWith, VarveError } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SimulatedTime, settle } from '../../engine/platform/memory-clock.js';
import { type RecordHeader, recordId } from '../../engine/types.js';
import { PromotionRefused } from '../../replication/index.js';
import { isOfDisk, rot, sicken } from './cluster-disks.js';
import { type Attempt, ClusterLedger } from './cluster-ledger.js';
import { Member, type Running } from './cluster-member.js';
import { filesThatSay } from './decoded.js';
import { Random } from './random.js';
import { freshRoot } from './root.js';
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

/** Everything of this one stays, for the ledger; the other's history is trimmed. */
const KEPT = 'kept';
const TRIMMED = 'trimmed';
/** Of this one the bodies go. */
const ERASED = 'erased';

const HOUR_MS = 3_600_000;

const WEIGHTS = {
  write: 45,
  pass: 30,
  partition: 5,
  oneWay: 3,
  heal: 18,
  kill: 3,
  powerCut: 3,
  stop: 1,
  start: 35,
  wipe: 4,
  promote: 8,
  coup: 4,
  compact: 4,
  retain: 2,
  erase: 2,
  jump: 2,
  rot: 6,
  scrub: 3,
  sicken: 1,
  cure: 3,
  snapshot: 2,
};

export async function runClusterSeed(options: ClusterOptions): Promise<ClusterStats> {
  const driver = new ClusterDriver(options);
  try {
    await driver.run();
    return driver.stats;
  } catch (error) {
    const { seed, shards, steps } = options;
    const where = `seed ${seed}, ${shards} shards, ${driver.nodes} nodes, step ${driver.step} of ${steps} (${driver.doing})`;
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

class ClusterDriver {
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
  step = 0;
  doing = 'begin';
  readonly #options: ClusterOptions;
  readonly #random: Random;
  readonly #time = new SimulatedTime();
  readonly #network: SimNetwork;
  readonly #members: readonly Member[];
  readonly #urls: readonly string[];
  readonly #open: OpenOptions;
  readonly #faults: NetworkFaults;
  readonly #ledger = new ClusterLedger();
  readonly #aside = new Map<string, string>();
  /** Bodies that a quorum knows to be erased. */
  readonly #erased: string[] = [];
  readonly #secrets: { readonly key: string; readonly body: string }[] = [];
  /** There is a database to make copies of. */
  #founded = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#faults = this.#random.pick([ROUGH, ROUGH, SLOW, { ...CALM, delayMs: [1, 10] }]);
    this.#network = new SimNetwork(this.#time, options.seed, this.#faults);
    this.#open = {
      segmentBytes: this.#random.pick([2_000, 20_000]),
      checkpointRecords: this.#random.pick([5, 40, 100_000]),
      upkeep: { automatic: false, deadShare: 0.1, everyMs: 1_000 },
    };
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, options.nodes ?? (options.seed % 4 === 0 ? 5 : 3));
    this.#members = names.map((name) => new Member(name, this.#machine()));
    this.#urls = this.#members.map(({ url }) => url);
  }

  get nodes(): number {
    return this.#members.length;
  }

  async run(): Promise<void> {
    for (const member of this.#members) this.#start(member);
    await this.#network.pass(2_000);
    for (this.step = 1; this.step <= this.#options.steps; this.step++) {
      this.doing = this.#random.weighted(WEIGHTS);
      await this.#act(this.doing);
      await settle();
      if (this.step % 8 === 0) this.#look();
      if (this.#failure !== undefined) throw this.#failure.error;
    }
    this.doing = 'heal';
    await this.#heal();
    this.doing = 'compare';
    await this.#compare();
    this.doing = 'look for what was erased';
    await this.#checkErased();
    await this.#end();
  }

  async #act(what: string): Promise<void> {
    switch (what) {
      case 'write':
        return this.#write();
      case 'pass':
        return this.#network.pass(this.#random.pick([20, 200, 1_000, 6_000]));
      case 'partition':
        return this.#isolate(this.#random.pick(this.#members));
      case 'oneWay':
        this.stats.partitions++;
        return this.#network.block(this.#random.pick(this.#urls), this.#random.pick(this.#urls));
      case 'heal':
        return this.#network.heal();
      case 'kill':
        return this.#crash(this.#random.pick(this.#members), (machine) => machine.killProcess({ time: this.#time }));
      case 'powerCut': {
        const chooser = randomChooser(this.#random.uint32());
        return this.#crash(this.#random.pick(this.#members), (machine) => machine.crash(chooser, { tear: [1, 511], time: this.#time }));
      }
      case 'stop':
        return this.#stop(this.#random.pick(this.#members));
      case 'start':
        return this.#start(this.#random.pick(this.#members));
      case 'wipe':
        return this.#wipe(this.#random.pick(this.#members));
      case 'promote':
        return this.#promote(this.#random.pick(this.#members), 1 + this.#random.below(this.#options.shards));
      case 'coup':
        return this.#coup(1 + this.#random.below(this.#options.shards));
      case 'compact':
        return this.#compact(this.#random.pick(this.#members));
      case 'retain':
        return this.#retain();
      case 'erase':
        return this.#erase();
      case 'rot':
        return this.#rot(this.#random.pick(this.#members));
      case 'scrub':
        return this.#scrub(this.#random.pick(this.#members));
      case 'sicken':
        return this.#sicken(this.#random.pick(this.#members));
      case 'cure':
        return this.#cure(this.#random.pick(this.#members));
      case 'snapshot':
        return this.#snapshot();
      default: {
        const mostMs = this.#random.chance(0.2) ? 2 * HOUR_MS : 20_000;
        this.#random.pick(this.#members).platform.clock.jump((this.#random.below(mostMs) - mostMs / 2) * 1000);
      }
    }
  }

  // ---- clients

  #write(asked?: readonly Member[]): void {
    for (let n = 1 + this.#random.below(5); n > 0; n--) {
      const owners = asked ?? this.#owners(1 + this.#random.below(this.#options.shards));
      // Who owns nothing refuses; that is looked at less often.
      const member = this.#random.pick(owners.length > 0 && this.#random.chance(0.8) ? owners : this.#members);
      const { running } = member;
      if (running === undefined) continue;
      const collection = this.#random.chance(0.7) ? KEPT : TRIMMED;
      const key = `k${this.#random.below(collection === KEPT ? 40 : 3)}`;
      const attempt = this.#ledger.begin();
      const wantsQuorum = this.#random.chance(0.5);
      void this.#insert(member, running, collection, key, attempt, wantsQuorum).catch((error: unknown) => {
        this.#failure ??= { error };
      });
    }
  }

  async #insert(
    member: Member,
    { db, replicator }: Running,
    collection: string,
    key: string,
    attempt: Attempt,
    wantsQuorum: boolean,
  ): Promise<void> {
    const { life } = member;
    let header: RecordHeader;
    try {
      header = await db.put(collection, key, attempt.content);
    } catch (error) {
      if (member.life !== life) return;
      if (isVarveError(error, 'OUTCOME_UNKNOWN') || isVarveError(error, 'UNAVAILABLE')) this.#ledger.answered(attempt, 'unknown');
      else if (isVarveError(error, 'NOT_OWNER') || isVarveError(error, 'NOT_WRITTEN') || isVarveError(error, 'CLOSED'))
        this.#ledger.answered(attempt, 'refused');
      else if (member.hurt && error instanceof VarveError) this.#ledger.answered(attempt, 'unknown');
      else throw error;
      return;
    }
    if (member.life !== life) return;
    this.stats.written++;
    // What retention may drop was promised to nobody.
    this.#ledger.answered(attempt, collection === KEPT ? 'local' : 'unknown', header.id);
    if (!wantsQuorum || !(await replicator.whenQuorum(header.shard, header.seq)) || member.life !== life) return;
    this.stats.safe++;
    if (collection === KEPT) this.#ledger.answered(attempt, 'quorum', header.id);
  }

  // ---- machines

  #machine(): MemoryPlatform {
    return new MemoryPlatform({ seed: this.#random.uint32(), time: this.#time });
  }

  #start(member: Member): void {
    if (member.running !== undefined || member.starting !== undefined) return;
    const { life, url } = member;
    const isFirst = member === this.#members[0] && !this.#founded;
    const shards = isFirst ? this.#options.shards : undefined;
    member.starting = member
      .begin({ network: this.#network, random: this.#random, urls: this.#urls, open: this.#open, shards })
      .then((running) => {
        if (running === undefined || member.life !== life) return;
        this.#founded = true;
        member.running = running;
        member.unread = false;
        this.#network.up(url, running.replicator.service);
      })
      .catch((error: unknown) => {
        // A machine that dies on the way up takes its errors along.
        if (member.life !== life) return;
        // What cannot be read of who it is and what it promised is not guessed: a person moves the directory away.
        if (member.hurt && isVarveError(error, 'CORRUPT')) this.#replace(member);
        else if (member.sick) this.#exit(member);
        else this.#failure ??= { error };
      })
      .finally(() => {
        if (member.life === life) member.starting = undefined;
      });
  }

  #crash(member: Member, successor: (machine: MemoryPlatform) => MemoryPlatform): void {
    if (member.running === undefined && member.starting === undefined) return;
    this.stats.crashes++;
    this.#endProcess(member, successor(member.platform));
  }

  #endProcess(member: Member, next: MemoryPlatform): void {
    this.#network.down(member.url);
    member.platform.halt('hang');
    this.#gone(member);
    member.platform = next;
    member.sick = false;
  }

  /** The process ends by itself; what is wrong with the disk stays for a while, or is over. */
  #exit(member: Member): void {
    this.#endProcess(member, member.platform.killProcess({ time: this.#time }));
  }

  #gone(member: Member): void {
    member.life++;
    member.running = undefined;
    member.starting = undefined;
  }

  async #stop(member: Member): Promise<void> {
    const { running } = member;
    if (running === undefined) return;
    running.verifier.close();
    const closing = running.replicator.close().then(() => running.db.close());
    let closed = false;
    closing.then(
      () => void (closed = true),
      (error: unknown) => {
        closed = true;
        if (!member.sick) this.#failure ??= { error };
      },
    );
    await this.#network.until(`${member.url} has stopped`, () => closed);
    this.#exit(member);
  }

  /** A minority at a time: a majority of others holds copies that have a say, and are as they were written. */
  #maySpare(member: Member, whole: number): boolean {
    return this.#members.filter((each) => each !== member && this.#isWhole(each)).length >= whole;
  }

  #wipe(member: Member): void {
    if (!member.platform.files.exists('node.json')) return;
    const nodes = this.#members.length;
    // What is hurt already is lost already, as far as a minority goes.
    if (!this.#maySpare(member, nodes === 3 || !this.#random.chance(0.5) ? nodes - 1 : Math.floor(nodes / 2) + 1)) return;
    this.stats.wipes++;
    this.#replace(member);
  }

  #replace(member: Member): void {
    this.#keepAside(member);
    this.#endProcess(member, this.#machine());
    member.hurt = false;
    member.unread = false;
    this.#loseLocal();
  }

  /** What one node alone had may be gone with it; that much was never promised. */
  #loseLocal(): void {
    for (const attempt of this.#ledger.attempts) if (attempt.outcome === 'local') attempt.outcome = 'unknown';
  }

  #rot(member: Member): void {
    if (!this.#maySpare(member, this.#members.length - 1) || member.running === undefined || member.sick) return;
    const path = rot(member, this.#members, this.#shards(), this.#random);
    if (path === undefined) return;
    this.stats.rotten++;
    member.hurt = true;
    member.unread ||= path.endsWith('.json');
    member.told.push(`a bit of ${path} has flipped at step ${this.step}`);
    this.#loseLocal();
  }

  /** Reads all of it back, and mends what is found. */
  #scrub(member: Member): void {
    const { running, life } = member;
    if (running === undefined || !member.hurt || member.unread) return;
    const rotten = this.stats.rotten;
    const job = running.verifier.verify({ deep: true, repair: true });
    void running.db.jobEnded(job.id).then((ended) => {
      const { damaged, unrepairable } = (ended?.result ?? {}) as { readonly damaged?: number; readonly unrepairable?: number };
      // Found whole: what was damaged before this one was mended by another.
      const isWhole = ended?.state === 'done' && damaged === 0 && unrepairable === 0;
      if (isWhole && member.life === life && this.stats.rotten === rotten) member.hurt = false;
    });
  }

  #sicken(member: Member): void {
    if (member.running === undefined) return;
    this.stats.sick++;
    member.sick = true;
    sicken(member, this.#random);
  }

  #cure(member: Member): void {
    member.platform.clearFaults();
  }

  #snapshot(): void {
    const [owner] = this.#owners(1);
    const { db } = owner?.running ?? {};
    if (owner === undefined || db === undefined) return;
    this.stats.snapshots++;
    const name = `s${this.#random.below(4)}`;
    const made = this.#random.chance(0.6) ? db.createSnapshot(name, db.newestTime() ?? '') : db.deleteSnapshot(name);
    made.catch((error: unknown) => this.#asked(owner, error));
  }

  /** What a person's request may fail with. */
  #asked(member: Member, error: unknown): void {
    if (error instanceof VarveError || error instanceof PromotionRefused || (member.sick && isOfDisk(error))) return;
    this.#failure ??= { error };
  }

  #promote(member: Member, shard: number): void {
    const { life, running } = member;
    if (running === undefined || running.db.replica(shard).role === 'owner') return;
    running.promote(shard).then(
      () => void (this.stats.promotions += Number(member.life === life)),
      (error: unknown) => {
        if (member.life !== life) return;
        if (error instanceof PromotionRefused) this.stats.refusedPromotions++;
        else this.#asked(member, error);
      },
    );
  }

  /** An owner is cut off, and writes on, while another takes over. */
  #coup(shard: number): void {
    const [owner] = this.#owners(shard);
    if (owner === undefined) return;
    this.#isolate(owner);
    this.#write([owner]);
    this.#promote(this.#random.pick(this.#members.filter((each) => each !== owner)), shard);
  }

  #isolate(cut: Member): void {
    this.stats.partitions++;
    this.#network.isolate(
      cut.url,
      this.#urls.filter((url) => url !== cut.url),
    );
  }

  #compact(member: Member): void {
    try {
      member.running?.db.compact({ force: this.#random.chance(0.5) });
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
    }
  }

  #retain(): void {
    const owner = this.#members.find(({ running }) => running?.db.replica(1).role === 'owner');
    const retention = this.#random.pick([{ keep: 'all' }, { keep: 'last', versions: 1 + this.#random.below(3) }]);
    owner?.running?.db.setRetention(TRIMMED, retention).catch((error: unknown) => this.#asked(owner, error));
  }

  /** A secret or two, and then they are to be forgotten. */
  #erase(): void {
    const key = `e${this.#random.below(3)}`;
    const shard = this.#members.find(({ running }) => running !== undefined)?.running?.db.shardOf(ERASED, key);
    const [owner] = shard === undefined ? [] : this.#owners(shard);
    const body = `secret ${this.#random.uint32()}${this.#random.uint32()}`;
    if (shard === undefined || owner === undefined) return;
    this.#forget(owner, shard, key, body).catch((error: unknown) => this.#asked(owner, error));
  }

  async #forget(owner: Member, shard: number, key: string, body: string): Promise<void> {
    const { db, replicator } = owner.running!;
    await db.put(ERASED, key, body);
    this.#secrets.push({ key, body });
    const known = this.#secrets.filter((secret) => secret.key === key);
    await db.erase({ collection: ERASED, key, reason: 'asked to' });
    const { durableSeq } = db.replica(shard);
    if (await replicator.whenQuorum(shard, durableSeq)) this.#erased.push(...known.map((secret) => secret.body));
  }

  /** No file of any copy says it, packed or not, in the log or set aside. */
  async #checkErased(): Promise<void> {
    this.stats.erased = this.#erased.length;
    const isErased = () =>
      this.#members.every(({ running }) =>
        this.#shards().every((shard) => {
          const { db } = running!;
          const owner = this.#owners(shard)[0]?.running?.db.replica(shard);
          return (
            db.replica(shard).erasedThrough >= (owner?.erasedThrough ?? 0) &&
            !db.jobs().some(({ state }) => state === 'queued' || state === 'running')
          );
        }),
      );
    await this.#network.until('every copy has erased what it must', isErased, 120_000, 100).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}:\n${this.#describe()}`, { cause: error });
    });
    for (const { url, platform } of this.#members) {
      for (const body of new Set(this.#erased)) assert.deepEqual(filesThatSay(platform, body), [], `${url} still has an erased body`);
    }
  }

  // ---- looking

  /** What each node says now, of some of the ids that anybody ever heard of. */
  #look(): void {
    const known = this.#ledger.attempts.filter(({ id }) => id !== undefined);
    for (const member of this.#members) {
      const { running } = member;
      if (running === undefined) continue;
      for (let n = 0; n < 10 && known.length > 0; n++) {
        const { id } = this.#random.pick(known);
        const content = contentOf(running.db, id!);
        if (content !== undefined) this.#ledger.seen(id!, content, `${member.url} at step ${this.step}`);
      }
    }
  }

  #isWhole(member: Member): boolean {
    const { running } = member;
    if (running === undefined || member.hurt) return false;
    return this.#shards().every((shard) => running.db.replica(shard).promised.caughtUp);
  }

  #shards(): number[] {
    return Array.from({ length: this.#options.shards }, (_, i) => i + 1);
  }

  // ---- the end

  async #heal(): Promise<void> {
    this.#network.heal();
    this.#network.faults = CALM;
    for (const member of this.#members) this.#cure(member);
    for (let round = 0; ; round++) {
      for (const member of this.#members) this.#start(member);
      await this.#network.pass(12_000);
      if (this.#failure !== undefined) throw this.#failure.error;
      for (const member of this.#members) {
        this.#scrub(member);
        if (member.unread && member.running !== undefined) await this.#stop(member);
      }
      if (this.#isHealed()) return;
      assert.ok(round < 20, `the cluster does not heal:\n${this.#describe()}`);
      for (const shard of this.#shards()) {
        if (this.#owners(shard).length === 0) this.#promote(this.#members[round % this.#members.length] as Member, shard);
      }
    }
  }

  #owners(shard: number): Member[] {
    return this.#members.filter(({ running }) => running?.db.replica(shard).role === 'owner');
  }

  #isHealed(): boolean {
    return this.#shards().every((shard) => {
      const [owner] = this.#owners(shard);
      const seq = owner?.running?.db.replica(shard).visibleSeq;
      return (
        this.#owners(shard).length === 1 &&
        this.#members.every(({ hurt }) => !hurt) &&
        this.#members.every(({ running }) => {
          const replica = running?.db.replica(shard);
          return replica !== undefined && replica.visibleSeq === seq && replica.unreadable === undefined && replica.gaps.length === 0;
        })
      );
    });
  }

  #describe(): string {
    return this.#members
      .map(({ url, running, told }) => {
        const shards = this.#shards().map((shard) => {
          const replica = running?.db.replica(shard);
          if (replica === undefined) return `shard ${shard}: down`;
          const { role, epoch, visibleSeq, promised, unreadable, gaps, erasedThrough } = replica;
          const { decision, source } = running!.replicator.status(shard);
          return `shard ${shard}: ${JSON.stringify({ role, epoch, visibleSeq, promised, unreadable, gaps, erasedThrough, decision, error: source?.lastError })}`;
        });
        const jobs =
          running?.db
            .jobs()
            .slice(0, 3)
            .map(({ kind, state, error }) => JSON.stringify({ kind, state, error })) ?? [];
        return [url, ...shards, ...jobs, ...told.slice(-4)].join('\n  ');
      })
      .join('\n');
  }

  async #compare(): Promise<void> {
    const present = new Map<string, string>();
    for (const shard of this.#shards()) {
      const histories: string[] = [];
      for (const { url, running } of this.#members) {
        const { db } = running!;
        const replica = db.replica(shard);
        const root = await this.#waitFor(replica.rootAt(replica.visibleSeq));
        const fresh = await freshRoot(db, shard, replica.visibleSeq, replica.epochs());
        assert.deepEqual({ root: root.root, entries: root.entries }, fresh, `root of shard ${shard} at ${url}, and a fresh build`);
        histories.push(JSON.stringify({ root, epochs: replica.epochs() }));
        for (const { firstSeq, lastSeq } of replica.epochs()) {
          for (let seq = firstSeq; seq <= lastSeq; seq++) {
            const id = recordId(shard, seq);
            const content = contentOf(db, id);
            if (content === undefined) continue;
            this.#ledger.seen(id, content, url);
            present.set(id, content);
          }
        }
      }
      assert.equal(new Set(histories).size, 1, `copies of shard ${shard} differ:\n${histories.join('\n')}`);
    }
    for (const member of this.#members) this.#keepAside(member);
    this.stats.setAside = this.#aside.size;
    this.#ledger.settle(present, this.#aside);
  }

  /** What a node took out of its log and kept. */
  #keepAside(member: Member): void {
    for (const shard of this.#shards())
      for (const [id, content] of setAsideRecords(member.platform, shard))
        if (typeof content === 'string' && content.startsWith('content')) this.#aside.set(id, content);
  }

  async #end(): Promise<void> {
    for (const member of this.#members) await this.#stop(member);
  }

  async #waitFor<T>(work: Promise<T>): Promise<T> {
    let done = false;
    work.then(
      () => void (done = true),
      () => void (done = true),
    );
    await this.#network.until('an answer', () => done);
    return work;
  }
}

/** Undefined where there is no such record, or none of ours, or retention dropped it, or this copy does not answer now. */
function contentOf(db: Awaited<ReturnType<typeof openWith>>, id: string): string | undefined {
  try {
    const body = db.record(id)?.body;
    return typeof body === 'string' && body.startsWith('content') ? body : undefined;
  } catch (error) {
    if (error instanceof VarveError) return undefined;
    throw error;
  }
}
