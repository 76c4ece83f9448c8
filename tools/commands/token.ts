/**
 * `varve token`: makes, shows and revokes access tokens in the file that a server reads. The server notices by itself.
 *
 * The file is replaced whole (temporary file of mode 0600, sync, rename, sync of the directory), so that a crash leaves the old or the
 * new one and a server never reads half of one. Two at once: a lock file beside it, made exclusively, keeps the second out.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Command, Option } from 'commander';
import {
  ConfigError,
  createToken,
  DEFAULT_DATA,
  formatTokens,
  readTokens,
  TOKEN_FILE,
  TOKEN_ROLES,
  type TokenRecord,
  type TokenRole,
} from '../../server/index.js';
import { type AddCommand, examples } from '../command.js';
import { nodeDisk } from '../disk.js';
import { counted, Difference, type Io, printable, say, table, UsageError } from '../output.js';

interface WhereOptions {
  readonly data?: string;
  readonly tokens?: string;
  readonly json?: boolean;
}
interface CreateOptions extends WhereOptions {
  readonly role: TokenRole;
  readonly collection?: readonly string[];
  readonly name?: string;
}

export const addToken: AddCommand = (program, io) => {
  const group = program.command('token').description('make, show and revoke access tokens (works on the file; a running server notices)');
  const create = where(group.command('create'))
    .description('make a token; it is shown once')
    .addOption(
      new Option('--role <role>', 'read < write < admin; replica for replication alone').choices([...TOKEN_ROLES]).makeOptionMandatory(),
    )
    .option('--collection <name>', 'limit it to this collection (again for more)', (name, all: string[] = []) => [...all, name])
    .option('--name <text>', 'what it is for');
  create.action((options: CreateOptions) => wrongUse(() => createOne(io, options)));
  where(group.command('list'))
    .description('the tokens there are, without their secrets')
    .action((options: WhereOptions) => wrongUse(() => listAll(io, options)));
  where(group.command('revoke <id>'))
    .description('end a token: what it has under way is cut within a second')
    .action((id: string, options: WhereOptions) => wrongUse(() => revokeOne(io, id, options)));
  examples(group, [
    { command: 'varve token create --role admin --name ops', does: 'from now on the server on ./varve-data wants tokens' },
    { command: 'varve token create --role write --collection orders --name shop', does: 'for one collection' },
    { command: 'varve token revoke 3f9a01c2', does: 'the id stands behind varve_' },
  ]);
};

function where(command: Command): Command {
  return command
    .option('--data <dir>', `data directory of the server (VARVE_DATA; ${DEFAULT_DATA})`)
    .option('--tokens <file>', `the token file itself (VARVE_TOKENS; ${TOKEN_FILE} in the data directory)`)
    .option('--json', 'for machines');
}

function fileOf(io: Io, options: WhereOptions): string {
  const variable = (name: string) => (io.env[name] === '' ? undefined : io.env[name]);
  if (options.tokens !== undefined) return options.tokens;
  if (options.data !== undefined) return `${options.data}/${TOKEN_FILE}`;
  return variable('VARVE_TOKENS') ?? `${variable('VARVE_DATA') ?? DEFAULT_DATA}/${TOKEN_FILE}`;
}

function createOne(io: Io, options: CreateOptions): void {
  const path = fileOf(io, options);
  const { text, record } = createToken(
    {
      role: options.role,
      ...(options.collection === undefined ? {} : { collections: options.collection }),
      ...(options.name === undefined ? {} : { name: options.name }),
    },
    new Date(),
  );
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  change(path, (tokens) => [...tokens, record]);
  if (options.json === true) {
    const { id, name, role, collections, created } = record;
    io.stdout.write(`${JSON.stringify({ id, name, role, collections, created, token: text })}\n`);
    return;
  }
  io.stdout.write(`${text}\n`);
  say(io, `This is the only time it is shown. Its id is ${record.id}; ${rights(record)}.`);
}

function listAll(io: Io, options: WhereOptions): void {
  const tokens = readTokens(nodeDisk, fileOf(io, options)) ?? [];
  if (options.json === true) {
    for (const { id, name, role, collections, created } of tokens)
      io.stdout.write(`${JSON.stringify({ id, name, role, collections, created })}\n`);
    return;
  }
  if (tokens.length === 0) return say(io, 'There are no tokens.');
  const columns = [{ title: 'ID' }, { title: 'ROLE' }, { title: 'COLLECTIONS' }, { title: 'CREATED' }, { title: 'NAME' }];
  const rows = tokens.map(({ id, role, collections, created, name }) => [id, role, collections?.join(', ') ?? 'all', created, name]);
  io.stdout.write(table(io, columns, rows));
}

function revokeOne(io: Io, id: string, options: WhereOptions): void {
  const path = fileOf(io, options);
  // The whole token is taken too: it is what a person has at hand who wants to be rid of it.
  const wanted = /^varve_([0-9a-f]{8})_/.exec(id)?.[1] ?? id;
  let left = 0;
  change(path, (tokens) => {
    const others = tokens.filter((token) => token.id !== wanted);
    if (others.length === tokens.length) throw new Difference(`there is no token ${printable(wanted)}`);
    left = others.length;
    return others;
  });
  if (options.json === true) io.stdout.write(`${JSON.stringify({ revoked: wanted, left })}\n`);
  else say(io, `Revoked ${wanted}; ${counted(left, 'token')} left.`);
}

function rights({ role, collections }: TokenRecord): string {
  return `role ${role}, ${collections === null ? 'all collections' : `only ${collections.join(', ')}`}`;
}

function change(path: string, next: (tokens: readonly TokenRecord[]) => readonly TokenRecord[]): void {
  const temporary = `${path}.new`;
  let fd: number;
  try {
    fd = openSync(temporary, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Difference(`${temporary} is there: another varve token is at work, or was cut short (then delete that file)`);
  }
  try {
    try {
      const bytes = Buffer.from(formatTokens(next(readTokens(nodeDisk, path) ?? [])));
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  const directory = openSync(dirname(path), 'r');
  fsyncSync(directory);
  closeSync(directory);
}

/** What is wrong with a setting or a file is told in one line. */
function wrongUse(work: () => void): void {
  try {
    work();
  } catch (error) {
    throw error instanceof ConfigError ? new UsageError(error.message, { cause: error }) : error;
  }
}
