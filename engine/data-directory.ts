/**
 * The data directory before there is anything in it: its directories, then node.json, each made durable.
 *
 * node.json is written last, so that a crash during creation leaves a directory that is simply created again. A
 * failed sync, though, leaves names that look made and may be gone after a power cut, and no later sync makes them
 * safe. So while nothing has been logged they are made anew at every open: what the first record rests on was
 * synced by the process that writes it.
 */
import { VarveError } from './errors.js';
import { type Identity, NODE_FILE, newIdentity, readIdentity, writeIdentity } from './identity.js';
import { namesIn } from './platform/paths.js';
import type { FileSystem, Platform } from './platform/platform.js';
import { shardDirectory } from './shard-contents.js';

/** Who is at home; created with `shards` where nobody is. Throws INCOMPATIBLE for another number of shards. */
export async function openDataDirectory(platform: Platform, shards: number | undefined): Promise<Identity> {
  const { files } = platform;
  const found = readIdentity(platform);
  if (found === undefined) {
    const identity = newIdentity(platform, shards ?? 1);
    // Whatever the number of shards asked for: the data may lie in one that it does not reach.
    for (const name of namesIn(files, 'shards') ?? []) {
      const log = `shards/${name}/log`;
      if (isFilled(files, log))
        throw corrupt(NODE_FILE, `${NODE_FILE} is missing, but ${log} holds data: a new database is not begun over it`);
    }
    await layOut(platform, identity);
    return identity;
  }
  if (shards !== undefined && shards !== found.shards) {
    throw new VarveError('INCOMPATIBLE', `the database has ${found.shards} shards, fixed at its creation; ${shards} were asked for`, {
      expected: `${shards} shards`,
      found: `${found.shards} shards`,
    });
  }
  if (!logsOf(found).some((log) => isFilled(files, log))) await layOut(platform, found);
  return found;
}

async function layOut(platform: Platform, identity: Identity): Promise<void> {
  const { files } = platform;
  const directories = logsOf(identity).map((log) => log.slice(0, log.lastIndexOf('/')));
  for (const directory of directories) {
    if (isFilled(files, `${directory}/tree`))
      throw corrupt(`${directory}/log`, `${directory}/tree holds a tree, but the log it was made from is gone`);
    for (const path of [`${directory}/log`, `${directory}/tree`, directory]) removeEmpty(files, path);
  }
  removeEmpty(files, 'shards');
  for (const directory of directories) {
    files.makeDirectory(`${directory}/log`);
    files.makeDirectory(`${directory}/tree`);
    await files.syncDirectory(directory);
  }
  await files.syncDirectory('shards');
  await files.syncDirectory('');
  await writeIdentity(platform, identity);
}

function logsOf(identity: Identity): string[] {
  return Array.from({ length: identity.shards }, (_, i) => `${shardDirectory(i + 1)}/log`);
}

function isFilled(files: FileSystem, path: string): boolean {
  return (namesIn(files, path)?.length ?? 0) > 0;
}

function removeEmpty(files: FileSystem, path: string): void {
  if (namesIn(files, path)?.length === 0) files.remove(path);
}

function corrupt(file: string, what: string): VarveError {
  return new VarveError('CORRUPT', what, { file, offset: 0, what });
}
