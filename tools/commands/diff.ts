/** `varve diff`: what differs between two points in time: entities, or one entity's body. Exit 1 where something does, as diff has it. */
import { type AddCommand, examples } from '../command.js';
import { entityPath, type HttpClient } from '../http-client.js';
import { type OnlineOptions, online, withClient } from '../online.js';
import { colourful, Difference, LineWriter, printable, UsageError } from '../output.js';

interface DiffFlags extends OnlineOptions {
  readonly from?: string;
  readonly to?: string;
}

interface DifferenceJson {
  readonly collection: string;
  readonly key: string;
  readonly from: string | null;
  readonly to: string | null;
}

interface PatchOperation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

export const addDiff: AddCommand = (program, io) => {
  const command = program.command('diff [collection] [key]').description('what differs between two points in time');
  online(command)
    .option('--from <point>', 'a time or a record id')
    .option('--to <point>', 'a time or a record id; now where it is left out');
  examples(command, [
    { command: 'varve diff --from 2024-05-01T00:00:00Z', does: 'entities that differ between then and now' },
    { command: 'varve diff customers --from 2024-05-01T00:00:00Z --to 2024-06-01T00:00:00Z', does: 'those of one collection' },
    { command: 'varve diff customers alice --from 0001000000000a3f', does: 'how one body changed, as a JSON Patch' },
  ]);
  command.action((collection: string | undefined, key: string | undefined, options: DiffFlags) =>
    withClient(options, io.env, async (client) => {
      if (options.from === undefined) throw new UsageError('--from is needed: a time or a record id');
      const lines = new LineWriter(io);
      const colours = colourful(io);
      let differs = false;
      const tell = async (value: object, text: string): Promise<void> => {
        differs = true;
        await lines.line(options.json === true ? JSON.stringify(value) : text);
      };
      if (collection === undefined || key === undefined) {
        for await (const difference of differences(client, collection, options))
          await tell(difference, differenceText(difference, colours));
      } else {
        const query = { from: options.from, to: options.to };
        for (const step of await client.json<PatchOperation[]>('GET', `${entityPath(collection, key)}/diff`, { query }))
          await tell(step, stepText(step, colours));
      }
      await lines.flush();
      if (differs) throw new Difference('');
    }),
  );
};

function differences(client: HttpClient, collection: string | undefined, { from, to }: DiffFlags): AsyncGenerator<DifferenceJson> {
  return client.lines<DifferenceJson>('/v1/diff', { query: { from, to, collection } });
}

const GREEN = 32;
const RED = 31;
const YELLOW = 33;

function differenceText({ collection, key, from, to }: DifferenceJson, colours: boolean): string {
  const name = printable(`${collection}/${key}`);
  if (from === null) return paint(colours, GREEN, `+ ${name}  ${to}`);
  if (to === null) return paint(colours, RED, `- ${name}  ${from}`);
  return paint(colours, YELLOW, `~ ${name}  ${from} -> ${to}`);
}

function stepText({ op, path, from, value }: PatchOperation, colours: boolean): string {
  const place = printable(path === '' ? '(whole)' : path);
  switch (op) {
    case 'add':
      return paint(colours, GREEN, `+ ${place}  ${JSON.stringify(value)}`);
    case 'remove':
      return paint(colours, RED, `- ${place}`);
    case 'replace':
      return paint(colours, YELLOW, `~ ${place}  ${JSON.stringify(value)}`);
    default:
      return paint(colours, YELLOW, `${op} ${printable(from ?? '')} -> ${place}`);
  }
}

function paint(colours: boolean, colour: number, text: string): string {
  return colours ? `\u001b[${colour}m${text}\u001b[39m` : text;
}
