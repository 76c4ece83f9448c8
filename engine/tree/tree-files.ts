/**
 * The tree files of one shard, `<6 digits>.tree` in its tree directory: their names, handles, creation and removal.
 *
 * Invariants: a file's number is never used twice in a directory's life while any file of it is there; files only grow at their
 * end. A new file is made as `….tree.tmp` (header, sync), renamed, and the directory synced, so a bad header under a proper
 * name is damage. A header is checked before the first byte of its file is believed.
 * A crash leaves at worst a `.tmp`, deleted at the next open, or an unused tail.
 */
import { isVarveError, VarveError } from '../errors.js';
import { namesIn } from '../platform/paths.js';
import type { File, FileSystem } from '../platform/platform.js';
import {
  type CopyMark,
  copyMarkOf,
  encodeFileHeader,
  FILE_HEADER_BYTES,
  fileHeaderProblem,
  fileSeed,
  parseTreeFileName,
  type TreeIdentity,
  treeFileName,
} from './tree-file.js';

const TEMPORARY = '.tmp';

export class TreeFiles {
  readonly identity: TreeIdentity;
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #open = new Map<number, { readonly file: File; readonly writable: boolean; readonly copy: CopyMark | undefined }>();
  readonly #seeds = new Map<number, number>();
  #numbers: number[] = [];
  #highest = 0;
  /** Of a copy under way, or superseded and still read: not among `numbers`. */
  readonly #apart = new Set<number>();

  constructor(fileSystem: FileSystem, directory: string, identity: TreeIdentity) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.identity = identity;
  }

  /** Makes the directory if need be and deletes unfinished files. Answers the names that do not belong. */
  prepare(): string[] {
    const names = namesIn(this.#fileSystem, this.#directory);
    if (names !== undefined) return this.#take(names);
    this.#fileSystem.makeDirectory(this.#directory);
    return this.relist();
  }

  /** Looks what files there are, and deletes unfinished ones: nobody may be at work on them. */
  relist(): string[] {
    return this.#take(this.#fileSystem.list(this.#directory));
  }

  #take(names: readonly string[]): string[] {
    const files = this.#fileSystem;
    const strays: string[] = [];
    this.#numbers = [];
    for (const name of names) {
      const isUnfinished = name.endsWith(TEMPORARY);
      const number = parseTreeFileName(isUnfinished ? name.slice(0, -TEMPORARY.length) : name);
      if (number !== undefined) this.#highest = Math.max(this.#highest, number);
      if (number !== undefined && this.#apart.has(number)) continue;
      if (number !== undefined && isUnfinished) files.remove(`${this.#directory}/${name}`);
      else if (number !== undefined) this.#numbers.push(number);
      else strays.push(`${this.#directory}/${name}`);
    }
    this.#numbers.sort((a, b) => a - b);
    return strays;
  }

  /** Deletes what an unfinished copy left, and what a finished one supersedes: these. */
  async removeSuperseded(superseded: readonly number[]): Promise<void> {
    // The last file's name may not be durable yet.
    await this.#fileSystem.syncDirectory(this.#directory);
    this.#numbers = this.#numbers.filter((number) => !superseded.includes(number));
    await this.discard(superseded);
  }

  /** Numbers of the files that a copy, or what it was made of, has left over. */
  superseded(): number[] {
    const marks = this.#marks();
    if (marks === undefined || !marks.some((mark) => mark !== undefined)) return [];
    const closing = marks.findLastIndex((mark) => mark?.closes === true);
    const first = marks[closing]?.first;
    return this.#numbers.filter((_, i) => (i < closing ? marks[i]?.first !== first : i > closing && marks[i] !== undefined));
  }

  /** What each file says of copies; undefined where one cannot be believed. */
  #marks(): (CopyMark | undefined)[] | undefined {
    try {
      return this.#numbers.map((number) => (this.#open.get(number) ?? this.#openFile(number, false)).copy);
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT')) throw error;
      return undefined;
    }
  }

  /** Deletes files that are not among `numbers`, as far as they are there. */
  async discard(numbers: Iterable<number>): Promise<void> {
    for (const number of numbers) {
      this.#open.get(number)?.file.close();
      this.#open.delete(number);
      const path = this.path(number);
      if (this.#fileSystem.exists(path)) this.#fileSystem.remove(path);
      if (this.#fileSystem.exists(`${path}.tmp`)) this.#fileSystem.remove(`${path}.tmp`);
      this.#apart.delete(number);
    }
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  /** Numbers for a copy: the first of so many. Nobody else may be making files. */
  reserve(count: number): number {
    const first = this.#highest + 1;
    this.#highest += count;
    for (let number = first; number <= this.#highest; number++) this.#apart.add(number);
    return first;
  }

  /** From here on there are these files alone. Answers those there were, whose bytes stay readable until they are discarded. */
  supersede(numbers: readonly number[]): readonly number[] {
    const before = this.#numbers;
    for (const number of before) this.#apart.add(number);
    for (const number of numbers) this.#apart.delete(number);
    this.#numbers = [...numbers];
    return before;
  }

  /** Before the first file: whoever made the directories may have died before they were durable. */
  async syncParents(): Promise<void> {
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
    return (this.#open.get(number) ?? this.#openFile(number, false)).file;
  }

  writableFile(number: number): File {
    const open = this.#open.get(number);
    if (open?.writable === true) return open.file;
    if (open !== undefined) {
      this.#open.delete(number);
      open.file.close();
    }
    return this.#openFile(number, true).file;
  }

  #openFile(number: number, writable: boolean): { readonly file: File; readonly copy: CopyMark | undefined } {
    const path = this.path(number);
    let file: File;
    try {
      file = this.#fileSystem.open(path, writable ? 'update' : 'read');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new VarveError('CORRUPT', `${path}: tree file is missing`, { file: path, offset: 0, what: 'tree file is missing' }, error);
    }
    let copy: CopyMark | undefined;
    try {
      const header = this.#readFrom(file, 0, FILE_HEADER_BYTES);
      const problem = header === undefined ? 'file header is cut short' : fileHeaderProblem(header, this.identity, number);
      if (problem !== undefined) throw new VarveError('CORRUPT', `${path}: ${problem}`, { file: path, offset: 0, what: problem });
      copy = copyMarkOf(header!);
    } catch (error) {
      file.close();
      throw error;
    }
    const opened = { file, writable, copy };
    this.#open.set(number, opened);
    return opened;
  }

  /** Makes an empty file, durably. */
  async create(number: number): Promise<void> {
    await this.#make(number, [encodeFileHeader(this.identity, number)], () => this.#numbers.push(number));
  }

  /** Makes a file of a copy, durably; `content` follows its header. It is not among `numbers`. */
  async createMarked(number: number, copy: CopyMark, content: Uint8Array): Promise<void> {
    await this.#make(number, [encodeFileHeader(this.identity, number, copy), content]);
  }

  async #make(number: number, parts: readonly Uint8Array[], named: () => void = () => undefined): Promise<void> {
    const path = this.path(number);
    const file = this.#fileSystem.open(`${path}.tmp`, 'create');
    try {
      let end = 0;
      for (const part of parts) {
        await writeFully(file, part, end);
        end += part.length;
      }
      await file.sync();
    } finally {
      file.close();
    }
    this.#fileSystem.rename(`${path}.tmp`, path);
    named();
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

  /** The same, and what there is of it where the file ends before. */
  readUpTo(number: number, offset: number, length: number): Buffer {
    return this.#readUpTo(this.file(number), offset, length);
  }

  /** Into memory that is used again: answers how much there was, 0 where the disk cannot read it. */
  readInto(number: number, offset: number, into: Buffer, length: number): number {
    try {
      return this.file(number).read(into, 0, length, offset);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      return 0;
    }
  }

  #readFrom(file: File, offset: number, length: number): Buffer | undefined {
    const bytes = this.#readUpTo(file, offset, length);
    return bytes.length === length ? bytes : undefined;
  }

  #readUpTo(file: File, offset: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(length);
    try {
      return bytes.subarray(0, file.read(bytes, 0, length, offset));
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
