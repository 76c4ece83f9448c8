/**
 * Keeps strangers out before anything else looks at a request: without tokens only loopback addresses are bound, the Host header must
 * name this machine (against DNS rebinding), the Origin, where a browser sends one, must be ours (against cross-site requests), the
 * request target must be plain ASCII, so that no two spellings of bytes become one key, and what takes no body has none.
 */
import type { IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { invalid, Problem } from './problem.js';

export interface ListenAddress {
  /** As node takes it: no brackets. */
  readonly host: string;
  readonly port: number;
}

/** Wrong use of a setting; its message is for the person who starts the server. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** `HOST:PORT`, `[::1]:PORT`. Throws ConfigError for what is no address. Port 0 lets the system choose. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new ConfigError(`'${text}' is not an address to listen on: expected HOST:PORT, such as 127.0.0.1:7411 or [::1]:7411`);
  }
  return { host: host.toLowerCase() === 'localhost' ? '127.0.0.1' : host, port };
}

/** Throws ConfigError where others than this machine could come in and nobody is asked for a token. */
export function requireTokensBeyondLoopback({ host }: ListenAddress, tokens: number): void {
  if (isLoopback(host) || tokens > 0) return;
  throw new ConfigError(
    `refusing to listen on '${host}': without access tokens the server binds to this machine only (127.0.0.0/8, ::1 or localhost). ` +
      'To open it to others make a token first: varve token create --role admin --data <its data directory>',
  );
}

/** Names and addresses that can only mean this machine. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost') return true;
  if (isIPv4(name)) return name.startsWith('127.');
  return isIPv6(name) && (name === '::1' || name === '0:0:0:0:0:0:0:1');
}

/** The name in `host[:port]`, or undefined where that is malformed. */
function hostName(header: string): string | undefined {
  return /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?$/
    .exec(header)
    ?.slice(1)
    .find((name) => name !== undefined);
}

/** The names that requests may call this server by. */
export class Hosts {
  readonly #names: ReadonlySet<string>;
  readonly #anyAddress: boolean;
  readonly #scheme: string;

  /** `names` beside the loopback ones; where others are let in at all, also every IP address: no resolver can be made to lie there. */
  constructor(listen: ListenAddress, options: { names?: readonly string[]; tls?: boolean } = {}) {
    this.#names = new Set((options.names ?? []).map((name) => name.toLowerCase()));
    this.#anyAddress = !isLoopback(listen.host);
    this.#scheme = options.tls === true ? 'https' : 'http';
  }

  allows(name: string): boolean {
    return isLoopback(name) || this.#names.has(name.toLowerCase()) || (this.#anyAddress && (isIPv4(name) || isIPv6(name)));
  }

  originOf(host: string): string {
    return `${this.#scheme}://${host}`.toLowerCase();
  }
}

/** Node takes the first of two; whoever stands before this server may take the last. */
function hasTwice(raw: readonly string[]): boolean {
  let hosts = 0;
  let authorizations = 0;
  for (let n = 0; n < raw.length; n += 2) {
    const name = raw[n]!;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
    else if (name.length === 13 && name.toLowerCase() === 'authorization') authorizations++;
  }
  return hosts > 1 || authorizations > 1;
}

const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);
const TARGET = /^\/[\x21-\x7e]*$/;

/** Throws the problem to answer with, if any. */
export function checkRequest(req: IncomingMessage, hosts: Hosts): void {
  checkSource(req, hosts);
  checkForm(req);
}

/** By which name, and from which page. */
export function checkSource(req: IncomingMessage, hosts: Hosts): void {
  const { host, origin } = req.headers;
  if (host === undefined && req.httpVersion === '1.1') throw invalid('Host', 'a Host header: HTTP/1.1 has one');
  const name = host === undefined ? undefined : hostName(host);
  if (name === undefined || !hosts.allows(name)) {
    throw new Problem(
      'host-not-allowed',
      'The Host header must be localhost, a loopback address or a name the server was told (--host-names).',
    );
  }
  if (origin !== undefined && origin.toLowerCase() !== hosts.originOf(host!)) {
    throw new Problem('origin-not-allowed', 'The Origin header names another site.');
  }
}

/** What no two readers of the same bytes may read differently, and no end of which is in sight. */
export function checkForm(req: IncomingMessage): void {
  if (hasTwice(req.rawHeaders)) throw invalid('headers', 'Host and Authorization once each');
  if (!TARGET.test(req.url ?? '')) throw invalid('request target', 'a path in ASCII, everything else percent-encoded');
  const { method = '' } = req;
  if (!BODILESS.has(method)) return;
  const length = req.headers['content-length'];
  // A body that nobody reads could go on for ever.
  if ((length !== undefined && Number(length) > 0) || req.headers['transfer-encoding'] !== undefined) {
    throw new Problem(
      'invalid',
      `A ${method} has no body here.`,
      { path: 'body', expected: 'no body' },
      { headers: { Connection: 'close' } },
    );
  }
}
