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

/** All versions of one entity, newest first, as columns; whoever walks the entities uses it again for the next one. */
export interface PlanEntity {
  readonly collection: string;
  readonly count: number;
  readonly seqs: ArrayLike<number>;
  /** Microseconds. */
  readonly times: ArrayLike<number>;
  readonly kinds: ArrayLike<number>;
}

export interface PlanEdges {
  readonly seq: number;
  readonly refs: readonly number[];
}

/** Versions between two pauses: about a millisecond, most of it for nodes that are read. */
const SLICE_VERSIONS = 4000;

/**
 * Pauses every so many versions. `entities` may be asked for twice and must say the same; `edges` are the records with refs, newest
 * first.
 */
export function* planDrops(
  input: PlanInput,
  entities: () => Iterable<PlanEntity>,
  edges: () => Iterable<PlanEdges>,
): Generator<void, DropPlan, undefined> {
  const planner = new Planner(input);
  let seen = 0;
  for (const entity of entities()) {
    planner.take(entity);
    if ((seen += entity.count) < SLICE_VERSIONS) continue;
    seen = 0;
    yield;
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
    if ((seen += entity.count) < SLICE_VERSIONS) continue;
    seen = 0;
    yield;
  }
  return { drops: planner.drops, horizons: planner.horizons };
}

/** An entity whose newest version is a tombstone past its time: it goes only where nothing older survives. */
interface Ending {
  readonly collection: string;
  readonly seq: number;
  readonly time: number;
  readonly older: readonly number[];
}

interface Policy {
  /** Versions kept; 0: by time. */
  readonly last: number;
  readonly cutoff: number;
}

class Planner {
  readonly drops = new SeqSet();
  readonly endings: Ending[] = [];
  readonly horizons = new Map<string, Horizon>();
  readonly #input: PlanInput;
  readonly #policies = new Map<string, Policy | undefined>();
  /** Of the collection asked for last: neighbours are of one. */
  #lastCollection: string | undefined;
  #lastPolicy: Policy | undefined;
  readonly #referred = new SeqSet();

  constructor(input: PlanInput) {
    this.#input = input;
  }

  take({ collection, count, seqs, times, kinds }: PlanEntity): void {
    const policy = this.#policyOf(collection);
    if (policy === undefined || count === 0) return;
    let kept = policy.last;
    if (policy.last === 0) {
      while (kept < count && times[kept]! > policy.cutoff) kept++;
      // The next one was current at the start.
      kept++;
    }
    const ends = policy.last === 0 && kept === 1 && kinds[0] !== KIND_PUT;
    if (kept >= count && !ends) return;
    const { snapshots } = this.#input;
    if (snapshots.length === 0 && !ends) {
      for (let i = kept; i < count; i++) this.drops.add(seqs[i]!);
      // Of those that end, the newest; what is newer still stays.
      const ended = Math.max(0, kept - 1);
      this.#raise(collection, seqs[ended]!, times[ended]!);
      return;
    }
    let s = snapshots.length - 1;
    let survivors = 0;
    for (let i = 0; i < count; i++) {
      const seq = seqs[i]!;
      let isSeen = false;
      for (; s >= 0 && snapshots[s]! >= seq; s--) isSeen = true;
      if (i >= kept && !isSeen) {
        this.drops.add(seq);
        const ended = Math.max(0, i - 1);
        this.#raise(collection, seqs[ended]!, times[ended]!);
      } else if (i > 0 || isSeen) survivors++;
    }
    if (ends && survivors === 0) {
      const older = Array.from({ length: count - 1 }, (_, i) => seqs[i + 1]!);
      this.endings.push({ collection, seq: seqs[0]!, time: times[0]!, older });
    }
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
    for (const { collection, seq, time, older } of this.endings) {
      if (this.#referred.has(seq) || older.some((one) => !this.drops.has(one))) continue;
      this.drops.add(seq);
      this.#raise(collection, seq, time);
    }
  }

  /** Takes the entity's part in the horizon, from what is dropped in the end. */
  raise({ collection, count, seqs, times }: PlanEntity): void {
    for (let i = 0; i < count; i++) {
      if (!this.drops.has(seqs[i]!)) continue;
      const ended = Math.max(0, i - 1);
      this.#raise(collection, seqs[ended]!, times[ended]!);
    }
  }

  #raise(collection: string, seq: number, time: number): void {
    const horizon = this.horizons.get(collection);
    if (horizon === undefined || seq > horizon.seq) this.horizons.set(collection, { seq, time });
  }

  /** Undefined: keeps everything. */
  #policyOf(collection: string): Policy | undefined {
    if (collection === this.#lastCollection) return this.#lastPolicy;
    let policy = this.#policies.get(collection);
    if (policy === undefined && !this.#policies.has(collection)) {
      const retention = this.#input.retentionOf(collection);
      if (retention.keep === 'last') policy = { last: retention.versions, cutoff: 0 };
      else if (retention.keep === 'for') policy = { last: 0, cutoff: this.#input.now - durationMicros(retention.duration) };
      this.#policies.set(collection, policy);
    }
    this.#lastCollection = collection;
    this.#lastPolicy = policy;
    return policy;
  }
}
