/** `varve retain`: what a collection keeps, asked or decided. */
import { type AddCommand, examples } from '../command.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { UsageError, write, writeJson } from '../output.js';

interface RetainFlags extends OnlineOptions {
  readonly all?: boolean;
  readonly for?: string;
  readonly last?: number;
}

type RetentionJson = { keep: 'all' } | { keep: 'for'; duration: string } | { keep: 'last'; versions: number };

export const addRetain: AddCommand = (program, io) => {
  const command = program
    .command('retain <collection>')
    .description('tell or decide what a collection keeps; the rest goes with the next compaction');
  online(command)
    .option('--all', 'everything')
    .option('--for <duration>', 'history for so long, and what was current at its start: P30D, PT12H')
    .option('--last <n>', 'the newest n versions of each entity', positive);
  examples(command, [
    { command: 'varve retain sessions', does: 'what it keeps now' },
    { command: 'varve retain sessions --for P30D', does: 'thirty days of history' },
    { command: 'varve retain settings --last 5 && varve compact', does: 'five versions each, and give the space back at once' },
  ]);
  command.action((collection: string, options: RetainFlags) =>
    withClient(options, io.env, async (client) => {
      const path = `/v1/collections/${encodeURIComponent(collection)}/retention`;
      const wanted = asked(options);
      const kept =
        wanted === undefined
          ? await client.json<RetentionJson>('GET', path)
          : await client.json<RetentionJson>('PUT', path, {
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify(wanted),
            });
      if (options.json === true) await writeJson(io, kept);
      else await write(io, `${collection} keeps ${inWords(kept)}\n`);
    }),
  );
};

function asked({ all, for: duration, last }: RetainFlags): RetentionJson | undefined {
  const given = [all, duration, last].filter((value) => value !== undefined);
  if (given.length > 1) throw new UsageError('one of --all, --for and --last');
  if (duration !== undefined) return { keep: 'for', duration };
  if (last !== undefined) return { keep: 'last', versions: last };
  return all === true ? { keep: 'all' } : undefined;
}

function inWords(kept: RetentionJson): string {
  if (kept.keep === 'for') return `history for ${kept.duration}`;
  return kept.keep === 'last' ? `the last ${kept.versions === 1 ? 'version' : `${kept.versions} versions`} of each entity` : 'everything';
}
