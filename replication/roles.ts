/**
 * What a shard is to be on this node, from what the log says, what was configured, and what peers were heard to say. Pure.
 *
 * Invariants: a node of a replica set never leads before a majority of the set, itself included, said that it knows no newer epoch; the log's
 * newest epoch event outranks `--follow`; a URL is believed only where configuration names it; a copy never leads in the epoch that no event began.
 */
import type { ShardOwner } from '../engine/copying.js';

/** A peer's state of one shard, checked for shape. */
export interface HeardState {
  readonly url: string;
  readonly node: string;
  readonly role: string;
  readonly epoch: number;
  readonly promised: number;
  readonly durableSeq: number;
  readonly owner: ShardOwner | undefined;
}

export interface OwnState {
  readonly node: string;
  readonly epoch: number;
  readonly promised: number;
  readonly durableSeq: number;
  readonly promisedTo: string;
  /** Whether it has a say; without one it may as well follow anybody who has more, while nobody leads. */
  readonly caughtUp: boolean;
  readonly owner: ShardOwner | undefined;
  /** Made from another node's: then it was not this node that began the database. */
  readonly isCopy: boolean;
}

export interface RoleConfig {
  /** `--follow`. */
  readonly follow: string | undefined;
  /** The replica set, this node included; empty: this node alone. */
  readonly replicas: readonly string[];
  readonly self: string | undefined;
}

export type Decision =
  | { readonly kind: 'lead' }
  | { readonly kind: 'follow'; readonly url: string; readonly owner: ShardOwner | undefined }
  /** Nobody to follow yet, and not to be led: look again. */
  | { readonly kind: 'wait'; readonly reason: string };

/** Whether peers must be asked before anything can be decided. */
export function mustHear({ replicas }: RoleConfig): boolean {
  return replicas.length > 1;
}

export function decide(own: OwnState, config: RoleConfig, heard: readonly HeardState[]): Decision {
  const decision = decideWhole(own, config, heard);
  if (decision.kind !== 'wait' || own.caughtUp || !own.isCopy) return decision;
  const [fullest] = heard
    .filter(({ epoch, durableSeq }) => epoch > own.epoch || (epoch === own.epoch && durableSeq >= own.durableSeq))
    .sort((a, b) => b.epoch - a.epoch || b.durableSeq - a.durableSeq || Number(b.role === 'fenced') - Number(a.role === 'fenced'));
  return fullest === undefined ? decision : { kind: 'follow', url: fullest.url, owner: undefined };
}

function decideWhole(own: OwnState, config: RoleConfig, heard: readonly HeardState[]): Decision {
  const { follow, replicas } = config;
  const newest = heard.reduce<HeardState | undefined>((best, each) => (each.epoch > (best?.epoch ?? own.epoch) ? each : best), undefined);
  if (newest !== undefined) {
    const url = ownerUrl(newest, config);
    if (url !== undefined) return { kind: 'follow', url, owner: newest.owner };
    return { kind: 'wait', reason: `${newest.url} knows epoch ${newest.epoch}, whose owner is at no configured URL` };
  }
  if (own.promised > own.epoch) {
    // What is followed now may go on: it is refused where it must be. But nothing leads.
    return { kind: 'wait', reason: `epoch ${own.promised} was promised to ${own.promisedTo}, and nobody has begun it yet` };
  }
  const named = namedOwner(own, config);
  if (named === 'other') return { kind: 'wait', reason: `the log names an owner at ${own.owner!.url}, which no configuration names` };
  if (named !== 'self' && named !== undefined) return { kind: 'follow', url: named, owner: own.owner };
  if (named === undefined) {
    const leader = heard.find((each) => each.role === 'owner' && each.epoch === own.epoch);
    if (leader !== undefined) return { kind: 'follow', url: leader.url, owner: undefined };
    if (follow !== undefined) return { kind: 'follow', url: follow, owner: undefined };
    // In the first epoch only who began the database owns it, and a log cannot tell.
    if (own.isCopy) return { kind: 'wait', reason: 'this is a copy, and nobody is known to own what it copies: --follow, or a promotion' };
  }
  if (replicas.length <= 1) return { kind: 'lead' };
  const promisedElsewhere = heard.find((each) => each.promised > own.epoch);
  if (promisedElsewhere !== undefined) {
    return { kind: 'wait', reason: `${promisedElsewhere.url} has promised epoch ${promisedElsewhere.promised} to a candidate` };
  }
  const majority = majorityOf(replicas);
  const answered = 1 + new Set(heard.map((each) => each.url)).size;
  if (answered >= majority) {
    // Rot at the very end of a log looks like a write that a crash cut short. Its followers have what it said: it takes that back first.
    const ahead = heard.find((each) => each.epoch === own.epoch && each.durableSeq > own.durableSeq);
    return ahead === undefined ? { kind: 'lead' } : { kind: 'follow', url: ahead.url, owner: own.owner };
  }
  return { kind: 'wait', reason: `only ${answered} of ${replicas.length} replicas can be heard, ${majority} are needed` };
}

/** Who owns the shard by our own log: this node, somebody at a URL to follow, somebody nowhere to be found, or nobody said. */
function namedOwner(own: OwnState, { follow, replicas, self }: RoleConfig): 'self' | 'other' | string | undefined {
  if (own.owner === undefined) return undefined;
  if (own.owner.node === own.node) return 'self';
  const { url } = own.owner;
  if (url !== self && (replicas.includes(url) || url === follow)) return url;
  return follow ?? 'other';
}

function ownerUrl(state: HeardState, { follow, replicas, self }: RoleConfig): string | undefined {
  if (state.role === 'owner') return state.url;
  const url = state.owner?.url;
  if (url !== undefined && url !== self && (replicas.includes(url) || url === follow)) return url;
  return undefined;
}

export function majorityOf(replicas: readonly string[]): number {
  return Math.floor(replicas.length / 2) + 1;
}
