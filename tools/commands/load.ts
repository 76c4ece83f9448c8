/** `varve load`: inserts the lines of a file. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type AddCommand, examples } from '../command.js';
import { splitLines } from '../http-client.js';
import { type LoadFailure, load } from '../load.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { count, counted, Difference, say, UsageError, write, writeJson } from '../output.js';
import { progressBar } from '../progress.js';
import { segmentLines } from '../segment-lines.js';

/** Failed lines named one by one; the rest are counted. */
const NAMED = 20;
const KIB = 1024;

export const addLoad: AddCommand = (program, io) => {
  const command = program
    .command('load <file>')
    .description(
      'insert the lines of an NDJSON file (- for stdin): items as POST /v1/records takes them, what `varve dump` wrote, or a segment that was set aside',
    );
  online(command);
  examples(command, [
    {
      command: 'varve load customers.ndjson',
      does: 'lines such as {"collection":"customers","key":"alice","body":{}}, each a batch of its own, in order',
    },
    {
      command: 'varve dump --url http://127.0.0.1:7411 | varve load - --url http://127.0.0.1:7412',
      does: 'from one server into another, histories and times as they were',
    },
    {
      command: 'varve load varve-data/shards/0001/aside/000000000a40-0000.seg',
      does: 'what only this node had when another became the owner, as new records',
    },
    { command: 'varve load customers.ndjson --json', does: 'failed lines and a summary for machines; 1 where a line failed' },
  ]);
  command.action((file: string, options: OnlineOptions) =>
    withClient(options, io.env, async (client) => {
      const size = file === '-' ? 0 : (await stat(file).catch(unreadable(file))).size;
      const input = file === '-' || file.endsWith('.seg') ? io.stdin : createReadStream(file, { highWaterMark: 256 * KIB });
      const bar = progressBar(io, 'KiB', options.json);
      let named = 0;
      const failed = (failure: LoadFailure) => {
        named += 1;
        if (options.json === true) io.stdout.write(`${JSON.stringify(failure)}\n`);
        else if (named <= NAMED) say(io, `line ${failure.line}: ${failure.problem}`);
      };
      const progress = (bytes: number) => bar.update(Math.round(bytes / KIB), Math.round(Math.max(size, bytes) / KIB));
      const lines = file.endsWith('.seg') ? segmentLines(file) : splitLines(input);
      const summary = await load(client, lines, { failed, progress }).finally(() => bar.stop());
      if (options.json === true) await writeJson(io, summary);
      else await write(io, `inserted ${counted(summary.inserted, 'record')} from ${counted(summary.lines, 'line')}\n`);
      if (summary.failed > 0)
        throw new Difference(`${counted(summary.failed, 'line')} failed${named > NAMED ? `, ${count(NAMED)} of them named above` : ''}`);
    }),
  );
};

function unreadable(file: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw new UsageError(`cannot read ${file}: ${error.code ?? error.message}`, { cause: error });
  };
}
