/** `varve history`: the versions of one entity. */
import { type AddCommand, examples } from '../command.js';
import { entityPath } from '../http-client.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { counted, LineWriter, say, UsageError, write } from '../output.js';
import { type RecordJson, versionTable } from '../records.js';

interface HistoryFlags extends OnlineOptions {
  readonly order: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit: number;
  readonly bodies?: boolean;
}

interface Page {
  readonly records: readonly RecordJson[];
  readonly next: string | null;
  readonly complete: boolean;
}

const PAGE = 1000;

export const addHistory: AddCommand = (program, io) => {
  const command = program.command('history <collection> <key>').description('the versions of an entity, newest first');
  online(command)
    .option('--order <order>', 'desc (newest first) or asc', 'desc')
    .option('--from <point>', 'only versions from this time or record id on')
    .option('--to <point>', 'only versions up to this time or record id')
    .option('--limit <n>', 'at most so many', positive, 100)
    .option('--bodies', 'show bodies too (--json always has them)');
  examples(command, [
    { command: 'varve history files README.md', does: 'the newest hundred versions' },
    { command: 'varve history files README.md --order asc --limit 1 --bodies', does: 'the first version, with its body' },
    { command: 'varve history customers alice --from 2024-01-01T00:00:00Z --json', does: 'one record a line' },
  ]);
  command.action((collection: string, key: string, options: HistoryFlags) =>
    withClient(options, io.env, async (client) => {
      if (options.order !== 'asc' && options.order !== 'desc') throw new UsageError(`--order is asc or desc, not '${options.order}'`);
      const { order, from, to } = options;
      const lines = new LineWriter(io);
      const shown: RecordJson[] = [];
      let left = options.limit;
      let page: Page | undefined;
      do {
        const query = page === undefined ? { order, from, to } : { order, from, to, cursor: page.next ?? undefined };
        page = await client.json<Page>('GET', `${entityPath(collection, key)}/history`, {
          query: { ...query, limit: Math.min(left, PAGE) },
        });
        left -= page.records.length;
        if (options.json === true) for (const record of page.records) await lines.line(JSON.stringify(record));
        else shown.push(...page.records);
      } while (left > 0 && page.next !== null);
      if (options.json === true) return lines.flush();
      await write(io, versionTable(io, shown, options.bodies === true));
      if (page.next !== null) say(io, `there are more than ${counted(options.limit, 'version')}: --limit`);
      if (!page.complete) say(io, 'older versions were trimmed');
    }),
  );
};
