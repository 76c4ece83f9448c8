/** `varve put`: inserts one version. The body goes to the server byte for byte; the server judges it. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type AddCommand, examples } from '../command.js';
import { entityPath, type HttpClient } from '../http-client.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { fields, type Io, UsageError, write, writeJson } from '../output.js';
import type { RecordJson } from '../records.js';

export interface InsertFlags extends OnlineOptions {
  readonly ifMatch?: string;
  readonly ifAbsent?: boolean;
  readonly refs?: string;
  readonly time?: string;
  readonly idempotencyKey?: string;
}

export const addPut: AddCommand = (program, io) => {
  const command = program
    .command('put <collection> <key> [body]')
    .description('insert a version of an entity; the body is JSON, - (or nothing) for stdin, @FILE for a file');
  insertFlags(online(command))
    .option('--if-absent', 'only where the entity does not exist (If-None-Match: *)')
    .option('--delete', 'insert a tombstone instead: as `varve delete`');
  examples(command, [
    { command: `varve put customers alice '{"name":"Alice"}'`, does: 'inserts a version; its id is what `get --as-of` takes' },
    {
      command: 'varve put customers alice @alice.json --if-match 0001000000000007',
      does: 'only where that is the newest version (--if-match "*": any)',
    },
    {
      command: 'echo 42 | varve put counters visits - --idempotency-key job-17',
      does: 'may be run again: the second time gives the first answer',
    },
    { command: `varve put customers alice '{"name":"Al"}' --time 2001-01-01T00:00:00Z`, does: 'loads history with a time of its own' },
  ]);
  command.action(async (collection: string, key: string, body: string | undefined, options: InsertFlags & { delete?: boolean }) => {
    if (options.delete === true) {
      if (body !== undefined) throw new UsageError('--delete takes no body');
      return deleteEntity(io, collection, key, options);
    }
    const bytes = await bodyBytes(io, body);
    await withClient(options, io.env, async (client) => {
      await show(io, options, await insert(client, 'PUT', collection, key, options, bytes));
    });
  });
};

/** The options that PUT and DELETE share. */
export function insertFlags(command: Command): Command {
  return command
    .option('--if-match <id>', 'only where this is the newest version; several with commas; * for any')
    .option('--refs <ids>', 'records this one refers to, with commas')
    .option('--time <time>', 'a time of its own, RFC 3339: later than the newest, not in the future')
    .option('--idempotency-key <key>', 'makes sending again safe for a day');
}

export async function deleteEntity(io: Io, collection: string, key: string, options: InsertFlags): Promise<void> {
  await withClient(options, io.env, async (client) => {
    await show(io, options, await insert(client, 'DELETE', collection, key, options));
  });
}

function insert(
  client: HttpClient,
  method: 'PUT' | 'DELETE',
  collection: string,
  key: string,
  options: InsertFlags,
  body?: Buffer,
): Promise<RecordJson> {
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  if (options.ifMatch !== undefined) headers['if-match'] = tags(options.ifMatch);
  if (options.ifAbsent === true) headers['if-none-match'] = '*';
  if (options.refs !== undefined) headers['varve-refs'] = options.refs;
  if (options.time !== undefined) headers['varve-time'] = options.time;
  if (options.idempotencyKey !== undefined) headers['idempotency-key'] = options.idempotencyKey;
  return client.json<RecordJson>(method, entityPath(collection, key), { headers, body });
}

function tags(ids: string): string {
  return ids === '*'
    ? '*'
    : ids
        .split(',')
        .map((id) => `"${id.trim().replaceAll('"', '')}"`)
        .join(', ');
}

async function bodyBytes(io: Io, body: string | undefined): Promise<Buffer> {
  let bytes: Buffer;
  if (body === undefined || body === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Buffer));
    bytes = Buffer.concat(chunks);
  } else if (body.startsWith('@')) {
    bytes = await readFile(body.slice(1)).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`cannot read ${body.slice(1)}: ${error.code ?? error.message}`, { cause: error });
    });
  } else {
    bytes = Buffer.from(body);
  }
  try {
    JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    const hint = bytes.length === 0 ? 'is empty' : `is not JSON (${(error as Error).message}); a text needs quotes of its own: '"text"'`;
    throw new UsageError(`the body ${hint}`, { cause: error });
  }
  return bytes;
}

async function show(io: Io, options: { json?: boolean }, record: RecordJson): Promise<void> {
  if (options.json === true) return writeJson(io, record);
  const what = record.deleted ? 'deleted' : record.supersedes === null ? 'created' : 'changed';
  await write(
    io,
    fields([
      [what, `${record.collection} ${record.key}`],
      ['id', record.id],
      ['time', record.time],
    ]),
  );
}
