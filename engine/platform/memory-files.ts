/**
 * The file functions of a simulated machine, over its directories (memory-tree.ts) and contents (memory-content.ts),
 * with every operation counted and perhaps made to fail (memory-faults.ts).
 *
 * Writes and truncations take effect when called. A sync covers what was done before it was called and takes effect
 * when its promise settles, so that a crash in between finds the bytes still unsynced. Promises settle by
 * microtasks alone. Blocking writes and syncs take effect at once; they are there if the machine was asked for them.
 */
import Database from 'better-sqlite3';
import { VarveError } from '../errors.js';
import { type Fault, type FaultInjector, type OperationKind, PowerCutError } from './memory-faults.js';
import { Directory, FileNode, type Node, saveSqlite } from './memory-tree.js';
import { ioError, pathNames } from './paths.js';
import type { BlockingWrites, File, FileSystem, OpenMode } from './platform.js';

export function findNode(root: Directory, path: string, syscall: string): Node {
  let node: Node = root;
  for (const name of pathNames(path)) {
    if (node.kind === 'file') throw ioError('ENOTDIR', syscall, path);
    const next = node.get(name);
    if (next === undefined) throw ioError('ENOENT', syscall, path);
    node = next;
  }
  return node;
}

/** How much of a growth there is room for. */
export type Room = (growth: number) => number;

export class MemoryFileSystem implements FileSystem {
  readonly #root: Directory;
  readonly #faults: FaultInjector;
  readonly #room: Room;
  readonly #blocking: boolean;
  readonly #locks = new Set<string>();

  constructor(root: Directory, faults: FaultInjector, room: Room, blocking: boolean) {
    this.#root = root;
    this.#faults = faults;
    this.#room = room;
    this.#blocking = blocking;
  }

  open(path: string, mode: OpenMode): File {
    this.#begin(mode === 'create' ? 'create' : 'open', path);
    if (mode === 'create') {
      const { directory, name } = this.#slot(path, 'open');
      if (directory.get(name) !== undefined) throw ioError('EEXIST', 'open', path);
      directory.set([name, new FileNode()]);
    }
    const node = this.#fileNode(path);
    const file = new MemoryFile(path, node, mode !== 'read', this.#faults, this.#room);
    return this.#blocking ? Object.assign(file, { now: file.blockingWrites }) : file;
  }

  list(path: string): string[] {
    this.#begin('list', path);
    return this.#directory(path, 'scandir').names();
  }

  exists(path: string): boolean {
    if (this.#faults.ended) throw new PowerCutError();
    try {
      findNode(this.#root, path, 'access');
      return true;
    } catch (error) {
      if (error instanceof VarveError) throw error;
      return false;
    }
  }

  makeDirectory(path: string): void {
    this.#begin('makeDirectory', path);
    let directory = this.#root;
    for (const name of pathNames(path)) {
      let next = directory.get(name);
      if (next === undefined) {
        next = new Directory();
        directory.set([name, next]);
      }
      if (next.kind === 'file') throw ioError('EEXIST', 'mkdir', path);
      directory = next;
    }
  }

  rename(from: string, to: string): void {
    this.#begin('rename', from);
    const source = this.#slot(from, 'rename');
    const target = this.#slot(to, 'rename');
    const node = source.directory.get(source.name);
    if (node === undefined) throw ioError('ENOENT', 'rename', from);
    const replaced = target.directory.get(target.name);
    if (replaced === node) return;
    if (replaced?.kind === 'directory') {
      if (node.kind === 'file') throw ioError('EISDIR', 'rename', to);
      if (replaced.names().length > 0) throw ioError('ENOTEMPTY', 'rename', to);
    } else if (replaced !== undefined && node.kind === 'directory') throw ioError('ENOTDIR', 'rename', to);
    if (source.directory === target.directory) {
      source.directory.set([source.name, undefined], [target.name, node]);
    } else {
      target.directory.set([target.name, node]);
      source.directory.set([source.name, undefined]);
    }
  }

  remove(path: string): void {
    this.#begin('remove', path);
    const { directory, name } = this.#slot(path, 'unlink');
    const node = directory.get(name);
    if (node === undefined) throw ioError('ENOENT', 'unlink', path);
    if (node.kind === 'directory' && node.names().length > 0) throw ioError('ENOTEMPTY', 'rmdir', path);
    directory.set([name, undefined]);
  }

  syncDirectory(path: string): Promise<void> {
    return whileAlive(this.#faults, async () => {
      const fault = this.#faults.next('syncDirectory', path);
      const directory = this.#directory(path, 'open');
      await syncUpTo(directory, fault, this.#faults, path);
    });
  }

  readFile(path: string): Buffer {
    this.#begin('readFile', path);
    return this.#fileNode(path).content.bytes();
  }

  lock(path: string): { release(): void } {
    this.#begin('lock', path);
    const { directory, name } = this.#slot(path, 'open');
    if (this.#locks.has(path)) throw new VarveError('LOCKED', 'the data directory is in use by another process', { path });
    if (directory.get(name) === undefined) directory.setDurable(name, new FileNode());
    this.#locks.add(path);
    let held = true;
    return {
      release: () => {
        if (held) this.#locks.delete(path);
        held = false;
      },
    };
  }

  openSqlite(path: string): Database.Database {
    this.#begin('openSqlite', path);
    const { directory, name } = this.#slot(path, 'open');
    if (directory.get(name) === undefined) directory.setDurable(name, new FileNode());
    const node = this.#fileNode(path);
    node.sqlite ??= { older: undefined, open: new Set() };
    const state = node.sqlite;
    saveSqlite(node);
    const database = node.content.size === 0 ? new Database(':memory:') : new Database(node.content.bytes());
    state.open.add(database);
    const close = database.close.bind(database);
    database.close = () => {
      if (!this.#faults.ended && database.open) {
        if (database.inTransaction) database.exec('ROLLBACK');
        saveSqlite(node);
      }
      state.open.delete(database);
      return close();
    };
    return database;
  }

  networkKind(): string | undefined {
    return undefined;
  }

  #begin(kind: OperationKind, path: string): void {
    const fault = this.#faults.next(kind, path);
    if (fault !== undefined && fault.kind !== 'short') throw ioError(fault.code ?? 'EIO', kind, path);
  }

  #directory(path: string, syscall: string): Directory {
    const node = findNode(this.#root, path, syscall);
    if (node.kind === 'file') throw ioError('ENOTDIR', syscall, path);
    return node;
  }

  #fileNode(path: string): FileNode {
    const node = findNode(this.#root, path, 'open');
    if (node.kind === 'directory') throw ioError('EISDIR', 'open', path);
    return node;
  }

  /** The directory a name is in, and the name. */
  #slot(path: string, syscall: string): { directory: Directory; name: string } {
    const names = pathNames(path);
    const name = names.pop();
    if (name === undefined) throw ioError('EISDIR', syscall, path);
    return { directory: this.#directory(names.join('/'), syscall), name };
  }
}

class MemoryFile implements File {
  readonly path: string;
  readonly #node: FileNode;
  readonly #writable: boolean;
  readonly #faults: FaultInjector;
  readonly #room: Room;
  #closed = false;

  constructor(path: string, node: FileNode, writable: boolean, faults: FaultInjector, room: Room) {
    this.path = path;
    this.#node = node;
    this.#writable = writable;
    this.#faults = faults;
    this.#room = room;
  }

  size(): number {
    if (this.#faults.ended) throw new PowerCutError();
    this.#check('fstat', false);
    return this.#node.content.size;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    const fault = this.#faults.next('read', this.path, position, length);
    this.#check('read', false);
    if (fault !== undefined && fault.kind !== 'short') throw ioError(fault.code ?? 'EIO', 'read', this.path);
    const wanted = fault === undefined ? length : Math.min(length, fault.bytes);
    return this.#node.content.read(into, offset, wanted, position);
  }

  write(from: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    return whileAlive(this.#faults, async () => this.#write(from, offset, length, position));
  }

  get blockingWrites(): BlockingWrites {
    return {
      write: (from, offset, length, position) => this.#write(from, offset, length, position),
      sync: () => {
        const fault = this.#faults.next('sync', this.path);
        this.#check('fdatasync', false);
        const { content } = this.#node;
        finishSync(content, content.stamp, fault, this.path);
      },
    };
  }

  #write(from: Uint8Array, offset: number, length: number, position: number): number {
    const fault = this.#faults.next('write', this.path, position, length);
    this.#check('write', true);
    if (fault !== undefined && fault.kind !== 'short') throw ioError(fault.code ?? 'EIO', 'write', this.path);
    const wanted = fault === undefined ? length : Math.min(length, fault.bytes);
    const growth = position + wanted - this.#node.content.size;
    const written = growth <= 0 ? wanted : Math.max(0, wanted - growth + this.#room(growth));
    if (written === 0 && wanted > 0) throw ioError('ENOSPC', 'write', this.path);
    this.#node.content.write(from.subarray(offset, offset + written), position);
    return written;
  }

  sync(): Promise<void> {
    return whileAlive(this.#faults, async () => {
      const fault = this.#faults.next('sync', this.path);
      this.#check('fdatasync', false);
      await syncUpTo(this.#node.content, fault, this.#faults, this.path);
    });
  }

  truncate(size: number): Promise<void> {
    return whileAlive(this.#faults, async () => {
      const fault = this.#faults.next('truncate', this.path, size);
      this.#check('ftruncate', true);
      if (fault !== undefined && fault.kind !== 'short') throw ioError(fault.code ?? 'EIO', 'ftruncate', this.path);
      this.#node.content.truncate(size);
    });
  }

  close(): void {
    this.#closed = true;
  }

  #check(syscall: string, writing: boolean): void {
    if (this.#closed || (writing && !this.#writable)) throw ioError('EBADF', syscall, this.path);
  }
}

/** Runs an operation that returns a promise; if the power goes before it settles, it ends as a dead process's do. */
async function whileAlive<T>(faults: FaultInjector, operation: () => Promise<T>): Promise<T> {
  try {
    const result = await operation();
    if (!faults.ended) return result;
  } catch (error) {
    if (!faults.ended) throw error;
  }
  if (faults.endMode === 'hang') await new Promise(() => {});
  throw new PowerCutError();
}

interface Syncable {
  readonly stamp: number;
  sync(stamp: number): void;
  failSync(stamp: number, keeps: 'none' | 'some'): void;
}

async function syncUpTo(what: Syncable, fault: Fault | undefined, faults: FaultInjector, path: string): Promise<void> {
  const { stamp } = what;
  await undefined;
  if (!faults.ended) finishSync(what, stamp, fault, path);
}

function finishSync(what: Syncable, stamp: number, fault: Fault | undefined, path: string): void {
  if (fault === undefined) return what.sync(stamp);
  if (fault.kind === 'short') return;
  what.failSync(stamp, fault.kind === 'failed-sync' ? (fault.keeps ?? 'none') : 'none');
  throw ioError(fault.code ?? 'EIO', 'fsync', path);
}
