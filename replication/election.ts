/**
 * How a shard gets another owner: promises given, and a candidate's run (docs/PROTOCOL.md, "Promotion").
 *
 *   states of all  ->  catch up  ->  the owner's promise: it stops  ->  catch up with where it stopped  ->  own promise
 *                  ->  everybody else's promise  ->  majority, and nobody ahead?  ->  epoch event
 *
 * Invariants: without a majority of promises for this epoch and candidate, and a position at or beyond all of theirs, no epoch event is written
 * (but by force, which says so in the event); a promise is durable before it is told, and counts only if it was asked for after the candidate's own
 * was; nobody outside the replica set is promised anything.
 * A run that has no chance from what the states say makes no promise at all: a promise that leads to nothing would stop the shard for nothing.
 * A crash anywhere leaves promises and nothing else; the next run takes a higher epoch, or the same one for the same candidate.
 */
import type { Clock, ReplicaShard } from '../engine/copying.js';
import { isEpoch, isIdentity, isPeerUrl, isSeq } from './checks.js';
import { gather } from './gather.js';
import { askJson, isRecord } from './peer-json.js';
import { majorityOf } from './roles.js';
import type { Transport } from './transport.js';

/** (epoch, seq) of a log. */
export type Position = readonly [epoch: number, seq: number];

export interface PromiseRequest {
  readonly epoch: number;
  /** Node id of the candidate. */
  readonly candidate: string;
  readonly url: string;
}

export interface PromiseAnswer {
  readonly promised: boolean;
  /** The highest epoch that the answering node has promised or seen. */
  readonly epoch: number;
  readonly position: Position;
  readonly caughtUp: boolean;
}

/** What became of asking one node. */
export interface Vote extends Partial<PromiseAnswer> {
  readonly url: string;
  readonly promised: boolean;
  /** Why there is no answer. */
  readonly error?: string;
}

/** An untrusted body as a request, or undefined. */
export function readPromiseRequest(json: unknown): PromiseRequest | undefined {
  if (!isRecord(json)) return undefined;
  const { epoch, candidate, url } = json;
  if (!isEpoch(epoch) || epoch === 0 || !isIdentity(candidate) || !isPeerUrl(url)) return undefined;
  return { epoch, candidate, url };
}

/** Whether this copy may have a say: what never held all that its source had could outvote what it never saw. */
export function mayPromise(shard: ReplicaShard): boolean {
  return shard.promised.caughtUp;
}

/** The answer to a candidate: durable before this resolves. `replicas`: who may be one. */
export async function givePromise(shard: ReplicaShard, request: PromiseRequest, replicas: readonly string[]): Promise<PromiseAnswer> {
  const caughtUp = mayPromise(shard);
  const may = caughtUp && replicas.includes(request.url) && request.epoch > shard.epoch;
  const promised = may && (await shard.promise(request.epoch, request.candidate));
  return { promised, epoch: Math.max(shard.promised.epoch, shard.epoch), position: positionOf(shard), caughtUp };
}

export type RefusalKind = 'no-majority' | 'behind';

/** Why a run ended without an epoch. What promises it gathered stand. */
export class PromotionRefused extends Error {
  override readonly name = 'PromotionRefused';
  constructor(
    readonly kind: RefusalKind,
    message: string,
    readonly epoch: number,
    readonly votes: readonly Vote[],
    /** Who has what this node has not. */
    readonly ahead?: { readonly url: string; readonly position: Position },
  ) {
    super(message);
  }
}

export interface CandidateOptions {
  readonly shard: ReplicaShard;
  readonly databaseId: string;
  readonly node: string;
  /** What others call this node; among `replicas`. */
  readonly url: string;
  /** The replica set, this node included. */
  readonly replicas: readonly string[];
  readonly transport: Transport;
  readonly clock: Clock;
  /** After its own promise nothing of an older epoch is taken here: whoever brings it is let go. */
  readonly stopFollowing?: () => Promise<void>;
  /** For one call to one peer. Default 5000. */
  readonly timeoutMs?: number;
  /** For what the owner has and this node has not yet. Default 5000. */
  readonly catchUpMs?: number;
}

/** What a peer says of its copy; nothing much where it could not be asked. */
interface PeerState {
  readonly url: string;
  readonly role: string;
  readonly position: Position;
  readonly promised: number;
  readonly error?: string;
}

/** For the rest, once a majority has said where it is: an owner under load takes its time, and its word spares a run that ends in vain. */
const STATES_GRACE_MS = 1_000;
/** Once a majority has promised. */
const VOTES_GRACE_MS = 200;
const NOT_YET = 'no answer yet when there were enough';
/** Between two looks at the own position. */
const LOOK_MS = 10;

/** A node that may ask to own a shard. One run at a time; who asks meanwhile is given the outcome of that one. */
export class Candidate {
  readonly #options: CandidateOptions;
  #running: Promise<number> | undefined;

  constructor(options: CandidateOptions) {
    this.#options = options;
  }

  /** The epoch that it owns the shard in now. Throws PromotionRefused, or what the log throws. */
  run(force = false): Promise<number> {
    const { shard } = this.#options;
    if (shard.role === 'owner') return Promise.resolve(shard.epoch);
    this.#running ??= (force ? this.#force() : this.#elect()).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #elect(): Promise<number> {
    const { shard, node, url, replicas } = this.#options;
    const states = await this.#states();
    const epoch = this.#nextEpoch(states);
    const asVotes = [this.#unasked(), ...states.map(({ role: _role, promised: _promised, ...rest }) => ({ ...rest, promised: false }))];
    if (!replicas.includes(url)) throw this.#noMajority(epoch, asVotes, 'this node is not of the replica set');
    const reached = states.filter((state) => state.error === undefined);
    if (1 + reached.length < majorityOf(replicas)) throw this.#noMajority(epoch, asVotes, 'too few of the replica set answered');
    if (!mayPromise(shard)) throw new PromotionRefused('behind', 'this copy never held all that its source had', epoch, asVotes);

    // Nobody is stopped for a node that could not take over.
    for (const state of reached) await this.#reach(state.url, state.position, epoch, asVotes);
    const owner = reached.filter((state) => state.role === 'owner').sort((a, b) => comparePositions(b.position, a.position))[0];
    if (owner !== undefined) {
      const vote = await this.#ask(owner.url, epoch);
      if (vote.promised && vote.position !== undefined) await this.#reach(vote.url, vote.position, epoch, [vote]);
    }

    const own = await shard.promise(epoch, node);
    const votes: Vote[] = [{ url, promised: own, epoch: shard.promised.epoch, position: positionOf(shard), caughtUp: true }];
    if (!own) throw this.#noMajority(epoch, votes, 'this node has promised an equal or newer epoch to another');
    // The owner again: a disk that is lost between two words forgets the first, and whoever begins anew there hears of this run from here on only.
    const others = replicas.filter((peer) => peer !== url);
    votes.push(...(await this.#askAll(others, epoch)));

    const given = votes.filter((vote) => vote.promised);
    if (given.length < majorityOf(replicas)) throw this.#noMajority(epoch, votes, 'too few of the replica set promised');
    for (const { url: peer, position } of given) {
      if (position !== undefined && comparePositions(position, positionOf(shard)) > 0) throw this.#behind(peer, position, epoch, votes);
    }
    await this.#begin(epoch, `promoted with the promises of ${given.length} of ${replicas.length}`, votes);
    return epoch;
  }

  /** Without a majority, and whatever others have. They are asked all the same, so that those that hear stop and follow. */
  async #force(): Promise<number> {
    const { shard, node, url, replicas } = this.#options;
    const states = await this.#states();
    const epoch = this.#nextEpoch(states);
    // Who forces says that this copy is to be the one, whatever it never saw.
    await shard.noteCaughtUp();
    const own = await shard.promise(epoch, node);
    if (!own) throw this.#noMajority(epoch, [], 'this node has promised an equal or newer epoch to another');
    const others = replicas.filter((peer) => peer !== url);
    const votes = await this.#askAll(others, epoch);
    const given = votes.filter((vote) => vote.promised).length + 1;
    await this.#begin(epoch, `forced with the promises of ${given} of ${Math.max(1, replicas.length)}`, votes);
    return epoch;
  }

  async #begin(epoch: number, reason: string, votes: readonly Vote[]): Promise<void> {
    const { shard, node, url, stopFollowing } = this.#options;
    await stopFollowing?.();
    const { promised } = shard;
    if (promised.epoch !== epoch || promised.candidate !== node)
      throw this.#noMajority(epoch, votes, `this node has promised epoch ${promised.epoch} to another meanwhile`);
    await shard.beginEpoch(epoch, { node, url }, reason);
  }

  #nextEpoch(states: readonly PeerState[]): number {
    const { shard } = this.#options;
    const seen = states.map(({ promised, position }) => Math.max(promised, position[0]));
    return 1 + Math.max(shard.promised.epoch, shard.epoch, ...seen);
  }

  /** Resolves once this log goes as far as `position`; throws `behind` where it does not get there. */
  async #reach(peer: string, position: Position, epoch: number, votes: readonly Vote[]): Promise<void> {
    const { shard, clock, catchUpMs = 5000 } = this.#options;
    const isThere = () => comparePositions(position, positionOf(shard)) <= 0;
    const until = clock.monotonicMs() + catchUpMs;
    while (!isThere()) {
      if (clock.monotonicMs() >= until) throw this.#behind(peer, position, epoch, votes);
      await new Promise<void>((resolve) => {
        clock.after(LOOK_MS, resolve);
      });
    }
  }

  async #states(): Promise<PeerState[]> {
    const { replicas, url, clock } = this.#options;
    const peers = replicas.filter((peer) => peer !== url);
    const asked = peers.map((peer) => this.#state(peer));
    const counts = (state: PeerState): boolean => state.error === undefined;
    const states = await gather(clock, asked, { enough: majorityOf(replicas) - 1, counts, graceMs: STATES_GRACE_MS });
    return peers.map((peer, n) => states[n] ?? { ...unknownState(peer), error: NOT_YET });
  }

  async #askAll(peers: readonly string[], epoch: number): Promise<Vote[]> {
    const { replicas, clock } = this.#options;
    const asked = peers.map((peer) => this.#ask(peer, epoch));
    const counts = (vote: Vote): boolean => vote.promised;
    const votes = await gather(clock, asked, { enough: majorityOf(replicas) - 1, counts, graceMs: VOTES_GRACE_MS });
    return peers.map((url, n) => votes[n] ?? { url, promised: false, error: NOT_YET });
  }

  async #state(peer: string): Promise<PeerState> {
    const unknown = unknownState(peer);
    const answer = await this.#call(peer, 'GET', 'state');
    if (answer.json === undefined) return { ...unknown, error: answer.error };
    const { role, epoch, promised, durableSeq } = answer.json;
    if (typeof role !== 'string' || !isEpoch(epoch) || !isEpoch(promised) || !isSeq(durableSeq))
      return { ...unknown, error: 'its state is malformed' };
    return { url: peer, role, position: [epoch, durableSeq], promised };
  }

  async #ask(peer: string, epoch: number): Promise<Vote> {
    const { node, url } = this.#options;
    const answer = await this.#call(peer, 'POST', 'promises', { epoch, candidate: node, url } satisfies PromiseRequest);
    if (answer.json === undefined) return { url: peer, promised: false, error: answer.error };
    const { promised, epoch: theirs, position, caughtUp } = answer.json;
    const [at, seq] = Array.isArray(position) ? (position as unknown[]) : [];
    if (typeof promised !== 'boolean' || !isEpoch(theirs) || !isEpoch(at) || !isSeq(seq) || typeof caughtUp !== 'boolean')
      return { url: peer, promised: false, error: 'its answer is malformed' };
    return { url: peer, promised, epoch: theirs, position: [at, seq], caughtUp };
  }

  async #call(
    peer: string,
    method: 'GET' | 'POST',
    what: string,
    json?: unknown,
  ): Promise<{ readonly json: Readonly<Record<string, unknown>> } | { readonly json?: undefined; readonly error: string }> {
    const { shard, transport, databaseId, timeoutMs = 5000 } = this.#options;
    try {
      const path = `/replication/v1/shards/${shard.id}/${what}`;
      const answer = await askJson(transport, peer, { method, path, timeoutMs, ...(json === undefined ? {} : { json }) });
      if (answer.status !== 200 || !isRecord(answer.json)) return { error: `it answered ${answer.status}` };
      if (answer.headers['varve-database'] !== databaseId) return { error: 'it holds another database' };
      return { json: answer.json };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** This node before it was asked for its own promise. */
  #unasked(): Vote {
    const { shard, url } = this.#options;
    return { url, promised: false, position: positionOf(shard), caughtUp: mayPromise(shard) };
  }

  #noMajority(epoch: number, votes: readonly Vote[], why: string): PromotionRefused {
    return new PromotionRefused('no-majority', why, epoch, votes);
  }

  #behind(peer: string, position: Position, epoch: number, votes: readonly Vote[]): PromotionRefused {
    return new PromotionRefused('behind', `${peer} has more than this copy`, epoch, votes, { url: peer, position });
  }
}

function unknownState(url: string): PeerState {
  return { url, role: '', position: [0, 0], promised: 0 };
}

export function positionOf(shard: ReplicaShard): Position {
  return [shard.epoch, shard.durableSeq];
}

/** Below, at or above 0. */
export function comparePositions(a: Position, b: Position): number {
  return a[0] - b[0] || a[1] - b[1];
}
