/** `varve jobs`: what the server does for its space, and how far it is. */
import { type AddCommand, examples } from '../command.js';
import type { JobJson } from '../jobs.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { table, UsageError, write, writeJson } from '../output.js';

interface JobsFlags extends OnlineOptions {
  readonly cancel?: boolean;
}

export const addJobs: AddCommand = (program, io) => {
  const command = program.command('jobs [id]').description('compactions and erasures since the server started; one of them; or cancel it');
  online(command).option('--cancel', 'cancel it; what it has done by then stays');
  examples(command, [
    { command: 'varve jobs', does: 'newest first' },
    { command: 'varve jobs 5f1d0c9a7b3e2846 --json', does: 'one, with its result' },
    { command: 'varve jobs 5f1d0c9a7b3e2846 --cancel', does: 'ends it' },
  ]);
  command.action((id: string | undefined, options: JobsFlags) =>
    withClient(options, io.env, async (client) => {
      if (options.cancel === true && id === undefined) throw new UsageError('which one is to be cancelled?');
      const path = `/v1/jobs/${encodeURIComponent(id ?? '')}`;
      const jobs =
        id === undefined
          ? (await client.json<{ jobs: JobJson[] }>('GET', '/v1/jobs')).jobs
          : [await client.json<JobJson>(options.cancel === true ? 'DELETE' : 'GET', path)];
      if (options.json === true) for (const job of jobs) await writeJson(io, job);
      else await write(io, table(io, COLUMNS, jobs.map(rowOf)));
    }),
  );
};

const COLUMNS = [
  { title: 'ID' },
  { title: 'KIND' },
  { title: 'STATE' },
  { title: 'DONE', right: true },
  { title: 'BEGAN' },
  { title: 'ENDED' },
  { title: 'ERROR' },
];

function rowOf({ id, kind, state, progress, started, ended, error }: JobJson): string[] {
  return [id, kind, state, `${Math.floor(100 * progress)}%`, started ?? '', ended ?? '', error ?? ''];
}
