/** What every verb is made with. */
import type { Command } from 'commander';
import type { Io } from './output.js';

/** Adds one verb to the program. */
export type AddCommand = (program: Command, io: Io) => void;

export interface Example {
  readonly command: string;
  readonly does: string;
}

/** Examples below the options of a verb's help: most people read only these. */
export function examples(command: Command, list: readonly Example[]): Command {
  const lines = list.map((example) => `  $ ${example.command}\n      ${example.does}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}\n`);
}
