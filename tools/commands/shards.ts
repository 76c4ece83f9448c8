/** `varve shards`: where every shard stands, and with `--roots` the hash that names what it holds. */
import { type AddCommand, examples } from '../command.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { count, table, write, writeJson } from '../output.js';

interface ShardsFlags extends OnlineOptions {
  readonly roots?: boolean;
}

interface ShardJson {
  readonly shard: number;
  readonly role: string;
  readonly state: string;
  readonly epoch: number;
  readonly lastSeq: number;
  readonly durableSeq: number;
  readonly quorumSeq: number;
  readonly lagSeconds: number;
  readonly owner: { readonly url: string } | null;
  readonly followers: readonly { readonly url: string; readonly ackedSeq: number; readonly lagSeconds: number; readonly breaker: string }[];
  readonly liveBytes: number;
  readonly deadBytes: number;
}

interface RootJson {
  readonly root: string;
  readonly entries: number;
}

const COPY_COLUMNS = [
  { title: 'SHARD', right: true },
  { title: 'COPY' },
  { title: 'IS' },
  { title: 'ACKED SEQ', right: true },
  { title: 'BEHIND', right: true },
];

/** Who follows here, and whom this server follows. */
function copyRows(shards: readonly ShardJson[]): string[][] {
  return shards.flatMap(({ shard, role, owner, followers, lagSeconds, durableSeq }) => {
    if (role === 'follower')
      return owner === null ? [] : [[String(shard), owner.url, 'owner', count(durableSeq), `${lagSeconds.toFixed(1)} s`]];
    return followers.map(({ url, ackedSeq, lagSeconds: lag, breaker }) => [
      String(shard),
      url,
      breaker === 'closed' ? 'follower' : `follower (calls to it: ${breaker})`,
      count(ackedSeq),
      `${lag.toFixed(1)} s`,
    ]);
  });
}

export const addShards: AddCommand = (program, io) => {
  const command = program.command('shards').description('positions, bytes and state of every shard');
  online(command).option('--roots', 'their root hashes too: two copies are the same exactly if these are');
  examples(command, [
    { command: 'varve shards', does: 'a table of all' },
    { command: 'varve shards --roots --json', does: 'one shard a line, with its root' },
  ]);
  command.action((options: ShardsFlags) =>
    withClient(options, io.env, async (client) => {
      const { shards } = await client.json<{ shards: ShardJson[] }>('GET', '/v1/shards');
      const roots = new Map<number, RootJson>();
      if (options.roots === true)
        for (const { shard } of shards) roots.set(shard, await client.json<RootJson>('GET', `/v1/shards/${shard}/root`));
      if (options.json === true) {
        for (const shard of shards) await writeJson(io, { ...shard, ...roots.get(shard.shard) });
        return;
      }
      const right = { right: true };
      const columns = [
        { title: 'SHARD', ...right },
        { title: 'ROLE' },
        { title: 'STATE' },
        { title: 'EPOCH', ...right },
        { title: 'LAST SEQ', ...right },
        { title: 'LIVE BYTES', ...right },
        { title: 'DEAD BYTES', ...right },
        ...(options.roots === true ? [{ title: 'ROOT' }] : []),
      ];
      const rows = shards.map(({ shard, role, state, epoch, lastSeq, liveBytes, deadBytes }) => [
        String(shard),
        role,
        state,
        String(epoch),
        count(lastSeq),
        count(liveBytes),
        count(deadBytes),
        ...(options.roots === true ? [roots.get(shard)?.root ?? ''] : []),
      ]);
      await write(io, table(io, columns, rows));
      const copies = copyRows(shards);
      if (copies.length > 0) await write(io, `\n${table(io, COPY_COLUMNS, copies)}`);
    }),
  );
};
