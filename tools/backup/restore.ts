/**
 * A backup made into a data directory again, with a node id of its own. Every file is checked against the manifest and its own
 * checksums before it counts; node.json comes last, so that a restore cut short leaves nothing that opens. Where erasures are known that the
 * backup still has bodies of, they are carried out in a directory beside the target, which gets its name last.
 */
import { createReadStream, existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { VarveError } from '../../engine/index.js';
import { beginRestore, checkSegmentCopy, logDirectory } from '../../engine/segment-copy.js';
import { applyErasures, type ToldErasures } from './erasures.js';
import { syncDirectory, writeDurable } from './files.js';
import { type Manifest, ManifestError, readManifest } from './manifest.js';

export interface RestoreReport {
  readonly manifest: Manifest;
  readonly bytes: number;
  /** Erasures that the backup's own log did not know, and that were carried out. */
  readonly erased: number;
}

export interface RestoreOptions {
  readonly progress?: (bytes: number, totalBytes: number) => void;
  /** What was erased after the backup was taken. */
  readonly told?: ToldErasures | undefined;
}

/** Where a restore lies that has bodies to be rid of before anybody may open it. */
const UNFINISHED = '.restoring';

/** Throws ManifestError where there is no backup, CORRUPT where a file of it is not what it was, INVALID where `target` is not empty. */
export async function restore(directory: string, target: string, options: RestoreOptions = {}): Promise<RestoreReport> {
  const { told } = options;
  const manifest = await readManifest(directory);
  if (manifest === undefined) throw new ManifestError(`${directory} holds no backup: it has no backup.json`);
  if (told !== undefined && told.database !== manifest.database)
    throw new ManifestError(`those erasures are of another database (${told.database}, not ${manifest.database})`);
  const open = (manifest.erasures ?? []).filter(({ done }) => !done);
  const erasures = [...open, ...(told?.erasures ?? [])];
  if (erasures.length === 0) return { manifest, bytes: await copy(directory, manifest, target, options), erased: 0 };
  if (existsSync(target) && (await readdir(target)).length > 0)
    throw new VarveError('INVALID', `${target} is not empty`, { path: 'directory', expected: 'an empty one' });
  const unfinished = target.replace(/\/+$/, '') + UNFINISHED;
  await rm(unfinished, { recursive: true, force: true });
  try {
    const bytes = await copy(directory, manifest, unfinished, options);
    const erased = await applyErasures(unfinished, erasures);
    await rm(target, { recursive: true, force: true });
    await rename(unfinished, target);
    await syncDirectory(dirname(resolve(target)));
    return { manifest, bytes, erased };
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
}

async function copy(directory: string, manifest: Manifest, target: string, { progress }: RestoreOptions): Promise<number> {
  const total = manifest.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const restoring = await beginRestore(target, manifest.database, manifest.shards);
  let bytes = 0;
  for (const segment of manifest.segments) {
    const folder = join(directory, logDirectory(segment.shard));
    const { blake3 } = checkSegmentCopy(folder, { database: manifest.database, ...segment });
    if (blake3 !== segment.blake3) throw new ManifestError(`${join(folder, segment.file)} is not the file the backup was made with`);
    const chunks = createReadStream(join(folder, segment.file), { end: segment.bytes - 1, highWaterMark: 1024 * 1024 });
    await writeDurable(restoring.segmentPath(segment.shard, segment.name), 0, chunks);
    progress?.((bytes += segment.bytes), total);
  }
  await restoring.finish();
  return bytes;
}
