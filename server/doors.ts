/**
 * Where every request comes in: guard (Host, Origin, target) -> who is it -> is there room. What passes is handed to the application,
 * now or when it is its turn; what does not is answered here.
 *
 * What a connection has shown once is remembered with it (its Host, its Authorization header, its client), so that the next request
 * costs comparisons. That leaks nothing: a header is compared only with one that this very connection has shown before.
 *
 * Invariants: no request reaches a handler but through here; each is entered as one caller, once; the end of a token ends what it has
 * under way at once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Access, type Caller, callerOf, enterAs } from './auth.js';
import { checkForm, checkSource, type Hosts, isLoopback } from './guard.js';
import type { Limits } from './limits.js';
import type { Logger } from './logging.js';
import { openOutbox } from './outbox.js';
import { Admission, type Client } from './overload.js';
import { Problem, problemOf } from './problem.js';
import { SlowReaders } from './slow-readers.js';
import { UnderWay } from './under-way.js';

const PEER = Symbol('peer');
const EXEMPT = Symbol('exempt');
type Known = Socket & { [PEER]?: Peer; [EXEMPT]?: () => () => void };

/** What is known of a connection. */
class Peer {
  readonly address: string;
  /** A Host header that was allowed. */
  host: string | undefined;
  authorization: string | undefined;
  caller: Caller | undefined;
  client: Client | undefined;
  generation = -1;
  requests = 0;

  constructor(socket: Socket) {
    this.address = clientAddress(socket.remoteAddress ?? 'unknown');
  }
}

export interface DoorsOptions {
  readonly access: Access;
  readonly hosts: Hosts;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void;
  /** Answers with a problem. */
  readonly refuse: (req: IncomingMessage, res: ServerResponse, problem: Problem) => void;
}

export class Doors {
  readonly access: Access;
  readonly admission: Admission;
  readonly slowReaders: SlowReaders;
  readonly #options: DoorsOptions;
  /** Answers that have not left whole. */
  readonly #underWay = new UnderWay();
  readonly #perAddress = new Map<string, number>();
  #connections = 0;
  /** Of them, those that carry a peer's stream. */
  #exempt = 0;
  /** By their ends: with TLS, requests come from another socket than the one that was accepted. */
  readonly #exemptions = new Map<string, () => () => void>();

  constructor(options: DoorsOptions) {
    this.#options = options;
    this.access = options.access;
    this.admission = new Admission(options.limits, options.handle, options.refuse);
    this.slowReaders = new SlowReaders(options.limits, options.logger, (res) => this.#clientName(res));
  }

  get underWay(): UnderWay {
    return this.#underWay;
  }

  get connections(): number {
    return this.#connections;
  }

  /** The problem to refuse a new connection with, if any. Counts it until it closes. */
  connect(socket: Socket): Problem | undefined {
    const { maxConnections, maxConnectionsPerAddress, maxPeerStreams } = this.#options.limits;
    const address = clientAddress(socket.remoteAddress ?? 'unknown');
    // A proxy, or a tunnel, on this machine speaks for many.
    const share = maxConnectionsPerAddress ?? (isLoopback(address) ? maxConnections : Math.ceil(maxConnections / 2));
    this.#connections++;
    const ofAddress = this.#countOf(address, 1);
    let isExempt = false;
    const ends = endsOf(socket);
    this.#exemptions.set(ends, () => {
      if (isExempt || socket.destroyed || this.#exempt >= maxPeerStreams) return () => {};
      isExempt = true;
      this.#exempt++;
      this.#countOf(address, -1);
      return () => {
        if (!isExempt) return;
        isExempt = false;
        this.#exempt--;
        this.#countOf(address, 1);
      };
    });
    socket.on('close', () => {
      this.#exemptions.delete(ends);
      this.#connections--;
      if (isExempt) this.#exempt--;
      else this.#countOf(address, -1);
      isExempt = false;
    });
    if (this.#connections - this.#exempt > maxConnections) return new Problem('overloaded', 'There are too many connections.');
    if (ofAddress > share) return new Problem('too-many-requests', 'There are too many connections from this address.');
    return undefined;
  }

  /** Handles a request, lets it wait or sends it away. `closed` is called once it is over either way. */
  enter(req: IncomingMessage, res: ServerResponse, closed: (res: ServerResponse) => void): void {
    const socket = req.socket as Known;
    const peer = (socket[PEER] ??= this.#meet(socket));
    peer.requests++;
    this.#underWay.add(res);
    res.on('close', () => {
      if (!this.#underWay.delete(res)) return;
      this.admission.done(res);
      peer.requests--;
      closed(res);
    });
    try {
      const { host, origin } = req.headers;
      if (host === undefined || host !== peer.host || origin !== undefined) {
        checkSource(req, this.#options.hosts);
        peer.host = host;
      }
      checkForm(req);
      this.#identify(peer, req);
      if (peer.requests > this.#options.limits.pipelinedRequests) {
        const headers = { Connection: 'close' };
        throw new Problem('too-many-requests', 'Too many requests wait for their answers on this connection.', {}, { headers });
      }
      if (this.admission.admit(peer.client!, req, res)) this.#options.handle(req, res);
    } catch (error) {
      this.#options.refuse(req, res, problemOf(error));
    }
  }

  /** Ends what revoked tokens have under way. Their feeds may have ended themselves by their signal already. */
  cutRevoked(): void {
    for (const res of this.#underWay) {
      const caller = entered(res);
      if (caller?.signal.aborted === true) (res.req.socket ?? res).destroy();
    }
  }

  /** What is due a few times a second. */
  tick(): void {
    this.admission.expire();
    this.slowReaders.look(this.#underWay);
  }

  #countOf(address: string, change: 1 | -1): number {
    const count = (this.#perAddress.get(address) ?? 0) + change;
    if (count > 0) this.#perAddress.set(address, count);
    else this.#perAddress.delete(address);
    return count;
  }

  #meet(socket: Known): Peer {
    const peer = new Peer(socket);
    openOutbox(socket, this.#options.limits.keepAliveTimeoutMs);
    const exempt = this.#exemptions.get(endsOf(socket));
    if (exempt !== undefined) socket[EXEMPT] = exempt;
    socket.on('close', () => {
      if (peer.client !== undefined) this.admission.leave(peer.client);
      peer.client = undefined;
      if (peer.requests > 0) setImmediate(() => this.#closeBehind(socket));
    });
    return peer;
  }

  /** Node tells only the answer that a closed connection was busy with; those behind it would wait for their end for ever. */
  #closeBehind(socket: Socket): void {
    for (const res of this.#underWay) {
      if (res.req.socket !== socket) continue;
      res.destroy();
      res.emit('close');
    }
  }

  #identify(peer: Peer, req: IncomingMessage): void {
    const { authorization } = req.headers;
    if (peer.caller === undefined || peer.authorization !== authorization || peer.generation !== this.access.generation) {
      const caller = this.access.identify(authorization);
      peer.caller = caller;
      peer.generation = this.access.generation;
      peer.authorization = authorization;
      const name = caller.isToken ? `token ${caller.id}` : peer.address;
      if (peer.client?.name !== name) {
        const before = peer.client;
        peer.client = this.admission.join(name);
        if (before !== undefined) this.admission.leave(before);
      }
    }
    enterAs(req, peer.caller);
  }

  #clientName(res: ServerResponse): string {
    return (res.req.socket as Known | null)?.[PEER]?.client?.name ?? 'unknown';
  }
}

/**
 * Says that a connection carries the log of a shard to a peer. There is one a shard and follower, for as long as it follows: such a connection
 * takes no place that clients have, up to a cap of its own, until what this returns is called.
 */
export function exemptConnection(socket: Socket | null): () => void {
  return (socket as Known | null)?.[EXEMPT]?.() ?? (() => {});
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

function entered(res: ServerResponse): Caller | undefined {
  try {
    return callerOf(res.req);
  } catch {
    return undefined; // refused before anyone asked who it was
  }
}

/** Whom an address stands for: IPv4 as it is, of IPv6 the network that one client is given. */
export function clientAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1]!;
  if (!address.includes(':') || isLoopback(address)) return address;
  const [head = '', tail] = address.split('%', 1)[0]!.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  while (groups.length + rest.length < 8) groups.push('0');
  return `${[...groups, ...rest].slice(0, 4).join(':')}::/64`;
}
