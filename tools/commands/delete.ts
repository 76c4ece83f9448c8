/** `varve delete`: inserts a tombstone. What was before stays in the history. */
import { type AddCommand, examples } from '../command.js';
import { online } from '../online.js';
import { deleteEntity, type InsertFlags, insertFlags } from './put.js';

export const addDelete: AddCommand = (program, io) => {
  const command = program.command('delete <collection> <key>').description('end an entity: insert a tombstone; its history stays');
  insertFlags(online(command));
  examples(command, [
    { command: 'varve delete customers alice', does: 'from now on `get` says that it was deleted; `get --as-of` still finds it' },
    { command: 'varve delete customers alice --if-match 0001000000000007', does: 'only where that is the newest version' },
  ]);
  command.action((collection: string, key: string, options: InsertFlags) => deleteEntity(io, collection, key, options));
};
