/**
 * Small JSON files that must be whole or not there: written aside, synced, renamed, their directory synced; each carries its own hash.
 *
 * Invariant: what is read back is what was written, or CORRUPT. A crash leaves the old one or the new one, and at worst a `.tmp`.
 */
import stableStringify from 'fast-json-stable-stringify';
import { VarveError } from './errors.js';
import { blake3, hex } from './format/hash.js';
import type { Platform } from './platform/platform.js';

/** What was written there; undefined where there is no such file. Throws CORRUPT. */
export function readChecked(platform: Platform, path: string): object | undefined {
  if (!platform.files.exists(path)) return undefined;
  let value: ({ readonly check?: unknown } & object) | undefined;
  try {
    value = JSON.parse(platform.files.readFile(path).toString('utf8'));
  } catch {
    // told below, like every other damage
  }
  if (typeof value !== 'object' || value === null) throw damaged(path, 'it is not a JSON object');
  const { check, ...rest } = value;
  if (check !== checkOf(rest)) throw damaged(path, 'its check does not match its content');
  return rest;
}

/** Durable when it resolves. `directory` is the one that `path` lies in. */
export function writeChecked(platform: Platform, directory: string, path: string, value: object): Promise<void> {
  return writeAside(platform, directory, path, Buffer.from(`${JSON.stringify({ ...value, check: checkOf(value) })}\n`));
}

/** Writes it aside, syncs it and gives it its name: whole or not at all. */
export async function writeAside(platform: Platform, directory: string, path: string, bytes: Buffer): Promise<void> {
  const { files } = platform;
  const temporary = `${path}.tmp`;
  if (files.exists(temporary)) files.remove(temporary);
  const file = files.open(temporary, 'create');
  try {
    const written = await file.write(bytes, 0, bytes.length, 0);
    if (written !== bytes.length) {
      const reason = `only ${written} of ${bytes.length} bytes of ${path} could be written`;
      throw new VarveError('NOT_WRITTEN', reason, { shard: 0, reason });
    }
    await file.sync();
  } finally {
    file.close();
  }
  files.rename(temporary, path);
  await files.syncDirectory(directory);
}

export async function removeChecked(platform: Platform, directory: string, path: string): Promise<void> {
  platform.files.remove(path);
  await platform.files.syncDirectory(directory);
}

function checkOf(value: object): string {
  return hex(blake3(Buffer.from(stableStringify(value))));
}

function damaged(path: string, what: string): VarveError {
  return new VarveError('CORRUPT', `${path} is damaged: ${what}`, { file: path, offset: 0, what });
}
