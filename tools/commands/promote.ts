/** `varve promote`: makes the server that is asked the owner of a shard, or of all. */
import { type AddCommand, examples } from '../command.js';
import type { HttpClient } from '../http-client.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { UsageError, write, writeJson } from '../output.js';

interface PromoteFlags extends OnlineOptions {
  readonly all?: boolean;
  readonly force?: boolean;
}

interface ShardJson {
  readonly shard: number;
  readonly role: string;
  readonly epoch: number;
}

export const addPromote: AddCommand = (program, io) => {
  const command = program.command('promote').description('make this server the owner of a shard, in the next epoch');
  command.argument('[shard]', 'number of the shard (1 where there is one)', positive);
  online(command)
    .option('--all', 'every shard, one after the other')
    .option(
      '--force',
      'without a majority, and whatever others have that this copy has not: those records are set aside when they come back',
    );
  examples(command, [
    { command: 'varve promote --url http://10.0.0.2:7411', does: 'the server there takes the writes, if a majority agrees' },
    { command: 'varve promote --all', does: 'all shards' },
    { command: 'varve promote 3 --force', does: 'shard 3, although too few answer' },
  ]);
  command.action((shard: number | undefined, options: PromoteFlags) =>
    withClient(options, io.env, async (client) => {
      if (shard !== undefined && options.all === true) throw new UsageError('either a shard or --all');
      for (const number of await chosen(client, shard, options.all === true)) {
        const now = await client.json<ShardJson>('POST', `/v1/shards/${number}/promotion`, {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ force: options.force === true }),
        });
        if (options.json === true) await writeJson(io, now);
        else await write(io, `shard ${now.shard}: ${now.role} in epoch ${now.epoch}\n`);
      }
    }),
  );
};

async function chosen(client: HttpClient, shard: number | undefined, all: boolean): Promise<readonly number[]> {
  if (shard !== undefined) return [shard];
  const { shards } = await client.json<{ shards: ShardJson[] }>('GET', '/v1/shards');
  if (shards.length > 1 && !all) throw new UsageError(`there are ${shards.length} shards: name one, or --all`);
  return shards.map((each) => each.shard);
}
