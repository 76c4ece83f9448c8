/**
 * Takes a backup, or brings one up to date: what is there already is not fetched again.
 *
 *   lengths of all files, taken at one moment -> missing bytes -> each file read back and checked -> backup.json -> old files removed
 *
 * Invariants: until the new manifest has its name the old backup is whole (segments only grow, and the old manifest says how far
 * it reaches); afterwards the new one is. What cannot be checked is never named by a manifest.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isVarveError } from '../../engine/index.js';
import { checkSegmentCopy, logDirectory } from '../../engine/segment-copy.js';
import { makeDurableDirectory, syncDirectory, writeDurable } from './files.js';
import { type BackupSegment, MANIFEST_FILE, type Manifest, ManifestError, readManifest, writeManifest } from './manifest.js';
import { type BackupSource, SegmentGone, type SourceSegment, type SourceState } from './source.js';

export interface BackupReport {
  readonly manifest: Manifest;
  /** In the backup now. */
  readonly bytes: number;
  readonly bytesFetched: number;
  readonly segmentsKept: number;
  readonly segmentsRemoved: number;
}

export interface BackupOptions {
  readonly now: () => Date;
  readonly progress?: (bytes: number, totalBytes: number) => void;
}

/** Compaction may replace segments while they are copied; it cannot do so for ever. */
const ATTEMPTS = 10;

/** Throws ManifestError for a directory with something else in it, and CORRUPT where what arrived does not pass its checks. */
export async function backup(source: BackupSource, directory: string, options: BackupOptions): Promise<BackupReport> {
  await makeDurableDirectory(directory);
  const known = await readManifest(directory);
  if (known === undefined) await checkEmpty(directory);
  for (let attempt = 1; ; attempt++) {
    const taken = options.now().toISOString();
    const state = await source.state();
    if (known !== undefined && known.database !== state.database)
      throw new ManifestError(`${directory} holds a backup of another database (${known.database}, not ${state.database})`);
    try {
      return await copyAll(source, directory, state, known, taken, options);
    } catch (error) {
      if (!(error instanceof SegmentGone) || attempt === ATTEMPTS) throw error;
    }
  }
}

async function copyAll(
  source: BackupSource,
  directory: string,
  state: SourceState,
  known: Manifest | undefined,
  taken: string,
  options: BackupOptions,
): Promise<BackupReport> {
  const { database, shards } = state;
  const before = new Map(known?.segments.map((segment) => [keyOf(segment), segment]));
  const bytes = state.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const segments: BackupSegment[] = [];
  let bytesDone = 0;
  let bytesFetched = 0;
  let segmentsKept = 0;
  for (let shard = 1; shard <= shards; shard++) await makeDurableDirectory(join(directory, logDirectory(shard)));
  for (const segment of state.segments) {
    const fetch = (from: number): AsyncGenerator<Uint8Array> =>
      counted(source.read(segment, from, segment.bytes), (count) => {
        bytesFetched += count;
        options.progress?.(Math.min(bytes, bytesDone + count), bytes);
      });
    const folder = join(directory, logDirectory(segment.shard));
    const old = before.get(keyOf(segment));
    const grown = old === undefined ? undefined : await grow({ database, folder, segment, old, fetch });
    if (grown !== undefined && grown === old) segmentsKept++;
    segments.push(grown ?? (await fetchWhole({ database, folder, segment, old, fetch })));
    bytesDone += segment.bytes;
    options.progress?.(bytesDone, bytes);
  }
  for (let shard = 1; shard <= shards; shard++) await syncDirectory(join(directory, logDirectory(shard)));
  // After the segments: one that came meanwhile is known, whether or not its event was copied.
  const erasures = await source.erasures();
  const manifest: Manifest = { format: 1, database, shards, taken, segments, erasures };
  await writeManifest(directory, manifest);
  return { manifest, bytes, bytesFetched, segmentsKept, segmentsRemoved: await removeOthers(directory, manifest) };
}

interface Copying {
  readonly database: string;
  readonly folder: string;
  readonly segment: SourceSegment;
  readonly old: BackupSegment | undefined;
  fetch(from: number): AsyncGenerator<Uint8Array>;
}

/** Adds what the segment gained to the copy that is there. Undefined where that copy is no beginning of it: it was damaged, or recovery has cut the segment. */
async function grow({ database, folder, segment, old, fetch }: Copying): Promise<BackupSegment | undefined> {
  if (old === undefined || old.bytes > segment.bytes || ((await sizeOf(join(folder, old.file))) ?? 0) < old.bytes) return undefined;
  if (old.sealed) return old.bytes === segment.bytes ? old : undefined;
  try {
    await writeDurable(join(folder, old.file), old.bytes, fetch(old.bytes));
    return { ...plain(segment), file: old.file, ...checkSegmentCopy(folder, { database, ...segment, file: old.file }) };
  } catch (error) {
    if (isVarveError(error, 'CORRUPT')) return undefined;
    throw error;
  }
}

/** A whole new copy, beside the old one where there is one: the old manifest still needs that. */
async function fetchWhole({ database, folder, segment, old, fetch }: Copying): Promise<BackupSegment> {
  const file = old === undefined ? segment.name : `${segment.name}.${Number(old.file.slice(segment.name.length + 1)) + 1}`;
  await writeDurable(join(folder, file), 0, fetch(0));
  return { ...plain(segment), file, ...checkSegmentCopy(folder, { database, ...segment, file }) };
}

async function* counted(chunks: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

/** Segments that compaction has replaced, and leftovers. */
async function removeOthers(directory: string, manifest: Manifest): Promise<number> {
  const wanted = new Set(manifest.segments.map(({ shard, file }) => keyOf({ shard, name: file })));
  let removed = 0;
  for (let shard = 1; shard <= manifest.shards; shard++) {
    const folder = join(directory, logDirectory(shard));
    for (const name of await readdir(folder)) {
      if (wanted.has(keyOf({ shard, name }))) continue;
      await rm(join(folder, name));
      removed++;
    }
  }
  return removed;
}

/** A run that was cut short before its first manifest leaves files of ours and nothing else. */
async function checkEmpty(directory: string): Promise<void> {
  const foreign = (await readdir(directory)).filter((name) => name !== 'shards' && name !== `${MANIFEST_FILE}.tmp`);
  if (foreign.length > 0)
    throw new ManifestError(`${directory} holds something else (${foreign[0]}): take the backup into a directory of its own`);
}

function keyOf({ shard, name }: { readonly shard: number; readonly name: string }): string {
  return `${shard}/${name}`;
}

function plain({ shard, name, bytes, sealed }: SourceSegment): SourceSegment {
  return { shard, name, bytes, sealed };
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
