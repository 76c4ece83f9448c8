/**
 * The one door to the outside (law 12): files, clock, randomness, timers, the lock and the catalog store.
 *
 * `node.ts` opens it onto the real machine, `memory.ts` onto a simulated disk with crash semantics and a
 * clock that moves only when told to. Nothing else in the engine touches `node:fs`, the wall clock,
 * timers or randomness.
 *
 * Reads are synchronous (a promise per block costs more than the read); writes and syncs are not (a
 * synchronous sync would hold up every reader of the process).
 */
import type Database from 'better-sqlite3';

/** Microseconds since 1970-01-01T00:00:00Z, a safe integer. */
export type Micros = number;

export interface Platform {
  readonly files: FileSystem;
  readonly clock: Clock;
  /** Fills and returns `size` cryptographically random bytes (the simulator: seeded ones). */
  randomBytes(size: number): Uint8Array;
  /**
   * Starts a thread that runs `serve` of a module of the engine over the same files. Absent, or undefined: there is none to be had
   * (the simulator, sources that were not compiled), and the work is done here, with the same result.
   */
  startThread?(module: ThreadModule, events: ThreadEvents): Thread | undefined;
}

/** Path below `engine/`, without its extension. Such a module exports `serve: ServeThread`. */
export type ThreadModule = 'tree/fold-thread' | 'compaction/compact-thread' | 'compaction/source-thread';

/** What the far end runs; it keeps the thread for as long as it listens. */
export type ServeThread = (platform: Platform, port: ThreadPort) => void;

/** The far end of a thread. Messages are what a structured clone takes. */
export interface ThreadPort {
  /** `moved` changes hands, as in `Thread`. */
  post(message: unknown, moved?: readonly ArrayBuffer[]): void;
  listen(receive: (message: unknown) => void): void;
}

/** The near end. Does not keep the process alive unless held. */
export interface Thread {
  /** `moved` changes hands instead of being copied: it is empty here afterwards. */
  post(message: unknown, moved?: readonly ArrayBuffer[]): void;
  /** Whether the process must live while this thread works. */
  hold(held: boolean): void;
  /** Resolves once nothing of it runs any more, wherever it was. */
  stop(): Promise<void>;
}

export interface ThreadEvents {
  message(message: unknown): void;
  /** It ended without being told to; nothing of it runs any more. Comes once, and nothing after it. */
  ended(reason: string): void;
}

export interface Clock {
  /** Wall clock. May jump either way. */
  nowMicros(): Micros;
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  monotonicMs(): number;
  /** Runs `task` once after `delayMs`; does not keep the process alive. Returns a cancel function. */
  after(delayMs: number, task: () => void): () => void;
  /** Lets other work run: resolves in a later turn of the event loop. */
  yield(): Promise<void>;
}

export type OpenMode =
  /** Must exist; reads only. */
  | 'read'
  /** Must exist; reads and writes. */
  | 'update'
  /** Must not exist; created empty, reads and writes. */
  | 'create';

/** Paths are relative to the root the platform was made with, separated by `/`. Errors are Node's, with `code` (ENOENT, ENOSPC, EIO, …). */
export interface FileSystem {
  open(path: string, mode: OpenMode): File;
  /** Names (not paths) in a directory, sorted; ENOENT where it is missing. */
  list(path: string): string[];
  exists(path: string): boolean;
  /** Creates the directory and its missing parents. Durable only after `syncDirectory` of each parent. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Whole file, for small ones. */
  readFile(path: string): Buffer;
  /** Held until `release` or the end of the process; throws VarveError `LOCKED` where another holds it. */
  lock(path: string): { release(): void };
  /** Opens (creating) a SQLite database for derived data. The caller closes it. */
  openSqlite(path: string): Database.Database;
  /** Name of the network file system the root lives on (`nfs`, `cifs`, …), or undefined for a local one. */
  networkKind(): string | undefined;
}

export interface BlockingWrites {
  write(from: Uint8Array, offset: number, length: number, position: number): number;
  sync(): void;
}

export interface File {
  readonly path: string;
  /** Bytes; tracked by stat. */
  size(): number;
  /** Returns the number of bytes read, fewer at the end of the file. Synchronous. */
  read(into: Uint8Array, offset: number, length: number, position: number): number;
  /** Returns the number of bytes written, which may be short (a full disk reports itself so). The caller checks. */
  write(from: Uint8Array, offset: number, length: number, position: number): Promise<number>;
  /** Makes data and size durable (fdatasync). After a rejection nothing may be assumed about unsynced bytes. */
  sync(): Promise<void>;
  /** `write` and `sync` for a thread that has nothing else to do: they hold it up, and throw. Absent: not to be had. */
  readonly now?: BlockingWrites;
  truncate(size: number): Promise<void>;
  close(): void;
}
