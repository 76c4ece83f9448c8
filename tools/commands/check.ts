/** `varve check`: reads a closed data directory whole, builds its trees again, compares roots. Exit 1 where anything is not as it should be. */
import { existsSync } from 'node:fs';
import { type CheckFinding, type CheckReport, checkDirectory } from '../../engine/check.js';
import { type AddCommand, examples } from '../command.js';
import { counted, Difference, type Io, printable, say, table, UsageError, write, writeJson } from '../output.js';
import { progressBar } from '../progress.js';
import { withScratch } from '../scratch.js';

export const addCheck: AddCommand = (program, io) => {
  const command = program
    .command('check <dir>')
    .description('read everything in a data directory, build its trees again from the log, compare roots; changes nothing');
  command.option('--json', 'for machines: one report');
  examples(command, [
    { command: 'varve check varve-data', does: 'with no server on it; 0 where all is sound, 1 with each finding otherwise' },
    { command: 'varve check varve-data --json', does: 'file, offset and seqs of each finding, roots of each shard' },
  ]);
  command.action((directory: string, options: { json?: boolean }) =>
    withScratch(async (scratch) => {
      if (!existsSync(directory)) throw new UsageError(`there is no directory ${directory}`);
      const bar = progressBar(io, '%', options.json);
      const progress = (done: number, total: number) => bar.update(Math.floor((100 * done) / total), 100);
      const report = await checkDirectory(directory, scratch, { progress }).finally(() => bar.stop());
      if (options.json === true) await writeJson(io, report);
      else await describe(io, report);
      if (!report.sound) throw new Difference(options.json === true ? '' : 'the database is damaged');
    }),
  );
};

async function describe(io: Io, report: CheckReport): Promise<void> {
  for (const finding of report.findings) say(io, findingText(finding));
  const right = { right: true };
  const columns = [
    { title: 'SHARD', ...right },
    { title: 'SEGMENTS', ...right },
    { title: 'BATCHES', ...right },
    { title: 'RECORDS', ...right },
    { title: 'CHECKPOINTS', ...right },
    { title: 'NODES', ...right },
    { title: 'ROOT' },
  ];
  const rows = report.shards.map(({ shard, segments, batches, records, checkpoints, tree, root }) => [
    ...[shard, segments, batches, records, checkpoints, tree?.nodes ?? 0].map(String),
    root,
  ]);
  await write(io, table(io, columns, rows));
  const damage = report.findings.filter(({ severity }) => severity === 'damage').length;
  await write(
    io,
    damage === 0
      ? 'sound: everything was read, and the trees built again have the same roots\n'
      : `damaged: ${counted(damage, 'finding')}\n`,
  );
}

function findingText({ severity, kind, file, offset, fromSeq, toSeq, detail }: CheckFinding): string {
  const seqs = fromSeq === 0 ? '' : fromSeq === toSeq ? ` (seq ${fromSeq})` : ` (seqs ${fromSeq} to ${toSeq})`;
  return printable(`${severity === 'note' ? 'note' : kind}: ${file}${offset > 0 ? ` at ${offset}` : ''}: ${detail}${seqs}`);
}
