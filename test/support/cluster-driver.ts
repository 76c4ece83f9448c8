/**
 * Drives a replica set of simulated nodes over a simulated network through writes, partitions, kills, power cuts, wiped disks, promotions, retention and
 * compactions, all from one seed; then lets everything heal, and insists (I1, I4–I6):
 *
 *   all copies have one root, that of a fresh build · what a quorum acknowledged is there · no id ever names two contents · epochs have one owner each
 *
 * What is lost at a time is a minority: a disk is wiped only while all others hold whole copies.
 */
import assert from 'node:assert/strict';
import { isVarveError, type OpenOptions, openWith, VarveError } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SimulatedTime, settle } from '../../engine/platform/memory-clock.js';
import { type RecordHeader, recordId } from '../../engine/types.js';
import {
  Candidate,
  electionHandlers,
  PromotionRefused,
  prepareReplica,
  type Replicator,
  startReplication,
} from '../../replication/index.js';
import { type Attempt, ClusterLedger } from './cluster-ledger.js';
import { filesThatSay } from './decoded.js';
import { Random } from './random.js';
import { freshRoot } from './root.js';
import { setAsideRecords } from './set-aside.js';
import { CALM, type NetworkFaults, ROUGH, SimNetwork } from './sim-network.js';

export interface ClusterOptions {
  readonly seed: number;
  readonly steps: number;
  readonly shards: number;
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
}

/** Everything of this one stays, for the ledger; the other's history is trimmed. */
const KEPT = 'kept';
const TRIMMED = 'trimmed';
/** Of this one the bodies go. */
const ERASED = 'erased';

const WEIGHTS = {
  write: 40,
  pass: 25,
  partition: 4,
  oneWay: 3,
  heal: 14,
  kill: 3,
  powerCut: 3,
  stop: 1,
  start: 25,
  wipe: 2,
  promote: 6,
  compact: 4,
  retain: 2,
  erase: 2,
  jump: 2,
};

export async function runClusterSeed(options: ClusterOptions): Promise<ClusterStats> {
  const driver = new ClusterDriver(options);
  try {
    await driver.run();
    return driver.stats;
  } catch (error) {
    const { seed, shards, steps } = options;
    const where = `seed ${seed}, ${shards} shards, step ${driver.step} of ${steps} (${driver.doing})`;
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

class Member {
  readonly url: string;
  platform: MemoryPlatform;
  running: { readonly db: Awaited<ReturnType<typeof openWith>>; readonly replicator: Replicator } | undefined;
  starting: Promise<void> | undefined;
  /** Changes with each life of the process: what an earlier one began must not touch a later one. */
  life = 0;
  readonly told: string[] = [];

  constructor(name: string, platform: MemoryPlatform) {
    this.url = `http://${name}:7411`;
    this.platform = platform;
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
    this.#faults = this.#random.chance(0.6) ? ROUGH : { ...CALM, delayMs: [1, 10] };
    this.#network = new SimNetwork(this.#time, options.seed, this.#faults);
    this.#open = {
      segmentBytes: this.#random.pick([2_000, 20_000]),
      checkpointRecords: this.#random.pick([5, 40, 100_000]),
      upkeep: { automatic: false, deadShare: 0.1 },
    };
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, options.nodes ?? 3);
    this.#members = names.map((name) => new Member(name, this.#machine()));
    this.#urls = this.#members.map(({ url }) => url);
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
      case 'partition': {
        this.stats.partitions++;
        const cut = this.#random.pick(this.#members);
        return this.#network.isolate(
          cut.url,
          this.#urls.filter((url) => url !== cut.url),
        );
      }
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
      case 'compact':
        return this.#compact(this.#random.pick(this.#members));
      case 'retain':
        return this.#retain();
      case 'erase':
        return this.#erase();
      default:
        this.#random.pick(this.#members).platform.clock.jump((this.#random.below(20_000) - 10_000) * 1000);
    }
  }

  // ---- clients

  #write(): void {
    for (let n = 1 + this.#random.below(5); n > 0; n--) {
      const owners = this.#owners(1);
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
    { db, replicator }: NonNullable<Member['running']>,
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
    const { life } = member;
    const isFirst = member === this.#members[0] && !this.#founded;
    member.starting = this.#begin(member, life, isFirst)
      .catch((error: unknown) => {
        // A machine that dies on the way up takes its errors along.
        if (member.life === life) this.#failure ??= { error };
      })
      .finally(() => {
        if (member.life === life) member.starting = undefined;
      });
  }

  async #begin(member: Member, life: number, isFirst: boolean): Promise<void> {
    const { platform, url } = member;
    const transport = this.#network.transport(url);
    while (!isFirst && !platform.files.exists('node.json')) {
      const source = this.#random.pick(this.#urls.filter((each) => each !== url));
      // It waits for its source for as long as that takes; another may be there sooner.
      const patience = new AbortController();
      const cancel = this.#time.after(5_000, () => patience.abort());
      try {
        await prepareReplica({ platform, transport, url: source, signal: patience.signal });
      } catch (error) {
        if (!patience.signal.aborted) throw error;
      } finally {
        cancel();
      }
      if (member.life !== life) return;
    }
    const db = await openWith(platform, {
      ...this.#open,
      ...(isFirst ? { shards: this.#options.shards } : {}),
      replication: { hold: true },
    });
    if (member.life !== life) return;
    this.#founded = true;
    const log = (fields: object, message: string) => void member.told.push(`${message} ${JSON.stringify(fields)}`);
    const replicas = this.#urls;
    const replicator = await startReplication({
      db,
      platform,
      transport,
      config: { replicas, advertise: url, acksTimeoutMs: 3_000 },
      log: { info: log, warn: log },
      handlers: (self) => electionHandlers({ db, replicas, onPromised: ({ id }) => void self.takeRole(id) }),
      promote: (shard) => this.#run(member, shard),
    });
    if (member.life !== life) return;
    member.running = { db, replicator };
    this.#network.up(url, replicator.service);
  }

  #crash(member: Member, successor: (machine: MemoryPlatform) => MemoryPlatform): void {
    if (member.running === undefined && member.starting === undefined) return;
    this.stats.crashes++;
    this.#network.down(member.url);
    const next = successor(member.platform);
    member.platform.halt('hang');
    this.#gone(member);
    member.platform = next;
  }

  #gone(member: Member): void {
    member.life++;
    member.running = undefined;
    member.starting = undefined;
  }

  async #stop(member: Member): Promise<void> {
    const { running } = member;
    if (running === undefined) return;
    const closing = running.replicator.close().then(() => running.db.close());
    let closed = false;
    closing.then(
      () => void (closed = true),
      (error: unknown) => {
        closed = true;
        this.#failure ??= { error };
      },
    );
    await this.#network.until(`${member.url} has stopped`, () => closed);
    this.#network.down(member.url);
    this.#gone(member);
  }

  /** A minority at a time: everybody else holds a copy that once was whole, and still is. */
  #wipe(member: Member): void {
    const others = this.#members.filter((each) => each !== member);
    if (!others.every((each) => this.#isWhole(each)) || !member.platform.files.exists('node.json')) return;
    this.stats.wipes++;
    this.#network.down(member.url);
    this.#keepAside(member);
    member.platform.halt('hang');
    this.#gone(member);
    member.platform = this.#machine();
    // What it alone had is gone with it; that much was never promised.
    for (const attempt of this.#ledger.attempts) if (attempt.outcome === 'local') attempt.outcome = 'unknown';
  }

  #promote(member: Member, shard: number): void {
    const { life } = member;
    this.#run(member, shard).catch((error: unknown) => {
      if (member.life !== life) return;
      if (error instanceof PromotionRefused) this.stats.refusedPromotions++;
      else if (!(error instanceof VarveError)) this.#failure ??= { error };
    });
  }

  async #run(member: Member, shard: number): Promise<void> {
    const { running, life } = member;
    if (running === undefined) return;
    const { db, replicator } = running;
    const transport = this.#network.transport(member.url);
    const { clock } = member.platform;
    const replica = db.replica(shard);
    const { databaseId, nodeId: node } = db;
    await new Candidate({ shard: replica, databaseId, node, url: member.url, replicas: this.#urls, transport, clock }).run();
    if (member.life !== life) return;
    this.stats.promotions++;
    await replicator.takeRole(shard);
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
    owner?.running?.db.setRetention(TRIMMED, retention).catch((error: unknown) => {
      if (!(error instanceof VarveError)) this.#failure ??= { error };
    });
  }

  /** A secret or two, and then they are to be forgotten. */
  #erase(): void {
    const key = `e${this.#random.below(3)}`;
    const shard = this.#members.find(({ running }) => running !== undefined)?.running?.db.shardOf(ERASED, key);
    const [owner] = shard === undefined ? [] : this.#owners(shard);
    const body = `secret ${this.#random.uint32()}${this.#random.uint32()}`;
    if (shard === undefined || owner === undefined) return;
    this.#forget(owner, shard, key, body).catch((error: unknown) => {
      if (!(error instanceof VarveError)) this.#failure ??= { error };
    });
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
    await this.#network.until('every copy has erased what it must', isErased, 120_000, 100);
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
    if (running === undefined) return false;
    return this.#shards().every((shard) => running.db.replica(shard).promised.caughtUp);
  }

  #shards(): number[] {
    return Array.from({ length: this.#options.shards }, (_, i) => i + 1);
  }

  // ---- the end

  async #heal(): Promise<void> {
    this.#network.heal();
    this.#network.faults = CALM;
    for (let round = 0; ; round++) {
      for (const member of this.#members) this.#start(member);
      await this.#network.pass(12_000);
      if (this.#failure !== undefined) throw this.#failure.error;
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
        this.#members.every(({ running }) => {
          const replica = running?.db.replica(shard);
          return replica !== undefined && replica.visibleSeq === seq && replica.unreadable === undefined;
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
          const { role, epoch, visibleSeq, promised, unreadable } = replica;
          const { decision, source } = running!.replicator.status(shard);
          return `shard ${shard}: ${JSON.stringify({ role, epoch, visibleSeq, promised, unreadable, decision, error: source?.lastError })}`;
        });
        return [url, ...shards, ...told.slice(-4)].join('\n  ');
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
