/** `varve get`: the newest version of an entity, or the version at a point in time. */
import { type AddCommand, examples } from '../command.js';
import { entityPath, ProblemError } from '../http-client.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { fields, write, writeJson } from '../output.js';
import type { RecordJson } from '../records.js';

export const addGet: AddCommand = (program, io) => {
  const command = program.command('get <collection> <key>').description('the newest version of an entity, or the one at a point in time');
  online(command).option('--as-of <point>', 'a time (RFC 3339) or a record id').option('--body', 'the bare body, as it was put');
  examples(command, [
    { command: 'varve get customers alice', does: 'the newest version' },
    { command: 'varve get files README.md --as-of 2024-05-01T12:00:00Z --body', does: 'the body as it was then' },
    { command: 'varve get customers alice --as-of 0001000000000a3f', does: "as of the end of that record's batch" },
  ]);
  command.action((collection: string, key: string, options: OnlineOptions & { asOf?: string; body?: boolean }) =>
    withClient(options, io.env, async (client) => {
      const path = entityPath(collection, key);
      if (options.body === true) {
        const reply = await client.request('GET', path, { query: { asOf: options.asOf, view: 'body' } });
        if (reply.status >= 400) throw new ProblemError(reply.status, reply.body.toString('utf8'));
        await write(io, reply.body);
        return write(io, '\n');
      }
      const record = await client.json<RecordJson>('GET', path, { query: { asOf: options.asOf } });
      if (options.json === true) return writeJson(io, record);
      const rows: [string, string][] = [
        ['id', record.id],
        ['time', record.time],
        ['hash', record.hash],
      ];
      if (record.supersedes !== null) rows.push(['supersedes', record.supersedes]);
      if (record.refs.length > 0) rows.push(['refs', record.refs.join(' ')]);
      await write(io, `${fields(rows)}\n${JSON.stringify(record.body, undefined, 2)}\n`);
    }),
  );
};
