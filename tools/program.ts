/**
 * The command line as a function: arguments and an Io in, an exit code out. 0 done, 1 found a difference or
 * failed, 2 wrong usage. The one place that turns errors into lines for people.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { AddCommand } from './command.js';
import { ConnectionError, ProblemError } from './http-client.js';
import { GitError } from './import/git/git.js';
import { Difference, type Io, printable, say, UsageError } from './output.js';

/** In the order of the help. Loaded when asked for: a `get` need not wait for what `serve` is made of. */
const VERBS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  serve: async () => (await import('./commands/serve.js')).addServe,
  put: async () => (await import('./commands/put.js')).addPut,
  delete: async () => (await import('./commands/delete.js')).addDelete,
  get: async () => (await import('./commands/get.js')).addGet,
  history: async () => (await import('./commands/history.js')).addHistory,
  list: async () => (await import('./commands/list.js')).addList,
  changes: async () => (await import('./commands/changes.js')).addChanges,
  diff: async () => (await import('./commands/diff.js')).addDiff,
  shards: async () => (await import('./commands/shards.js')).addShards,
  promote: async () => (await import('./commands/promote.js')).addPromote,
  retain: async () => (await import('./commands/retain.js')).addRetain,
  snapshot: async () => (await import('./commands/snapshot.js')).addSnapshot,
  compact: async () => (await import('./commands/compact.js')).addCompact,
  verify: async () => (await import('./commands/verify.js')).addVerify,
  scrub: async () => (await import('./commands/verify.js')).addScrub,
  repair: async () => (await import('./commands/verify.js')).addRepair,
  erase: async () => (await import('./commands/erase.js')).addErase,
  jobs: async () => (await import('./commands/jobs.js')).addJobs,
  load: async () => (await import('./commands/load.js')).addLoad,
  dump: async () => (await import('./commands/dump.js')).addDump,
  import: async () => (await import('./commands/import-git.js')).addImport,
  inspect: async () => (await import('./commands/inspect.js')).addInspect,
  backup: async () => (await import('./commands/backup.js')).addBackup,
  restore: async () => (await import('./commands/restore.js')).addRestore,
  token: async () => (await import('./commands/token.js')).addToken,
  check: async () => (await import('./commands/check.js')).addCheck,
  bench: async () => (await import('./commands/bench.js')).addBench,
};

const VERSION_FLAGS: readonly (string | undefined)[] = ['-V', '--version'];

const START = `
Start here:
  $ varve serve                                  a server on 127.0.0.1:7411, data in ./varve-data
  $ varve put customers alice '{"city":"Oslo"}'  insert a version
  $ varve history customers alice                every version there ever was
  $ varve import git .                           this repository's whole history
  $ varve <verb> --help                          examples for each verb
`;

export async function run(args: readonly string[], io: Io): Promise<number> {
  try {
    const verbs = await Promise.all(askedFor(args[0]).map((load) => load?.()));
    await program(io, verbs).parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    return tell(error, io);
  }
}

function askedFor(first: string | undefined): readonly ((() => Promise<AddCommand>) | undefined)[] {
  if (VERSION_FLAGS.includes(first)) return [];
  return Object.hasOwn(VERBS, first ?? '') ? [VERBS[first ?? '']] : Object.values(VERBS);
}

function program(io: Io, verbs: readonly (AddCommand | undefined)[]): Command {
  const root = new Command('varve');
  // Before any verb is added: verbs take these over.
  root.exitOverride();
  root.configureOutput({
    writeOut: (text) => void io.stdout.write(text),
    writeErr: (text) => void io.stderr.write(text),
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  });
  root
    .description('Varve: a database that keeps every version of everything')
    .version(version(), '-V, --version')
    .showHelpAfterError('(--help shows examples)');
  root.addHelpText('after', START);
  for (const add of verbs) add?.(root, io);
  return root;
}

/** Says what went wrong, in one line where it is not a bug of ours, and gives the exit code. */
function tell(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') return 0; // whoever read our output has read enough
  if (error instanceof UsageError) {
    say(io, `varve: ${printable(error.message)}`);
    return 2;
  }
  if (error instanceof Difference) {
    if (error.message !== '') say(io, `varve: ${printable(error.message)}`);
    return 1;
  }
  // The engine's error by its name: its module is loaded only with the verbs that need it.
  const engine = error instanceof Error && error.name === 'VarveError';
  const meant = engine || error instanceof ProblemError || error instanceof ConnectionError || error instanceof GitError;
  const plain = error instanceof Error && (meant || error.constructor === Error || 'syscall' in error);
  say(
    io,
    plain
      ? `varve: ${printable(error.message)}`
      : `varve: unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  return 1;
}

/** Sources and build lie at different depths below package.json. */
function version(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      const read = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as { name?: string; version?: string };
      if (read.name === 'varve' && read.version !== undefined) return read.version;
    } catch {
      // The other depth, then.
    }
  }
  return 'unknown';
}
