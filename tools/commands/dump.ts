/** `varve dump`: every version of every entity as NDJSON, from a server or straight from a data directory. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatTime, open, parseTime } from '../../engine/index.js';
import { type AddCommand, examples } from '../command.js';
import { type DumpSource, type DumpSummary, dump, offlineSource, onlineSource } from '../dump.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { counted, LineWriter, say, UsageError } from '../output.js';
import { progressBar } from '../progress.js';

interface DumpFlags extends OnlineOptions {
  readonly data?: string;
  readonly collection: readonly string[];
  readonly asOf?: string;
}

export const addDump: AddCommand = (program, io) => {
  const command = program
    .command('dump')
    .description('write every version of every entity as NDJSON, oldest first: what `varve load` takes');
  online(command)
    .option('--data <dir>', 'read a data directory that no server holds, instead of asking one')
    .option('--collection <name>', 'only this collection (again for more)', (name: string, all: readonly string[]) => [...all, name], [])
    .option('--as-of <point>', 'nothing later than this time or record id');
  examples(command, [
    { command: 'varve dump > all.ndjson', does: 'every version, with its time, in the order of time' },
    {
      command: 'varve dump --collection customers --as-of 2024-05-01T00:00:00Z',
      does: 'one collection up to a moment; refs to what is left out are dropped',
    },
    { command: 'varve dump --data ./varve-data > all.ndjson', does: 'without a server' },
  ]);
  command.action(async (options: DumpFlags) => {
    const summary = await from(options, async (source) => {
      const lines = new LineWriter(io);
      const bar = progressBar(io, 'seqs', options.json);
      try {
        return await dump(source, {
          collections: options.collection,
          asOf: point(options.asOf),
          line: (text) => lines.line(text),
          progress: (done, total) => bar.update(done, total),
        });
      } finally {
        bar.stop();
        await lines.flush();
      }
    });
    tell(summary);
  });

  function from(options: DumpFlags, work: (source: DumpSource) => Promise<DumpSummary>): Promise<DumpSummary> {
    return options.data === undefined
      ? withClient(options, io.env, (client) => work(onlineSource(client)))
      : fromDirectory(options.data, work);
  }

  function tell(summary: DumpSummary): void {
    if (summary.refsDropped > 0) say(io, `dropped ${counted(summary.refsDropped, 'ref')} to records that are not in the dump`);
    if (summary.trimmed) say(io, 'older versions had been trimmed: this is what is left');
    if (summary.erased > 0) say(io, `left out ${counted(summary.erased, 'record')} whose bodies had been erased`);
    if (io.stdout.isTTY !== true)
      say(io, `dumped ${counted(summary.records, 'record')} in ${counted(summary.batches, 'batch', 'batches')}`);
  }
};

async function fromDirectory<T>(directory: string, work: (source: DumpSource) => Promise<T>): Promise<T> {
  if (!existsSync(join(directory, 'node.json'))) throw new UsageError(`${directory} is no data directory: it has no node.json`);
  const db = await open(directory);
  try {
    return await work(offlineSource(db));
  } finally {
    await db.close();
  }
}

/** Times as the server writes them, so that they can be compared as text. */
function point(text: string | undefined): string | undefined {
  if (text === undefined || /^[0-9a-f]{16}$/.test(text)) return text;
  return formatTime(parseTime(text, '--as-of'));
}
