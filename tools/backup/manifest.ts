/**
 * `backup.json`: which bytes of which files make up the backup, written last. A backup is what its manifest says: bytes
 * behind a segment's length, and files it does not name, are of a run that did not finish, and do not count.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isSegmentName } from '../../engine/segment-copy.js';
import type { KnownErasure } from './erasures.js';
import { syncDirectory } from './files.js';

export const MANIFEST_FILE = 'backup.json';
const FORMAT = 1;

export interface BackupSegment {
  readonly shard: number;
  readonly name: string;
  /** What the copy is called: the segment's name, or that with a number where an older copy stood in the way. */
  readonly file: string;
  /** The first so many bytes of the file. */
  readonly bytes: number;
  /** Of those bytes. */
  readonly blake3: string;
  readonly sealed: boolean;
  readonly lastSeq: number;
}

export interface Manifest {
  readonly format: typeof FORMAT;
  /** 32 hex digits. */
  readonly database: string;
  readonly shards: number;
  /** When the lengths were taken: everything acknowledged before is in. RFC 3339. */
  readonly taken: string;
  readonly segments: readonly BackupSegment[];
  /** Erasures known when the segments were copied; undefined: an older backup, which does not say. */
  readonly erasures?: readonly KnownErasure[];
}

export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

/** Undefined where the directory holds no backup. Throws ManifestError where the manifest cannot be believed. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, MANIFEST_FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { check, ...manifest } = JSON.parse(text) as Manifest & { check: string };
    if (check === checkOf(manifest) && manifest.format === FORMAT && manifest.segments.every(isSound)) return manifest;
  } catch {
    // told below, like a check that does not match
  }
  throw new ManifestError(`${join(directory, MANIFEST_FILE)} is damaged or of another version: take the backup anew in an empty directory`);
}

/** Whole or not at all, and durable on return. */
export async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  const temporary = join(directory, `${MANIFEST_FILE}.tmp`);
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(`${JSON.stringify({ ...manifest, check: checkOf(manifest) }, null, 1)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(directory, MANIFEST_FILE));
  await syncDirectory(directory);
}

/** The file names of a backup that was handed on are a stranger's too. */
function isSound({ name, file }: BackupSegment): boolean {
  return isSegmentName(name) && file.startsWith(name) && /^(?:\.\d+)?$/.test(file.slice(name.length));
}

function checkOf(manifest: object): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}
