/** `varve changes`: what became durable, in order; with `--follow` for as long as it takes, through restarts of the server. */
import { Client, VarveConnectionError, VarveProblem } from '../../server/client/index.js';
import { type AddCommand, examples } from '../command.js';
import { DEFAULT_URL, type OnlineOptions, online, positive } from '../online.js';
import { colourful, Difference, type Io, LineWriter, printable, UsageError } from '../output.js';

interface ChangesFlags extends OnlineOptions {
  readonly follow?: boolean;
  readonly after?: string;
  readonly collection?: string;
  readonly shard?: number;
  readonly limit?: number;
  readonly bodies?: boolean;
}

export const addChanges: AddCommand = (program, io) => {
  const command = program.command('changes').description('every record as it became durable, in order per shard');
  online(command)
    .option('-f, --follow', 'go on with what comes, until it is interrupted; restarts of the server are waited out')
    .option('--after <point>', 'begin after this cursor or record id, or "now"')
    .option('--collection <name>', 'only this collection')
    .option('--shard <n>', 'only this shard', positive)
    .option('--limit <n>', 'end after so many', positive)
    .option('--bodies', 'show bodies too (--json always has them)');
  examples(command, [
    { command: 'varve changes --follow --after now', does: 'what happens from now on' },
    { command: 'varve changes --collection customers --json', does: 'one record a line, each with the cursor to go on from' },
    { command: 'varve changes --after 0001000000000a3f --limit 10', does: 'the ten records after this one' },
  ]);
  command.action(async (options: ChangesFlags) => {
    const lines = new LineWriter(io);
    let shown = 0;
    try {
      for await (const change of clientOf(options, io).changes(asked(options))) {
        await lines.line(options.json === true ? JSON.stringify(change) : changeText(io, change, options.bodies === true));
        // Whoever follows wants to see it now.
        if (options.follow === true) await lines.flush();
        if (++shown === options.limit) break;
      }
    } catch (error) {
      if (error instanceof VarveProblem || error instanceof VarveConnectionError) throw new Difference(error.message);
      throw error;
    } finally {
      await lines.flush();
    }
  });
};

function asked({ follow, after, collection, shard }: ChangesFlags) {
  return {
    live: follow === true,
    ...(after === undefined ? {} : { after }),
    ...(collection === undefined ? {} : { collection }),
    ...(shard === undefined ? {} : { shard }),
  };
}

function clientOf(options: Partial<OnlineOptions>, io: Io): Client {
  const url = options.url ?? io.env['VARVE_URL'] ?? DEFAULT_URL;
  const token = options.token ?? io.env['VARVE_TOKEN'];
  try {
    return new Client(token === undefined || token === '' ? { url } : { url, token });
  } catch (error) {
    throw new UsageError(`'${url}' is not the URL of a server: it looks like ${DEFAULT_URL}`, { cause: error });
  }
}

interface ShownChange {
  readonly id: string;
  readonly time: string;
  readonly collection: string;
  readonly key: string;
  readonly deleted: boolean;
  readonly supersedes: string | null;
  readonly body?: unknown;
}

function changeText(io: Io, change: ShownChange, bodies: boolean): string {
  const what = change.deleted ? 'deleted' : change.supersedes === null ? 'created' : 'changed';
  const colour = change.deleted ? 31 : change.supersedes === null ? 32 : 33;
  const word = colourful(io) ? `\u001b[${colour}m${what}\u001b[39m` : what;
  const body = bodies && !change.deleted ? `  ${JSON.stringify(change.body)}` : '';
  return `${change.time}  ${change.id}  ${word}  ${printable(`${change.collection}/${change.key}`)}${body}`;
}
