/** `varve erase`: takes the bodies of an entity out of every file, for good. */
import { type AddCommand, examples } from '../command.js';
import { finished, type JobJson } from '../jobs.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { counted, UsageError, write, writeJson } from '../output.js';

interface EraseFlags extends OnlineOptions {
  readonly reason?: string;
  readonly yes?: boolean;
}

export const addErase: AddCommand = (program, io) => {
  const command = program
    .command('erase <collection> <key>')
    .description('take the bodies of all versions of an entity out of every file; cannot be undone');
  online(command).option('--reason <text>', 'why; it stays readable, as the key does').option('--yes', 'yes, for good');
  examples(command, [
    { command: 'varve erase customers alice --reason "request 4711" --yes', does: 'headers and hashes stay, and proofs of them verify' },
  ]);
  command.action((collection: string, key: string, options: EraseFlags) =>
    withClient(options, io.env, async (client) => {
      if (options.reason === undefined) throw new UsageError('--reason is needed, and stays readable');
      if (options.yes !== true) throw new UsageError('this cannot be undone: say --yes');
      const job = await client.json<JobJson>('POST', '/v1/erasures', {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ collection, key, reason: options.reason }),
      });
      const ended = await finished(client, job, io, options.json === true);
      if (options.json === true) await writeJson(io, ended);
      else await write(io, `${counted(Number(ended.result?.['versions'] ?? 0), 'version')} of ${collection}/${key} erased\n`);
    }),
  );
};
