/**
 * Keeps strangers out before anything else looks at a request: only loopback addresses are bound, the Host header must name this
 * machine (against DNS rebinding), the Origin, where a browser sends one, must be ours (against cross-site requests), and the
 * request target must be plain ASCII, so that no two spellings of bytes become one key.
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

/** `HOST:PORT`, `[::1]:PORT`. Throws ConfigError for what is no address, or not loopback. Port 0 lets the system choose. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new ConfigError(`'${text}' is not an address to listen on: expected HOST:PORT, such as 127.0.0.1:7411 or [::1]:7411`);
  }
  if (!isLoopback(host)) {
    throw new ConfigError(
      `refusing to listen on '${host}': without access tokens the server binds to this machine only (127.0.0.0/8, ::1 or localhost). ` +
        'To reach it from elsewhere, forward a port: ssh -L 7411:127.0.0.1:7411 <this machine>',
    );
  }
  return { host: host.toLowerCase() === 'localhost' ? '127.0.0.1' : host, port };
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

/** Throws the problem to answer with, if any. */
export function checkRequest(req: IncomingMessage): void {
  const host = req.headers.host;
  const name = host === undefined ? undefined : hostName(host);
  if (name === undefined || !isLoopback(name)) {
    throw new Problem('host-not-allowed', 'The Host header must be localhost or a loopback address.');
  }
  const origin = req.headers.origin;
  if (origin !== undefined && origin.toLowerCase() !== `http://${host}`.toLowerCase()) {
    throw new Problem('origin-not-allowed', 'The Origin header names another site.');
  }
  const target = req.url ?? '';
  if (!/^\/[\x21-\x7e]*$/.test(target)) throw invalid('request target', 'a path in ASCII, everything else percent-encoded');
}
