/**
 * Drives one database on a simulated machine through random operations, interruptions included, beside the
 * models, and insists on equality as it goes. Everything follows from the seed.
 *
 * Calls are issued in bunches without waiting, so that groups form, race and die half way. After a kill or a
 * power cut the database says which unacknowledged batches survived: per shard they must be a prefix of what
 * was issued, whole, in order (I2, I4), and everything acknowledged must be among them (I1).
 */
import assert from 'node:assert/strict';
import type { Database, OpenOptions } from '../../engine/database.js';
import { isVarveError, VarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { settle } from '../../engine/platform/memory-clock.js';
import { type InsertResult, type RecordHeader, recordId } from '../../engine/types.js';
import {
  compareAtId,
  compareAtTime,
  compareById,
  compareCounts,
  compareNewest,
  describeHeader,
  describeModel,
  type World,
} from './compare.js';
import { ArrayModel } from './model.js';
import { type Call, type Entity, entityName, makeCall, type Newest, versionsOf } from './operations.js';
import { Random } from './random.js';
import { RememberedAnswers } from './remembered-answers.js';
import { freshRoot } from './root.js';
import { SqliteModel } from './sqlite-model.js';
import { describeCall, type Issued, survivorsOf } from './survivors.js';

export interface DriverOptions {
  readonly seed: number;
  readonly steps: number;
  readonly shards: number;
}

export interface DriverStats {
  versions: number;
  refused: number;
  replayed: number;
  crashes: number;
  reopens: number;
  survivors: number;
}

/** Awkward on purpose: prefixes of each other, order that differs between UTF-8 and UTF-16, what URLs escape. */
const KEYS = ['a', 'ab', 'abc', 'b', 'a b', 'a/b', 'a%2Fb', 'é', 'e\u0301', '\uffee', '𝄞', '𝄞a', '~', '0', 'A', `long${'g'.repeat(200)}`];
const COLLECTIONS = ['c', 'ca', 'C', 'grouped', 'grouped2'];

export async function runSeed(options: DriverOptions): Promise<DriverStats> {
  const driver = new Driver(options);
  try {
    await driver.run();
    return driver.stats;
  } catch (error) {
    const where = `seed ${options.seed}, ${options.shards} shards, step ${driver.step} of ${options.steps}`;
    throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    driver.dispose();
  }
}

class Driver {
  readonly stats: DriverStats = { versions: 0, refused: 0, replayed: 0, crashes: 0, reopens: 0, survivors: 0 };
  step = 0;
  readonly #options: DriverOptions;
  readonly #openOptions: OpenOptions;
  readonly #random: Random;
  #platform: MemoryPlatform;
  readonly #array = new ArrayModel();
  readonly #sqlite = new SqliteModel();
  #db!: Database;
  #entities: Entity[] = [];
  #newest = new Map<string, Newest>();
  #keyed = new Map<string, Call>();
  /** First answers to idempotency keys. */
  readonly #answers = new Map<Call, readonly RecordHeader[]>();
  readonly #hashes = new Map<string, string>();
  #issued: Issued[] = [];
  #tokens = 0;
  #floor = '';
  readonly #remembered = new RememberedAnswers(COLLECTIONS);

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#platform = new MemoryPlatform({ seed: options.seed });
    this.#openOptions = {
      segmentBytes: this.#random.pick([2048, 8192, 65_536]),
      checkpointRecords: this.#random.pick([5, 50, 100_000]),
      memtableBytes: this.#random.pick([20_000, 1 << 20]),
      nodeCacheBytes: this.#random.pick([10_000, 1 << 20]),
    };
  }

  dispose(): void {
    this.#sqlite.close();
  }

  async run(): Promise<void> {
    this.#db = await openWith(this.#platform, { ...this.#openOptions, shards: this.#options.shards });
    await this.#db.setPlacement('grouped', 'group:g');
    await this.#db.setPlacement('grouped2', 'group:g');
    this.#floor = this.#db.newestTime() ?? '';
    for (const collection of COLLECTIONS) {
      for (const key of KEYS) {
        if (this.#random.chance(0.4)) this.#entities.push({ collection, key, shard: this.#db.shardOf(collection, key) });
      }
    }
    for (; this.step < this.#options.steps; this.step++) await this.#oneStep();
    await this.#compareAll();
    await this.#reopen(false);
    await this.#compareAll();
    await this.#db.close();
  }

  async #oneStep(): Promise<void> {
    const random = this.#random;
    this.#platform.advance(random.below(3000) * random.below(100));
    if (random.chance(0.01)) this.#jumpClock();
    const bunch = random.weighted({ 1: 40, 4: 30, 12: 10 } as Record<string, number>);
    switch (random.weighted({ write: 70, checkpoint: 5, root: 4, reopen: 3, kill: 4, powerCut: 7, rebuild: 2, compare: 12, asOfNow: 4 })) {
      case 'write':
        this.#issueBunch(Number(bunch));
        if (random.chance(0.1)) void this.#db.checkpoint().catch(() => undefined);
        await this.#finishIssued();
        return;
      case 'checkpoint':
        await this.#db.checkpoint(random.chance(0.5) ? 1 : undefined);
        return;
      case 'root':
        await this.#compareRoots();
        return;
      case 'reopen':
        // Closing finishes what is queued.
        this.#issueBunch(random.below(3));
        await this.#reopen(false);
        return;
      case 'rebuild':
        await this.#reopen(true);
        await this.#compareOnceHealed();
        return;
      case 'kill':
      case 'powerCut':
        await this.#interrupt(Number(bunch));
        await this.#compareAll();
        return;
      case 'asOfNow':
        await this.#remembered.rememberNow(this.#db, this.#platform.clock.nowMicros());
        return;
      default:
        await this.#compareAll();
    }
  }

  // ── Writing ──

  #issueBunch(count: number): void {
    const busy = new Set<number>();
    const known = {
      random: this.#random,
      shardCount: this.#options.shards,
      entities: this.#entities,
      versions: this.#array.all,
      newest: this.#newest,
      keyed: this.#keyed,
      busy,
      newestTime: (shard: number) => this.#newestTime(shard),
      floor: this.#floor,
      nowMicros: () => this.#platform.clock.nowMicros(),
      nextToken: () => this.#tokens++,
    };
    for (let i = 0; i < count; i++) {
      const call = makeCall(known);
      if (call.shard !== undefined) busy.add(call.shard);
      const issued: Issued = { call, outcome: 'pending', result: undefined, error: undefined };
      this.#issued.push(issued);
      this.#db.insert(call.items, call.options).then(
        (result) => {
          if (!this.#issued.includes(issued)) return;
          issued.outcome = 'done';
          issued.result = result;
        },
        (error: unknown) => {
          if (!this.#issued.includes(issued)) return;
          issued.outcome = 'failed';
          issued.error = error;
        },
      );
    }
  }

  async #finishIssued(): Promise<void> {
    for (let turn = 0; this.#issued.some((issued) => issued.outcome === 'pending'); turn++) {
      if (turn > 10_000)
        throw new Error(
          `an insert never settled: ${this.#issued.flatMap(({ call, outcome }) => (outcome === 'pending' ? describeCall(call) : [])).join('; ')}`,
        );
      await settle();
    }
    const issued = this.#issued;
    this.#issued = [];
    for (const { call, outcome, result, error } of issued) {
      if (outcome === 'done' && result !== undefined) this.#acknowledged(call, result);
      else this.#refused(call, error);
    }
  }

  #refused(call: Call, error: unknown): void {
    if (error instanceof VarveError && call.mayFailWith.has(error.code)) {
      this.stats.refused++;
      return;
    }
    throw new Error(`${describeCall(call)} failed: ${error instanceof Error ? error.stack : String(error)}`);
  }

  #acknowledged(call: Call, result: InsertResult): void {
    assert.equal(call.mayFailWith.size, 0, `${describeCall(call)} went through`);
    assert.equal(result.replayed, call.repeats !== undefined, `${describeCall(call)}: replayed`);
    if (call.repeats !== undefined) {
      this.stats.replayed++;
      const first = this.#answers.get(call.repeats);
      assert.deepEqual(result.records.map(describeHeader), first?.map(describeHeader), 'a repeated call gets the first answer');
      assert.deepEqual(
        result.records.map((record) => record.hash),
        first?.map((record) => record.hash),
      );
      return;
    }
    this.#answers.set(call, result.records);
    this.#take(call, result.records);
  }

  /** Checks a batch the engine has committed against what was asked for, and gives it to the models. */
  #take(call: Call, records: readonly RecordHeader[]): void {
    assert.equal(records.length, call.items.length, describeCall(call));
    const first = records[0];
    if (first === undefined || call.shard === undefined) throw new Error('a batch has records and a shard');
    const newest = this.#newestTime(call.shard);
    assert.ok(newest === undefined || first.time > newest, `time ${first.time} is later than ${newest}`);
    if (call.options.time !== undefined) assert.equal(first.time, call.options.time);
    const lastOfShard = this.#array.all.reduce((last, version) => (version.shard === call.shard ? Math.max(last, version.seq) : last), 0);
    assert.ok(first.seq > lastOfShard, `seq ${first.seq} is later than ${lastOfShard}`);
    const versions = versionsOf(call, records, (item) => this.#array.versionAt(item.collection, item.key, Number.MAX_SAFE_INTEGER));
    versions.forEach((version, i) => {
      const record = records[i] as RecordHeader;
      assert.equal(`${describeHeader(record)} body=${version.body}`, describeModel(version), 'what an insert answers');
      this.#checkHash(record);
    });
    this.#array.add(versions);
    this.#sqlite.add(versions);
    for (const version of versions) this.#newest.set(entityName(version), { seq: version.seq, alive: !version.deleted });
    this.stats.versions += versions.length;
    // A client's own time may rewrite answers given for later ones.
    if (call.options.time !== undefined) this.#remembered.keep((time) => time < first.time);
  }

  #checkHash(record: RecordHeader): void {
    const known = this.#hashes.get(record.id);
    if (known === undefined) this.#hashes.set(record.id, record.hash);
    else assert.equal(record.hash, known, `hash of ${record.id}`);
  }

  #newestTime(shard: number): string | undefined {
    return this.#array.all.findLast((version) => version.shard === shard)?.time;
  }

  // ── Closing, killing, cutting the power ──

  async #reopen(withoutDerived: boolean): Promise<void> {
    this.stats.reopens++;
    await this.#db.close();
    await this.#finishIssued();
    if (withoutDerived) deleteDerived(this.#platform, this.#random);
    await this.#open();
  }

  async #open(): Promise<void> {
    this.#db = await openWith(this.#platform, this.#openOptions);
    assert.equal(this.#db.shardCount, this.#options.shards);
    for (const shard of this.#db.shards()) assert.equal(shard.state, 'open', `shard ${shard.shard}: ${shard.reason}`);
  }

  /** Issues calls, lets them get somewhere, and stops the machine under them. */
  async #interrupt(count: number): Promise<void> {
    const random = this.#random;
    this.stats.crashes++;
    this.#issueBunch(count);
    if (random.chance(0.3)) void this.#db.checkpoint().catch(() => undefined);
    if (random.chance(0.1)) void this.#db.close().catch(() => undefined);
    // Either at an operation, or between two steps of whatever goes on.
    if (random.chance(0.7)) this.#platform.crashAt(this.#platform.ops + random.below(25), random.pick(['throw', 'hang']));
    for (let turn = random.below(60); turn > 0 && !this.#platform.halted; turn--) await undefined;
    if (random.chance(0.5)) await settle();
    this.#platform.halt('hang');
    const issued = this.#issued;
    this.#issued = [];
    await this.#nextMachine();
    // It may die again while it recovers.
    while (random.chance(0.3)) {
      this.#platform.crashAt(this.#platform.ops + random.below(60), 'hang');
      const opening = openWith(this.#platform, this.#openOptions).then(
        () => undefined,
        (error: unknown) => {
          if (!this.#platform.halted) throw error;
        },
      );
      await Promise.race([opening, settle()]);
      this.#platform.halt('hang');
      await this.#nextMachine();
    }
    await this.#open();
    this.#reconcile(issued);
  }

  /** What comes after: the same disk with its cache after a kill, or what a power cut leaves of it. */
  async #nextMachine(): Promise<void> {
    await settle();
    const before = this.#platform;
    this.#platform = this.#random.chance(0.35)
      ? before.killProcess()
      : before.crash(randomChooser(this.#random.uint32()), { tear: [1, 100, 511] });
  }

  /** Finds out which unacknowledged batches survived, and insists on law 10's prefix. */
  #reconcile(issued: readonly Issued[]): void {
    for (const { call, outcome, error } of issued) {
      if (outcome === 'done') assert.equal(call.mayFailWith.size, 0, `${describeCall(call)} went through`);
      if (outcome === 'failed' && !(error instanceof VarveError)) throw error;
    }
    for (let shard = 1; shard <= this.#options.shards; shard++) {
      for (const { call, records, wasAcknowledged } of survivorsOf(this.#db, shard, this.#endOfModel(shard), issued)) {
        this.#answers.set(call, records);
        this.#take(call, records);
        if (!wasAcknowledged) this.stats.survivors++;
      }
    }
    for (const { call, outcome, result } of issued) {
      if (outcome !== 'done' || call.repeats === undefined) continue;
      assert.deepEqual(
        result?.records.map(describeHeader),
        this.#answers.get(call.repeats)?.map(describeHeader),
        'a replayed answer survives',
      );
    }
    this.#forgetWhatIsGone();
  }

  #endOfModel(shard: number): number {
    return this.#array.all.reduce((seq, version) => (version.shard === shard ? Math.max(seq, version.batchEnd) : seq), 0);
  }

  #forgetWhatIsGone(): void {
    this.#newest = new Map(this.#array.all.map((version) => [entityName(version), { seq: version.seq, alive: !version.deleted }]));
    this.#keyed = new Map([...this.#keyed].filter(([, call]) => this.#answers.has(call)));
    // The promise of sameness lives in the process until a record is stamped past it.
    const newest = Array.from({ length: this.#options.shards }, (_, i) => this.#newestTime(i + 1) ?? '');
    this.#remembered.keep((time) => newest.every((each) => each >= time));
  }

  #jumpClock(): void {
    this.#platform.clock.jump(this.#random.below(2_000_000) - 1_000_000);
  }

  // ── Comparing ──

  get #world(): World {
    return {
      db: this.#db,
      models: [this.#array, this.#sqlite],
      random: this.#random,
      entities: this.#entities,
      versions: this.#array.all,
    };
  }

  /** A tree of which some files are gone may be met by a read alone, which tells so; from then on it is built anew. */
  async #compareOnceHealed(): Promise<void> {
    for (let shard = 1; shard <= this.#options.shards; shard++) {
      try {
        return await this.#compareAll();
      } catch (error) {
        if (!isVarveError(error, 'CORRUPT') || !error.details.file.includes('/tree/')) throw error;
        // Waits for what is being built.
        for (const info of this.#db.shards()) await this.#db.root(info.shard);
      }
    }
    await this.#compareAll();
  }

  async #compareAll(): Promise<void> {
    compareNewest(this.#world);
    await compareAtId(this.#world);
    await compareAtTime(this.#world);
    compareById(this.#world);
    await compareCounts(this.#world);
    await this.#compareRoots();
    await this.#remembered.compare(this.#db);
    for (const version of this.#random.chance(0.2) ? this.#array.all : []) {
      const record = this.#db.record(recordId(version.shard, version.seq));
      if (record !== undefined) this.#checkHash(record);
    }
  }

  async #compareRoots(): Promise<void> {
    for (const info of this.#db.shards()) {
      const root = await this.#db.root(info.shard);
      const fresh = await freshRoot(this.#db, info.shard, root?.seq ?? 0);
      assert.deepEqual({ root: root?.root, entries: root?.entries }, fresh, `root of shard ${info.shard}`);
    }
  }
}

/** Law 2: the catalog, some trees, or all of it. */
function deleteDerived({ files }: MemoryPlatform, random: Random): void {
  for (const name of files.list('')) {
    if (name.startsWith('catalog.sqlite') && random.chance(0.7)) files.remove(name);
  }
  for (const shard of files.list('shards')) {
    if (random.chance(0.3)) continue;
    const tree = `shards/${shard}/tree`;
    if (!files.exists(tree)) continue;
    const all = random.chance(0.5);
    for (const name of files.list(tree)) if (all || random.chance(0.5)) files.remove(`${tree}/${name}`);
    if (all) files.remove(tree);
  }
}
