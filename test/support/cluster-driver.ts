/**
 * Drives a replica set of simulated nodes over a simulated network through writes, partitions, kills, power cuts, wiped, rotting and failing disks,
 * promotions, retention, snapshots and compactions, all from one seed; then lets everything heal, and insists (I1, I4–I6):
 *
 *   all copies have one root, that of a fresh build · what a quorum acknowledged is there · no id ever names two contents · epochs have one owner each
 *
 * Here is what happens when, and to which disk and wire; sim-cluster.ts has whom it happens to, cluster-clients.ts what is asked of them,
 * cluster-checks.ts what must hold.
 */
import assert from 'node:assert/strict';
import { randomChooser } from '../../engine/platform/chooser.js';
import { settle } from '../../engine/platform/memory-clock.js';
import { checkErased, compareCopies, describeCluster, isHealed, look } from './cluster-checks.js';
import { ClusterClients } from './cluster-clients.js';
import { rot, sicken } from './cluster-disks.js';
import type { Member } from './cluster-member.js';
import type { Random } from './random.js';
import { type ClusterOptions, type ClusterStats, SimCluster } from './sim-cluster.js';
import { CALM, type SimNetwork } from './sim-network.js';

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
  step = 0;
  doing = 'begin';
  readonly #cluster: SimCluster;
  readonly #clients: ClusterClients;
  readonly #random: Random;
  readonly #network: SimNetwork;
  readonly #members: readonly Member[];

  constructor(options: ClusterOptions) {
    this.#cluster = new SimCluster(options);
    this.#clients = new ClusterClients(this.#cluster);
    this.#random = this.#cluster.random;
    this.#network = this.#cluster.network;
    this.#members = this.#cluster.members;
  }

  get stats(): ClusterStats {
    return this.#cluster.stats;
  }

  get nodes(): number {
    return this.#members.length;
  }

  async run(): Promise<void> {
    for (const member of this.#members) this.#cluster.start(member);
    await this.#network.pass(2_000);
    for (this.step = 1; this.step <= this.#cluster.options.steps; this.step++) {
      this.doing = this.#random.weighted(WEIGHTS);
      await this.#act(this.doing);
      await settle();
      if (this.step % 8 === 0) look(this.#cluster, this.step);
      this.#cluster.throwFailure();
    }
    this.doing = 'heal';
    await this.#heal();
    this.doing = 'compare';
    await compareCopies(this.#cluster);
    this.doing = 'look for what was erased';
    await checkErased(this.#cluster, this.#clients.erased);
    await this.#end();
  }

  async #act(what: string): Promise<void> {
    switch (what) {
      case 'write':
        return this.#clients.write();
      case 'pass':
        return this.#network.pass(this.#random.pick([20, 200, 1_000, 6_000]));
      case 'partition':
        return this.#isolate(this.#random.pick(this.#members));
      case 'oneWay':
        this.#cluster.stats.partitions++;
        return this.#network.block(this.#random.pick(this.#cluster.urls), this.#random.pick(this.#cluster.urls));
      case 'heal':
        return this.#network.heal();
      case 'kill':
        return this.#cluster.crash(this.#random.pick(this.#members), (machine) => machine.killProcess({ time: this.#cluster.time }));
      case 'powerCut': {
        const chooser = randomChooser(this.#random.uint32());
        return this.#cluster.crash(this.#random.pick(this.#members), (machine) =>
          machine.crash(chooser, { tear: [1, 511], time: this.#cluster.time }),
        );
      }
      case 'stop':
        return this.#cluster.stop(this.#random.pick(this.#members));
      case 'start':
        return this.#cluster.start(this.#random.pick(this.#members));
      case 'wipe':
        return this.#wipe(this.#random.pick(this.#members));
      case 'promote':
        return this.#clients.promote(this.#random.pick(this.#members), 1 + this.#random.below(this.#cluster.options.shards));
      case 'coup':
        return this.#coup(1 + this.#random.below(this.#cluster.options.shards));
      case 'compact':
        return this.#clients.compact(this.#random.pick(this.#members));
      case 'retain':
        return this.#clients.retain();
      case 'erase':
        return this.#clients.erase();
      case 'rot':
        return this.#rot(this.#random.pick(this.#members));
      case 'scrub':
        return this.#scrub(this.#random.pick(this.#members));
      case 'sicken':
        return this.#sicken(this.#random.pick(this.#members));
      case 'cure':
        return this.#cure(this.#random.pick(this.#members));
      case 'snapshot':
        return this.#clients.snapshot();
      default: {
        const mostMs = this.#random.chance(0.2) ? 2 * HOUR_MS : 20_000;
        this.#random.pick(this.#members).platform.clock.jump((this.#random.below(mostMs) - mostMs / 2) * 1000);
      }
    }
  }

  /** An owner is cut off, and writes on, while another takes over. */
  #coup(shard: number): void {
    const [owner] = this.#cluster.owners(shard);
    if (owner === undefined) return;
    this.#isolate(owner);
    this.#clients.write([owner]);
    this.#clients.promote(this.#random.pick(this.#members.filter((each) => each !== owner)), shard);
  }

  #isolate(cut: Member): void {
    this.#cluster.stats.partitions++;
    this.#network.isolate(
      cut.url,
      this.#cluster.urls.filter((url) => url !== cut.url),
    );
  }

  #wipe(member: Member): void {
    if (!member.platform.files.exists('node.json')) return;
    const nodes = this.#members.length;
    // What is hurt already is lost already, as far as a minority goes.
    if (!this.#cluster.maySpare(member, nodes === 3 || !this.#random.chance(0.5) ? nodes - 1 : Math.floor(nodes / 2) + 1)) return;
    this.#cluster.stats.wipes++;
    this.#cluster.replace(member);
  }

  #rot(member: Member): void {
    if (!this.#cluster.maySpare(member, this.#members.length - 1) || member.running === undefined || member.sick) return;
    const path = rot(member, this.#members, this.#cluster.shards(), this.#random);
    if (path === undefined) return;
    this.#cluster.stats.rotten++;
    member.hurt = true;
    member.unread ||= path.endsWith('.json');
    member.told.push(`a bit of ${path} has flipped at step ${this.step}`);
    this.#cluster.loseLocal();
  }

  /** Reads all of it back, and mends what is found. */
  #scrub(member: Member): void {
    const { running, life } = member;
    if (running === undefined || !member.hurt || member.unread) return;
    const rotten = this.#cluster.stats.rotten;
    const job = running.verifier.verify({ deep: true, repair: true });
    void running.db.jobEnded(job.id).then((ended) => {
      const { damaged, unrepairable } = (ended?.result ?? {}) as { readonly damaged?: number; readonly unrepairable?: number };
      // Found whole: what was damaged before this one was mended by another.
      const isWhole = ended?.state === 'done' && damaged === 0 && unrepairable === 0;
      if (isWhole && member.life === life && this.#cluster.stats.rotten === rotten) member.hurt = false;
    });
  }

  #sicken(member: Member): void {
    if (member.running === undefined) return;
    this.#cluster.stats.sick++;
    member.sick = true;
    sicken(member, this.#random);
  }

  #cure(member: Member): void {
    member.platform.clearFaults();
  }

  async #heal(): Promise<void> {
    this.#network.heal();
    this.#network.faults = CALM;
    for (const member of this.#members) this.#cure(member);
    for (let round = 0; ; round++) {
      for (const member of this.#members) this.#cluster.start(member);
      await this.#network.pass(12_000);
      this.#cluster.throwFailure();
      for (const member of this.#members) {
        this.#scrub(member);
        if (member.unread && member.running !== undefined) await this.#cluster.stop(member);
      }
      if (isHealed(this.#cluster)) return;
      assert.ok(round < 20, `the cluster does not heal:\n${describeCluster(this.#cluster)}`);
      for (const shard of this.#cluster.shards()) {
        if (this.#cluster.owners(shard).length === 0) this.#clients.promote(this.#members[round % this.#members.length] as Member, shard);
      }
    }
  }

  async #end(): Promise<void> {
    for (const member of this.#members) await this.#cluster.stop(member);
  }
}
