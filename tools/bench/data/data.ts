/**
 * What is written and asked for, the same in every process: a data set is a pure function of its settings, so each phase
 * rebuilds it and knows the right answers without asking the store.
 *
 *     version i    0 ≤ i < versions, in the order they are written; its seq is BASE + 1 + i
 *     entity e     0 ≤ e < entities, numbered in the order of their keys (bytes of UTF-8)
 *
 * Entity numbers are dense; the index from an entity to its versions is built when first asked for, for a load of twenty
 * million versions does without it.
 */
import type { JsonValue } from '../../../engine/index.js';

/** Seqs are the store's business in Varve; peers store them, so they are as wide as ids there: 16 bits of shard above 48. */
export const BASE = 2 ** 48;

/** One version as a peer takes it. */
export interface BenchRecord {
  readonly key: string;
  readonly seq: number;
  readonly body: JsonValue;
}

export interface DataSettings {
  readonly data: 'synthetic' | 'git';
  readonly entities: number;
  /** Versions of an entity, on average: synthetic only. */
  readonly versionsPer: number;
  readonly seed: number;
  /** Git: the extracted history (data/git.ts). */
  readonly file?: string | undefined;
}

/** Where bodies and keys come from. */
export interface Source {
  readonly entities: number;
  /** Version -> entity. */
  readonly order: Uint32Array;
  keyOf(entity: number): string;
  bodyOf(entity: number, version: number): JsonValue;
}

export class DataSet {
  readonly entities: number;
  readonly versions: number;
  readonly #source: Source;
  #starts: Uint32Array | undefined;
  #byEntity = new Uint32Array(0);

  constructor(source: Source) {
    this.#source = source;
    this.entities = source.entities;
    this.versions = source.order.length;
  }

  keyOf(entity: number): string {
    return this.#source.keyOf(entity);
  }

  entityOf(version: number): number {
    return this.#source.order[version]!;
  }

  bodyAt(version: number): JsonValue {
    return this.#source.bodyOf(this.entityOf(version), version);
  }

  record(version: number): BenchRecord {
    const entity = this.entityOf(version);
    return { key: this.#source.keyOf(entity), seq: BASE + 1 + version, body: this.#source.bodyOf(entity, version) };
  }

  /** A version beyond the data set: what a phase writes after the load. `nth` counts within all phases together. */
  extra(entity: number, nth: number): BenchRecord {
    const version = this.versions + nth;
    return { key: this.#source.keyOf(entity), seq: BASE + 1 + version, body: this.#source.bodyOf(entity, version) };
  }

  /** Oldest first; a slice of a shared array, not to be written to. */
  seqsOf(entity: number): number[] {
    const starts = this.#index();
    return Array.from(this.#byEntity.subarray(starts[entity], starts[entity + 1]), (version) => BASE + 1 + version);
  }

  newest(entity: number): number {
    const starts = this.#index();
    return BASE + 1 + this.#byEntity[starts[entity + 1]! - 1]!;
  }

  /** The seq of the version visible at `seq`, or 0. */
  asOf(entity: number, seq: number): number {
    let found = 0;
    for (const own of this.seqsOf(entity)) {
      if (own > seq) break;
      found = own;
    }
    return found;
  }

  #index(): Uint32Array {
    if (this.#starts !== undefined) return this.#starts;
    const order = this.#source.order;
    const starts = new Uint32Array(this.entities + 1);
    for (const entity of order) starts[entity + 1]!++;
    for (let entity = 0; entity < this.entities; entity++) starts[entity + 1]! += starts[entity]!;
    const next = starts.slice(0, this.entities);
    this.#byEntity = new Uint32Array(order.length);
    for (let version = 0; version < order.length; version++) this.#byEntity[next[order[version]!]!++] = version;
    this.#starts = starts;
    return starts;
  }
}

/** Numbers below a limit, the same for the same seed: xorshift, cheap enough for a measured loop. */
export function picker(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
