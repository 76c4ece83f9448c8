/** Open files of one log, for reading: bounded, because hundreds of shards share a process's descriptors. */
import type { File, FileSystem } from '../platform/platform.js';
import type { Segment } from './segment-state.js';

const MAX_OPEN_FILES = 64;
const MAX_RETIRED_FILES = 16;

export class FilePool {
  readonly #files: FileSystem;
  readonly #open = new Set<Segment>();
  readonly #retired: File[] = [];
  #tick = 0;

  constructor(files: FileSystem) {
    this.#files = files;
  }

  /** The segment's file; good until something else is asked of the pool. */
  use(segment: Segment): File {
    segment.lastUsed = ++this.#tick;
    return segment.file ?? this.#openFile(segment);
  }

  /** Closes the segment's file, if open. */
  drop(segment: Segment): void {
    segment.file?.close();
    segment.file = undefined;
    this.#open.delete(segment);
  }

  /** The segment is no more, but whoever reads its file goes on undisturbed: it is closed with the pool, or after many others. */
  retire(segment: Segment): void {
    const file = segment.file;
    if (file === undefined) return;
    segment.file = undefined;
    this.#open.delete(segment);
    this.#retired.push(file);
    if (this.#retired.length > MAX_RETIRED_FILES) this.#retired.shift()!.close();
  }

  closeAll(): void {
    for (const file of this.#retired.splice(0)) file.close();
    for (const segment of [...this.#open]) this.drop(segment);
  }

  #openFile(segment: Segment): File {
    if (this.#open.size >= MAX_OPEN_FILES) {
      let oldest: Segment | undefined;
      for (const other of this.#open) if (oldest === undefined || other.lastUsed < oldest.lastUsed) oldest = other;
      if (oldest !== undefined) this.drop(oldest);
    }
    const file = this.#files.open(segment.path, 'read');
    segment.file = file;
    this.#open.add(segment);
    return file;
  }
}
