/** `varve inspect`: any file of a data directory, in words. Exit 1 where something in it is bad. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type InspectItem, inspectFile } from '../../engine/inspect.js';
import { type AddCommand, examples } from '../command.js';
import { colourful, counted, Difference, type Io, LineWriter, printable, UsageError } from '../output.js';
import { withScratch } from '../scratch.js';

interface InspectFlags {
  readonly json?: boolean;
  readonly brief?: boolean;
  readonly bodies?: boolean;
}

export const addInspect: AddCommand = (program, io) => {
  const command = program
    .command('inspect <file>')
    .description('tell what is in any file of a data directory; changes nothing, takes no lock');
  command
    .option('--brief', 'frames and nodes only, not what is in them')
    .option('--bodies', 'bodies of records too')
    .option('--json', 'for machines: one item a line');
  examples(command, [
    { command: 'varve inspect varve-data/shards/0001/log/000000000001-0000.seg', does: 'header, frames, batches and records, footer' },
    { command: 'varve inspect varve-data/shards/0001/tree/000001.tree --brief', does: 'nodes and roots' },
    { command: 'varve inspect varve-data/catalog.sqlite --json', does: 'tables and rows, for machines' },
    { command: 'varve inspect varve-data/node.json', does: 'who this database is' },
  ]);
  command.action((file: string, options: InspectFlags) =>
    withScratch(async (scratch) => {
      if (!existsSync(file)) throw new UsageError(`there is no file ${file}`);
      if (statSync(file).isDirectory())
        throw new UsageError(`${file} is a directory: name one of its files, or try \`varve check ${file}\``);
      const lines = new LineWriter(io);
      let bad = 0;
      for (const item of inspectFile(dirname(resolve(file)), basename(file), scratch, options)) {
        if (item.bad !== undefined) bad += 1;
        await lines.line(options.json === true ? JSON.stringify(item) : itemText(io, item));
      }
      await lines.flush();
      if (bad > 0) throw new Difference(`${counted(bad, 'item')} cannot be believed`);
    }),
  );
};

function itemText(io: Io, item: InspectItem): string {
  const place = item.offset === undefined ? '' : `${String(item.offset).padStart(10)} +${String(item.length ?? 0).padEnd(8)}`;
  const what = '  '.repeat(item.depth) + item.what;
  const fields = Object.entries(item.fields).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? printable(value) : JSON.stringify(value)}`,
  );
  const said =
    item.bad === undefined
      ? fields
      : [...fields, colourful(io) ? `\u001b[31mBAD: ${printable(item.bad)}\u001b[39m` : `BAD: ${printable(item.bad)}`];
  return `${place.padEnd(21)}${colourful(io) ? `\u001b[1m${what}\u001b[22m` : what}  ${said.join(' · ')}`.trimEnd();
}
