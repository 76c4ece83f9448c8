/**
 * A platform that reads a directory and writes nowhere: what is written, renamed or removed stays in memory, on
 * top of the files as they are. So a check can run the very recovery that an open would run, and the directory
 * keeps every byte.
 *
 * Memory: what recovery writes (a rescued tail, footers), never what is only read.
 */

import { ioError } from './platform/paths.js';
import type { File, FileSystem, OpenMode, Platform } from './platform/platform.js';

export function overlayPlatform(base: Platform): Platform {
  return { files: new OverlayFiles(base.files), clock: base.clock, randomBytes: (size) => base.randomBytes(size) };
}

interface Patch {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** One file: what is left of the original, and what was written over it, oldest first. */
class Content {
  /** Path of the original below, if there is one. */
  readonly original: string | undefined;
  originalBytes: number;
  bytes: number;
  readonly patches: Patch[] = [];

  constructor(original: string | undefined, bytes: number) {
    this.original = original;
    this.originalBytes = bytes;
    this.bytes = bytes;
  }
}

class OverlayFiles implements FileSystem {
  readonly #base: FileSystem;
  /** Files that were opened for writing, made or renamed here; null for a file that is gone. */
  readonly #changed = new Map<string, Content | null>();
  readonly #directories = new Set<string>();

  constructor(base: FileSystem) {
    this.#base = base;
  }

  open(path: string, mode: OpenMode): File {
    let content = this.#changed.get(path);
    if (mode === 'create') {
      if (this.exists(path)) throw ioError('EEXIST', 'open', path);
      content = new Content(undefined, 0);
      this.#changed.set(path, content);
    }
    if (content === null) throw ioError('ENOENT', 'open', path);
    if (content === undefined) {
      if (mode === 'read') return this.#base.open(path, 'read');
      content = this.#contentOf(path);
      this.#changed.set(path, content);
    }
    return new OverlayFile(path, content, content.original === undefined ? undefined : this.#base.open(content.original, 'read'));
  }

  list(path: string): string[] {
    const names = new Set(this.#base.exists(path) || !this.#directories.has(path) ? this.#base.list(path) : []);
    const prefix = path === '' ? '' : `${path}/`;
    for (const [changed, content] of this.#changed) {
      const name = changed.slice(prefix.length);
      if (!changed.startsWith(prefix) || name.includes('/')) continue;
      if (content === null) names.delete(name);
      else names.add(name);
    }
    return [...names].sort();
  }

  exists(path: string): boolean {
    const content = this.#changed.get(path);
    return content === undefined ? this.#directories.has(path) || this.#base.exists(path) : content !== null;
  }

  makeDirectory(path: string): void {
    const names = path.split('/');
    for (let depth = 1; depth <= names.length; depth++) this.#directories.add(names.slice(0, depth).join('/'));
  }

  rename(from: string, to: string): void {
    const content = this.#changed.get(from) ?? this.#contentOf(from);
    this.#changed.set(to, content);
    this.#changed.set(from, null);
  }

  remove(path: string): void {
    if (!this.exists(path)) throw ioError('ENOENT', 'unlink', path);
    this.#changed.set(path, null);
  }

  async syncDirectory(): Promise<void> {}

  readFile(path: string): Buffer {
    const file = this.open(path, 'read');
    try {
      const bytes = Buffer.alloc(file.size());
      return bytes.subarray(0, file.read(bytes, 0, bytes.length, 0));
    } finally {
      file.close();
    }
  }

  lock(path: string): { release(): void } {
    return this.#base.lock(path);
  }

  openSqlite(path: string): never {
    throw ioError('EROFS', 'open', path);
  }

  networkKind(): string | undefined {
    return this.#base.networkKind();
  }

  #contentOf(path: string): Content {
    const file = this.#base.open(path, 'read');
    try {
      return new Content(path, file.size());
    } finally {
      file.close();
    }
  }
}

class OverlayFile implements File {
  readonly path: string;
  readonly #content: Content;
  readonly #original: File | undefined;

  constructor(path: string, content: Content, original: File | undefined) {
    this.path = path;
    this.#content = content;
    this.#original = original;
  }

  size(): number {
    return this.#content.bytes;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    const { bytes, originalBytes, patches } = this.#content;
    const count = Math.max(0, Math.min(length, bytes - position));
    into.fill(0, offset, offset + count);
    const below = Math.max(0, Math.min(count, originalBytes - position));
    if (below > 0) this.#original?.read(into, offset, below, position);
    for (const patch of patches) {
      const from = Math.max(patch.position, position);
      const to = Math.min(patch.position + patch.bytes.length, position + count);
      if (from < to) into.set(patch.bytes.subarray(from - patch.position, to - patch.position), offset + from - position);
    }
    return count;
  }

  async write(from: Uint8Array, offset: number, length: number, position: number): Promise<number> {
    this.#content.patches.push({ position, bytes: from.slice(offset, offset + length) });
    this.#content.bytes = Math.max(this.#content.bytes, position + length);
    return length;
  }

  async sync(): Promise<void> {}

  async truncate(size: number): Promise<void> {
    const content = this.#content;
    content.bytes = size;
    content.originalBytes = Math.min(content.originalBytes, size);
    const kept = content.patches
      .filter((patch) => patch.position < size)
      .map((patch) => ({ position: patch.position, bytes: patch.bytes.subarray(0, size - patch.position) }));
    content.patches.splice(0, content.patches.length, ...kept);
  }

  close(): void {
    this.#original?.close();
  }
}
