/**
 * A backup made into a data directory again, with a node id of its own. Every file is checked against the manifest and its own
 * checksums before it counts; node.json comes last, so that a restore cut short leaves nothing that opens.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { beginRestore, checkSegmentCopy, logDirectory } from '../../engine/segment-copy.js';
import { writeDurable } from './files.js';
import { type Manifest, ManifestError, readManifest } from './manifest.js';

export interface RestoreReport {
  readonly manifest: Manifest;
  readonly bytes: number;
}

/** Throws ManifestError where there is no backup, CORRUPT where a file of it is not what it was, INVALID where `target` is not empty. */
export async function restore(
  directory: string,
  target: string,
  progress: (bytes: number, totalBytes: number) => void = () => {},
): Promise<RestoreReport> {
  const manifest = await readManifest(directory);
  if (manifest === undefined) throw new ManifestError(`${directory} holds no backup: it has no backup.json`);
  const total = manifest.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const restoring = await beginRestore(target, manifest.database, manifest.shards);
  let bytes = 0;
  for (const segment of manifest.segments) {
    const folder = join(directory, logDirectory(segment.shard));
    const { blake3 } = checkSegmentCopy(folder, { database: manifest.database, ...segment });
    if (blake3 !== segment.blake3) throw new ManifestError(`${join(folder, segment.file)} is not the file the backup was made with`);
    const chunks = createReadStream(join(folder, segment.file), { end: segment.bytes - 1, highWaterMark: 1024 * 1024 });
    await writeDurable(restoring.segmentPath(segment.shard, segment.name), 0, chunks);
    progress((bytes += segment.bytes), total);
  }
  await restoring.finish();
  return { manifest, bytes };
}
