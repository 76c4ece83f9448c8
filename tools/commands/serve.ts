/** `varve serve`: the server. Its flags are the settings of server/config.ts, every one of them. */
import { readFileSync } from 'node:fs';
import { ConfigError, type FlagValues, flagName, loadConfig, SETTINGS, type SettingName, serve } from '../../server/index.js';
import { type AddCommand, examples } from '../command.js';
import { nodeDisk } from '../disk.js';
import { Difference, UsageError } from '../output.js';

export const addServe: AddCommand = (program, io) => {
  const command = program.command('serve').description('serve a data directory over HTTP (created where there is none)');
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const setting: { help: string; placeholder?: string; default: unknown } = SETTINGS[name];
    const value = setting.placeholder === undefined ? '' : ` <${setting.placeholder.toLowerCase()}>`;
    const fallback = setting.default === undefined || setting.default === false ? '' : ` (${String(setting.default)})`;
    command.option(`${flagName(name)}${value}`, setting.help + fallback);
  }
  command.option('--config <file>', 'JSON file of settings; keys as the flags in camelCase');
  examples(command, [
    { command: 'varve serve', does: 'on 127.0.0.1:7411, data in ./varve-data' },
    { command: 'varve serve --data /var/lib/varve --listen 127.0.0.1:8080', does: 'elsewhere' },
    {
      command: 'VARVE_DATA=/var/lib/varve VARVE_LOG_LEVEL=warn varve serve',
      does: 'every flag is also a variable: flags > environment > file > default',
    },
  ]);
  command.action(async (flags: FlagValues) => {
    let serving: Awaited<ReturnType<typeof serve>>;
    try {
      const config = loadConfig({ flags, env: io.env, readText: (path) => readFileSync(path, 'utf8') });
      serving = await serve(config, { disk: nodeDisk });
    } catch (error) {
      throw error instanceof ConfigError ? new UsageError(error.message, { cause: error }) : error;
    }
    const code = await serving.stopped;
    if (code !== 0) throw new Difference('');
  });
};
