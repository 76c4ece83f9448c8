/** `varve backup`: a consistent copy of a running database, every byte of it checked; the next one fetches only what is new. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { open } from '../../engine/index.js';
import { type BackupReport, backup } from '../backup/backup.js';
import { ManifestError } from '../backup/manifest.js';
import { type BackupSource, databaseSource, serverSource } from '../backup/source.js';
import { type AddCommand, examples } from '../command.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { counted, Difference, say, UsageError, writeJson } from '../output.js';
import { progressBar } from '../progress.js';

interface BackupFlags extends OnlineOptions {
  readonly data?: string;
}

export const addBackup: AddCommand = (program, io) => {
  const command = program
    .command('backup <dir>')
    .description('copy a running database into a directory, checked, or bring the copy there up to date');
  online(command).option('--data <dir>', 'copy a data directory that no server holds, instead of asking one');
  examples(command, [
    { command: 'varve backup /backups/shop', does: 'everything acknowledged so far; writes go on meanwhile' },
    { command: 'varve backup /backups/shop', does: 'again: fetches what was written since, then drops what compaction replaced' },
    { command: 'varve restore /backups/shop ./varve-data', does: 'makes it a data directory again' },
  ]);
  command.action(async (directory: string, options: BackupFlags) => {
    const bar = progressBar(io, 'bytes', options.json);
    const take = (source: BackupSource): Promise<BackupReport> =>
      backup(source, directory, { now: () => new Date(), progress: (done, total) => bar.update(done, total) });
    try {
      const report = await from(options, take).finally(() => bar.stop());
      if (options.json === true) await writeJson(io, summaryOf(report));
      else say(io, described(report));
    } catch (error) {
      if (error instanceof ManifestError) throw new Difference(error.message);
      throw error;
    }
  });

  function from(options: BackupFlags, work: (source: BackupSource) => Promise<BackupReport>): Promise<BackupReport> {
    if (options.data === undefined) return withClient(options, io.env, (client) => work(serverSource(client)));
    return fromDirectory(options.data, work);
  }
};

async function fromDirectory<T>(directory: string, work: (source: BackupSource) => Promise<T>): Promise<T> {
  if (!existsSync(join(directory, 'node.json'))) throw new UsageError(`${directory} is no data directory: it has no node.json`);
  const db = await open(directory);
  try {
    return await work(databaseSource(db));
  } finally {
    await db.close();
  }
}

function summaryOf({ manifest, bytes, bytesFetched, segmentsKept, segmentsRemoved }: BackupReport): object {
  const { database, shards, taken, segments } = manifest;
  return { database, shards, taken, segments: segments.length, segmentsKept, segmentsRemoved, bytes, bytesFetched };
}

function described({ manifest, bytes, bytesFetched, segmentsKept }: BackupReport): string {
  const kept = segmentsKept === 0 ? '' : `, ${segmentsKept} of them there already`;
  return `backed up ${counted(manifest.segments.length, 'segment')}${kept}: ${counted(bytes, 'byte')}, ${counted(bytesFetched, 'byte')} fetched, all checked`;
}
