/**
 * Which request is handled now, which one waits, and which one is sent away: what keeps one client's flood bearable for the others,
 * and every queue of requests short.
 *
 *   request -> admit -> handled at once, or -> the client's queue -> (round robin, a share a turn of the event loop) -> handled
 *                    -> 429 where the client's queue is full, 503 where all of them together are
 *
 * A turn of the event loop reads from every socket that has something. If all of it were handled there, a client with 256 connections
 * would make each turn 256 requests long, and everybody else waits for the turn. So with more than one client about, each has a share
 * of a turn (a number of requests, and for queued ones a slice of time), and the rest waits for later turns. With one client alone
 * nothing waits for turns. A waiting request costs its headers; its body stays in the socket.
 *
 * Invariants: a client has at most so many requests handled and so many waiting; what is let in is given back exactly once, when its
 * answer has left or its connection is gone. Long-lived streams are counted apart, under a cap of their own.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from './limits.js';
import { Problem } from './problem.js';

/** Requests of one client that a turn of the event loop handles while there are others, and for how long; one at least. */
const TURN_SHARE = 16;
const SLICE_MS = 2;

/** Of the memory for bodies, the streams of one client may hold this much: a stream may stand still for minutes, and others insert too. */
const RESERVED_SHARE = 3 / 4;

interface Waiting {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly since: number;
}

/** A token, or an address without one. */
export class Client {
  readonly name: string;
  /** Connections whose last request was this client's. It is forgotten when the last one closes. */
  connections = 0;
  active = 0;
  streams = 0;
  /** Of the memory for bodies, by its streams for as long as they last. */
  reservedBytes = 0;
  /** The turn that the two below are of. */
  turn = -1;
  used = 0;
  spentMs = 0;
  /** When it was first let in this turn. */
  since = 0;
  #waiting: Waiting[] = [];
  #head = 0;

  constructor(name: string) {
    this.name = name;
  }

  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  push(item: Waiting): void {
    this.#waiting.push(item);
  }

  peek(): Waiting | undefined {
    return this.#waiting[this.#head];
  }

  shift(): Waiting | undefined {
    const item = this.#waiting[this.#head++];
    if (this.#head >= this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else if (this.#head === 256) {
      this.#waiting = this.#waiting.slice(256);
      this.#head = 0;
    }
    return item;
  }
}

const TICKET = Symbol('ticket');

/** One request that was let in. */
class Ticket {
  kind: 'request' | 'stream' | 'done' = 'request';
  reservedBytes = 0;
  constructor(
    readonly admission: Admission,
    readonly client: Client,
  ) {}
}
type Ticketed = ServerResponse & { [TICKET]?: Ticket };

export class Admission {
  readonly #limits: Limits;
  readonly #handle: (req: IncomingMessage, res: ServerResponse) => void;
  readonly #refuse: (req: IncomingMessage, res: ServerResponse, problem: Problem) => void;
  readonly #now: () => number;
  readonly #clients = new Map<string, Client>();
  /** Those with something waiting. */
  #ring: Client[] = [];
  #turn = 0;
  #armed = false;
  /** Places of this turn that have not been offered yet, and who has had the last one. */
  #places = 0;
  #last: Client | undefined;
  #lastAt = 0;
  #active = 0;
  #waiting = 0;
  #streams = 0;

  constructor(
    limits: Limits,
    handle: (req: IncomingMessage, res: ServerResponse) => void,
    refuse: (req: IncomingMessage, res: ServerResponse, problem: Problem) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#now = now;
    this.#limits = limits;
    this.#handle = handle;
    this.#refuse = refuse;
  }

  get figures(): { readonly active: number; readonly waiting: number; readonly streams: number; readonly clients: number } {
    return { active: this.#active, waiting: this.#waiting, streams: this.#streams, clients: this.#clients.size };
  }

  /** A connection now speaks for the client of this name. */
  join(name: string): Client {
    let client = this.#clients.get(name);
    if (client === undefined) this.#clients.set(name, (client = new Client(name)));
    client.connections++;
    return client;
  }

  leave(client: Client): void {
    if (--client.connections === 0) this.#clients.delete(client.name);
  }

  /** True: handle it now. False: it waits, and is handed to `handle` when it is its turn. Throws the problem to send it away with. */
  admit(client: Client, req: IncomingMessage, res: ServerResponse): boolean {
    if (client.waiting === 0 && this.#hasRoom(client) && this.#inShare(client)) {
      this.#begin(client, res);
      return true;
    }
    const { queuePerClient, queueRequests } = this.#limits;
    if (client.waiting >= queuePerClient)
      throw new Problem('too-many-requests', `This client has ${client.waiting} requests waiting already.`);
    if (this.#waiting >= queueRequests) throw new Problem('overloaded', 'Too many requests are waiting.');
    if (client.waiting === 0) this.#ring.push(client);
    client.push({ req, res, since: this.#now() });
    this.#waiting++;
    this.#arm();
    return false;
  }

  /** The answer has left, or its connection is gone. Harmless for what was never let in. */
  done(res: ServerResponse): void {
    const ticket = (res as Ticketed)[TICKET];
    if (ticket === undefined || ticket.kind === 'done') return;
    if (ticket.kind === 'stream') {
      ticket.client.streams--;
      ticket.client.reservedBytes -= ticket.reservedBytes;
      this.#streams--;
    } else this.#giveBack(ticket.client);
    ticket.kind = 'done';
  }

  /** See `enterStream`. */
  toStream(res: ServerResponse, reservedBytes: number): void {
    const ticket = (res as Ticketed)[TICKET];
    if (ticket === undefined || ticket.kind !== 'request') return;
    const { client } = ticket;
    const { maxStreams, maxStreamsPerClient } = this.#limits;
    if (client.streams >= maxStreamsPerClient)
      throw new Problem('too-many-requests', `This client has ${client.streams} streams open already.`, { limit: maxStreamsPerClient });
    if (this.#streams >= maxStreams) throw new Problem('overloaded', 'Too many streams are open.', { limit: maxStreams });
    if (client.reservedBytes + reservedBytes > this.#limits.bodyMemoryBytes * RESERVED_SHARE && client.reservedBytes > 0)
      throw new Problem('too-many-requests', 'The streams of this client hold its share of the memory for request bodies.');
    ticket.kind = 'stream';
    ticket.reservedBytes = reservedBytes;
    client.reservedBytes += reservedBytes;
    client.streams++;
    this.#streams++;
    this.#giveBack(client);
  }

  /** Sends away what has waited too long. Call it now and then. */
  expire(now = this.#now()): void {
    for (const client of this.#ring) {
      for (let first = client.peek(); first !== undefined; first = client.peek()) {
        if (!isGone(first.res) && now - first.since < this.#limits.queueTimeoutMs) break;
        client.shift();
        this.#waiting--;
        if (!isGone(first.res)) this.#refuse(first.req, first.res, new Problem('overloaded', 'The request waited too long for its turn.'));
      }
    }
    this.#ring = this.#ring.filter((client) => client.waiting > 0);
  }

  #hasRoom(client: Client): boolean {
    return client.active < this.#limits.activePerClient && this.#active < this.#limits.activeRequests;
  }

  #inShare(client: Client): boolean {
    if (this.#clients.size === 1) return true;
    if (client.turn !== this.#turn) {
      this.#enterTurn(client);
      client.since = this.#now();
      client.used = 1;
      this.#arm();
      return true;
    }
    return client.used++ < TURN_SHARE && this.#now() - client.since < SLICE_MS;
  }

  #enterTurn(client: Client): void {
    client.turn = this.#turn;
    client.used = 0;
    client.spentMs = 0;
  }

  #begin(client: Client, res: ServerResponse): void {
    client.active++;
    this.#active++;
    (res as Ticketed)[TICKET] = new Ticket(this, client);
  }

  #giveBack(client: Client): void {
    client.active--;
    this.#active--;
    if (this.#waiting > 0) this.#arm();
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    setImmediate(this.#nextTurn);
  }

  /**
   * Offers places to those who wait: each place is a callback of its own, so that what a handler does after its first await counts as
   * the time of its client too.
   */
  readonly #nextTurn = (): void => {
    this.#armed = false;
    this.#turn++;
    if (this.#places > 0 || !this.#ring.some((client) => this.#hasRoom(client))) return;
    this.#last = undefined;
    this.#places = Math.min(this.#waiting, TURN_SHARE * this.#ring.length);
    for (let n = this.#places; n > 0; n--) setImmediate(this.#serveOne);
  };

  readonly #serveOne = (): void => {
    const now = this.#now();
    if (this.#last !== undefined) this.#last.spentMs += now - this.#lastAt;
    this.#lastAt = now;
    this.#last = this.#nextInRing();
    if (--this.#places === 0 && this.#waiting > 0) this.#arm();
    if (this.#last === undefined) return;
    const { req, res } = this.#last.shift()!;
    this.#waiting--;
    if (this.#last.waiting === 0) this.#ring.splice(this.#ring.indexOf(this.#last), 1);
    if (isGone(res)) return;
    this.#last.used++;
    this.#begin(this.#last, res);
    this.#handle(req, res);
  };

  /** Whose turn it is; they move to the end. */
  #nextInRing(): Client | undefined {
    for (let n = this.#ring.length; n > 0; n--) {
      const client = this.#ring.shift()!;
      this.#ring.push(client);
      if (client.turn !== this.#turn) this.#enterTurn(client);
      if (this.#hasRoom(client) && client.used < TURN_SHARE && client.spentMs < SLICE_MS) return client;
    }
    return undefined;
  }
}

function isGone(res: ServerResponse): boolean {
  return res.destroyed || res.closed || res.writableEnded;
}

/**
 * Says that an answer will last (a feed, a stream of inserts): it no longer counts as a request under way, but as a stream, of which
 * there is a cap of its own. Call it before the first byte; throws 429 or 503. `reservedBytes`: of the memory for bodies, for as long
 * as it lasts.
 */
export function enterStream(res: ServerResponse, reservedBytes = 0): void {
  (res as Ticketed)[TICKET]?.admission.toStream(res, reservedBytes);
}

/**
 * Says that an answer will last for as long as a peer follows: one a shard and follower, so that the caps of clients are none for it. It no longer
 * counts here at all; its source has a cap of its own, and connections have theirs.
 */
export function enterPeerStream(res: ServerResponse): void {
  (res as Ticketed)[TICKET]?.admission.done(res);
}
