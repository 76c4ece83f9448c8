/**
 * What one shard does for its space: trims and compaction; and what it knows of these and of erasures. Erasing is shard-erasing.ts, the
 * tree's part tree-upkeep.ts.
 *
 *   _horizons    collection -> the point from which on its answers are exact
 *   _trims       the events of one trim -> how to find what was dropped, until no file holds it any more
 *   _erasures    entity -> the event that ended its bodies
 *
 * All three are entities of the shard's own log (law 3). Invariants: a drop is forgotten here only once the segments that held it were
 * rewritten; after a restart it is known again from the log. A record of `_trims` is written before the first event and says `open`: after
 * a crash `load` looks for events from there on, for a fold may have passed them, and then no replay meets them. It completes the record.
 */
import type { BatchLimits } from './batch.js';
import type { Catalog } from './catalog.js';
import type { CompactHost } from './compaction/compact-host.js';
import { type Certificate, type CompactOptions, compactShard } from './compaction/compact-shard.js';
import type { CompactedTreeFiles } from './compaction/compact-tree.js';
import type { Pace } from './compaction/pace.js';
import { VarveError } from './errors.js';
import { hex } from './format/hash.js';
import { entityKey } from './format/keys.js';
import { isGap, type LogEvent, type ShardLog } from './log/index.js';
import type { Platform } from './platform/platform.js';
import { ERASURES, type Erasure, Erasures } from './retention/erasures.js';
import { KnownDrops } from './retention/known-drops.js';
import type { PlanInput } from './retention/plan.js';
import { SeqSet } from './retention/seq-set.js';
import { HORIZONS, type TrimReport, trimShard } from './retention/trimming.js';
import type { Shard } from './shard.js';
import { ShardErasing } from './shard-erasing.js';
import type { ShardIndex } from './shard-index.js';
import { forgetSystemEntity, logSystemItems, systemEntities } from './system-records.js';
import type { TreeStore } from './tree/tree-store.js';
import { TreeUpkeep } from './tree-upkeep.js';
import { type InsertItem, MAX_SEQ, parseRecordId, recordId } from './types.js';

export const TRIMS = '_trims';

/** From where on something is dead enough. */
export type Thresholds = Pick<CompactOptions, 'deadShare' | 'deadBytes'>;

export interface ShardUpkeepDeps {
  readonly shard: Shard;
  readonly platform: Platform;
  readonly databaseId: Uint8Array;
  readonly catalog: Catalog;
  /** Whether others hold the shard too: nothing is carried out in files before they are told to have it. */
  readonly hold: boolean;
  readonly segmentBytes: number;
  log(): ShardLog;
  index(): ShardIndex;
  tree(): TreeStore;
  betweenFolds<T>(work: () => Promise<T>): Promise<T>;
  insertEvent(event: LogEvent): Promise<number>;
  watchRefs(told: (seq: number) => void): () => void;
}

export class ShardUpkeep {
  readonly erasures = new Erasures();
  readonly #deps: ShardUpkeepDeps;
  readonly #drops: KnownDrops;
  /** Event seqs of trims that the replay met: their record in `_trims` may be missing. */
  readonly #met: number[] = [];
  /** Event seqs of trims that other nodes logged, and whose drops may be in the files here. */
  #followed: number[] = [];
  /** Of trims that are being logged. */
  readonly #going = new SeqSet();
  readonly #waiting = new Set<() => void>();
  #limits: BatchLimits | undefined;
  /** Made when first asked for, both. */
  #erasing: ShardErasing | undefined;
  #tree: TreeUpkeep | undefined;

  constructor(deps: ShardUpkeepDeps) {
    this.#deps = deps;
    this.#drops = new KnownDrops(() => deps.log(), deps.hold ? 0 : Number.POSITIVE_INFINITY);
  }

  get erasing(): ShardErasing {
    this.#erasing ??= new ShardErasing({
      ...this.#deps,
      erasures: this.erasures,
      drops: this.#drops,
      compact: (host, pace, options, progress) => this.compact(host, pace, options, progress),
    });
    return this.#erasing;
  }

  get tree(): TreeUpkeep {
    this.#tree ??= new TreeUpkeep(this.#deps);
    return this.#tree;
  }

  /** An event met in a replay, or logged. */
  met(event: LogEvent, seq: number): void {
    if (this.#limits !== undefined && !this.#isAlone && (event.type === 'trim' || event.type === 'checkpoint')) {
      if (event.type === 'trim') this.#followed.push(seq);
      this.#deps.catalog.saveTrims(this.#deps.shard.id, seq, this.#followed);
    }
    if (event.type !== 'trim') return;
    this.#met.push(seq);
    this.#drops.add(seq, event.runs);
  }

  /** After opening: what the shard's own system entities say. */
  async load(limits: BatchLimits): Promise<void> {
    this.#limits = limits;
    // Most were told nothing, and logged no trim.
    if (!this.#isAlone || this.#met.length > 0 || !this.#deps.shard.saysNothing) await this.#load(limits);
  }

  async #load(limits: BatchLimits): Promise<void> {
    const { shard } = this.#deps;
    const isAlone = this.#isAlone;
    const read = (collection: string) => shard.healing(() => Promise.resolve(shard.readingOwn(() => systemEntities(shard, collection))));
    for (const [collection, body] of await read(HORIZONS)) {
      const { horizon, time } = body as unknown as { horizon: string; time: number };
      shard.exactness.raise(collection, { seq: parseRecordId(horizon).seq, time });
    }
    for (const body of (await read(ERASURES)).values()) {
      const erasure = body as unknown as Erasure;
      const entity = entityKey(erasure.collection, erasure.key);
      // What is done elsewhere may be left to do here.
      const isAside = !shard.replica.takesWrites && this.erasing.hasAside;
      const known = this.erasures.get(entity);
      const isDoneHere = known?.seq === erasure.seq && known.done;
      const done = isDoneHere || (erasure.done && (isAlone || !(isAside || this.erasing.holdsBodies(entity, erasure))));
      this.erasures.set(entity, { ...erasure, done });
    }
    const known = new Set<number>();
    const open: string[] = [];
    for (const [key, body] of await read(TRIMS)) {
      const { events, open: isOpen } = body as unknown as { events: number[]; open?: true };
      if (isOpen === true) open.push(key);
      for (const seq of events) {
        known.add(seq);
        if (!this.#met.includes(seq)) this.#drops.readTrim(seq);
      }
    }
    const unknown = new Set(this.#met.filter((seq) => !known.has(seq)));
    for (const key of open) {
      for (const seq of this.#drops.trimsFrom(parseRecordId(key).seq)) {
        if (known.has(seq) || unknown.has(seq)) continue;
        unknown.add(seq);
        this.#drops.readTrim(seq);
      }
    }
    if (!isAlone) this.#findFollowed();
    this.#met.length = 0;
    if (shard.stopped !== undefined || !shard.replica.takesWrites) return;
    const found = [...unknown];
    if (found.length > 0) await this.#noteTrim(open[0] ?? recordId(shard.id, found[0]!), found, limits);
    for (const key of found.length > 0 ? open.slice(1) : open) await forgetSystemEntity(shard, TRIMS, key, limits);
  }

  /** The newest trim whose drops are known here; 0 for none. */
  get trimmedThrough(): number {
    return this.#drops.trimmedThrough;
  }

  /** One that another node logged: whether it is carried out in the files here is this copy's own to say. */
  erasureCame(erasure: Erasure): void {
    const entity = entityKey(erasure.collection, erasure.key);
    const known = this.erasures.get(entity);
    this.erasures.set(entity, { ...erasure, done: known?.seq === erasure.seq && known.done });
  }

  /** Nobody else ever owned the shard: its own log says what is left to do. */
  get #isAlone(): boolean {
    const { replica } = this.#deps.shard;
    return replica.takesWrites && replica.epoch === 1;
  }

  /** An owner forgets a trim in its log once its own files are clean: what is left to do here is told by the catalog, and by the log behind that. */
  #findFollowed(): void {
    const { catalog, shard } = this.#deps;
    const log = this.#deps.log();
    const compacted = log.segmentSet.all.map(({ header }) => header?.compactedThrough ?? 0);
    const clean = compacted.length === 0 ? 0 : Math.min(...compacted);
    const known = catalog.trims(shard.id);
    const events = new Set((known?.events ?? []).filter((seq) => seq > clean));
    for (const seq of this.#drops.trimsFrom(Math.max(clean, known?.throughSeq ?? 0) + 1)) events.add(seq);
    for (const seq of events) this.#drops.readTrim(seq);
    this.#followed = [...events].sort((a, b) => a - b);
    catalog.saveTrims(shard.id, shard.visibleSeq, this.#followed);
  }

  /** After the log was rewound: what was logged beyond `seq` never was. */
  async rewound(seq: number): Promise<void> {
    const { catalog, shard } = this.#deps;
    const known = catalog.trims(shard.id);
    if (known !== undefined && known.throughSeq > seq) {
      const events = known.events.filter((each) => each <= seq);
      catalog.saveTrims(shard.id, seq, events);
    }
    this.#drops.clear();
    this.#met.splice(0, this.#met.length, ...this.#met.filter((each) => each <= seq));
    for (const met of this.#met) this.#drops.readTrim(met);
    this.erasures.forgetBeyond(seq);
    if (this.#limits !== undefined) await this.load(this.#limits);
  }

  get quorumSeq(): number {
    return this.#drops.quorumSeq;
  }

  /** What is logged above it is not carried out in files yet. */
  setQuorumSeq(seq: number): void {
    this.#drops.setQuorumSeq(seq);
    for (const look of [...this.#waiting]) look();
  }

  /** Calls `then` once what is logged at `seq` may be carried out in files. Returns how to call that off. */
  onceSafe(seq: number, then: () => void): () => void {
    const look = (): void => {
      if (seq > this.quorumSeq) return;
      this.#waiting.delete(look);
      then();
    };
    this.#waiting.add(look);
    look();
    return () => this.#waiting.delete(look);
  }

  /** Through which event every erasure is carried out in the files here. */
  get erasedThrough(): number {
    return this.erasures.open.reduce((through, { seq }) => Math.min(through, seq - 1), this.#deps.shard.visibleSeq);
  }

  isDropped(seq: number): boolean {
    return this.#drops.has(seq);
  }

  /** Whether a trim has dropped it, or one is on its way to the disk that does. */
  isGoing(seq: number): boolean {
    return this.#drops.has(seq) || this.#going.has(seq);
  }

  /** Whether a seq that holds nothing now held a record that compaction has left out: what is rewritten keeps its events. */
  wasRecord(seq: number): boolean {
    const segment = this.#deps.log().segmentSet.find(seq);
    if ((segment?.header?.compactedThrough ?? 0) === 0) return false;
    for (const batch of this.#deps.log().batches(seq, seq)) if (!isGap(batch) && batch.event !== undefined) return false;
    return true;
  }

  /** Whether enough is dead somewhere in the segments. */
  isWorthCompacting(thresholds: Thresholds): boolean {
    return this.#drops.isWorthCompacting(thresholds);
  }

  /** As if records were all of a size. */
  get deadBytes(): number {
    return this.#drops.deadBytes;
  }

  async trim(input: PlanInput, pace: Pace): Promise<TrimReport> {
    const { shard, platform, watchRefs, insertEvent, index } = this.#deps;
    const cancelled = () => pace.cancelled;
    const limits = this.#limitsHere();
    const key = recordId(shard.id, shard.visibleSeq + 1);
    let begun = false;
    const report = await this.#whileGoing(() =>
      trimShard(
        {
          id: shard.id,
          clock: platform.clock,
          log: this.#deps.log(),
          exactness: shard.exactness,
          watchRefs,
          // Refs of what is queued are not told any more and not in the log yet.
          fold: async () => {
            await shard.queuedSettled();
            await shard.fold();
          },
          heldTree: () => index().heldTree(),
          insertSystem: (items: readonly InsertItem[]) => logSystemItems(shard, items, limits),
          beginning: () => {
            begun = true;
            return { collection: TRIMS, key, body: { events: [], open: true } };
          },
          insertTrim: async (event) => {
            this.#going.addRuns(event.runs);
            const seq = await insertEvent(event);
            index().drop(seq, event.runs);
            this.#drops.add(seq, event.runs);
            return seq;
          },
          newestOf: (entity) => index().find(entity, MAX_SEQ)?.seq,
        },
        input,
        cancelled,
      ),
    );
    if (report.events.length > 0) await this.#noteTrim(key, report.events, limits);
    else if (begun) await forgetSystemEntity(shard, TRIMS, key, limits);
    return report;
  }

  /** What is logged to go may be referred to until it is durable: by then it is too late. */
  async #whileGoing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#going.clear();
    }
  }

  async compact(host: CompactHost, pace: Pace, options: CompactOptions, progress: (share: number) => void): Promise<Certificate> {
    const { shard, databaseId, segmentBytes } = this.#deps;
    const { drops, trimmedThrough } = this.#drops.safe();
    let made: CompactedTreeFiles | undefined;
    const certificate = await compactShard(
      {
        id: shard.id,
        databaseId,
        log: this.#deps.log(),
        segmentBytes,
        drops,
        trimmedThrough,
        erasures: this.erasing.erasedEntities(),
        applied: async () => {
          made = await this.tree.foldAnew();
        },
        root: async () => {
          const { seq, hash, entries } = await shard.root();
          return { seq, root: hex(hash), entries };
        },
      },
      host,
      pace,
      options,
      progress,
    );
    this.#drops.rewritten(drops, certificate.groups);
    await this.#forgetTrims();
    // An erasure takes nothing out of the tree.
    if (options.urgentSeqs !== undefined || pace.cancelled) return certificate;
    if (made !== undefined) await pace.spend(2 * made.bytesAfter);
    const tree = (await this.tree.compact(host, pace, options)) ?? made;
    return tree === undefined ? certificate : { ...certificate, tree };
  }

  #noteTrim(key: string, events: readonly number[], limits: BatchLimits): Promise<void> {
    const { shard } = this.#deps;
    return logSystemItems(shard, [{ collection: TRIMS, key, body: { events: [...events] } }], limits);
  }

  /** Once no file holds anything that was dropped. */
  async #forgetTrims(): Promise<void> {
    const { shard } = this.#deps;
    if (this.#drops.size > 0) return;
    if (!this.#isAlone) {
      this.#followed = [];
      this.#deps.catalog.saveTrims(shard.id, shard.visibleSeq, []);
    }
    if (!shard.replica.takesWrites) return;
    for (const key of systemEntities(shard, TRIMS).keys()) await forgetSystemEntity(shard, TRIMS, key, this.#limitsHere());
  }

  #limitsHere(): BatchLimits {
    if (this.#limits === undefined)
      throw new VarveError('UNAVAILABLE', 'the shard is damaged or not open yet', { shard: this.#deps.shard.id, reason: 'not open' });
    return this.#limits;
  }
}
