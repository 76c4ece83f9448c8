/**
 * The log as files to copy: which there are, and how much of each is durable. What a backup takes, and a copy that begins anew.
 *
 * Invariants: everything below `bytes` of a listed file is synced and never changes while the file is there (segments only grow;
 * sealing appends), so lengths taken at one moment are one consistent state, whenever their bytes are read. A segment that
 * compaction replaced may be gone: `undefined`, and the list is asked for anew.
 */
import { parseSegmentName } from './format/segment.js';
import type { Platform } from './platform/platform.js';
import type { Shard } from './shard.js';
import type { Seq, ShardId } from './types.js';

export interface LogFile {
  readonly shard: ShardId;
  /** `<base seq>-<generation>.seg` */
  readonly name: string;
  /** How much of it is durable. */
  readonly bytes: number;
  /** Whole and never to grow again; it ends in its own BLAKE3. */
  readonly sealed: boolean;
  /** First and last seq it stands for; `lastSeq` is `firstSeq - 1` while it is empty. */
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
}

export function listLogFiles(shards: readonly Shard[]): LogFile[] {
  return shards.flatMap((shard) =>
    shard.log.segmentSet.all.map((segment) => ({
      shard: shard.id,
      name: segment.name,
      bytes: segment.sealed || segment.damaged ? segment.fileBytes : segment.dataEnd,
      sealed: segment.sealed,
      firstSeq: segment.base as Seq,
      lastSeq: segment.lastSeq as Seq,
    })),
  );
}

/** `length` bytes from `offset`, fewer at the end of the file; undefined where the log has no such file (any more). */
export function readLogFile(platform: Platform, shard: Shard, name: string, offset: number, length: number): Buffer | undefined {
  const segment = shard.log.segmentSet.all.find((candidate) => candidate.name === name);
  if (segment === undefined || parseSegmentName(name) === undefined) return undefined;
  const file = platform.files.open(segment.path, 'read');
  try {
    const bytes = Buffer.allocUnsafeSlow(length);
    return bytes.subarray(0, file.read(bytes, 0, length, offset));
  } finally {
    file.close();
  }
}
