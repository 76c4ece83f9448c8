/**
 * What the peers of a replica set say of their shards: one question to each for all shards together, however many shards want to know.
 *
 * Invariants: an answer that is not of this database, or not what a state looks like, counts as none. Nothing is kept for longer than a moment.
 */
import type { Clock } from '../engine/copying.js';
import { isEpoch, isIdentity, isPeerUrl, isSeq, isShard } from './checks.js';
import { askJson, isRecord } from './peer-json.js';
import type { HeardState } from './roles.js';
import type { Transport } from './transport.js';

const TIMEOUT_MS = 3_000;
/** Shards that ask within this are told the same. */
const SAME_MS = 100;

export interface PeerStates {
  readonly url: string;
  readonly node: string;
  /** By shard. */
  readonly states: ReadonlyMap<number, HeardState>;
}

export class Hearing {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #database: string;
  readonly #shards: number;
  readonly #peers: readonly string[];
  #asked: { readonly atMs: number; readonly answers: Promise<PeerStates[]> } | undefined;

  /** `peers`: without this node. */
  constructor(transport: Transport, clock: Clock, database: string, shards: number, peers: readonly string[]) {
    this.#transport = transport;
    this.#clock = clock;
    this.#database = database;
    this.#shards = shards;
    this.#peers = peers;
  }

  /** Of those that answered. Never rejects. */
  async heard(shard: number): Promise<HeardState[]> {
    const now = this.#clock.monotonicMs();
    if (this.#asked === undefined || now - this.#asked.atMs > SAME_MS) {
      const answers = Promise.all(this.#peers.map((url) => this.#ask(url))).then((all) => all.filter((each) => each !== undefined));
      this.#asked = { atMs: now, answers };
    }
    return (await this.#asked.answers).flatMap(({ states }) => states.get(shard) ?? []);
  }

  async #ask(url: string): Promise<PeerStates | undefined> {
    try {
      const answer = await askJson(this.#transport, url, { method: 'GET', path: '/replication/v1/state', timeoutMs: TIMEOUT_MS });
      return answer.status === 200 ? readStates(answer.json, url, this.#database, this.#shards) : undefined;
    } catch {
      return undefined;
    }
  }
}

/** An untrusted answer to `GET /state`, or undefined. */
export function readStates(json: unknown, url: string, database: string, shards: number): PeerStates | undefined {
  if (!isRecord(json)) return undefined;
  const { node, states } = json;
  if (json['database'] !== database || json['shards'] !== shards || !isIdentity(node) || !Array.isArray(states)) return undefined;
  const read = new Map<number, HeardState>();
  for (const each of states as unknown[]) {
    if (!isRecord(each)) return undefined;
    const { shard, role, epoch, promised, durableSeq, owner } = each;
    if (!isShard(shard, shards) || typeof role !== 'string' || !isEpoch(epoch) || !isEpoch(promised) || !isSeq(durableSeq))
      return undefined;
    const named =
      isRecord(owner) && isIdentity(owner['node']) && isPeerUrl(owner['url']) ? { node: owner['node'], url: owner['url'] } : undefined;
    read.set(shard, { url, node, role, epoch, promised, durableSeq, owner: named });
  }
  return { url, node, states: read };
}
