/**
 * The tree files of one shard, `<6 digits>.tree` in its tree directory: their names, handles, creation and removal.
 *
 * Invariants: a file's number is never used twice in a directory's life while any file of it is there; files only grow at their
 * end. A new file is made as `….tree.tmp` (header, sync), renamed, and the directory synced, so a bad header under a proper
 * name is damage. A header is checked before the first byte of its file is believed.
 * A crash leaves at worst a `.tmp`, deleted at the next open, or an unused tail.
 */
import { isVarveError, VarveError } from '../errors.js';
import type { File, FileSystem } from '../platform/platform.js';
import {
  encodeFileHeader,
  FILE_HEADER_BYTES,
  fileHeaderProblem,
  fileSeed,
  parseTreeFileName,
  type TreeIdentity,
  treeFileName,
} from './tree-file.js';

export class TreeFiles {
  readonly identity: TreeIdentity;
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #open = new Map<number, { readonly file: File; readonly writable: boolean }>();
  readonly #seeds = new Map<number, number>();
  #numbers: number[] = [];
  #highest = 0;

  constructor(fileSystem: FileSystem, directory: string, identity: TreeIdentity) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.identity = identity;
  }

  /** Makes the directory if need be and deletes unfinished files. Answers the names that do not belong. */
  async prepare(): Promise<string[]> {
    if (!this.#fileSystem.exists(this.#directory)) this.#fileSystem.makeDirectory(this.#directory);
    const strays = this.relist();
    if (this.#numbers.length === 0) await this.#syncParents();
    return strays;
  }

  /** Looks what files there are, and deletes unfinished ones: nobody may be at work on them. */
  relist(): string[] {
    const files = this.#fileSystem;
    const strays: string[] = [];
    this.#numbers = [];
    for (const name of files.list(this.#directory)) {
      const number = parseTreeFileName(name.replace(/\.tmp$/, ''));
      if (number !== undefined) this.#highest = Math.max(this.#highest, number);
      if (number !== undefined && name.endsWith('.tmp')) files.remove(`${this.#directory}/${name}`);
      else if (number !== undefined) this.#numbers.push(number);
      else strays.push(`${this.#directory}/${name}`);
    }
    this.#numbers.sort((a, b) => a - b);
    return strays;
  }

  /** Before the first file: whoever made the directories may have died before they were durable. */
  async #syncParents(): Promise<void> {
    for (let path = this.#directory; path !== ''; ) {
      path = path.slice(0, Math.max(0, path.lastIndexOf('/')));
      await this.#fileSystem.syncDirectory(path);
    }
  }

  /** Numbers of the files there are, ascending. */
  get numbers(): readonly number[] {
    return this.#numbers;
  }

  /** The highest number a file has or had. */
  get highest(): number {
    return this.#highest;
  }

  /** Somebody else made files meanwhile: there are these now. */
  adopt(numbers: readonly number[], highest: number): void {
    this.#numbers = [...numbers];
    this.#highest = Math.max(this.#highest, highest);
  }

  /** A number no file has or had. */
  nextNumber(): number {
    return ++this.#highest;
  }

  path(number: number): string {
    return `${this.#directory}/${treeFileName(number)}`;
  }

  seed(number: number): number {
    let seed = this.#seeds.get(number);
    if (seed === undefined) {
      seed = fileSeed(this.identity, number);
      this.#seeds.set(number, seed);
    }
    return seed;
  }

  /** The file, header checked; CORRUPT where it is missing or not what its name says. */
  file(number: number): File {
    return this.#open.get(number)?.file ?? this.#openFile(number, false);
  }

  writableFile(number: number): File {
    const open = this.#open.get(number);
    if (open?.writable === true) return open.file;
    if (open !== undefined) {
      this.#open.delete(number);
      open.file.close();
    }
    return this.#openFile(number, true);
  }

  #openFile(number: number, writable: boolean): File {
    const path = this.path(number);
    let file: File;
    try {
      file = this.#fileSystem.open(path, writable ? 'update' : 'read');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new VarveError('CORRUPT', `${path}: tree file is missing`, { file: path, offset: 0, what: 'tree file is missing' }, error);
    }
    try {
      const header = this.#readFrom(file, 0, FILE_HEADER_BYTES);
      const problem = header === undefined ? 'file header is cut short' : fileHeaderProblem(header, this.identity, number);
      if (problem !== undefined) throw new VarveError('CORRUPT', `${path}: ${problem}`, { file: path, offset: 0, what: problem });
    } catch (error) {
      file.close();
      throw error;
    }
    this.#open.set(number, { file, writable });
    return file;
  }

  /** Makes an empty file, durably. */
  async create(number: number): Promise<void> {
    const path = this.path(number);
    const file = this.#fileSystem.open(`${path}.tmp`, 'create');
    try {
      await writeFully(file, encodeFileHeader(this.identity, number), 0);
      await file.sync();
    } finally {
      file.close();
    }
    this.#fileSystem.rename(`${path}.tmp`, path);
    this.#numbers.push(number);
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  /** Removes every file, newest first: what is left after a crash is whole up to some point. */
  async removeAll(): Promise<void> {
    this.close();
    for (let number = this.#numbers.pop(); number !== undefined; number = this.#numbers.pop()) {
      this.#fileSystem.remove(this.path(number));
    }
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  /** Bytes at a place of a file, undefined where it ends before them; CORRUPT where the disk cannot read them. */
  read(number: number, offset: number, length: number): Buffer | undefined {
    return this.#readFrom(this.file(number), offset, length);
  }

  #readFrom(file: File, offset: number, length: number): Buffer | undefined {
    const bytes = Buffer.allocUnsafeSlow(length);
    try {
      return file.read(bytes, 0, length, offset) === length ? bytes : undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      throw new VarveError(
        'CORRUPT',
        `${file.path}: cannot be read at ${offset}`,
        { file: file.path, offset, what: 'the disk cannot read it' },
        error,
      );
    }
  }

  /** Bytes of all files; unreadable ones count nothing. */
  bytes(): number {
    let sum = 0;
    for (const number of this.#numbers) {
      try {
        sum += this.file(number).size();
      } catch (error) {
        if (!isVarveError(error, 'CORRUPT')) throw error;
      }
    }
    return sum;
  }

  close(): void {
    for (const { file } of this.#open.values()) file.close();
    this.#open.clear();
  }
}

/** A full disk shows as a short write without an error; the rest is tried again, which says why. */
export async function writeFully(file: File, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const written = await file.write(bytes, done, bytes.length - done, position + done);
    if (written <= 0) throw Object.assign(new Error(`ENOSPC: nothing more can be written to '${file.path}'`), { code: 'ENOSPC' });
    done += written;
  }
}
