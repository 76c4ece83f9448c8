/**
 * The two kinds of files that a server itself reads, tokens and certificates, through hands that somebody else lends it (the command
 * line has node:fs, tests have a Map): the server keeps its own off the disk.
 *
 * A watched file is looked at a few times a second, because a revoked token must stop working within a second on any file system;
 * `stat` costs microseconds. What is read once and cannot be used later is reported, and what was read before stays in force.
 */

export interface StoredFile {
  readonly bytes: Uint8Array;
  /** Permission bits. */
  readonly mode: number;
}

export interface Disk {
  /** Changes whenever the file may have changed; undefined where there is none. Never throws. */
  stamp(path: string): string | undefined;
  /** Undefined where there is none; throws for one that cannot be read. */
  read(path: string): StoredFile | undefined;
}

export const WATCH_MS = 250;

/** Calls `changed` after the stamp of any of the files has become another. */
export class Watch {
  readonly #disk: Disk;
  readonly #paths: readonly string[];
  readonly #changed: () => void;
  readonly #timer: NodeJS.Timeout;
  #stamps: string;

  constructor(disk: Disk, paths: readonly string[], changed: () => void) {
    this.#disk = disk;
    this.#paths = paths;
    this.#changed = changed;
    this.#stamps = this.#look();
    this.#timer = setInterval(() => this.poll(), WATCH_MS);
    this.#timer.unref();
  }

  /** Looks now. */
  poll(): void {
    const stamps = this.#look();
    if (stamps === this.#stamps) return;
    this.#stamps = stamps;
    this.#changed();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): string {
    return JSON.stringify(this.#paths.map((path) => this.#disk.stamp(path) ?? null));
  }
}
