/**
 * What routes ask of copies: where the writes of a shard go, when a record is safe, what the owner says of a time, who follows.
 *
 * `serve.ts` gives the server one that rests on replication; a server without one owns everything and has nobody to wait for.
 */
import type { Database } from '../engine/index.js';
import type { Exchange } from './exchange.js';
import { Problem } from './problem.js';

/** Where the writes of a shard go. */
export interface Owner {
  readonly here: boolean;
  /** Node id, where it is known. */
  readonly node: string | undefined;
  /** Undefined: not known, or here. */
  readonly url: string | undefined;
}

export interface FollowerStatus {
  readonly url: string;
  readonly ackedSeq: number;
  readonly lagSeconds: number;
  readonly breaker: 'closed' | 'open' | 'half-open';
  readonly lastError: string | null;
}

export interface ShardCopies {
  readonly role: 'owner' | 'follower' | 'fenced';
  readonly owner: { readonly node: string; readonly url: string } | null;
  readonly quorumSeq: number;
  readonly followers: readonly FollowerStatus[];
  /** Seconds behind its source, on a follower. */
  readonly lagSeconds: number;
  readonly trouble: CopyTrouble | undefined;
}

/** Why a shard does not do here all that it should. */
export interface CopyTrouble {
  readonly state: 'fenced' | 'diverged' | 'behind';
  /** Whether the node is not ready for it. */
  readonly serious: boolean;
  /** Goes on from `shard 1 `; names no files. */
  readonly reason: string;
}

/** Counted since the start, over all shards. */
export interface CopyFigures {
  readonly bytesStreamedOut: number;
  readonly bytesStreamedIn: number;
  readonly reconnects: number;
  readonly refused: number;
}

export interface Copies {
  readonly nodeId: string;
  /** Whether every shard takes its writes here. */
  readonly allHere: boolean;
  readonly figures: CopyFigures;
  owner(shard: number): Owner;
  status(shard: number): ShardCopies;
  /** True once a majority of the replica set has it durable; false where that took too long, or the shard went to another owner. */
  whenQuorum(shard: number, seq: number): Promise<boolean>;
  /** What the owner answers for a time; undefined where it cannot be asked. It stamps later from then on. */
  positionAt(shard: number, time: string): Promise<number | undefined>;
  /** Makes this node the owner. Throws PromotionRefused. */
  promote(shard: number, force: boolean): Promise<void>;
}

/** A shard whose writes go to another node. */
export interface Elsewhere {
  readonly shard: number;
  readonly owner: Owner;
}

/** Decisions for the whole database are this shard's owner's. */
export const FIRST_SHARD = 1;

/** The owner of a shard where that is another node; undefined where the write is this node's own. */
export function elsewhere({ context }: Exchange, shard: () => number): Elsewhere | undefined {
  const { copies } = context;
  if (copies === undefined || copies.allHere) return undefined;
  const number = shard();
  const owner = copies.owner(number);
  return owner.here ? undefined : { shard: number, owner };
}

/** The owner of all shards, where that is one other node: what is written need not be looked into. */
export function elsewhereWhole({ context }: Exchange, db: Database): Elsewhere | undefined {
  const { copies } = context;
  if (copies === undefined || copies.allHere) return undefined;
  const owner = copies.owner(FIRST_SHARD);
  for (let shard = FIRST_SHARD; shard <= db.shardCount; shard++) {
    const each = copies.owner(shard);
    if (each.here || each.url !== owner.url) return undefined;
  }
  return { shard: FIRST_SHARD, owner };
}

/** Passes a write on to its owner, and the answer back. `head`: what has been read of the body; `isStream`: both ways at once. */
export function passOn(exchange: Exchange, { shard, owner }: Elsewhere, head?: Uint8Array, isStream = false): Promise<void> {
  const { forwarder } = exchange.context;
  if (forwarder === undefined) throw new Error('assertion failed: who has copies passes writes on');
  return forwarder.pass(exchange, shard, owner, head, isStream);
}

/** Waits until a write is as safe as it was asked to be. Throws `acks-timeout`: the record is durable here, and nothing is undone. */
export async function untilSafe({ context }: Exchange, acks: 'local' | 'quorum', written: readonly Written[]): Promise<void> {
  const last = written.at(-1);
  if (acks === 'local' || context.copies === undefined || last === undefined) return;
  if (await context.copies.whenQuorum(last.shard, last.seq)) return;
  throw new Problem('acks-timeout', 'Durable on the owner, and not yet on a majority of the replicas; it may still get there.', {
    shard: last.shard,
    ...(written.length === 1 ? { id: last.id } : { ids: written.map(({ id }) => id) }),
  });
}

export interface Written {
  readonly shard: number;
  readonly seq: number;
  readonly id: string;
}
