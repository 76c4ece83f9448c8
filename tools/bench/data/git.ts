/**
 * A git history as a data set: every version of every file along the first parents of HEAD, oldest first. Keys are paths
 * below `path/`, bodies what `varve import git` stores of a file. Deletions are left out, for not every peer has tombstones.
 *
 * The history is read from git once, by `extract`, into a file that each phase then reads:
 *
 *     one line a version: key length in hex digits (4), key, body as JSON
 */
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { JsonValue } from '../../../engine/index.js';
import { BlobReader } from '../../import/git/blobs.js';
import { readLog } from '../../import/git/log.js';
import { fileBody, isFile, keyOf } from '../../import/git/records.js';
import type { Source } from './data.js';

const MAX_BODY = 1_048_576;
const WHOLE_HISTORY = 10_000_000;

/** How many versions were written. */
export async function extract(repo: string, file: string): Promise<number> {
  const blobs = new BlobReader(repo, MAX_BODY);
  const out = await open(file, 'w');
  let versions = 0;
  try {
    for await (const commit of readLog(repo, 'HEAD', WHOLE_HISTORY)) {
      for (const change of commit.changes) {
        const named = keyOf(change.path);
        if (!isFile(change.newMode) || !('key' in named)) continue;
        const { json, omitted } = fileBody(commit.sha, change, await blobs.read(change.blob), MAX_BODY);
        const key = `path/${named.key}`;
        if (omitted || key.length > 500) continue;
        await out.write(`${key.length.toString(16).padStart(4, '0')}${key}${json}\n`);
        versions++;
      }
    }
  } finally {
    blobs.close();
    await out.close();
  }
  return versions;
}

/** The first `limit` paths in key order; fewer where the history has fewer. */
export function gitHistory(file: string, limit: number): Source {
  const bytes = readFileSync(file);
  const keys: string[] = [];
  const bodies: { start: number; end: number }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const line = bytes.toString('utf8', at, Math.min(end, at + 4 + 4 * 500));
    const key = line.slice(4, 4 + Number.parseInt(line.slice(0, 4), 16));
    keys.push(key);
    bodies.push({ start: at + 4 + Buffer.byteLength(key), end });
    at = end + 1;
  }
  const sorted = [...new Set(keys)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).slice(0, limit);
  const numbers = new Map(sorted.map((key, entity) => [key, entity]));
  const kept = keys.flatMap((key, i) => (numbers.has(key) ? [i] : []));
  const first = new Map<number, number>();
  const order = Uint32Array.from(kept, (i) => numbers.get(keys[i]!)!);
  order.forEach((entity, version) => {
    if (!first.has(entity)) first.set(entity, version);
  });
  return {
    entities: sorted.length,
    order,
    keyOf: (entity) => sorted[entity]!,
    // Versions beyond the history say again what the entity said first.
    bodyOf: (entity, version) => {
      const { start, end } = bodies[kept[version < order.length ? version : first.get(entity)!]!]!;
      return JSON.parse(bytes.toString('utf8', start, end)) as JsonValue;
    },
  };
}
