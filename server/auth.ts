/**
 * Who asks, and whether they may: bearer tokens, roles, collections.
 *
 *   read < write < admin       admin may also do what replicas do
 *   replica                    replication and nothing else
 *
 * Invariants: once tokens are in force, every endpoint but those of role `none` wants one, also after the last was revoked or their
 * file is gone; a token limited to collections reaches nothing that is not said to be within one; a revoked token's requests and
 * feeds end at once (`Caller.signal`). The secret is compared by its hash in constant time; the id before it is public.
 */
import { timingSafeEqual } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { isSystemCollection } from '../engine/index.js';
import { Problem } from './problem.js';
import { splitToken, type TokenRecord, type TokenRole } from './tokens.js';

/** What an endpoint asks of its caller. */
export type NeededRole = 'none' | TokenRole;

/**
 * How an endpoint stands to collections, for callers limited to some:
 * `path`: its path names one · `query`: its parameter `collection` must name one · `handler`: it asks `mayUse` of each thing it
 * touches · `server`: it is above collections, and not for them.
 */
export type Scope = 'path' | 'query' | 'handler' | 'server';

/** Where an endpoint does not say, its path does: the strictest reading. */
export function scopeOfPath(path: string): Scope {
  return /\/:collection(?:\/|$)/.test(path) ? 'path' : 'server';
}

const RANK: Readonly<Record<NeededRole, number>> = { none: 0, read: 1, write: 2, admin: 3, replica: 4 };
const ID_LENGTH = 8;
const REALM = 'Bearer realm="varve"';

/** Whoever sent a request: the holder of a token, anyone at all where none are needed, or a stranger where they are. */
export class Caller {
  /** The token's id; `anyone` where none is needed; `stranger` without one, `unknown` with one that is not in force. */
  readonly id: string;
  readonly role: NeededRole;
  readonly #collections: ReadonlySet<string> | undefined;
  readonly #end = new AbortController();

  constructor(id: string, role: NeededRole, collections?: readonly string[] | null) {
    this.id = id;
    this.role = role;
    this.#collections = collections === undefined || collections === null ? undefined : new Set(collections);
    // As many listen as there are requests and streams of it that last: a peer has one a shard.
    setMaxListeners(0, this.#end.signal);
  }

  /** Aborted when the token is revoked or its rights change. Whatever lasts longer than a moment ends then. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  get isToken(): boolean {
    return this.id.length === ID_LENGTH && this.role !== 'none';
  }

  get limited(): boolean {
    return this.#collections !== undefined;
  }

  has(role: NeededRole): boolean {
    if (role === 'none' || this.role === role) return true;
    if (role === 'replica') return this.role === 'admin';
    return this.role !== 'replica' && RANK[this.role] >= RANK[role];
  }

  mayUse(collection: string): boolean {
    return this.#collections === undefined || (this.#collections.has(collection) && !isSystemCollection(collection));
  }

  end(): void {
    this.#end.abort();
  }
}

const CALLER = Symbol('caller');
type Entered = IncomingMessage & { [CALLER]?: Caller };

/** Before a request is handled, and once. */
export function enterAs(req: IncomingMessage, caller: Caller): void {
  (req as Entered)[CALLER] = caller;
}

export function callerOf(req: IncomingMessage): Caller {
  const caller = (req as Entered)[CALLER];
  if (caller === undefined) throw new Error('assertion failed: a request enters through the doors');
  return caller;
}

interface Held {
  readonly record: TokenRecord;
  readonly digest: Buffer;
  readonly caller: Caller;
}

export class Access {
  #held = new Map<string, Held>();
  #required = false;
  #anyone = new Caller('anyone', 'admin');
  readonly #stranger = new Caller('stranger', 'none');
  readonly #unknown = new Caller('unknown', 'none');
  #generation = 0;

  /** Undefined: no token file, and none needed unless there has been one. */
  constructor(tokens?: readonly TokenRecord[]) {
    this.replace(tokens);
  }

  /** Whether callers must show a token. */
  get required(): boolean {
    return this.#required;
  }

  /** Another number after each change: who somebody was before must be asked again. */
  get generation(): number {
    return this.#generation;
  }

  get tokenCount(): number {
    return this.#held.size;
  }

  /** Puts other tokens in force; what is not among them as it was has ended when this returns. */
  replace(tokens: readonly TokenRecord[] | undefined): void {
    this.#generation++;
    const before = this.#held;
    const after = new Map<string, Held>();
    for (const record of tokens ?? []) {
      const same = before.get(record.id);
      if (same !== undefined && sameRights(same.record, record)) after.set(record.id, same);
      else {
        const caller = new Caller(record.id, record.role, record.collections);
        after.set(record.id, { record, digest: Buffer.from(record.sha256, 'hex'), caller });
      }
    }
    this.#held = after;
    for (const [id, held] of before) if (after.get(id) !== held) held.caller.end();
    if (tokens !== undefined && !this.#required) {
      this.#required = true;
      this.#anyone.end();
    }
  }

  /** Who an `Authorization` header stands for. */
  identify(authorization: string | undefined): Caller {
    if (!this.#required) return this.#anyone;
    if (authorization === undefined) return this.#stranger;
    const shown = /^Bearer +([^ ]+) *$/i.exec(authorization)?.[1];
    const token = shown === undefined ? undefined : splitToken(shown);
    const held = token === undefined ? undefined : this.#held.get(token.id);
    if (token === undefined || held === undefined || !timingSafeEqual(token.digest, held.digest)) return this.#unknown;
    return held.caller;
  }
}

function sameRights(a: TokenRecord, b: TokenRecord): boolean {
  return a.sha256 === b.sha256 && a.role === b.role && JSON.stringify(a.collections) === JSON.stringify(b.collections);
}

function challenge(error?: string): { headers: Record<string, string> } {
  return { headers: { 'WWW-Authenticate': error === undefined ? REALM : `${REALM}, error="${error}"` } };
}

/** Throws 401 or 403 unless `caller` may call an endpoint of this role and scope; both parameters hold decoded text. */
export function authorize(
  caller: Caller,
  role: NeededRole,
  scope: Scope,
  params: Readonly<Record<string, string>>,
  query: Readonly<Record<string, string>>,
): void {
  if (role === 'none') return;
  if (!caller.has(role)) {
    if (caller.id === 'unknown')
      throw new Problem(
        'unauthorized',
        'The token is not known here, or has been revoked.',
        { needs: { role } },
        challenge('invalid_token'),
      );
    if (caller.role === 'none')
      throw new Problem('unauthorized', 'A token is needed here: Authorization: Bearer <token>.', { needs: { role } }, challenge());
    throw forbidden(`This needs the role ${role}; the token has the role ${caller.role}.`, { role });
  }
  if (!caller.limited || scope === 'handler') return;
  if (scope === 'path') return requireCollection(caller, params['collection'] ?? '', role);
  if (scope === 'query' && query['collection'] !== undefined) return requireCollection(caller, query['collection'], role);
  throw scope === 'query'
    ? forbidden('The token is limited to some collections: name one of them in the parameter collection.', {
        role,
        parameter: 'collection',
      })
    : forbidden('This is above collections; it needs a token that is not limited to some.', { role, collections: 'all' });
}

/** Throws 403 unless `caller` may touch the collection. For handlers of scope `handler`, of everything they touch. */
export function requireCollection(caller: Caller, collection: string, role?: NeededRole): void {
  if (caller.mayUse(collection)) return;
  throw forbidden(`The token is limited to other collections than ${collection}.`, {
    ...(role === undefined ? {} : { role }),
    collection,
  });
}

function forbidden(detail: string, needs: Readonly<Record<string, unknown>>): Problem {
  return new Problem('forbidden', detail, { needs }, challenge('insufficient_scope'));
}
