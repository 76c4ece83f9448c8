/**
 * What the peers of a replica set say of their shards: one question to each for all shards together, however many shards want to know.
 *
 * Invariants: an answer that is not of this database, or not what a state looks like, counts as none. Nothing is kept for longer than a moment:
 * an answer that came too late for who asked is told to the next, beside enough that are fresh.
 */
import type { Clock } from '../engine/copying.js';
import { isEpoch, isIdentity, isPeerUrl, isSeq, isShard } from './checks.js';
import { gather } from './gather.js';
import { askJson, isRecord } from './peer-json.js';
import type { HeardState } from './roles.js';
import type { Transport } from './transport.js';

const TIMEOUT_MS = 3_000;
/** Shards that ask within this are told the same. */
const SAME_MS = 100;
/** A majority has answered: for the rest. */
const GRACE_MS = 200;
/** What came late is told for so long. */
const LATE_MS = 5_000;

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
  readonly #late = new Map<string, { readonly atMs: number; readonly states: PeerStates }>();
  #asked: { readonly atMs: number; readonly answers: readonly Promise<PeerStates | undefined>[] } | undefined;

  /** `peers`: without this node. */
  constructor(transport: Transport, clock: Clock, database: string, shards: number, peers: readonly string[]) {
    this.#transport = transport;
    this.#clock = clock;
    this.#database = database;
    this.#shards = shards;
    this.#peers = peers;
  }

  /**
   * Of those that answered, once that is a majority together with this node, and the rest had a little longer; with `all` nobody is given up before
   * its time, and nothing that came late is told. Never rejects.
   */
  async heard(shard: number, all = false): Promise<HeardState[]> {
    const asked = this.#ask();
    const enough = all ? this.#peers.length : Math.floor((this.#peers.length + 1) / 2);
    const answers = await gather(this.#clock, asked, { enough, counts: (answer) => answer !== undefined, graceMs: GRACE_MS });
    const fresh = answers.filter((each) => each !== undefined);
    if (!all && fresh.length >= enough) {
      this.#peers.forEach((url, n) => {
        const late = answers[n] === undefined ? this.#late.get(url) : undefined;
        if (late !== undefined && this.#clock.monotonicMs() - late.atMs < LATE_MS) fresh.push(late.states);
      });
    }
    return fresh.flatMap(({ states }) => states.get(shard) ?? []);
  }

  #ask(): readonly Promise<PeerStates | undefined>[] {
    const now = this.#clock.monotonicMs();
    if (this.#asked === undefined || now - this.#asked.atMs > SAME_MS) {
      this.#asked = { atMs: now, answers: this.#peers.map((url) => this.#askOne(url, now)) };
    }
    return this.#asked.answers;
  }

  async #askOne(url: string, beganMs: number): Promise<PeerStates | undefined> {
    const states = await this.#stateOf(url);
    const atMs = this.#clock.monotonicMs();
    if (states !== undefined && atMs - beganMs > GRACE_MS) this.#late.set(url, { atMs, states });
    return states;
  }

  async #stateOf(url: string): Promise<PeerStates | undefined> {
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
