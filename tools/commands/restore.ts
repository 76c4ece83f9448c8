/** `varve restore`: a backup made into a data directory again, checked file by file and then as a whole. */
import { existsSync } from 'node:fs';
import { checkDirectory } from '../../engine/check.js';
import { ManifestError } from '../backup/manifest.js';
import { restore } from '../backup/restore.js';
import { type AddCommand, examples } from '../command.js';
import { counted, Difference, say, UsageError, writeJson } from '../output.js';
import { progressBar } from '../progress.js';
import { withScratch } from '../scratch.js';

interface RestoreFlags {
  readonly json?: boolean;
  readonly check: boolean;
}

export const addRestore: AddCommand = (program, io) => {
  const command = program
    .command('restore <backup> <dir>')
    .description('make a backup a data directory again; the directory must be empty or new');
  command
    .option('--no-check', 'skip the last step: reading the new directory whole, as `varve check` does')
    .option('--json', 'for machines: one report');
  examples(command, [
    { command: 'varve restore /backups/shop ./varve-data', does: 'the state of the last backup; then `varve serve --data ./varve-data`' },
  ]);
  command.action(async (directory: string, target: string, options: RestoreFlags) => {
    if (!existsSync(directory)) throw new UsageError(`there is no directory ${directory}`);
    const bar = progressBar(io, 'bytes', options.json);
    try {
      const report = await restore(directory, target, (done, total) => bar.update(done, total)).finally(() => bar.stop());
      if (options.check) await checkWhole(target);
      const { database, shards, taken, segments } = report.manifest;
      if (options.json === true)
        await writeJson(io, { database, shards, taken, segments: segments.length, bytes: report.bytes, checked: options.check });
      else
        say(
          io,
          `restored ${counted(segments.length, 'segment')} (${counted(report.bytes, 'byte')}) as of ${taken}: varve serve --data ${target}`,
        );
    } catch (error) {
      if (error instanceof ManifestError) throw new Difference(error.message);
      throw error;
    }
  });
};

/** The trees are not part of a backup: the first open builds them. */
function checkWhole(target: string): Promise<void> {
  return withScratch(async (scratch) => {
    const { findings } = await checkDirectory(target, scratch);
    const bad = findings.find(({ severity, file }) => severity === 'damage' && !file.includes('/tree'));
    if (bad !== undefined) throw new Difference(`the restored directory is not sound: ${bad.file}: ${bad.detail}`);
  });
}
