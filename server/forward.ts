/**
 * A write that came to a node which does not own its shard, passed on to the one that does: the request as it came, streamed there, and the
 * answer as it comes, streamed back.
 *
 * Invariants: the owner checks everything itself, the token too, which is passed on; no node passes a request on twice (`Varve-Forwarded`
 * names those it came through).
 * `owner-unreachable` is said only where nothing was sent; where anything may have arrived it is `outcome-unknown`, and an answer that broke off
 * breaks off here too. Nothing is tried again: who wrote knows whether it may be.
 */
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps, Agent as SecureAgent } from 'node:https';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { letRunOut } from './answers.js';
import type { Owner } from './copies.js';
import type { PeerCredentials } from './copies-config.js';
import type { Exchange } from './exchange.js';
import { lasting } from './figures.js';
import { Problem } from './problem.js';

const CONNECT_MS = 3000;
/** From the end of the request to the beginning of the answer. */
const ANSWER_MS = 30_000;
const IDLE_SOCKETS = 16;
const MOST_HOPS = 4;

/** Of one connection, or meant for this node alone: Origin was checked here, and names this node. */
const NOT_PASSED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'expect',
  'origin',
  'referer',
  'varve-forwarded',
]);
const NOT_RETURNED: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date']);

export interface ForwardFigures {
  passed: number;
  unreachable: number;
  broken: number;
}

export class Forwarder {
  readonly figures: ForwardFigures = { passed: 0, unreachable: 0, broken: 0 };
  readonly #nodeId: string;
  readonly #agent: Agent;
  readonly #secureAgent: SecureAgent;

  constructor(nodeId: string, { ca, cert, key }: PeerCredentials = {}) {
    this.#nodeId = nodeId;
    const kept = { keepAlive: true, maxFreeSockets: IDLE_SOCKETS };
    this.#agent = new Agent(kept);
    this.#secureAgent = new SecureAgent({
      ...kept,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  }

  close(): void {
    this.#agent.destroy();
    this.#secureAgent.destroy();
  }

  /** Resolves once the answer has been passed back whole. `head`: what of the body has been read already; `isStream`: both ways at once. */
  async pass(exchange: Exchange, shard: number, owner: Owner, head?: Uint8Array, isStream = false): Promise<void> {
    const { req, res, context } = exchange;
    const hops = String(req.headers['varve-forwarded'] ?? '')
      .split(',')
      .map((hop) => hop.trim())
      .filter((hop) => hop !== '');
    // A copy of a copy passes on to a copy; nobody passes on what has been here already.
    if (owner.url === undefined || hops.includes(this.#nodeId) || hops.length >= MOST_HOPS)
      throw new Problem('not-owner', 'This node does not take the writes of the shard, and does not know who does now.', {
        shard,
        owner: owner.node ?? null,
        url: owner.url ?? null,
      });
    const { upstream, progress } = this.#begin(req, owner.url, [...hops, this.#nodeId].join(', '));
    const leave = () => upstream.destroy();
    res.on('close', leave);
    if (isStream) context.draining.addEventListener('abort', leave, { once: true });
    try {
      const answered = once(upstream, 'response') as Promise<[IncomingMessage]>;
      const sending = this.#send(req, upstream, head).then(() => progress.whole(isStream));
      // Who has answered early (a refusal) need not read the rest; a break before the answer is the answer's to tell.
      sending.catch(() => {});
      const [answer] = await answered;
      progress.answered();
      if (isStream) lasting(res);
      res.writeHead(answer.statusCode ?? 502, returned(answer.rawHeaders));
      res.flushHeaders();
      this.figures.passed++;
      if (!req.complete && !isStream) letRunOut(req);
      await pipeline(answer, res).catch((error: unknown) => {
        context.logger.debug({ err: error }, 'an answer of the owner broke off');
        res.destroy();
      });
    } catch (error) {
      if (res.headersSent || res.destroyed) return void res.destroy();
      throw this.#problem(error, shard, progress.sent);
    } finally {
      progress.answered();
      res.off('close', leave);
      context.draining.removeEventListener('abort', leave);
    }
  }

  #begin(req: IncomingMessage, target: string, hops: string): { upstream: ClientRequest; progress: Progress } {
    const { protocol, hostname, port } = new URL(target);
    const secure = protocol === 'https:';
    const upstream = (secure ? requestHttps : requestHttp)({
      protocol,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (secure ? 443 : 80) : Number(port),
      method: req.method,
      path: req.url,
      headers: { ...passed(req), 'varve-forwarded': hops },
      agent: secure ? this.#secureAgent : this.#agent,
    });
    const progress = new Progress(upstream, secure);
    // Told by whoever waits for the answer; one that comes later has nobody to tell.
    upstream.on('error', () => {});
    return { upstream, progress };
  }

  async #send(req: IncomingMessage, upstream: ClientRequest, head: Uint8Array | undefined): Promise<void> {
    if (head !== undefined) await write(upstream, head);
    try {
      if (!req.readableEnded) for await (const chunk of req.iterator({ destroyOnReturn: false })) await write(upstream, chunk as Buffer);
    } catch (error) {
      upstream.destroy();
      throw error;
    }
    upstream.end();
  }

  #problem(error: unknown, shard: number, sent: boolean): Problem {
    if (sent) this.figures.broken++;
    else this.figures.unreachable++;
    return sent
      ? new Problem(
          'outcome-unknown',
          'The owner of the shard went silent on the way; the write may or may not have got there.',
          { shard },
          { cause: error },
        )
      : new Problem('owner-unreachable', 'The owner of the shard cannot be reached; nothing was written.', { shard }, { cause: error });
  }
}

/** How far a request has come on its way, and the deadlines on it. */
class Progress {
  /** Whether any of it may have arrived. */
  sent = false;
  readonly #upstream: ClientRequest;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(upstream: ClientRequest, secure: boolean) {
    this.#upstream = upstream;
    this.#within(CONNECT_MS, 'no connection in time');
    const connected = () => {
      this.sent = true;
      clearTimeout(this.#timer);
    };
    upstream.on('socket', (socket: Socket) => {
      if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', connected);
      else connected();
    });
  }

  /** The request has left whole. */
  whole(isStream: boolean): void {
    if (!isStream && !this.#over) this.#within(ANSWER_MS, 'no answer in time');
  }

  /** There is an answer, or nobody waits for one any more. */
  answered(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #within(ms: number, otherwise: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#upstream.destroy(new Error(otherwise)), ms);
    this.#timer.unref();
  }
}

async function write(upstream: ClientRequest, chunk: Uint8Array): Promise<void> {
  if (upstream.destroyed) throw new Error('the connection is gone');
  if (upstream.write(chunk)) return;
  const gone = new AbortController();
  const onClose = () => gone.abort();
  upstream.once('close', onClose);
  try {
    await once(upstream, 'drain', { signal: gone.signal });
  } finally {
    upstream.off('close', onClose);
  }
}

function passed({ headers }: IncomingMessage): Record<string, string | readonly string[]> {
  const all: Record<string, string | readonly string[]> = {};
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_PASSED.has(name) && !named.has(name)) all[name] = value;
  }
  return all;
}

function returned(raw: readonly string[]): string[] {
  const all: string[] = [];
  for (let n = 0; n < raw.length; n += 2) if (!NOT_RETURNED.has(raw[n]!.toLowerCase())) all.push(raw[n]!, raw[n + 1]!);
  return all;
}
