/** `varve bench`: Varve and what people would use instead, on the same work on the same machine. The work is in tools/bench. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { peerNames } from '../bench/adapter.js';
import { HTTP_KINDS, type HttpKind } from '../bench/http/result.js';
import { PHASES } from '../bench/job.js';
import { defaultPeersDirectory } from '../bench/packages.js';
import { comparisons, conditions, plainTable } from '../bench/report.js';
import { type Results, readResults } from '../bench/results.js';
import { FILES, runBench, writeReport } from '../bench/run-bench.js';
import { type AddCommand, examples } from '../command.js';
import { positive } from '../online.js';
import { Difference, type Io, say, UsageError, write, writeJson } from '../output.js';

interface BenchFlags {
  readonly peers: string;
  readonly workloads: string;
  readonly entities?: number;
  readonly size?: string;
  readonly versions: number;
  readonly data: string;
  readonly repo?: string;
  readonly reps: number;
  readonly cap: number;
  readonly seed: number;
  readonly http?: boolean;
  readonly httpOnly?: boolean;
  readonly httpEntities: number;
  readonly out: string;
  readonly dir?: string;
  readonly peersDir?: string;
  readonly install: boolean;
  readonly profile?: boolean;
  readonly report?: string;
  readonly json?: boolean;
}

const MILLION = 1_000_000;
const DEFAULT_ENTITIES = 100_000;
/** Of a repository: all its paths. */
const ALL_PATHS = 10 * MILLION;

export const addBench: AddCommand = (program, io) => {
  const command = program.command('bench').description('measure Varve beside its peers: a table, a chart, the figures as JSON');
  command
    .option('--peers <list>', `of ${peerNames().join(', ')}; all: every one`, 'all')
    .option('--workloads <list>', `of ${PHASES.join(', ')}; the load always runs`, 'all')
    .option('--entities <n>', `entities (${DEFAULT_ENTITIES})`, positive)
    .option('--size <list>', 'instead: millions of versions, a run each: 0.5,5,20')
    .option('--versions <n>', 'versions of an entity, on average', positive, 5)
    .option('--data <set>', 'synthetic or git', 'synthetic')
    .option('--repo <path>', 'the repository of --data git')
    .option('--reps <n>', 'repetitions; medians of them are told', positive, 3)
    .option('--cap <seconds>', 'the most a timed loop takes', seconds, 2)
    .option('--seed <n>', 'of everything random', positive, 1)
    .option('--http', 'HTTP too, beside bare node:http, Express and PouchDB Server')
    .option('--http-only', 'HTTP alone')
    .option('--http-entities <n>', 'entities served', positive, 10_000)
    .option('--out <dir>', `where ${Object.values(FILES).join(', ')} go`, 'bench-results')
    .option('--dir <dir>', "where databases are made and removed (the system's temporary folder)")
    .option('--peers-dir <dir>', "where the peers' packages are installed on first use (a checkout has a place; elsewhere it must be said)")
    .option('--no-install', 'fail where a package is missing')
    .option('--profile', 'a CPU profile of every phase, below --out')
    .option('--report <dir>', 'measure nothing: table and chart again, of the results there')
    .option('--json', 'for machines: the results');
  examples(command, [
    { command: 'varve bench --http', does: 'everything: some hours with all peers; the first time installs them' },
    { command: 'varve bench --peers varve,sqlite --entities 20000 --reps 1 --cap 0.5', does: 'a quick look, nothing to install' },
    {
      command: 'varve bench --peers varve,lmdb --size 0.5,5,20 --workloads load,open,reads',
      does: 'what the cost becomes as the data grows',
    },
    { command: 'varve bench --data git --repo . --peers varve,sqlite', does: 'the versions of real files' },
    { command: 'varve bench --report bench-results', does: 'the table and the chart of an earlier run' },
  ]);
  command.action(async (flags: BenchFlags) => {
    const out = flags.report ?? flags.out;
    let results: Results;
    if (flags.report === undefined) {
      results = await runBench(benchOptions(flags, io));
    } else {
      if (!existsSync(path.join(out, FILES.results))) throw new UsageError(`there is no ${FILES.results} in ${out}`);
      results = readResults(path.join(out, FILES.results));
      writeReport(out, results);
    }
    await tell(io, results, out, flags.json === true);
  });
};

async function tell(io: Io, results: Results, out: string, json: boolean): Promise<void> {
  if (json) await writeJson(io, results);
  else {
    await write(io, `${conditions(results)}\n`);
    for (const comparison of comparisons(results)) {
      await write(io, `\n${plainTable(io, comparison)}`);
      for (const note of comparison.notes) await write(io, `  ${note}\n`);
    }
    await write(io, '\n* the best; (in brackets) does less and does not count for it\n');
    say(
      io,
      `results, table and chart: ${Object.values(FILES)
        .map((file) => path.join(out, file))
        .join(', ')}`,
    );
  }
  const failed = [...results.runs.flatMap((run) => Object.values(run.peers)), ...Object.values(results.http?.kinds ?? {})];
  if (failed.some(({ errors }) => errors.length > 0)) throw new Difference('some of it failed, see above');
}

function benchOptions(flags: BenchFlags, io: Io): Parameters<typeof runBench>[0] {
  if (flags.data !== 'synthetic' && flags.data !== 'git') throw new UsageError(`--data is synthetic or git, not '${flags.data}'`);
  if (flags.data === 'git' && flags.repo === undefined) throw new UsageError('--data git needs --repo');
  if (flags.data === 'git' && flags.size !== undefined) throw new UsageError('--size is for synthetic data: a repository has its own');
  if (flags.size !== undefined && flags.entities !== undefined) throw new UsageError('--size and --entities say the same: give one');
  const phases = chosen('workloads', flags.workloads, PHASES);
  return {
    command: `varve bench ${commandLine(flags)}`.trim(),
    peers: chosen('peers', flags.peers, peerNames()),
    phases: PHASES.filter(
      (phase) => phase === 'load' || phases.includes(phase) || (phase === 'crash' && phases.includes('open-after-crash')),
    ),
    entities: sizes(flags),
    versionsPer: flags.versions,
    data: flags.data,
    repo: flags.repo,
    reps: flags.reps,
    capMs: flags.cap * 1000,
    seed: flags.seed,
    inProcess: flags.httpOnly !== true,
    http: flags.http === true || flags.httpOnly === true ? httpKinds(flags.peers) : [],
    httpEntities: flags.httpEntities,
    out: flags.out,
    directory: flags.dir,
    peersDirectory: flags.peersDir ?? defaultPeersDirectory(),
    install: flags.install,
    profile: flags.profile === true,
    log: (line) => say(io, line),
  };
}

/** `--peers` of one who wants a few leaves out the servers that would have to be installed. */
function httpKinds(peers: string): readonly HttpKind[] {
  if (peers === 'all' || peers.split(',').includes('pouchdb')) return HTTP_KINDS;
  return HTTP_KINDS.filter((kind) => kind !== 'pouchdb');
}

function sizes({ size, versions, entities, data }: BenchFlags): number[] {
  if (size === undefined) return [entities ?? (data === 'git' ? ALL_PATHS : DEFAULT_ENTITIES)];
  return size.split(',').map((text) => {
    const millions = Number(text);
    if (!(millions > 0 && millions <= 1000)) throw new UsageError(`--size: '${text}' is not a number of millions`);
    return Math.max(1, Math.round((millions * MILLION) / versions));
  });
}

function chosen<T extends string>(flag: string, text: string, known: readonly T[]): T[] {
  if (text === 'all') return [...known];
  const names = text.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!(known as readonly string[]).includes(name)) throw new UsageError(`--${flag}: there is no '${name}' (${known.join(', ')})`);
  }
  return known.filter((name) => names.includes(name));
}

/** As it would be typed again. */
function commandLine(flags: BenchFlags): string {
  const leftOut = new Set(['out', 'dir', 'peersDir', 'install', 'json', 'report']);
  const typed = Object.entries(flags).filter(([name, value]) => !leftOut.has(name) && value !== undefined && value !== 'all');
  return typed
    .map(([name, value]) => {
      const flag = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      return value === true ? flag : `${flag} ${String(value)}`;
    })
    .join(' ');
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new UsageError(`'${text}' is not a number of seconds`);
  return value;
}
