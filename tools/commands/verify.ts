/** `varve verify`, `varve scrub`, `varve repair`: compares copies, reads every byte back, mends what is damaged. */
import type { VerificationFinding, VerifiedReplica } from '../../replication/index.js';
import { type AddCommand, examples } from '../command.js';
import { finished, type JobJson } from '../jobs.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { counted, Difference, type Io, table, write, writeJson } from '../output.js';

interface VerifyFlags extends OnlineOptions {
  readonly peer?: readonly string[];
  readonly shard?: number;
  readonly deep?: boolean;
  readonly repair?: boolean;
}

interface Result {
  readonly replicas: readonly VerifiedReplica[];
  readonly damaged: number;
  readonly repaired: number;
  readonly unrepairable: number;
  readonly findings: readonly VerificationFinding[];
}

type Asked = Pick<VerifyFlags, 'deep' | 'repair'>;

export const addVerify: AddCommand = (program, io) => {
  const command = program.command('verify').description('compare with the other copies, down to the records that differ');
  withPeers(online(command))
    .option('--deep', 'read every byte of every file of this server first')
    .option('--repair', 'mend what is damaged, and what differs from the owner');
  examples(command, [
    { command: 'varve verify', does: 'with the servers of its configuration; exit 1 where anything differs' },
    { command: 'varve verify --peer http://10.0.0.2:7411 --shard 1', does: 'with this one, one shard' },
    { command: 'varve verify --deep --json', does: 'reads everything first; the whole result' },
  ]);
  command.action((options: VerifyFlags) => verify(options, { ...options }, io));
};

export const addScrub: AddCommand = (program, io) => {
  const command = program.command('scrub').description('read every byte of every file back, and tell what is damaged');
  online(command).option('--shard <n>', 'only this shard', positive);
  examples(command, [{ command: 'varve scrub', does: 'slowly enough not to be felt; exit 1 where anything is damaged' }]);
  command.action((options: VerifyFlags) => verify({ ...options, peer: [] }, { deep: true }, io));
};

export const addRepair: AddCommand = (program, io) => {
  const command = program.command('repair').description('mend what is damaged here from the other copies');
  withPeers(online(command)).option('--deep', 'read every byte back first, to find all of it');
  examples(command, [
    { command: 'varve repair', does: 'what is known to be damaged' },
    { command: 'varve repair --deep --peer http://10.0.0.2:7411', does: 'everything, from this server' },
  ]);
  command.action((options: VerifyFlags) => verify(options, { ...options, repair: true }, io));
};

function withPeers(command: ReturnType<typeof online>): ReturnType<typeof online> {
  return command
    .option('--peer <url...>', 'the server to compare with, or several; those of the configuration by default')
    .option('--shard <n>', 'only this shard', positive);
}

function verify(options: VerifyFlags, { deep, repair }: Asked, io: Io): Promise<void> {
  return withClient(options, io.env, async (client) => {
    const job = await client.json<JobJson>('POST', '/v1/verifications', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ shard: options.shard, peers: options.peer, deep, repair }),
    });
    const ended = await finished(client, job, io, options.json === true);
    const result = ended.result as unknown as Result;
    if (options.json === true) await writeJson(io, ended);
    else await write(io, described(result, io));
    if (!isWell(result)) throw new Difference('');
  });
}

function isWell({ replicas, damaged, repaired, findings }: Result): boolean {
  const told = findings.filter(({ kind }) => !['damaged', 'missing'].includes(kind)).length;
  return told === 0 && damaged === repaired && replicas.every(({ same }) => same);
}

const MOST_IDS = 20;

function described(result: Result, io: Io): string {
  const { replicas, damaged, repaired, unrepairable, findings } = result;
  const lines: string[] = [];
  if (replicas.length > 0) {
    const rows = replicas.map(({ url, shard, seq, same, roots: [ours, theirs], differing, truncated }) => [
      url,
      String(shard),
      String(seq),
      same ? 'same' : `${differing.length}${truncated ? '+' : ''} differ`,
      ours.slice(0, 16),
      theirs.slice(0, 16),
    ]);
    lines.push(table(io, COLUMNS, rows));
    for (const { url, differing } of replicas) {
      for (const id of differing.slice(0, MOST_IDS)) lines.push(`${url} differs in ${id}\n`);
      if (differing.length > MOST_IDS) lines.push(`${url} differs in ${differing.length - MOST_IDS} more: --json lists them\n`);
    }
  }
  for (const { shard, kind, at, from, to, detail } of findings) {
    const range = from === null ? '' : from === to ? ` ${from}` : ` ${from} to ${to}`;
    lines.push(`shard ${shard} ${kind}${range}: ${at}: ${detail}\n`);
  }
  const rest = damaged - repaired;
  lines.push(
    damaged === 0
      ? 'nothing is damaged\n'
      : `${counted(damaged, 'place')} damaged, ${repaired} repaired${unrepairable > 0 ? `, ${unrepairable} not to be repaired` : rest > 0 ? ': varve repair' : ''}\n`,
  );
  return lines.join('');
}

const COLUMNS = [
  { title: 'COPY' },
  { title: 'SHARD', right: true },
  { title: 'SEQ', right: true },
  { title: 'STATE' },
  { title: 'ROOT HERE' },
  { title: 'ROOT THERE' },
];
