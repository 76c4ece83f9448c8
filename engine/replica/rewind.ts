/**
 * Takes everything beyond a seq out of a log: what only this copy had of an epoch that ended without it (docs/PROTOCOL.md).
 *
 *   beyond it -> aside/, synced -> the segment that holds it, cut, as *.tmp, synced -> rewind.json -> segments beyond go, the cut one
 *   gets its name -> rewind.json goes
 *
 * Invariants: nothing leaves the log before it is whole in aside/. Before rewind.json is durable nothing has changed; from then on
 * opening finishes what was begun, as often as it takes. Trees that know more are thrown away by who opens the log.
 */
import { readChecked, removeChecked, writeChecked } from '../checked-file.js';
import { corrupt } from '../format/bytes.js';
import { parseSegmentName, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import { LogContext } from '../log/context.js';
import type { ShardLog } from '../log/index.js';
import type { Segment } from '../log/segment-state.js';
import type { Platform } from '../platform/platform.js';
import type { SetAside } from '../replica.js';
import { epochsOf } from './epochs.js';
import { type Piece, restoreSegment } from './segment-restore.js';
import { slicesOf } from './source.js';

export const REWIND_FILE = 'rewind.json';

interface Journal {
  /** What is to be the last. */
  readonly seq: number;
  /** Name of the segment that ends there instead of another; null where one ends there already, or nothing is left. */
  readonly cut: string | null;
}

/** Everything beyond `seq`, as sealed segments below aside/, one for each epoch. Throws CORRUPT where it cannot all be read. */
export async function setAside(log: ShardLog, directory: string, seq: number): Promise<SetAside | undefined> {
  const { platform, options } = log.context;
  const context = new LogContext({ ...options, directory: `${directory}/aside` });
  const files: string[] = [];
  let [firstSeq, lastSeq, records] = [0, 0, 0];
  for (const span of epochsOf(log)) {
    if (span.lastSeq <= seq || span.lastSeq < span.firstSeq) continue;
    const base = Math.max(span.firstSeq, seq + 1);
    await context.ensureDirectory();
    const generation = nextGeneration(platform, context.directory, base);
    const header = headerOf(log, span.epoch, base, 0, 0);
    const made = await restoreSegment({
      context,
      base,
      generation,
      header,
      pieces: piecesOf(log, base, span.lastSeq),
      minTime: 0,
      maxTime: 0,
    });
    platform.files.rename(made.path + TEMPORARY_SUFFIX, made.path);
    await platform.files.syncDirectory(context.directory);
    files.push(made.path);
    if (firstSeq === 0) firstSeq = base;
    lastSeq = span.lastSeq;
    records += made.records;
  }
  return files.length === 0 ? undefined : { file: files.join(', '), firstSeq, lastSeq, records };
}

/** Decides that everything beyond `seq` goes: from here on `finishRewind` is to be called. Throws CORRUPT where what stays cannot be read. */
export async function beginRewind(log: ShardLog, directory: string, seq: number): Promise<void> {
  const { context } = log;
  const held = log.segmentSet.all.find(({ base, lastSeq }) => base <= seq && lastSeq > seq);
  let cut: string | null = null;
  if (held !== undefined) {
    const generation = held.place.generation + 1;
    const header = {
      ...headerOf(log, held.header?.epoch ?? held.epoch, held.base, held.base, held.lastSeq),
      compactedThrough: compactedIn(held),
    };
    const options = { context, base: held.base, generation, header, minTime: 0, maxTime: 0 };
    cut = (await restoreSegment({ ...options, pieces: piecesOf(log, held.base, seq) })).name;
  }
  // The cut one must be there whenever the journal is.
  await context.platform.files.syncDirectory(context.directory);
  await writeChecked(context.platform, directory, `${directory}/${REWIND_FILE}`, { seq, cut } satisfies Journal);
}

/** Whether one was begun, and is done now. Nobody may have the log's files open. */
export async function finishRewind(platform: Platform, directory: string): Promise<boolean> {
  const path = `${directory}/${REWIND_FILE}`;
  const journal = readChecked(platform, path) as Journal | undefined;
  if (journal === undefined) return false;
  const { files } = platform;
  const { seq, cut } = journal;
  if (!Number.isSafeInteger(seq) || (cut !== null && parseSegmentName(cut) === undefined))
    throw corrupt(path, 0, 'its fields are not those of a rewind');
  const log = `${directory}/log`;
  // The newest first: what is left is a log at every moment.
  const beyond = files.list(log).filter((name) => (parseSegmentName(name)?.base ?? 0) > seq);
  for (const name of beyond.sort().reverse()) files.remove(`${log}/${name}`);
  if (cut !== null) {
    const named = parseSegmentName(cut)!;
    if (files.exists(`${log}/${cut}${TEMPORARY_SUFFIX}`)) files.rename(`${log}/${cut}${TEMPORARY_SUFFIX}`, `${log}/${cut}`);
    if (!files.exists(`${log}/${cut}`)) throw corrupt(`${log}/${cut}`, 0, 'the segment that a rewind cut is missing');
    await files.syncDirectory(log);
    for (const name of files.list(log)) {
      const other = parseSegmentName(name);
      if (other?.base === named.base && other.generation < named.generation) files.remove(`${log}/${name}`);
    }
  }
  await files.syncDirectory(log);
  await removeChecked(platform, directory, path);
  return true;
}

function* piecesOf(log: ShardLog, fromSeq: number, toSeq: number): Generator<Piece, void, undefined> {
  for (const slice of slicesOf(log, fromSeq, toSeq)) {
    // A batch is never parted, and what is cut was the end of an epoch somewhere.
    if (slice.lastSeq > toSeq || slice.firstSeq < fromSeq)
      throw corrupt(log.context.directory, 0, `seq ${slice.firstSeq < fromSeq ? fromSeq - 1 : toSeq} lies inside of a batch`);
    yield { firstSeq: slice.firstSeq, lastSeq: slice.lastSeq, batches: slice.batches };
  }
}

function headerOf(log: ShardLog, epoch: number, base: number, replacesFrom: number, replacesTo: number): SegmentHeader {
  const segment = log.segmentSet.find(base);
  const attestedSeq = segment?.base === base ? segment.previousSeq : base - 1;
  const compactedThrough = segment === undefined ? 0 : compactedIn(segment);
  return { epoch, replacesFrom, replacesTo, compactedThrough, attestedSeq, createdTime: segment?.header?.createdTime ?? 0 };
}

function compactedIn({ header }: Segment): number {
  return header?.compactedThrough ?? 0;
}

function nextGeneration(platform: Platform, directory: string, base: number): number {
  const taken = platform.files.list(directory).flatMap((name) => {
    const named = parseSegmentName(name.replace(TEMPORARY_SUFFIX, ''));
    return named?.base === base ? [named.generation] : [];
  });
  return Math.max(-1, ...taken) + 1;
}
