/**
 * Drives one database on a simulated machine through inserts, retention, snapshots, refs, compactions, erasures, crashes and
 * reopens, beside a model that never forgets; everything follows from the seed.
 *
 * After each upheaval it insists: an answer is the model's or a refusal (law 6); what was never let go is there; what a finished
 * compaction let go is not; erased bodies are nowhere; the root is that of a fresh build from the live set (law 3).
 */
import assert from 'node:assert/strict';
import { checkDatabase } from '../../engine/check.js';
import type { Database, OpenOptions } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { settle } from '../../engine/platform/memory-clock.js';
import type { RecordHeader } from '../../engine/types.js';
import { COLLECTIONS, checkKept, microsOf, type Version } from './keep-checks.js';
import { Random } from './random.js';

const KEYS = ['k', 'k1', 'k2', 'z'];
const HOUR = 3600e6;

type Policy = { keep: 'all' } | { keep: 'last'; versions: number } | { keep: 'for'; duration: string; hours: number };

export interface KeepStats {
  versions: number;
  crashes: number;
  compactions: number;
  dropped: number;
  refused: number;
  exact: number;
}

export async function runKeepSeed({ seed, shards, steps }: { seed: number; shards: number; steps: number }): Promise<KeepStats> {
  const driver = new KeepDriver(seed, shards);
  try {
    await driver.run(steps);
    return driver.stats;
  } catch (error) {
    throw new Error(`seed ${seed}, ${shards} shards, step ${driver.step} of ${steps} (${driver.doing}): ${(error as Error).message}`, {
      cause: error,
    });
  }
}

class KeepDriver {
  readonly stats: KeepStats = { versions: 0, crashes: 0, compactions: 0, dropped: 0, refused: 0, exact: 0 };
  step = 0;
  doing = 'open';
  readonly #random: Random;
  readonly #shards: number;
  readonly #options: OpenOptions;
  #machine: MemoryPlatform;
  #db!: Database;
  /** By entity, oldest first. */
  readonly #histories = new Map<string, Version[]>();
  readonly #byId = new Map<string, Version>();
  readonly #policies = new Map<string, Policy>();
  readonly #snapshots = new Map<string, { time: string; micros: number }>();
  #serial = 0;

  constructor(seed: number, shards: number) {
    this.#random = new Random(seed);
    this.#shards = shards;
    this.#machine = new MemoryPlatform({ seed });
    this.#options = {
      segmentBytes: this.#random.pick([1500, 4000, 30_000]),
      checkpointRecords: this.#random.pick([3, 20, 100_000]),
      upkeep: { automatic: false, deadShare: this.#random.pick([0.1, 0.5]), compress: this.#random.pick([true, true, false]) },
    };
  }

  async run(steps: number): Promise<void> {
    this.#db = await openWith(this.#machine, { ...this.#options, shards: this.#shards });
    for (this.step = 1; this.step <= steps; this.step++) {
      this.doing = this.#random.weighted({
        insert: 60,
        retain: 6,
        snapshot: 5,
        unsnapshot: 3,
        compact: 8,
        erase: 3,
        crash: 6,
        crashInside: 6,
        wait: 8,
      });
      await this.#act(this.doing);
      if (this.doing !== 'insert') await this.#check();
    }
    await this.#check();
    this.doing = 'check';
    await this.#db.close();
    await this.#checkFiles();
  }

  async #act(what: string): Promise<void> {
    switch (what) {
      case 'insert':
        return this.#insert();
      case 'retain':
        return this.#retain();
      case 'snapshot':
        return this.#snapshot();
      case 'unsnapshot':
        return this.#unsnapshot();
      case 'compact':
        return this.#compact();
      case 'erase':
        return this.#erase();
      case 'crash':
        return this.#crash();
      case 'crashInside':
        return this.#crashInside();
      default:
        this.#machine.advance(this.#random.below(5) * HOUR + 1000);
    }
  }

  // ---- doing

  async #insert(): Promise<void> {
    for (let n = this.#random.below(6) + 1; n > 0; n--) {
      const collection = this.#random.pick(COLLECTIONS);
      const key = this.#random.pick(KEYS);
      const entity = `${collection}/${key}`;
      const newest = this.#histories.get(entity)?.at(-1);
      const refs = this.#refsFor(this.#db.shardOf(collection, key));
      const deleted = newest !== undefined && !newest.deleted && this.#random.chance(0.25);
      const body = `body-${++this.#serial}-${'x'.repeat(this.#random.below(80))}`;
      const header = deleted ? await this.#db.delete(collection, key, { refs }) : await this.#db.put(collection, key, body, { refs });
      this.#remember(entity, header, deleted, body, refs);
    }
  }

  /** Sometimes to a record that may be gone: then it must be refused, or stay for as long as it is referred to. */
  #refsFor(shard: number): string[] {
    if (!this.#random.chance(0.15)) return [];
    const there = [...this.#byId.values()].filter((version) => version.shard === shard && this.#isThere(version.id));
    return there.length === 0 ? [] : [this.#random.pick(there).id];
  }

  #isThere(id: string): boolean {
    try {
      return this.#db.record(id) !== undefined;
    } catch (error) {
      if (isVarveError(error, 'TRIMMED')) return false;
      throw error;
    }
  }

  #remember(entity: string, header: RecordHeader, deleted: boolean, body: string, refs: readonly string[]): void {
    const { id, shard, seq, time } = header;
    const version = { id, shard, seq, time, micros: microsOf(time), deleted, body, refs, erased: false, mayBeGone: false };
    const history = this.#histories.get(entity) ?? [];
    history.push(version);
    this.#histories.set(entity, history);
    this.#byId.set(id, version);
    this.stats.versions++;
  }

  async #retain(): Promise<void> {
    const hours = this.#random.below(8);
    const policy: Policy = this.#random.pick([
      { keep: 'all' },
      { keep: 'last', versions: this.#random.below(3) + 1 },
      { keep: 'for', duration: `PT${hours}H`, hours },
    ]);
    const collection = this.#random.pick(COLLECTIONS);
    const { hours: _, ...body } = policy as { hours?: number } & Policy;
    await this.#db.setRetention(collection, body);
    this.#policies.set(collection, policy);
  }

  async #snapshot(): Promise<void> {
    const all = [...this.#byId.values()];
    if (all.length === 0) return;
    const { time, micros } = this.#random.pick(all.slice(-30));
    const name = `s${this.#random.below(4)}`;
    try {
      await this.#db.createSnapshot(name, time);
      this.#snapshots.set(name, { time, micros });
    } catch (error) {
      if (isVarveError(error, 'SNAPSHOT_EXISTS')) return;
      if (!isVarveError(error, 'TRIMMED')) throw error;
      this.stats.refused++;
    }
  }

  async #unsnapshot(): Promise<void> {
    const name = [...this.#snapshots.keys()][0];
    if (name === undefined) return;
    assert.equal(await this.#db.deleteSnapshot(name), true);
    this.#snapshots.delete(name);
  }

  async #compact(): Promise<void> {
    this.#letGo();
    const job = await this.#db.jobEnded(this.#db.compact({ force: this.#random.chance(0.7) }).id);
    assert.equal(job?.state, 'done', `${job?.error}`);
    this.stats.compactions++;
    this.stats.dropped += (job!.result as { versionsDropped: number }).versionsDropped;
  }

  async #erase(): Promise<void> {
    const [entity, history] = this.#random.pick([...this.#histories, ['', []] as [string, Version[]]]);
    if (history.length === 0 || !history.some(({ id }) => this.#isThere(id))) return;
    const [collection = '', key = ''] = entity.split('/');
    let started: { id: string };
    try {
      started = await this.#db.erase({ collection, key, reason: 'asked to' });
    } catch (error) {
      // Ended long ago and forgotten: nothing is known of it.
      if (isVarveError(error, 'INVALID')) return;
      throw error;
    }
    for (const version of history) version.erased ||= !version.deleted;
    const job = await this.#db.jobEnded(started.id);
    assert.equal(job?.state, 'done', `${job?.error}`);
    this.#seekBodies(history);
  }

  /** No file holds them. */
  #seekBodies(history: readonly Version[]): void {
    for (let shard = 1; shard <= this.#shards; shard++) {
      const directory = `shards/${shard.toString(16).padStart(4, '0')}/log`;
      if (!this.#machine.files.exists(directory)) continue;
      for (const name of this.#machine.files.list(directory)) {
        const bytes = this.#machine.contents(`${directory}/${name}`).toString('latin1');
        for (const { body, erased, deleted } of history)
          if (erased && !deleted) assert.ok(!bytes.includes(`"${body}"`), `${name} still holds an erased body`);
      }
    }
  }

  async #crash(): Promise<void> {
    this.stats.crashes++;
    await settle();
    this.#machine = this.#random.chance(0.4)
      ? this.#machine.killProcess()
      : this.#machine.crash(randomChooser(this.#random.uint32()), { tear: [1, 511] });
    await this.#reopen();
  }

  async #crashInside(): Promise<void> {
    this.#letGo();
    const job = this.#db.compact({ force: true });
    const machine = this.#machine;
    for (let turns = this.#random.below(200); turns > 0; turns--) await Promise.resolve();
    const next = machine.crash(randomChooser(this.#random.uint32()), { tear: [1, 511] });
    this.#machine = next;
    void this.#db.jobEnded(job.id);
    this.stats.crashes++;
    await this.#reopen();
  }

  /** The offline check builds the same roots from what compaction left, whatever was dropped. */
  async #checkFiles(): Promise<void> {
    const report = await checkDatabase(this.#machine, new MemoryPlatform());
    assert.deepEqual(
      report.findings.filter(({ severity }) => severity === 'damage'),
      [],
    );
  }

  async #reopen(): Promise<void> {
    if (this.step % 4 === 0) await this.#checkFiles();
    if (this.#random.chance(0.2)) this.#removeTrees();
    if (this.#random.chance(0.2) && this.#machine.files.exists('catalog.sqlite')) this.#machine.files.remove('catalog.sqlite');
    this.#db = await openWith(this.#machine, this.#options);
    for (const { id, state } of this.#db.jobs()) if (state === 'queued' || state === 'running') await this.#db.jobEnded(id);
    for (let shard = 1; shard <= this.#shards; shard++) {
      const names = this.#machine.files.list(`shards/${shard.toString(16).padStart(4, '0')}/log`);
      assert.deepEqual(
        names.filter((name) => name.endsWith('.tmp')),
        [],
        'nothing half written stays',
      );
    }
  }

  #removeTrees(): void {
    for (let shard = 1; shard <= this.#shards; shard++) {
      const directory = `shards/${shard.toString(16).padStart(4, '0')}/tree`;
      for (const name of this.#machine.files.list(directory)) this.#machine.files.remove(`${directory}/${name}`);
    }
  }

  // ---- the model's own idea of what may go

  /** Marks what the policies let go now; a superset of what is dropped, for refs between versions that go are left out. */
  #letGo(): void {
    const now = this.#machine.clock.nowMicros();
    const pinned = new Set<string>();
    for (const version of this.#byId.values()) if (!version.mayBeGone) for (const ref of version.refs) pinned.add(ref);
    for (const [entity, history] of this.#histories) {
      const policy = this.#policies.get(entity.split('/')[0] as string);
      if (policy === undefined || policy.keep === 'all') continue;
      const seen = new Set([...this.#snapshots.values()].map(({ micros }) => history.filter((version) => version.micros <= micros).at(-1)));
      const cutoff = policy.keep === 'for' ? now - policy.hours * HOUR : 0;
      const current = history.filter(({ micros }) => micros <= cutoff).at(-1);
      for (const [i, version] of history.entries()) {
        const stays =
          policy.keep === 'last'
            ? i >= history.length - policy.versions
            : version.micros > cutoff || (version === current && !(version.deleted && i === history.length - 1));
        if (!stays && !seen.has(version)) version.mayBeGone = true;
      }
    }
  }

  async #check(): Promise<void> {
    await checkKept({
      db: this.#db,
      shards: this.#shards,
      random: this.#random,
      histories: this.#histories,
      byId: this.#byId,
      snapshots: this.#snapshots,
      stats: this.stats,
    });
  }
}
