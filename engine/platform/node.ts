/**
 * The platform on the real machine: `node:fs` below a root directory, the real clock, the system's randomness.
 *
 * Reads are positional and synchronous. Writes and syncs go through the callback functions of `fs`: one
 * promise each and no FileHandle, because a durable insert is exactly one of each. A file that is closed while
 * one of them is under way closes after it, so that its descriptor cannot be given to another file meanwhile.
 *
 * The lock is a SQLite file held in an exclusive transaction: the system drops it with the process, however
 * that ends. POSIX locks go with *any* descriptor of the file that the process closes, so the file of a held
 * lock is never opened here by another way.
 */

import {
  close as closeFile,
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncate,
  lstatSync,
  mkdirSync,
  open as openFile,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  truncateSync,
  unlinkSync,
  write as writeFile,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve, sep } from 'node:path';
import Database from 'better-sqlite3';
import { VarveError } from '../errors.js';
import { networkKindOf } from './network-kind.js';
import { nodeClock } from './node-clock.js';
import { startNodeThread } from './node-thread.js';
import { ioError, pathNames } from './paths.js';
import type { BlockingWrites, File, FileSystem, OpenMode, Platform } from './platform.js';

const RANDOM_POOL_BYTES = 16 * 1024;
/** Up to this a write is a copy into the page cache, shorter than the way to another thread and back. */
const DIRECT_WRITE_BYTES = 32 * 1024;
/** Found here once: better-sqlite3 would search several places for it, which took longer than everything else an open does. */
const SQLITE_FILE = sqliteFile();
let sqliteBinding: { readonly nativeBinding?: string } | undefined;
/** As numbers, which Node takes as they are. */
const OPEN_FLAGS: Record<OpenMode, number> = {
  read: constants.O_RDONLY,
  update: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};

/** Lock files held by this process, over all platforms in it; and the last names among them, which cost nothing to ask about. */
const heldLocks = new Set<string>();
const heldNames = new Set<string>();

export interface NodePlatformOptions {
  /** Writes and syncs hold up their thread, and leave the pool of threads to others: for a thread that does nothing else. */
  readonly blocking?: boolean;
}

export function nodePlatform(root: string, { blocking = false }: NodePlatformOptions = {}): Platform {
  const absolute = resolve(root);
  return {
    files: new NodeFileSystem(absolute, blocking),
    clock: nodeClock(),
    randomBytes: randomPool(),
    startThread: (module, events) => startNodeThread(absolute, module, events),
  };
}

/** Where the package keeps what it compiled; undefined where that is elsewhere. */
function sqliteFile(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve('better-sqlite3/build/Release/better_sqlite3.node');
  } catch {
    return undefined;
  }
}

/** What it compiled, loaded without the search through packages that `require` begins with; left to the package where it is not found. */
function loadSqlite(): { readonly nativeBinding?: string } {
  if (sqliteBinding !== undefined) return sqliteBinding;
  if (SQLITE_FILE === undefined) return (sqliteBinding = {});
  const addon = { exports: {} };
  process.dlopen(addon, SQLITE_FILE);
  // It takes the addon itself too, of which its types do not tell.
  sqliteBinding = { nativeBinding: addon.exports as string };
  return sqliteBinding;
}

/** With the modules of whoever is going to open a database, as addons are; what is wrong with it is told by opening. */
export function loadAddons(): void {
  try {
    loadSqlite();
  } catch {
    // told where it is needed
  }
}

/** Random bytes by the pool: one system call a thousand salts. */
function randomPool(): (size: number) => Uint8Array {
  const pool = new Uint8Array(RANDOM_POOL_BYTES);
  let used = RANDOM_POOL_BYTES;
  // Loaded by who needs it: an opening that only reads does not.
  let randomFillSync: typeof import('node:crypto').randomFillSync | undefined;
  return (size) => {
    randomFillSync ??= process.getBuiltinModule('node:crypto').randomFillSync;
    if (size > RANDOM_POOL_BYTES / 4) return randomFillSync(new Uint8Array(size));
    if (used + size > RANDOM_POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    // A copy, so that a kept salt neither holds the pool in memory nor changes with it.
    const bytes = pool.slice(used, used + size);
    used += size;
    return bytes;
  };
}

class NodeFileSystem implements FileSystem {
  readonly #root: string;
  /** The root with what comes between it and a name. */
  readonly #prefix: string;
  readonly #blocking: boolean;

  constructor(root: string, blocking: boolean) {
    this.#root = root;
    this.#prefix = root.endsWith(sep) ? root : root + sep;
    this.#blocking = blocking;
  }

  open(path: string, mode: OpenMode): File {
    const absolute = this.#unlockedPath(path);
    const fd = mode === 'create' ? openSync(absolute, OPEN_FLAGS.create, 0o600) : openSync(absolute, OPEN_FLAGS[mode]);
    if (mode === 'read' && (fstatSync(fd).mode & constants.S_IFMT) === constants.S_IFDIR) {
      closeSync(fd);
      throw ioError('EISDIR', 'open', path);
    }
    return this.#blocking ? new BlockingFile(path, fd) : new NodeFile(path, fd);
  }

  list(path: string): string[] {
    return readdirSync(this.#absolute(path)).sort();
  }

  exists(path: string): boolean {
    return existsSync(this.#absolute(path));
  }

  makeDirectory(path: string): void {
    this.#makeRoot();
    if (path !== '') mkdirSync(this.#absolute(path), { recursive: true, mode: 0o700 });
  }

  rename(from: string, to: string): void {
    renameSync(this.#absolute(from), this.#absolute(to));
  }

  remove(path: string): void {
    const absolute = this.#absolute(path);
    if (lstatSync(absolute).isDirectory()) rmdirSync(absolute);
    else unlinkSync(absolute);
  }

  syncDirectory(path: string): Promise<void> {
    const absolute = this.#absolute(path);
    return new Promise((resolve, reject) => {
      openFile(absolute, 'r', (openError, fd) => {
        if (openError) return reject(openError);
        fsync(fd, (syncError) => {
          closeFile(fd, (closeError) => ((syncError ?? closeError) ? reject(syncError ?? closeError) : resolve()));
        });
      });
    });
  }

  readFile(path: string): Buffer {
    const file = this.open(path, 'read');
    try {
      const bytes = Buffer.allocUnsafe(file.size());
      return bytes.subarray(0, file.read(bytes, 0, bytes.length, 0));
    } finally {
      file.close();
    }
  }

  lock(path: string, isEmptied = false): { release(): void } {
    const absolute = this.#absolute(path);
    const identity = identityOf(absolute);
    if (identity === undefined) throw ioError('ENOENT', 'open', path);
    if (heldLocks.has(identity)) throw lockedError(path);
    const database = new Database(absolute, { timeout: 0, ...loadSqlite() });
    try {
      // Nothing is ever written, so its journal needs no file, made and removed again.
      database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) throw lockedError(path, error);
      if (isEmptied || !(error instanceof Database.SqliteError) || error.code !== 'SQLITE_NOTADB') throw error;
      // Something wrote into it. Nobody holds it, or it were busy; it is emptied in place, so that there is one lock still.
      truncateSync(absolute, 0);
      return this.lock(path, true);
    }
    heldLocks.add(identity);
    heldNames.add(basename(identity));
    return {
      release: () => {
        if (!database.open) return;
        database.close();
        heldLocks.delete(identity);
      },
    };
  }

  openSqlite(path: string): Database.Database {
    const absolute = this.#absolute(path);
    if (!existsSync(dirname(absolute))) throw ioError('ENOENT', 'open', path);
    return new Database(absolute, loadSqlite());
  }

  networkKind(): string | undefined {
    return networkKindOf(this.#root);
  }

  #absolute(path: string): string {
    const names = pathNames(path);
    return names.length === 0 ? this.#root : this.#prefix + names.join(sep);
  }

  #unlockedPath(path: string): string {
    const absolute = this.#absolute(path);
    if (heldNames.has(path.slice(path.lastIndexOf('/') + 1)) && heldLocks.has(identityOf(absolute) ?? absolute))
      throw ioError('EBUSY', 'open', path);
    return absolute;
  }

  /** The root's own entry lies outside what `syncDirectory` can reach, so it is made durable here. */
  #makeRoot(): void {
    if (existsSync(this.#prefix)) return;
    const firstMade = mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    if (firstMade === undefined) return;
    for (let made = this.#root; ; made = dirname(made)) {
      const fd = openSync(dirname(made), 'r');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      if (made === firstMade || dirname(made) === made) return;
    }
  }
}

/** One name for a file however its directory is reached; undefined where that is not there. */
function identityOf(absolute: string): string | undefined {
  try {
    return join(realpathSync.native(dirname(absolute)), basename(absolute));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function lockedError(path: string, cause?: unknown): VarveError<'LOCKED'> {
  return new VarveError('LOCKED', 'the data directory is in use by another process', { path }, cause);
}

class NodeFile implements File {
  readonly path: string;
  readonly now: BlockingWrites;
  readonly #fd: number;
  #underWay = 0;
  #closed = false;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
    this.now = {
      write: (from, offset, length, position) => {
        this.#mustBeOpen('write');
        return writeSync(fd, from, offset, length, position);
      },
      sync: () => {
        this.#mustBeOpen('fdatasync');
        fdatasyncSync(fd);
      },
    };
  }

  size(): number {
    this.#mustBeOpen('fstat');
    return fstatSync(this.#fd).size;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    this.#mustBeOpen('read');
    let done = 0;
    while (done < length) {
      const count = readSync(this.#fd, into, offset + done, length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(from: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    if (length <= DIRECT_WRITE_BYTES) return settled(() => this.now.write(from, offset, length, position));
    return new Promise((resolve, reject) => {
      this.#begin('write');
      writeFile(this.#fd, from, offset, length, position, (error, count) => {
        this.#end();
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#begin('fdatasync');
      fdatasync(this.#fd, (error) => {
        this.#end();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  truncate(size: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#begin('ftruncate');
      ftruncate(this.#fd, size, (error) => {
        this.#end();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#underWay === 0) closeSync(this.#fd);
  }

  #begin(syscall: string): void {
    this.#mustBeOpen(syscall);
    this.#underWay++;
  }

  #end(): void {
    this.#underWay--;
    if (this.#closed && this.#underWay === 0) closeSync(this.#fd);
  }

  #mustBeOpen(syscall: string): void {
    if (this.#closed) throw ioError('EBADF', syscall, this.path);
  }
}

class BlockingFile extends NodeFile {
  override write(from: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return settled(() => this.now.write(from, offset, length, position));
  }

  override sync(): Promise<void> {
    return settled(this.now.sync);
  }
}

async function settled<T>(work: () => T): Promise<T> {
  return work();
}
