/**
 * The settings that make a node one of several copies, taken together: whom it follows, who holds the database with it, how others call it,
 * and what it shows to them. Each alone is read in config.ts; here is what they mean with one another.
 *
 * Nothing is kept here. Throws ConfigError, with a message for the person, for what makes no sense.
 */

import type { Disk } from './disk.js';
import { ConfigError } from './guard.js';
import { readPem } from './tls.js';
import { splitToken } from './tokens.js';

/** `http://10.0.0.2:7411`: no path, no query, no name and password. */
export function readPeerUrl(value: string, name: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const rest = url === undefined ? '' : `${url.pathname}${url.search}${url.hash}${url.username}${url.password}`;
  if (url === undefined || rest !== '/' || !/^https?:$/.test(url.protocol))
    throw new ConfigError(`${name} must be the URL of a server, such as http://10.0.0.2:7411, not '${value}'`);
  return url.origin;
}

export function readPeerUrls(value: string, name: string): readonly string[] {
  const urls = value.split(',').map((part) => readPeerUrl(part.trim(), name));
  const twice = urls.find((url, index) => urls.indexOf(url) !== index);
  if (twice !== undefined) throw new ConfigError(`${name} names ${twice} twice`);
  return urls;
}

/** The part of the settings that this file reads. */
export interface CopiesSettings {
  readonly follow: string | undefined;
  readonly replicas: readonly string[] | undefined;
  readonly advertise: string | undefined;
  readonly shards: number | undefined;
  readonly acksTimeout: number | undefined;
  readonly peerTokenFile: string | undefined;
  readonly peerCa: string | undefined;
  readonly peerCert: string | undefined;
  readonly peerKey: string | undefined;
}

export interface CopiesConfig {
  readonly follow?: string;
  /** The replica set, this node included; empty where none was configured. */
  readonly replicas: readonly string[];
  readonly advertise?: string;
  readonly acksTimeoutMs: number;
}

const ACKS_TIMEOUT_MS = 5000;

export function copiesConfigOf(settings: CopiesSettings): CopiesConfig {
  const { follow, replicas = [], advertise, shards, acksTimeout, peerCa, peerCert, peerKey } = settings;
  if (replicas.length > 0 && advertise === undefined) throw new ConfigError('--replicas needs --advertise: which of them this node is');
  if (replicas.length > 0 && !replicas.includes(advertise!))
    throw new ConfigError(`--replicas must name this node too: ${advertise} is not among ${replicas.join(', ')}`);
  if (follow !== undefined && follow === advertise)
    throw new ConfigError(`--follow and --advertise are both ${follow}: a node cannot follow itself`);
  if (follow !== undefined && shards !== undefined)
    throw new ConfigError('--shards and --follow do not go together: a copy has as many shards as what it is a copy of');
  if ((peerCert === undefined) !== (peerKey === undefined)) throw new ConfigError('--peer-cert and --peer-key belong together');
  const peers = [...(follow === undefined ? [] : [follow]), ...replicas.filter((url) => url !== advertise)];
  for (const [flag, value] of [
    ['--peer-ca', peerCa],
    ['--peer-cert', peerCert],
  ] as const) {
    if (value !== undefined && peers.length > 0 && !peers.some((url) => url.startsWith('https:')))
      throw new ConfigError(`${flag} is for peers behind https, and none of ${peers.join(', ')} is`);
  }
  return {
    replicas,
    acksTimeoutMs: acksTimeout ?? ACKS_TIMEOUT_MS,
    ...(follow === undefined ? {} : { follow }),
    ...(advertise === undefined ? {} : { advertise }),
  };
}

/** What is shown to peers: a token, a certificate, and by whose word theirs are believed. */
export interface PeerCredentials {
  readonly token?: string;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

const FORBIDDEN_MODE = 0o077;

export function readPeerCredentials(disk: Disk, settings: CopiesSettings): PeerCredentials {
  const { peerTokenFile, peerCa, peerCert, peerKey } = settings;
  return {
    ...(peerTokenFile === undefined ? {} : { token: readToken(disk, peerTokenFile) }),
    ...(peerCa === undefined ? {} : { ca: readPem(disk, peerCa, 'peerCa') }),
    ...(peerCert === undefined ? {} : { cert: readPem(disk, peerCert, 'peerCert') }),
    ...(peerKey === undefined ? {} : { key: readPem(disk, peerKey, 'peerKey') }),
  };
}

/** A token as `varve token create` shows it, alone in a file that nobody else may read. */
function readToken(disk: Disk, path: string): string {
  const file = disk.read(path);
  if (file === undefined) throw new ConfigError(`peerTokenFile: there is no file ${path}`);
  if ((file.mode & FORBIDDEN_MODE) !== 0)
    throw new ConfigError(`peerTokenFile: others can read or change ${path}. To mend: chmod 600 ${path}`);
  const text = Buffer.from(file.bytes).toString('latin1').trim();
  if (splitToken(text) === undefined) throw new ConfigError(`peerTokenFile: ${path} holds no access token`);
  return text;
}
