/**
 * Compacts one shard: group after group of neighbouring segments, until there is none left that is worth it.
 *
 *   drops (logged) -> pick -> rewrite on a thread, while the tree applies them -> swap -> the drops of that range are done with
 *
 * Invariants: only what a logged trim dropped is left out, and nothing is put in place before the tree has applied that, durably. At any moment one group is on its way, so
 * one segment's worth of extra room is needed. Cancelled or failed between two groups, everything swapped so far stays.
 */

import { TEMPORARY_SUFFIX } from '../format/segment.js';
import type { ShardLog } from '../log/index.js';
import type { Segment } from '../log/segment-state.js';
import type { SeqSet } from '../retention/seq-set.js';
import type { HashHex, ShardId } from '../types.js';
import type { CompactHost } from './compact-host.js';
import type { CompactedTreeFiles } from './compact-tree.js';
import type { Pace } from './pace.js';
import { type Candidate, pickSegments } from './picking.js';
import { swapSegments } from './swap.js';
import { type ErasedEntity, openSegment } from './task.js';

export interface CompactedShard {
  readonly id: ShardId;
  readonly databaseId: Uint8Array;
  readonly log: ShardLog;
  readonly segmentBytes: number;
  /** Dropped by logged trims that the tree has applied, and still in the files. */
  readonly drops: SeqSet;
  /** The newest such trim event; 0 for none. */
  readonly trimmedThrough: number;
  readonly erasures: readonly ErasedEntity[];
  /** Resolves once the tree has applied the drops, durably: segments are rewritten meanwhile, and put in place after it. */
  applied(): Promise<void>;
  root(): Promise<{ readonly seq: number; readonly root: HashHex; readonly entries: number }>;
}

export interface CompactOptions {
  readonly deadShare: number;
  /** See PickOptions. */
  readonly deadBytes: number;
  readonly force: boolean;
  /** Seqs whose segments must be rewritten: bodies in them are to go. */
  readonly urgentSeqs?: readonly number[];
}

/** What one rewrite did. */
export interface CompactedGroup {
  readonly segments: readonly string[];
  readonly into: string;
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly recordsBefore: number;
  readonly recordsAfter: number;
  readonly recordsErased: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** That a compaction changed nothing but what it was to: roots before and after are the same, what went was dropped by these events. */
export interface Certificate {
  readonly shard: ShardId;
  readonly rootBefore: { readonly seq: number; readonly root: HashHex; readonly entries: number };
  readonly rootAfter: { readonly seq: number; readonly root: HashHex; readonly entries: number };
  /** The trim event up to which nothing dropped is left in the segments below. */
  readonly trimmedThrough: number;
  readonly groups: readonly CompactedGroup[];
  /** What became of the tree files; undefined where they were left alone. */
  readonly tree?: CompactedTreeFiles;
  readonly reason: 'retention' | 'erasure';
}

export async function compactShard(
  shard: CompactedShard,
  host: CompactHost,
  pace: Pace,
  options: CompactOptions,
  progress: (share: number) => void = () => {},
): Promise<Certificate> {
  const { log } = shard;
  const urgent = new Set(options.urgentSeqs ?? []);
  if (options.force || urgent.size > 0) await log.roll();
  await log.sealed();
  const applied = shard.applied();
  // Awaited below, wherever that is.
  applied.catch(() => undefined);
  let rootBefore: Certificate['rootBefore'] | undefined;
  const mayReplace = async (): Promise<void> => {
    await applied;
    rootBefore ??= await shard.root();
  };
  const groups: CompactedGroup[] = [];
  let wanted = 0;
  for (;;) {
    if (pace.cancelled) break;
    const all = log.segmentSet.all;
    const picked = pickSegments(
      all.map((segment) => candidate(segment, shard, urgent, options.force && host.compress)),
      { ...options, segmentBytes: shard.segmentBytes },
    );
    const [first] = picked;
    if (first === undefined) break;
    wanted = Math.max(wanted, groups.length + picked.length);
    const sources = all.slice(first.from, first.to + 1);
    const done = await rewriteGroup(shard, host, pace, sources, mayReplace);
    if (done === undefined) continue; // the log was opened anew: its segments are looked at anew
    groups.push(done);
    for (const seq of urgent) if (seq >= done.fromSeq && seq <= done.toSeq) urgent.delete(seq);
    shard.drops.deleteIn(done.fromSeq, done.toSeq);
    progress(groups.length / wanted);
  }
  const reason = options.urgentSeqs === undefined ? 'retention' : 'erasure';
  await applied;
  rootBefore ??= await shard.root();
  return { shard: shard.id, rootBefore, rootAfter: await shard.root(), trimmedThrough: shard.trimmedThrough, groups, reason };
}

async function rewriteGroup(
  shard: CompactedShard,
  host: CompactHost,
  pace: Pace,
  sources: readonly Segment[],
  mayReplace: () => Promise<void>,
): Promise<CompactedGroup | undefined> {
  const { log, databaseId, id, erasures, drops, trimmedThrough } = shard;
  const fromSeq = sources[0]!.base;
  const toSeq = sources[sources.length - 1]!.lastSeq;
  const bytes = sources.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  const segments = sources.map(({ name }) => name);
  const task = {
    directory: log.context.directory,
    shard: id,
    databaseId,
    sources: segments,
    drops: drops.pagesIn(fromSeq, toSeq),
    erased: erasures,
    compactedThrough: trimmedThrough,
    compress: host.compress,
  };
  const { incarnation } = log;
  const { name: into, ...counts } = await host.rewrite(task, bytes, pace);
  const discard = () => log.context.platform.files.remove(`${log.context.directory}/${into}${TEMPORARY_SUFFIX}`);
  try {
    await mayReplace();
  } catch (error) {
    // Where the log was opened anew, that has removed it.
    if (log.incarnation === incarnation) discard();
    throw error;
  }
  if (log.incarnation !== incarnation) {
    discard();
    return undefined;
  }
  const target = openSegment(log.context, into, TEMPORARY_SUFFIX);
  if (!(await swapSegments(log, sources, target))) return undefined;
  const { recordsBefore, recordsAfter, recordsErased, bytesBefore, bytesAfter } = counts;
  return { segments, into, fromSeq, toSeq, recordsBefore, recordsAfter, recordsErased, bytesBefore, bytesAfter };
}

/** `packs`: what is not packed yet is to be. */
function candidate(segment: Segment, shard: CompactedShard, urgent: ReadonlySet<number>, packs: boolean): Candidate {
  const { base, lastSeq, records, fileBytes, epoch, damaged, gaps } = segment;
  let isUrgent = packs && segment.records > 0 && !segment.packed;
  for (const seq of urgent) if (seq >= base && seq <= lastSeq) isUrgent = true;
  const deadRecords = shard.drops.size === 0 ? 0 : shard.drops.countIn(base, lastSeq);
  return { bytes: fileBytes, records, deadRecords, epoch, isEligible: segment.sealed && !damaged && gaps.length === 0, isUrgent };
}
