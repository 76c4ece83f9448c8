/**
 * The settings of `varve serve`, from four places: flags > environment > config file > default. One table says of each setting its
 * flag, its default and how it is read; the environment variable and the key in the file follow from its name
 * (`maxBodyBytes`: `--max-body-bytes`, `VARVE_MAX_BODY_BYTES`, `"maxBodyBytes"`).
 */
import { type OpenOptions, parseStrict } from '../engine/index.js';
import { readPeerUrl, readPeerUrls } from './copies-config.js';
import { ConfigError, parseListen } from './guard.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { LOG_LEVELS, type LogLevel } from './logging.js';
import type { RequestLogging } from './request-log.js';
import type { TlsFiles } from './tls.js';
import { TOKEN_FILE } from './tokens.js';

export const DEFAULT_LISTEN = '127.0.0.1:7411';
export const DEFAULT_DATA = './varve-data';

type Reader<T> = (text: string, name: string) => T;

interface Setting<T> {
  readonly read: Reader<T>;
  /** Undefined: the engine's own. */
  readonly default: T;
  /** What stands for the value in help; none for a switch. */
  readonly placeholder?: string;
  readonly help: string;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1000, ki: 1024, m: 1e6, mi: 2 ** 20, g: 1e9, gi: 2 ** 30 };

const text: Reader<string> = (value, name) => {
  if (value === '') throw new ConfigError(`${name} must not be empty`);
  return value;
};
const integer =
  (min: number, max: number): Reader<number> =>
  (value, name) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) throw new ConfigError(`${name} must be a whole number from ${min} to ${max}, not '${value}'`);
    return number;
  };
/** `65536`, `64KiB`, `1MB`. */
const bytes: Reader<number> = (value, name) => {
  const match = /^(\d{1,15}) ?([kmg]i?)?b?$/i.exec(value);
  const number = Number(match?.[1]) * (UNITS[(match?.[2] ?? '').toLowerCase()] ?? Number.NaN);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new ConfigError(`${name} must be a number of bytes such as 65536 or 64MiB, not '${value}'`);
  return number;
};
const yesOrNo: Reader<boolean> = (value, name) => {
  if (/^(true|1|yes|on)$/i.test(value)) return true;
  if (/^(false|0|no|off)$/i.test(value)) return false;
  throw new ConfigError(`${name} must be true or false, not '${value}'`);
};
const oneOf =
  <T extends string>(values: readonly T[]): Reader<T> =>
  (value, name) => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw new ConfigError(`${name} must be one of ${values.join(', ')}, not '${value}'`);
    return found;
  };
const listenAddress: Reader<string> = (value) => {
  parseListen(value);
  return value;
};
/** Names as a URL has them, with commas between. */
const names: Reader<readonly string[]> = (value, name) => {
  const list = value.split(',').map((part) => part.trim());
  for (const each of list)
    if (!/^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$/.test(each))
      throw new ConfigError(`${name} must be names of hosts without ports, with commas between, not '${value}'`);
  return list;
};
const maybe =
  <T>(read: Reader<T>): Reader<T | undefined> =>
  (value, name) =>
    read(value, name);

function setting<T>(read: Reader<T>, fallback: T, placeholder: string | undefined, help: string): Setting<T> {
  return { read, default: fallback, help, ...(placeholder === undefined ? {} : { placeholder }) };
}

const requestLogging: Reader<RequestLogging> = (value, name) => {
  if (value === 'off' || value === 'problems' || value === 'all') return value;
  if (/^[1-9]\d{0,8}$/.test(value)) return Number(value);
  throw new ConfigError(`${name} must be off, problems, all or a number from 1, not '${value}'`);
};

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** `500ms`, `5s`, `12h`, `7d`; milliseconds. */
const duration: Reader<number> = (value, name) => {
  const match = /^(\d{1,6})(ms|s|m|h|d)$/.exec(value);
  const ms = Number(match?.[1]) * (TIME_UNITS[match?.[2] ?? ''] ?? Number.NaN);
  if (!(ms > 0)) throw new ConfigError(`${name} must be a time such as 500ms, 5s, 12h or 7d, not '${value}'`);
  return ms;
};
/** As a duration, or 0 for `off`. */
const durationOrOff: Reader<number> = (value, name) => (value === 'off' ? 0 : duration(value, name));

/** A part of a whole, above 0. */
const share: Reader<number> = (value, name) => {
  const number = /^\d?\.?\d{1,6}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number > 0 && number <= 1)) throw new ConfigError(`${name} must be a number above 0 and up to 1, not '${value}'`);
  return number;
};
/** `22-6`: from an hour of the day up to another. */
const hoursOfDay: Reader<readonly [number, number]> = (value, name) => {
  const match = /^(\d{1,2})-(\d{1,2})$/.exec(value);
  const from = Number(match?.[1]);
  const to = Number(match?.[2]);
  if (!(from <= 23 && to <= 24 && from !== to)) throw new ConfigError(`${name} must be two hours of the day such as 22-6, not '${value}'`);
  return [from, to];
};

const count = integer(1, 1e9);
const millis = integer(1, 86_400_000);

export const SETTINGS = {
  data: setting(text, DEFAULT_DATA, 'DIR', 'where the database is kept'),
  listen: setting(listenAddress, DEFAULT_LISTEN, 'HOST:PORT', 'address to listen on; any but a loopback one needs access tokens'),
  tokens: setting(maybe(text), undefined, 'FILE', 'access tokens, as varve token makes them (tokens.json in the data directory)'),
  tlsCert: setting(maybe(text), undefined, 'FILE', 'certificate in PEM, with its chain; read again when it changes, and on SIGHUP'),
  tlsKey: setting(maybe(text), undefined, 'FILE', 'private key of the certificate, in PEM'),
  tlsClientCa: setting(maybe(text), undefined, 'FILE', 'authorities in PEM; clients must show a certificate of theirs'),
  hostNames: setting(maybe(names), undefined, 'NAMES', 'names that clients may call this server by, with commas between'),
  shards: setting(maybe(integer(1, 65_535)), undefined, 'N', 'number of shards, fixed when the database is created'),
  follow: setting(maybe(readPeerUrl), undefined, 'URL', 'be a copy of the server there; an empty directory is filled from it'),
  replicas: setting(maybe(readPeerUrls), undefined, 'URLS', 'the servers that hold this database, this one too, with commas between'),
  advertise: setting(maybe(readPeerUrl), undefined, 'URL', 'what the others call this server'),
  acksTimeout: setting(maybe(duration), undefined, 'TIME', 'how long a write with acks=quorum waits for the others (5s)'),
  peerTokenFile: setting(maybe(text), undefined, 'FILE', 'the access token to show to the others, of the role replica'),
  peerCa: setting(maybe(text), undefined, 'FILE', 'authorities in PEM that certificates of the others come from'),
  peerCert: setting(maybe(text), undefined, 'FILE', 'certificate in PEM to show to the others'),
  peerKey: setting(maybe(text), undefined, 'FILE', 'private key of that certificate, in PEM'),
  scrubEvery: setting(
    maybe(durationOrOff),
    undefined,
    'TIME',
    'how often every byte on the disk is read back and checked; off: never (7d)',
  ),
  logLevel: setting<LogLevel>(oneOf(LOG_LEVELS), 'info', 'LEVEL', `one of ${LOG_LEVELS.join(', ')}`),
  logRequests: setting<RequestLogging>(
    requestLogging,
    'problems',
    'WHICH',
    'off, problems, all, or N: problems and one in N of the others',
  ),
  segmentBytes: setting(maybe(bytes), undefined, 'BYTES', 'size at which a log segment is sealed'),
  nodeCacheBytes: setting(maybe(bytes), undefined, 'BYTES', 'memory for tree nodes'),
  memtableBytes: setting(maybe(bytes), undefined, 'BYTES', 'memory for records newer than the last checkpoint'),
  newestBytes: setting(
    maybe(bytes),
    undefined,
    'BYTES',
    'memory for where newest versions are, some 22 bytes an entity (256 MiB); beyond it the tree is searched',
  ),
  checkpointRecords: setting(maybe(count), undefined, 'N', 'fold once memory holds this many records and 1/8 of what the tree holds'),
  allowNetworkFileSystem: setting(yesOrNo, false, undefined, 'open although the directory is on a network file system'),
  compactAuto: setting(yesOrNo, true, 'YES', 'trim and compact without being asked'),
  compactDeadShare: setting(maybe(share), undefined, 'SHARE', 'rewrite a segment once this part of its records is dead (0.3)'),
  compactDeadBytes: setting(
    maybe(bytes),
    undefined,
    'BYTES',
    'give back whatever is dead, the deadest first, once it is so much in the segments or the tree of a shard',
  ),
  compactBytesPerSecond: setting(maybe(bytes), undefined, 'BYTES', 'what compaction reads and writes in a second at most'),
  compactCompress: setting(yesOrNo, true, 'YES', 'compress what compaction rewrites'),
  compactHours: setting(maybe(hoursOfDay), undefined, 'HOURS', 'hours of the day, in UTC, in which it begins by itself, such as 22-6'),
  maxBodyBytes: setting(bytes, DEFAULT_LIMITS.maxBodyBytes, 'BYTES', 'largest body of a record'),
  maxBatchBytes: setting(bytes, DEFAULT_LIMITS.maxBatchBytes, 'BYTES', 'largest batch'),
  bodyMemoryBytes: setting(bytes, DEFAULT_LIMITS.bodyMemoryBytes, 'BYTES', 'memory for request bodies, all together'),
  maxConnections: setting(count, DEFAULT_LIMITS.maxConnections, 'N', 'connections at a time'),
  maxConnectionsPerAddress: setting(
    maybe(count),
    DEFAULT_LIMITS.maxConnectionsPerAddress,
    'N',
    'of one address (half of them; all from this machine itself)',
  ),
  activePerClient: setting(count, DEFAULT_LIMITS.activePerClient, 'N', 'requests of one token or address handled at a time'),
  queuePerClient: setting(count, DEFAULT_LIMITS.queuePerClient, 'N', 'requests of one token or address that wait for their turn'),
  maxStreams: setting(count, DEFAULT_LIMITS.maxStreams, 'N', 'feeds and streams of inserts at a time'),
  maxStreamsPerClient: setting(count, DEFAULT_LIMITS.maxStreamsPerClient, 'N', 'of one token or address'),
  answerMemoryBytes: setting(bytes, DEFAULT_LIMITS.answerMemoryBytes, 'BYTES', 'memory for answers not read yet, all together'),
  readTimeoutMs: setting(millis, DEFAULT_LIMITS.readTimeoutMs, 'MS', 'an answer that its reader leaves lying is cut'),
  bodyTimeoutMs: setting(millis, DEFAULT_LIMITS.bodyTimeoutMs, 'MS', 'time for a whole body to arrive'),
  idleTimeoutMs: setting(millis, DEFAULT_LIMITS.idleTimeoutMs, 'MS', 'a connection on which nothing moves is cut'),
  shutdownTimeoutMs: setting(millis, DEFAULT_LIMITS.shutdownTimeoutMs, 'MS', 'how long shutting down waits for requests under way'),
} as const;

export type SettingName = keyof typeof SETTINGS;
export type ServeConfig = { readonly [N in SettingName]: (typeof SETTINGS)[N] extends Setting<infer T> ? T : never };
/** As a command line parser gives them, by setting name. */
export type FlagValues = Readonly<Partial<Record<SettingName | 'config', string | number | boolean | undefined>>>;

export interface ConfigSources {
  readonly flags?: FlagValues;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Reads the config file: the server itself keeps its hands off the disk. */
  readonly readText: (path: string) => string;
}

export function flagName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function environmentName(name: string): string {
  return `VARVE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** The settings to serve with. Throws ConfigError, with a message for the person, for what cannot be used. */
export function loadConfig(sources: ConfigSources): ServeConfig {
  const { flags = {}, env = process.env } = sources;
  const path = flags.config ?? given(env[environmentName('config')]);
  const file = path === undefined ? {} : readConfigFile(String(path), sources.readText);
  const config: Record<string, unknown> = {};
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { read, default: fallback } = SETTINGS[name];
    const flag = flags[name];
    const variable = given(env[environmentName(name)]);
    const key = file[name];
    if (flag !== undefined) config[name] = read(String(flag), flagName(name));
    else if (variable !== undefined) config[name] = read(variable, environmentName(name));
    else if (key !== undefined) config[name] = read(String(key), `${name} in the config file`);
    else config[name] = fallback;
  }
  return config as ServeConfig;
}

/** A variable that is set to nothing is not set. */
function given(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function readConfigFile(path: string, readText: (path: string) => string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = parseStrict(Buffer.from(readText(path)));
  } catch (error) {
    throw new ConfigError(`cannot read the config file ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new ConfigError(`the config file ${path} must hold one JSON object`);
  for (const [name, value] of Object.entries(parsed)) {
    if (!Object.hasOwn(SETTINGS, name))
      throw new ConfigError(`the config file ${path} has an unknown key '${name}'; known are ${Object.keys(SETTINGS).join(', ')}`);
    if (typeof value === 'object') throw new ConfigError(`${name} in the config file ${path} must be a string, a number, true or false`);
  }
  return parsed as Record<string, unknown>;
}

export function openOptionsOf(config: ServeConfig): OpenOptions {
  const { shards, segmentBytes, nodeCacheBytes, memtableBytes, newestBytes, checkpointRecords } = config;
  const { allowNetworkFileSystem, maxBodyBytes, maxBatchBytes } = config;
  const { compactAuto, compactDeadShare, compactDeadBytes, compactBytesPerSecond, compactCompress, compactHours } = config;
  return {
    allowNetworkFileSystem,
    maxBodyBytes,
    maxBatchBytes,
    ...(shards === undefined ? {} : { shards }),
    ...(segmentBytes === undefined ? {} : { segmentBytes }),
    ...(nodeCacheBytes === undefined ? {} : { nodeCacheBytes }),
    ...(memtableBytes === undefined ? {} : { memtableBytes }),
    ...(newestBytes === undefined ? {} : { newestBytes }),
    ...(checkpointRecords === undefined ? {} : { checkpointRecords }),
    upkeep: {
      automatic: compactAuto,
      ...(compactCompress ? {} : { compress: false }),
      ...(compactDeadShare === undefined ? {} : { deadShare: compactDeadShare }),
      ...(compactDeadBytes === undefined ? {} : { deadBytes: compactDeadBytes }),
      ...(compactBytesPerSecond === undefined ? {} : { bytesPerSecond: compactBytesPerSecond }),
      ...(compactHours === undefined ? {} : { hours: compactHours }),
    },
  };
}

/** Room for the envelope around the largest body of a line. */
const ENVELOPE_BYTES = 64 * 1024;

export function limitsOf(config: ServeConfig): Partial<Limits> {
  const { maxBodyBytes, maxBatchBytes, bodyMemoryBytes, maxConnections, maxConnectionsPerAddress } = config;
  const { activePerClient, queuePerClient, maxStreams, maxStreamsPerClient, answerMemoryBytes } = config;
  const { bodyTimeoutMs, idleTimeoutMs, readTimeoutMs, shutdownTimeoutMs } = config;
  return {
    maxBodyBytes,
    maxBatchBytes,
    maxLineBytes: maxBodyBytes + ENVELOPE_BYTES,
    bodyMemoryBytes,
    maxConnections,
    maxConnectionsPerAddress,
    activePerClient,
    // One client alone cannot take all of it.
    activeRequests: Math.max(DEFAULT_LIMITS.activeRequests, activePerClient * 4),
    queuePerClient,
    queueRequests: Math.max(DEFAULT_LIMITS.queueRequests, queuePerClient * 4),
    maxStreams,
    maxStreamsPerClient,
    answerMemoryBytes,
    bodyTimeoutMs,
    idleTimeoutMs,
    readTimeoutMs,
    shutdownTimeoutMs,
  };
}

/** Where the access tokens are. */
export function tokenFileOf(config: ServeConfig): string {
  return config.tokens ?? `${config.data}/${TOKEN_FILE}`;
}

/** Throws ConfigError for half of a pair. */
export function tlsFilesOf({ tlsCert, tlsKey, tlsClientCa }: ServeConfig): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined) {
    if (tlsClientCa !== undefined) throw new ConfigError('--tls-client-ca needs --tls-cert and --tls-key');
    return undefined;
  }
  if (tlsCert === undefined || tlsKey === undefined) throw new ConfigError('--tls-cert and --tls-key belong together');
  return { cert: tlsCert, key: tlsKey, ...(tlsClientCa === undefined ? {} : { clientCa: tlsClientCa }) };
}
