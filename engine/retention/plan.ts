/**
 * What retention drops from one shard, decided by its owner alone (law 7).
 *
 *   entities, newest version first -> what the policy lets go, less what snapshots see -> less what live records refer to
 *
 * Invariants: the newest version of an entity stays, but for a tombstone that nothing older survives (so that the dead never come
 * back). What a live snapshot sees stays, tombstones too. What a kept record refers to stays, and so on along the refs. A collection's
 * horizon only rises: from it on (and at live snapshots) every answer is exact, before it only what survivors prove (law 6).
 */
import { KIND_PUT } from '../log/types.js';
import { durationMicros, type Retention } from './policy.js';
import { SeqSet } from './seq-set.js';

/** One version, as an index tells it. */
export interface PlanVersion {
  readonly seq: number;
  /** Microseconds. */
  readonly time: number;
  readonly kind: number;
}

export interface PlanInput {
  retentionOf(collection: string): Retention;
  /** Positions of live snapshots in this shard, ascending. */
  readonly snapshots: readonly number[];
  /** Microseconds: what durations count back from. */
  readonly now: number;
}

export interface Horizon {
  readonly seq: number;
  /** Of the version that was current from there on; microseconds. */
  readonly time: number;
}

export interface DropPlan {
  readonly drops: SeqSet;
  /** Collections whose horizon the drops raise: to the greatest seq at which a dropped version stopped being current. */
  readonly horizons: ReadonlyMap<string, Horizon>;
}

export interface PlanEntity {
  readonly collection: string;
  /** All of one entity's, newest first. */
  readonly versions: readonly PlanVersion[];
}

export interface PlanEdges {
  readonly seq: number;
  readonly refs: readonly number[];
}

/** Entities between two pauses. */
const SLICE_ENTITIES = 500;

/**
 * Pauses every so many entities. `entities` may be asked for twice and must say the same; `edges` are the records with refs,
 * newest first.
 */
export function* planDrops(
  input: PlanInput,
  entities: () => Iterable<PlanEntity>,
  edges: () => Iterable<PlanEdges>,
): Generator<void, DropPlan, undefined> {
  const planner = new Planner(input);
  let count = 0;
  for (const entity of entities()) {
    planner.take(entity);
    if (++count % SLICE_ENTITIES === 0) yield;
  }
  if (planner.drops.size === 0 && planner.endings.length === 0) return { drops: planner.drops, horizons: new Map() };
  let returned = false;
  for (const { seq, refs } of edges()) {
    if (planner.drops.has(seq)) continue;
    for (const ref of refs) returned = planner.keep(ref) || returned;
  }
  planner.end();
  if (!returned) return { drops: planner.drops, horizons: planner.horizons };
  // A ref brought something back: horizons are those of what goes in the end.
  planner.horizons.clear();
  for (const entity of entities()) {
    planner.raise(entity);
    if (++count % SLICE_ENTITIES === 0) yield;
  }
  return { drops: planner.drops, horizons: planner.horizons };
}

/** An entity whose newest version is a tombstone past its time: it goes only where nothing older survives. */
interface Ending {
  readonly collection: string;
  readonly tombstone: PlanVersion;
  readonly older: readonly PlanVersion[];
}

class Planner {
  readonly drops = new SeqSet();
  readonly endings: Ending[] = [];
  readonly horizons = new Map<string, Horizon>();
  readonly #input: PlanInput;
  readonly #policies = new Map<string, { readonly last: number; readonly cutoff: number } | undefined>();
  readonly #referred = new SeqSet();

  constructor(input: PlanInput) {
    this.#input = input;
  }

  take({ collection, versions }: PlanEntity): void {
    const policy = this.#policyOf(collection);
    const newest = versions[0];
    if (policy === undefined || newest === undefined) return;
    let kept = policy.last;
    if (policy.last === 0) {
      while (kept < versions.length && versions[kept]!.time > policy.cutoff) kept++;
      // The next one was current at the start.
      kept++;
    }
    const ends = policy.last === 0 && kept === 1 && newest.kind !== KIND_PUT;
    if (kept >= versions.length && !ends) return;
    const { snapshots } = this.#input;
    let s = snapshots.length - 1;
    let survivors = 0;
    for (let i = 0; i < versions.length; i++) {
      const { seq } = versions[i]!;
      let isSeen = false;
      for (; s >= 0 && snapshots[s]! >= seq; s--) isSeen = true;
      if (i >= kept && !isSeen) this.#drop(collection, versions, i);
      else if (i > 0 || isSeen) survivors++;
    }
    if (ends && survivors === 0) this.endings.push({ collection, tombstone: newest, older: versions.slice(1) });
  }

  /** Whether a record that was to go stays, for what refers to it does. */
  keep(seq: number): boolean {
    this.#referred.add(seq);
    const isBack = this.drops.has(seq);
    this.drops.delete(seq);
    return isBack;
  }

  /** Once refs are known: tombstones with nothing behind them. */
  end(): void {
    for (const { collection, tombstone, older } of this.endings) {
      if (this.#referred.has(tombstone.seq) || older.some(({ seq }) => !this.drops.has(seq))) continue;
      this.#drop(collection, [tombstone], 0);
    }
  }

  /** Takes the entity's part in the horizon, from what is dropped in the end. */
  raise({ collection, versions }: PlanEntity): void {
    for (let i = 0; i < versions.length; i++) {
      if (this.drops.has(versions[i]!.seq)) this.#raise(collection, versions[Math.max(0, i - 1)]!);
    }
  }

  #drop(collection: string, versions: readonly PlanVersion[], i: number): void {
    this.drops.add(versions[i]!.seq);
    this.#raise(collection, versions[Math.max(0, i - 1)]!);
  }

  #raise(collection: string, { seq, time }: PlanVersion): void {
    const horizon = this.horizons.get(collection);
    if (horizon === undefined || seq > horizon.seq) this.horizons.set(collection, { seq, time });
  }

  /** `last` 0: by time. Undefined: keeps everything. */
  #policyOf(collection: string): { readonly last: number; readonly cutoff: number } | undefined {
    if (this.#policies.has(collection)) return this.#policies.get(collection);
    const retention = this.#input.retentionOf(collection);
    const policy =
      retention.keep === 'all'
        ? undefined
        : retention.keep === 'last'
          ? { last: retention.versions, cutoff: 0 }
          : { last: 0, cutoff: this.#input.now - durationMicros(retention.duration) };
    this.#policies.set(collection, policy);
    return policy;
  }
}
