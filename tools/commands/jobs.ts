/** `varve jobs`: what the server does for its space, and how far it is. */
import { type AddCommand, examples } from '../command.js';
import type { HttpClient } from '../http-client.js';
import type { JobJson } from '../jobs.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { table, UsageError, write, writeJson } from '../output.js';

interface JobsFlags extends OnlineOptions {
  readonly cancel?: boolean;
}

/** What is asked of the server, by the word before the id. */
const ACTIONS = {
  cancel: ['DELETE', undefined],
  pause: ['PUT', { paused: true }],
  resume: ['PUT', { paused: false }],
} as const;

export const addJobs: AddCommand = (program, io) => {
  const command = program
    .command('jobs [action-or-id] [id]')
    .description('compactions and erasures since the server started; one of them; or pause, resume or cancel it');
  online(command).option('--cancel', 'the same as cancel; what it has done by then stays');
  examples(command, [
    { command: 'varve jobs', does: 'newest first' },
    { command: 'varve jobs 5f1d0c9a7b3e2846 --json', does: 'one, with its result' },
    { command: 'varve jobs pause 5f1d0c9a7b3e2846', does: 'holds it where it is; what waits for it waits on' },
    { command: 'varve jobs resume 5f1d0c9a7b3e2846', does: 'lets it go on' },
    { command: 'varve jobs cancel 5f1d0c9a7b3e2846', does: 'ends it; what it has done by then stays' },
  ]);
  command.action((first: string | undefined, second: string | undefined, options: JobsFlags) =>
    withClient(options, io.env, async (client) => {
      const { action, id } = askedFor(first, second, options.cancel === true);
      const jobs = id === undefined ? (await client.json<{ jobs: JobJson[] }>('GET', '/v1/jobs')).jobs : [await askOf(client, action, id)];
      if (options.json === true) for (const job of jobs) await writeJson(io, job);
      else await write(io, table(io, COLUMNS, jobs.map(rowOf)));
    }),
  );
};

type Action = keyof typeof ACTIONS;

function askedFor(first: string | undefined, second: string | undefined, isCancelled: boolean): { action?: Action; id?: string } {
  const isAction = first !== undefined && Object.hasOwn(ACTIONS, first);
  if (!isAction && second !== undefined) throw new UsageError(`${Object.keys(ACTIONS).join(', ')}, not '${first}'`);
  const action = isAction ? (first as Action) : isCancelled ? 'cancel' : undefined;
  const id = isAction ? second : first;
  if (id === undefined && action !== undefined) throw new UsageError(`which one? varve jobs lists them`);
  return { ...(action === undefined ? {} : { action }), ...(id === undefined ? {} : { id }) };
}

function askOf(client: HttpClient, action: Action | undefined, id: string): Promise<JobJson> {
  const [method, body] = action === undefined ? (['GET', undefined] as const) : ACTIONS[action];
  const sent = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return client.json<JobJson>(method, `/v1/jobs/${encodeURIComponent(id)}`, sent);
}

const COLUMNS = [
  { title: 'ID' },
  { title: 'KIND' },
  { title: 'STATE' },
  { title: 'DONE', right: true },
  { title: 'BEGAN' },
  { title: 'ENDED' },
  { title: 'ERROR' },
];

function rowOf({ id, kind, state, paused, progress, started, ended, error }: JobJson): string[] {
  return [id, kind, paused ? `${state}, paused` : state, `${Math.floor(100 * progress)}%`, started ?? '', ended ?? '', error ?? ''];
}
