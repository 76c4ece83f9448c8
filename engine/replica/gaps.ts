/**
 * What of a log cannot be read, as far as opening, reading and scrubs have told; and what stops being true once it is mended.
 * Derived from findings and from what segments know of themselves; nothing of it is on disk.
 */
import { entityKey } from '../format/keys.js';
import { type Finding, isGap, type ShardLog } from '../log/index.js';
import type { Segment, SeqRange } from '../log/segment-state.js';
import { Erasures } from '../retention/erasures.js';

/** Seqs of a range that no segment stands for. */
export function uncovered(segments: readonly Segment[], fromSeq: number, toSeq: number): SeqRange[] {
  const ranges: SeqRange[] = [];
  let next = fromSeq;
  for (const { lastSeq, previousSeq } of segments) {
    if (lastSeq < next) continue;
    if (next > toSeq) break;
    // The first of an epoch says where the one before it ended: what lies between is nobody's.
    if (previousSeq >= next) ranges.push({ fromSeq: next, toSeq: Math.min(previousSeq, toSeq) });
    next = lastSeq + 1;
  }
  if (next <= toSeq) ranges.push({ fromSeq: next, toSeq });
  return ranges;
}

/** Findings of files that are gone, and of seqs that are there again. */
export function forgetMended(log: ShardLog): void {
  log.context.findings = log.context.findings.filter((finding) => isStillTrue(log, finding));
}

function isStillTrue(log: ShardLog, { kind, file, fromSeq, toSeq }: Finding): boolean {
  const { all } = log.segmentSet;
  if (kind === 'missing') return uncovered(all, fromSeq, toSeq).length > 0;
  return kind === 'stray' || all.some(({ path }) => path === file) || !file.endsWith('.seg');
}

/** Ranges of the log that cannot be read, as far as it is known, in order and joined where they lie in one segment. */
export function gapsOf(log: ShardLog): SeqRange[] {
  const found: SeqRange[] = [];
  for (const finding of log.findings) {
    if (finding.fromSeq === 0 || (finding.kind !== 'damaged' && finding.kind !== 'missing') || !isStillTrue(log, finding)) continue;
    if (finding.kind === 'missing') found.push(...uncovered(log.segmentSet.all, finding.fromSeq, finding.toSeq));
    else found.push({ fromSeq: finding.fromSeq, toSeq: finding.toSeq });
  }
  for (const { gaps } of log.segmentSet.all) found.push(...gaps);
  found.sort((a, b) => a.fromSeq - b.fromSeq);
  const joined: SeqRange[] = [];
  for (const range of found) {
    const before = joined.at(-1);
    const isOfOne = before !== undefined && (range.fromSeq <= before.toSeq + 1 || inOneSegment(log, before, range));
    if (isOfOne) joined[joined.length - 1] = { fromSeq: before.fromSeq, toSeq: Math.max(before.toSeq, range.toSeq) };
    else joined.push(range);
  }
  return joined;
}

/** What the log itself says was erased: a shard with a hole behind its tree does not know all of it otherwise. */
export async function erasuresOf(log: ShardLog, known: Erasures): Promise<Erasures> {
  const erasures = new Erasures();
  const note = (collection: string, key: string, reason: string, seq: number): void =>
    erasures.set(entityKey(collection, key), { collection, key, reason, seq, done: false });
  for (const { collection, key, reason, seq } of known.all) note(collection, key, reason, seq);
  let seen = 0;
  for (const batch of log.batches(1)) {
    if (++seen % 1000 === 0) await log.context.platform.clock.yield();
    if (isGap(batch) || batch.event?.type !== 'erasure') continue;
    const text = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
    note(text(batch.event.collection), text(batch.event.key), text(batch.event.reason), batch.firstSeq);
  }
  return erasures;
}

/** Segments that hold damage or whose ends are not what they should be, as far as it is known. */
export function damagedSegments(log: ShardLog): readonly SeqRange[] {
  const paths = new Set(log.findings.filter(({ kind }) => kind === 'damaged').map(({ file }) => file));
  return log.segmentSet.all
    .filter((segment) => segment.lastSeq >= segment.base && (segment.damaged || paths.has(segment.path)))
    .map(({ base, lastSeq }) => ({ fromSeq: base, toSeq: lastSeq }));
}

function inOneSegment(log: ShardLog, a: SeqRange, b: SeqRange): boolean {
  const segment = log.segmentSet.find(a.fromSeq);
  return segment !== undefined && segment === log.segmentSet.find(b.fromSeq);
}
