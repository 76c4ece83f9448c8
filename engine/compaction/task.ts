/**
 * One rewrite as a message: what a compaction thread is asked for, and the same work done here where there is no thread.
 * Everything in it survives a structured clone.
 */
import { VarveError } from '../errors.js';
import { equalBytes, getU16 } from '../format/bytes.js';
import { RECORD_FIXED_BYTES } from '../format/record.js';
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, type TEMPORARY_SUFFIX } from '../format/segment.js';
import { LogContext } from '../log/context.js';
import type { Segment } from '../log/segment-state.js';
import type { Platform } from '../platform/platform.js';
import { SeqSet } from '../retention/seq-set.js';
import type { Dropping } from './live-frames.js';
import { rewriteSegments } from './rewrite.js';
import { readTrailer } from './segment-ends.js';
import type { SourceHost } from './source-host.js';

/** The bodies of an entity's versions before `seq` go. */
export interface ErasedEntity {
  readonly collection: Uint8Array;
  readonly key: Uint8Array;
  readonly seq: number;
}

export interface RewriteTask {
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
  /** File names, oldest first. */
  readonly sources: readonly string[];
  /** Pages of a SeqSet. */
  readonly drops: ReadonlyMap<number, Uint8Array>;
  readonly erased: readonly ErasedEntity[];
  readonly compactedThrough: number;
  readonly compress: boolean;
}

export interface RewriteResult {
  /** Name of the target; on disk it still ends in `.tmp`. */
  readonly name: string;
  readonly fileBytes: number;
  readonly recordsBefore: number;
  readonly recordsAfter: number;
  readonly recordsErased: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** Less is read by whoever writes. */
const WORTH_READING_BESIDE_BYTES = 8 * 1024 * 1024;

/**
 * `beside`: may read for it on another thread. Throws what `pace` throws, CORRUPT for a bad source, and what the disk says; then there
 * is no target.
 */
export async function runTask(
  platform: Platform,
  task: RewriteTask,
  pace: (bytes: number) => Promise<void>,
  beside?: SourceHost,
): Promise<RewriteResult> {
  const { compactedThrough, compress } = task;
  const parts = taskParts(platform, task);
  const sourceBytes = parts.sources.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  const isBeside = beside !== undefined && sourceBytes >= WORTH_READING_BESIDE_BYTES && beside.start();
  const { segment, ...counts } = await rewriteSegments({
    ...parts,
    compactedThrough,
    compress,
    pace,
    ...(isBeside ? { source: (target) => beside.read(task, target, pace) } : {}),
  });
  const { recordsBefore, recordsAfter, recordsErased, bytesBefore, bytesAfter } = counts;
  return { name: segment.name, fileBytes: segment.fileBytes, recordsBefore, recordsAfter, recordsErased, bytesBefore, bytesAfter };
}

/** What a task says, opened. Throws CORRUPT. */
export function taskParts(platform: Platform, task: RewriteTask) {
  const { directory, shard, databaseId, drops, erased } = task;
  const context = new LogContext({ platform, directory, shard, databaseId, segmentBytes: 0 });
  const sources = task.sources.map((name) => openSegment(context, name, ''));
  const dropped = new SeqSet(drops);
  const dropping: Dropping = {
    isDropped: (seq) => dropped.has(seq),
    isErased: (seq, bytes, at) => erased.some((entity) => seq < entity.seq && isOf(entity, bytes, at)),
  };
  return { context, sources, dropping };
}

/** What the ends of a sealed segment's file tell, `suffix` being what its name on disk ends in. Throws CORRUPT. */
export function openSegment(context: LogContext, name: string, suffix: '' | typeof TEMPORARY_SUFFIX): Segment {
  const named = parseSegmentName(name);
  const bad = (what: string) =>
    new VarveError('CORRUPT', `${context.directory}/${name}: ${what}`, { file: `${context.directory}/${name}`, offset: 0, what });
  if (named === undefined) throw bad('this is no name of a segment');
  const segment = context.segment(named.base, named.generation);
  const file = context.platform.files.open(segment.path + suffix, 'read');
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    file.read(bytes, 0, bytes.length, 0);
    segment.header = decodeSegmentHeader(bytes, segment.place, segment.path);
    segment.fileBytes = file.size();
    const trailer = readTrailer(file, segment);
    if (segment.header === undefined || trailer === undefined) throw bad('header or trailer is not what it should be');
    segment.adoptTrailer(trailer, segment.fileBytes);
    return segment;
  } finally {
    file.close();
  }
}

/** Whether the record at `at` is a version of the entity. */
function isOf({ collection, key }: ErasedEntity, bytes: Uint8Array, at: number): boolean {
  const collectionBytes = getU16(bytes, at + 32);
  const keyBytes = getU16(bytes, at + 34);
  if (collectionBytes !== collection.length || keyBytes !== key.length) return false;
  const collectionAt = at + RECORD_FIXED_BYTES + getU16(bytes, at + 36) * 6;
  const keyAt = collectionAt + collectionBytes;
  return equalBytes(bytes.subarray(collectionAt, keyAt), collection) && equalBytes(bytes.subarray(keyAt, keyAt + keyBytes), key);
}
