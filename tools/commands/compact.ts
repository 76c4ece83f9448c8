/** `varve compact`: drops what is not kept and gives its space back. */
import { type AddCommand, examples } from '../command.js';
import { finished, type JobJson } from '../jobs.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { count, counted, say, write, writeJson } from '../output.js';

interface CompactFlags extends OnlineOptions {
  readonly shard?: number;
  readonly collection?: string;
  readonly force?: boolean;
  readonly wait: boolean;
}

export const addCompact: AddCommand = (program, io) => {
  const command = program.command('compact').description('drop what is not kept, and rewrite the segments where that gives space back');
  online(command)
    .option('--shard <n>', 'only this shard', positive)
    .option('--collection <name>', 'trim only this collection')
    .option('--force', 'wherever anything is dead or not compressed yet, without waiting for a threshold')
    .option('--no-wait', 'tell the job and leave');
  examples(command, [
    { command: 'varve compact', does: 'where it is worth it' },
    { command: 'varve compact --force', does: 'everything that can go, now' },
    { command: 'varve compact --force --json', does: 'with the certificate: roots, ranges and counts' },
  ]);
  command.action((options: CompactFlags) =>
    withClient(options, io.env, async (client) => {
      const { shard, collection, force } = options;
      const job = await client.json<JobJson>('POST', '/v1/compactions', {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ shard, collection, force }),
      });
      const ended = options.wait ? await finished(client, job, io, options.json === true) : job;
      if (options.json === true) await writeJson(io, ended);
      else if (options.wait) await write(io, described(ended.result ?? {}));
      else say(io, `job ${job.id}: varve jobs ${job.id}`);
    }),
  );
};

function described(result: Readonly<Record<string, unknown>>): string {
  const number = (name: string): number => Number(result[name] ?? 0);
  if (number('segmentsRewritten') === 0) return `nothing to give back (${counted(number('versionsDropped'), 'version')} dropped)\n`;
  return (
    `${counted(number('recordsDropped'), 'record')} dropped, ${counted(number('segmentsRewritten'), 'segment')} rewritten: ` +
    `${count(number('bytesBefore'))} -> ${counted(number('bytesAfter'), 'byte')}\n`
  );
}
