/** What every part of one shard's log shares: where it lives, what it is named, what opening and reading found. */

import { type SegmentPlace, segmentPlace } from '../format/segment.js';
import type { Platform } from '../platform/platform.js';
import { BlockCache } from './block-cache.js';
import { FilePool } from './file-pool.js';
import { Segment } from './segment-state.js';
import type { Finding } from './types.js';

export interface LogOptions {
  readonly platform: Platform;
  /** `shards/0001/log`. */
  readonly directory: string;
  readonly shard: number;
  /** 16 bytes. */
  readonly databaseId: Uint8Array;
  /** A segment over this is sealed and a new one begun. */
  readonly segmentBytes: number;
  /** One index entry per so many bytes. */
  readonly indexIntervalBytes?: number;
  /** Shared by all shards; without one every read goes to the file. */
  readonly cache?: BlockCache;
}

/** Smaller ones read faster and weigh more: an entry has 24 bytes. */
const DEFAULT_INTERVAL_BYTES = 4096;

export class LogContext {
  readonly options: LogOptions;
  readonly platform: Platform;
  readonly directory: string;
  readonly pool: FilePool;
  readonly cache: BlockCache;
  /** CRC-32 of database and shard. */
  readonly recordSeed: number;
  findings: Finding[] = [];
  #directoryDurable = false;

  constructor(options: LogOptions) {
    this.options = options;
    this.platform = options.platform;
    this.directory = options.directory;
    this.pool = new FilePool(options.platform.files);
    this.cache = options.cache ?? new BlockCache(0);
    this.recordSeed = this.place(1, 0).recordSeed;
  }

  place(base: number, generation: number): SegmentPlace {
    return segmentPlace(this.options.databaseId, this.options.shard, base, generation);
  }

  segment(base: number, generation: number): Segment {
    return new Segment(this.directory, this.place(base, generation), this.options.indexIntervalBytes ?? DEFAULT_INTERVAL_BYTES);
  }

  /** Records a finding once. */
  report(finding: Finding): void {
    const known = this.findings.some(
      (other) => other.file === finding.file && other.offset === finding.offset && other.kind === finding.kind,
    );
    if (!known) this.findings.push(finding);
  }

  /** Makes the directory and its parents durable, once per process. */
  async ensureDirectory(): Promise<void> {
    if (this.#directoryDurable) return;
    const { files } = this.platform;
    files.makeDirectory(this.directory);
    const names = this.directory.split('/');
    const paths = names.map((_, depth) => names.slice(0, depth + 1).join('/'));
    try {
      for (let depth = names.length - 1; depth >= 0; depth--) await files.syncDirectory(depth === 0 ? '' : paths[depth - 1]!);
    } catch (error) {
      // A failed sync may count as done from now on: what is empty is made anew the next time, so that there is something to sync.
      try {
        for (const path of paths.reverse()) files.remove(path);
      } catch {
        // Not empty: older than this failure.
      }
      throw error;
    }
    this.#directoryDurable = true;
  }
}
