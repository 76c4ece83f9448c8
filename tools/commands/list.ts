/** `varve list`: the entities of a collection, now or at a point in time; or the collections themselves. */
import { type AddCommand, examples } from '../command.js';
import type { HttpClient } from '../http-client.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { count, type Io, LineWriter, table, write } from '../output.js';
import { bodyText, type RecordJson } from '../records.js';

interface ListFlags extends OnlineOptions {
  readonly asOf?: string;
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: number;
  readonly bodies: boolean;
}

interface Collection {
  readonly name: string;
  readonly placement: string;
  readonly entities: number;
  readonly versions: number;
}

const PAGE = 1000;

export const addList: AddCommand = (program, io) => {
  const command = program
    .command('list [collection]')
    .description('the entities of a collection in key order, now or then; without a collection: the collections');
  online(command)
    .option('--as-of <point>', 'a time (RFC 3339) or a record id')
    .option('--prefix <text>', 'only keys that begin so')
    .option('--after <key>', 'only keys after this one')
    .option('--limit <n>', 'at most so many (default: all)', positive)
    .option('--no-bodies', 'keys and ids only');
  examples(command, [
    { command: 'varve list', does: 'the collections' },
    { command: 'varve list files --prefix src/ --no-bodies', does: 'what is below src/ now' },
    { command: 'varve list files --as-of 0001000000000a3f --json', does: 'the tree as of that commit, one record a line' },
  ]);
  command.action((collection: string | undefined, options: ListFlags) =>
    withClient(options, io.env, (client) =>
      collection === undefined ? listCollections(io, client, options) : listEntities(io, client, collection, options),
    ),
  );
};

async function listCollections(io: Io, client: HttpClient, options: ListFlags): Promise<void> {
  const { collections } = await client.json<{ collections: Collection[] }>('GET', '/v1/collections');
  if (options.json === true) return write(io, collections.map((each) => `${JSON.stringify(each)}\n`).join(''));
  const columns = [{ title: 'COLLECTION' }, { title: 'PLACEMENT' }, { title: 'ENTITIES', right: true }, { title: 'VERSIONS', right: true }];
  await write(
    io,
    table(
      io,
      columns,
      collections.map((each) => [each.name, each.placement, count(each.entities), count(each.versions)]),
    ),
  );
}

async function listEntities(io: Io, client: HttpClient, collection: string, options: ListFlags): Promise<void> {
  const lines = new LineWriter(io);
  let rows: string[][] = [];
  let headed = false;
  const columns = options.bodies
    ? [{ title: 'ID' }, { title: 'TIME' }, { title: 'KEY' }, { title: 'BODY' }]
    : [{ title: 'ID' }, { title: 'KEY' }];
  const showRows = async () => {
    const text = table(io, columns, rows);
    await write(io, headed ? text.slice(text.indexOf('\n') + 1) : text);
    headed = true;
    rows = [];
  };
  for await (const record of entities(client, collection, options)) {
    if (options.json === true) await lines.line(JSON.stringify(record));
    else {
      rows.push(options.bodies ? [record.id, record.time, record.key, bodyText(record)] : [record.id, record.key]);
      if (rows.length === PAGE) await showRows();
    }
  }
  await lines.flush();
  if (options.json !== true && (rows.length > 0 || !headed)) await showRows();
}

async function* entities(client: HttpClient, collection: string, options: ListFlags): AsyncGenerator<RecordJson> {
  const path = `/v1/collections/${encodeURIComponent(collection)}/entities`;
  const { asOf, prefix, after, bodies } = options;
  const query = { asOf, prefix, after, bodies: bodies ? undefined : false };
  if (options.limit === undefined) {
    yield* client.lines<RecordJson>(path, { query });
    return;
  }
  let left = options.limit;
  let cursor: string | null | undefined;
  do {
    const page: { records: RecordJson[]; next: string | null } = await client.json('GET', path, {
      query: { ...query, limit: Math.min(left, PAGE), cursor: cursor ?? undefined },
    });
    yield* page.records;
    left -= page.records.length;
    cursor = page.next;
  } while (left > 0 && cursor !== null);
}
