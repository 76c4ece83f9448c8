/** What all verbs that talk to a server share: `--url`, `--token`, `--json`, and the client made from them. */
import { type Command, Option } from 'commander';
import { HttpClient } from './http-client.js';
import { UsageError } from './output.js';

export const DEFAULT_URL = 'http://127.0.0.1:7411';

export interface OnlineOptions {
  readonly url: string;
  readonly token?: string;
  readonly json?: boolean;
}

/** Adds the three options; the environment is read by `withClient`, so that tests can bring their own. */
export function online(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', `the server (VARVE_URL; ${DEFAULT_URL})`))
    .addOption(new Option('--token <token>', 'what to show the server (VARVE_TOKEN)'))
    .option('--json', 'for machines: JSON, one value a line');
}

export async function withClient<T>(
  options: { url?: string; token?: string },
  env: Readonly<Record<string, string | undefined>>,
  work: (client: HttpClient) => Promise<T>,
): Promise<T> {
  const url = options.url ?? env['VARVE_URL'] ?? DEFAULT_URL;
  let client: HttpClient;
  try {
    client = new HttpClient(url, options.token ?? env['VARVE_TOKEN']);
  } catch (error) {
    throw new UsageError(`'${url}' is not the URL of a server: it looks like ${DEFAULT_URL}`, { cause: error });
  }
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** For commander's argParser: a whole number from 1. */
export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`'${text}' is not a whole number from 1`);
  return value;
}
