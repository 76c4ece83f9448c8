/** `varve snapshot`: named points in time whose versions stay, whatever collections keep. */
import { type AddCommand, examples } from '../command.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { say, table, UsageError, write, writeJson } from '../output.js';

interface SnapshotFlags extends OnlineOptions {
  readonly asOf?: string;
}

interface SnapshotJson {
  readonly name: string;
  readonly asOf: string;
}

export const addSnapshot: AddCommand = (program, io) => {
  const command = program
    .command('snapshot [action] [name]')
    .description('list, create or delete named points in time whose versions stay');
  online(command).option('--as-of <point>', 'of a new one: a time or a record id; now where it is left out');
  examples(command, [
    { command: 'varve snapshot', does: 'all of them' },
    { command: 'varve snapshot create audit-2026 --as-of 2026-12-31T23:59:59Z', does: 'what was visible then stays' },
    { command: 'varve snapshot delete audit-2026', does: 'what only it kept goes with the next compaction' },
  ]);
  command.action((action: string | undefined, name: string | undefined, options: SnapshotFlags) =>
    withClient(options, io.env, async (client) => {
      const path = `/v1/snapshots/${encodeURIComponent(name ?? '')}`;
      switch (action) {
        case undefined:
        case 'list': {
          const { snapshots } = await client.json<{ snapshots: SnapshotJson[] }>('GET', '/v1/snapshots');
          if (options.json === true) for (const snapshot of snapshots) await writeJson(io, snapshot);
          else
            await write(
              io,
              table(
                io,
                [{ title: 'NAME' }, { title: 'AS OF' }],
                snapshots.map((each) => [each.name, each.asOf]),
              ),
            );
          return;
        }
        case 'create': {
          if (name === undefined) throw new UsageError('a snapshot needs a name');
          const body = JSON.stringify({ asOf: options.asOf ?? new Date().toISOString() });
          const made = await client.json<SnapshotJson>('PUT', path, { headers: { 'content-type': 'application/json' }, body });
          if (options.json === true) await writeJson(io, made);
          else say(io, `${made.name}: what was visible at ${made.asOf} stays`);
          return;
        }
        case 'delete': {
          if (name === undefined) throw new UsageError('which one?');
          const reply = await client.request('DELETE', path);
          if (reply.status === 204) return say(io, `${name} is gone`);
          throw new Error(reply.status === 404 ? `there is no snapshot ${name}` : `the server answered ${reply.status}`);
        }
        default:
          throw new UsageError(`list, create or delete, not '${action}'`);
      }
    }),
  );
};
