/**
 * What a store has to do to be measured, and where the stores are. A new peer is one more module in adapters/ and one more
 * line in PEERS.
 *
 * Every call may answer at once or by a promise. A resolved write is durable where `meta.durable` says so.
 */
import type { JsonValue } from '../../engine/index.js';
import type { BenchRecord } from './data/index.js';
import type { Packages } from './packages.js';

export type Maybe<T> = T | Promise<T>;

export interface Version {
  readonly seq: number;
  readonly body: JsonValue;
}

export interface KeyedVersion extends Version {
  readonly key: string;
}

export interface Store {
  /** All or nothing, durable when resolved. */
  putBatch(records: readonly BenchRecord[]): Maybe<unknown>;
  /** One durable commit. */
  put(record: BenchRecord): Maybe<unknown>;
  /** The same, called by many clients at once: a place for group commit. */
  putConcurrent(record: BenchRecord): Maybe<unknown>;
  newest(key: string): Maybe<Version | undefined>;
  asOf?(key: string, seq: number): Maybe<Version | undefined>;
  /** Oldest first. */
  history(key: string): Maybe<readonly Version[]>;
  /** The same with bodies as JSON in bytes, unparsed. */
  historyBytes?(key: string): Maybe<readonly { readonly seq: number; readonly bytes: Uint8Array }[]>;
  /** `count` entities from `fromKey` on, in key order, newest or as of `seq`. */
  scan(fromKey: string, count: number, seq?: number): Maybe<readonly KeyedVersion[]>;
  /** Keeps the newest version of each key; into `directory` for a store that cannot give space back in place. */
  compact?(directory: string): Maybe<{ readonly into: boolean }>;
  /** Keys whose versions differ between this store and another of its kind: a changed copy of its files. */
  diff(other: Store): Maybe<Iterable<string>>;
  /** Whether two stores hold the same, without looking at everything. */
  equal?(other: Store): Maybe<boolean>;
  /** Moves what recent writes left elsewhere (a log, memory) to where it is kept. */
  checkpoint?(): Maybe<unknown>;
  /** Where a copied directory will not do: makes the changed copy inside. `diff` and `equal` get this store itself then. */
  makeCopy?(changes: readonly BenchRecord[]): Maybe<unknown>;
  dropCopy?(): Maybe<unknown>;
  /** Once after the load. */
  afterLoad?(): Maybe<unknown>;
  /** Before its directory is copied. */
  beforeCopy?(): Maybe<unknown>;
  /** Bytes on disk, where the directory does not tell. */
  bytes?(): Maybe<number>;
  close(): Maybe<unknown>;
}

export interface Server {
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Meta {
  readonly title: string;
  /** npm packages that make it; the first one names the version. */
  readonly packages: readonly string[];
  /** One line: how versioned entities are laid out on it. */
  readonly design: string;
  /** A resolved write survives a loss of power. */
  readonly durable: boolean;
  readonly durableNote?: string;
  /** Reads answer at once: reads in flight side by side say nothing. */
  readonly sync: boolean;
  /** The most entities this peer gets through in reasonable time. */
  readonly entities?: number;
  readonly diffHow: string;
  readonly equalHow?: string;
}

export interface Adapter {
  readonly meta: Meta;
  open(directory: string, packages: Packages): Promise<Store>;
  /** Reads what the bench keeps for itself beside the store, before any time is taken. */
  prepare?(directory: string): void;
  /** For a peer with a server of its own. */
  setup?(directory: string, packages: Packages): Promise<Server>;
}

/** In the order of the table. */
export const PEERS: Readonly<Record<string, () => Promise<Adapter>>> = {
  varve: async () => (await import('./adapters/varve.js')).varve,
  sqlite: async () => (await import('./adapters/sqlite.js')).sqlite,
  lmdb: async () => (await import('./adapters/lmdb.js')).lmdb,
  level: async () => (await import('./adapters/level.js')).level,
  postgres: async () => (await import('./adapters/postgres.js')).postgres,
  hyperbee: async () => (await import('./adapters/hyperbee.js')).hyperbee,
  hyperbee2: async () => (await import('./adapters/hyperbee2.js')).hyperbee2,
  pouchdb: async () => (await import('./adapters/pouchdb.js')).pouchdb,
};

export function peerNames(): string[] {
  return Object.keys(PEERS);
}

export async function loadAdapter(name: string): Promise<Adapter> {
  const load = PEERS[name];
  if (load === undefined) throw new Error(`there is no peer '${name}'`);
  return load();
}
