/** `varve restore`: a backup made into a data directory again, checked file by file and then as a whole. */
import { existsSync } from 'node:fs';
import { checkDirectory } from '../../engine/check.js';
import { erasuresFrom, type ToldErasures } from '../backup/erasures.js';
import { ManifestError } from '../backup/manifest.js';
import { restore } from '../backup/restore.js';
import { type AddCommand, examples } from '../command.js';
import { withClient } from '../online.js';
import { counted, Difference, say, UsageError, writeJson } from '../output.js';
import { progressBar } from '../progress.js';
import { withScratch } from '../scratch.js';

interface RestoreFlags {
  readonly json?: boolean;
  readonly check: boolean;
  readonly erasuresFrom?: string;
  readonly token?: string;
}

export const addRestore: AddCommand = (program, io) => {
  const command = program
    .command('restore <backup> <dir>')
    .description('make a backup a data directory again; the directory must be empty or new');
  command
    .option('--erasures-from <where>', 'carry out what was erased since the backup: URL of the server, newer backup, or data directory')
    .option('--token <token>', 'what to show that server (VARVE_TOKEN)')
    .option('--no-check', 'skip the last step: reading the new directory whole, as `varve check` does')
    .option('--json', 'for machines: one report');
  examples(command, [
    { command: 'varve restore /backups/shop ./varve-data', does: 'the state of the last backup; then `varve serve --data ./varve-data`' },
    {
      command: 'varve restore /backups/march ./varve-data --erasures-from http://127.0.0.1:7411',
      does: 'an older backup, without the bodies that were erased since',
    },
  ]);
  command.action(async (directory: string, target: string, options: RestoreFlags) => {
    if (!existsSync(directory)) throw new UsageError(`there is no directory ${directory}`);
    const bar = progressBar(io, 'bytes', options.json);
    try {
      const told = options.erasuresFrom === undefined ? undefined : await toldBy(options.erasuresFrom, options.token);
      const progress = (done: number, total: number): void => bar.update(done, total);
      const report = await restore(directory, target, { progress, told }).finally(() => bar.stop());
      if (options.check) await checkWhole(target);
      const { database, shards, taken, segments } = report.manifest;
      if (options.json === true)
        await writeJson(io, {
          database,
          shards,
          taken,
          segments: segments.length,
          bytes: report.bytes,
          erased: report.erased,
          checked: options.check,
        });
      else {
        const size = `${counted(segments.length, 'segment')} (${counted(report.bytes, 'byte')})`;
        const erased = report.erased === 0 ? '' : `, ${counted(report.erased, 'erasure')} carried out`;
        say(io, `restored ${size} as of ${taken}${erased}: varve serve --data ${target}`);
        if (told === undefined) say(io, `what was erased after ${taken} is not known here: see --erasures-from`);
      }
    } catch (error) {
      if (error instanceof ManifestError) throw new Difference(error.message);
      throw error;
    }
  });

  const toldBy = (where: string, token: string | undefined): Promise<ToldErasures> =>
    erasuresFrom(where, (url, work) => withClient({ url, ...(token === undefined ? {} : { token }) }, io.env, work));
};

/** The trees are not part of a backup: the first open builds them. */
function checkWhole(target: string): Promise<void> {
  return withScratch(async (scratch) => {
    const { findings } = await checkDirectory(target, scratch);
    const bad = findings.find(({ severity, file }) => severity === 'damage' && !file.includes('/tree'));
    if (bad !== undefined) throw new Difference(`the restored directory is not sound: ${bad.file}: ${bad.detail}`);
  });
}
