/**
 * The simulated machine: a disk that can lose power, a clock that stands still, randomness from a seed.
 *
 *   MemoryPlatform ── SimulatedClock          memory-clock.ts    time moves when told to
 *                 ├── FaultInjector           memory-faults.ts   counts operations, makes some fail
 *                 └── MemoryFileSystem        memory-files.ts    the file functions
 *                      └── Directory          memory-tree.ts     names, durable directory by directory
 *                           └── FileContent   memory-content.ts  bytes, durable sector by sector
 *
 * `crash(chooser)` makes the machine that comes back after a power cut at this moment, `killProcess()` the one
 * on which only the process died. Both leave this one as it is, so that many futures of one moment can be tried.
 * Everything that happens is a function of the seed, the calls and the chooser's answers.
 */
import type { Chooser } from './chooser.js';
import { SIMULATION_START, SimulatedClock, SimulatedTime } from './memory-clock.js';
import { type CrashOptions, FileContent } from './memory-content.js';
import { type EndMode, type Fault, FaultInjector, type Operation, type OperationKind, type PlanOptions } from './memory-faults.js';
import { findNode, MemoryFileSystem } from './memory-files.js';
import { Directory, FileNode, type Node, saveSqlite } from './memory-tree.js';
import { ioError, pathNames } from './paths.js';
import type { FileSystem, Micros, Platform } from './platform.js';
import { SeededRandom } from './seeded-random.js';

export interface MemoryPlatformOptions {
  readonly seed?: number;
  /** Where the wall clock starts. */
  readonly startMicros?: Micros;
  /** What each look at the clock moves it by; 0 by default. */
  readonly autoAdvanceMicros?: number;
  /** Time shared with other simulated machines; of its own by default. */
  readonly time?: SimulatedTime;
  /** How many bytes the files of the disk may have together; unlimited by default. */
  readonly capacityBytes?: number;
  /** Keep a trace of every operation. */
  readonly trace?: boolean;
  /** Files have blocking writes and syncs too. */
  readonly blocking?: boolean;
}

/** What the machine after a crash or a kill has of its own; the rest it inherits. */
export type SuccessorOptions = Pick<MemoryPlatformOptions, 'seed' | 'time' | 'trace' | 'capacityBytes'>;

export class MemoryPlatform implements Platform {
  readonly files: FileSystem;
  readonly clock: SimulatedClock;
  readonly faults: FaultInjector;
  /** May be changed at any time: a disk that fills, or gets room again. */
  capacityBytes: number;
  readonly #disk: Directory;
  readonly #random: SeededRandom;
  readonly #options: MemoryPlatformOptions;

  constructor(options: MemoryPlatformOptions = {}, disk: Directory = new Directory(), random?: SeededRandom) {
    this.#options = options;
    this.#disk = disk;
    this.#random = random ?? new SeededRandom(options.seed ?? 1);
    this.capacityBytes = options.capacityBytes ?? Infinity;
    const time = options.time ?? new SimulatedTime();
    this.clock = new SimulatedClock(time, options.startMicros ?? SIMULATION_START, options.autoAdvanceMicros ?? 0);
    this.faults = new FaultInjector(options.trace ?? false, (mode) => this.#end(mode));
    this.files = new MemoryFileSystem(this.#disk, this.faults, (growth) => this.#room(growth), options.blocking ?? false);
  }

  randomBytes(size: number): Uint8Array {
    return this.#random.bytes(size);
  }

  // Time.

  /** Moves time on; timers that come due run. */
  advance(micros: number): void {
    this.clock.time.advance(micros);
  }

  advanceAndSettle(micros: number): Promise<void> {
    return this.clock.time.advanceAndSettle(micros);
  }

  // Faults.

  /** Operations so far; the next one gets this index. */
  get ops(): number {
    return this.faults.count;
  }

  /** Every operation since the start, if `trace` was asked for. */
  get trace(): readonly Operation[] {
    return this.faults.trace;
  }

  failAt(index: number, fault: Fault): void {
    this.faults.failWhen((operation) => operation.index === index, fault);
  }

  /** Fails the operations of these kinds (and, if given, on paths that contain a text). */
  failOn(kind: OperationKind | readonly OperationKind[], fault: Fault, options: PlanOptions & { readonly path?: string } = {}): void {
    const kinds: readonly string[] = typeof kind === 'string' ? [kind] : kind;
    this.faults.failWhen((operation) => kinds.includes(operation.kind) && operation.path.includes(options.path ?? ''), fault, options);
  }

  /** No fault that was planned happens any more (a power cut still does). */
  clearFaults(): void {
    this.faults.clear();
  }

  /** Cuts the power before the operation with this index: it and all later ones have no effect. Then take `crash()`. */
  crashAt(index: number, mode: EndMode = 'throw'): void {
    this.faults.endAt(index, mode);
  }

  /** Cuts the power, or ends the process, now. */
  halt(mode: EndMode = 'throw'): void {
    this.faults.end(mode);
  }

  get halted(): boolean {
    return this.faults.ended;
  }

  // What comes after.

  /** The machine after a power cut at this moment; `chooser` decides what of the unsynced is left. Nothing is locked. */
  crash(chooser: Chooser, options: CrashOptions & SuccessorOptions = {}): MemoryPlatform {
    return this.#successor(this.#disk.crash(chooser, options), options);
  }

  /** The machine after the process died at this moment: all that was written is there, and still unsynced. Nothing is locked. */
  killProcess(options: SuccessorOptions = {}): MemoryPlatform {
    return this.#successor(this.#disk.clone(new Map()), options);
  }

  /** The same machine once more, to try something on. */
  clone(options: SuccessorOptions = {}): MemoryPlatform {
    return this.killProcess(options);
  }

  /** Changed sectors, of all files or one, that a crash now would have to decide about. */
  pendingSectors(path?: string): number {
    if (path !== undefined) return this.#file(path).content.pendingSectors();
    let sectors = 0;
    this.#walk((_, node) => {
      if (node.kind === 'file') sectors += node.content.pendingSectors();
    });
    return sectors;
  }

  /** Creations, renames and removals that a crash now would have to decide about. */
  pendingEntries(): number {
    let entries = this.#disk.pending;
    this.#walk((_, node) => {
      if (node.kind === 'directory') entries += node.pending;
    });
    return entries;
  }

  // Looking at the disk and damaging it, behind the back of what runs on it. None of this counts as an operation.

  /** Every file, sorted by path. */
  fileList(): { path: string; size: number }[] {
    const list: { path: string; size: number }[] = [];
    this.#walk((path, node) => {
      if (node.kind === 'file') list.push({ path, size: node.content.size });
    });
    return list;
  }

  contents(path: string): Buffer {
    return this.#file(path).content.bytes();
  }

  /** Puts a file on the disk, durable with its directories, in place of what was there. */
  store(path: string, bytes: Uint8Array): void {
    const names = pathNames(path);
    const name = names.pop() ?? '';
    let directory = this.#disk;
    for (const parent of names) {
      const next = directory.get(parent) ?? new Directory();
      if (next.kind === 'file') throw ioError('ENOTDIR', 'open', path);
      directory.setDurable(parent, next);
      directory = next;
    }
    directory.setDurable(name, new FileNode(FileContent.of(bytes)));
  }

  /** Rot: one bit of the medium and of the cache. Bit 0 is the lowest of byte 0. */
  flipBit(path: string, bitIndex: number): void {
    this.#file(path).content.damage(Math.floor(bitIndex / 8), (byte) => byte ^ (1 << (bitIndex % 8)));
  }

  /** Overwrites bytes of the medium and of the cache; never grows the file. */
  damage(path: string, position: number, bytes: Uint8Array): void {
    const { content } = this.#file(path);
    for (const [i, byte] of bytes.entries()) content.damage(position + i, () => byte);
  }

  #end(mode: EndMode): void {
    this.clock.stop(mode === 'hang');
    this.#walk((_, node) => {
      if (node.kind !== 'file' || node.sqlite === undefined) return;
      saveSqlite(node);
      node.sqlite.open.clear();
    });
  }

  #successor(disk: Directory, options: SuccessorOptions): MemoryPlatform {
    const time = options.time ?? new SimulatedTime(this.clock.time.elapsedMicros);
    const random = options.seed === undefined ? this.#random.clone() : new SeededRandom(options.seed);
    const capacityBytes = options.capacityBytes ?? this.capacityBytes;
    const trace = options.trace ?? this.#options.trace ?? false;
    return new MemoryPlatform({ ...this.#options, startMicros: this.clock.wallOffsetMicros, time, capacityBytes, trace }, disk, random);
  }

  #file(path: string): FileNode {
    const node = findNode(this.#disk, path, 'open');
    if (node.kind !== 'file') throw ioError('EISDIR', 'open', path);
    return node;
  }

  #walk(visit: (path: string, node: Node) => void, directory: Directory = this.#disk, prefix = ''): void {
    for (const name of directory.names()) {
      const node = directory.get(name) as Node;
      visit(prefix + name, node);
      if (node.kind === 'directory') this.#walk(visit, node, `${prefix}${name}/`);
    }
  }

  /** How much of a growth the disk has room for. */
  #room(growth: number): number {
    if (growth <= 0 || this.capacityBytes === Infinity) return growth;
    const used = this.fileList().reduce((sum, file) => sum + file.size, 0);
    return Math.max(0, Math.min(growth, this.capacityBytes - used));
  }
}
