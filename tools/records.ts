/** Records as the server sends them, and as rows of a table. */
import { type Column, type Io, table } from './output.js';

export interface RecordJson {
  readonly id: string;
  readonly shard: number;
  readonly seq: number;
  readonly time: string;
  readonly collection: string;
  readonly key: string;
  readonly supersedes: string | null;
  readonly refs: readonly string[];
  readonly deleted: boolean;
  readonly hash: string;
  readonly body?: unknown;
}

export const ID_COLUMN: Column = { title: 'ID' };
const VERSION_COLUMNS: readonly Column[] = [ID_COLUMN, { title: 'TIME' }, { title: 'WHAT' }];

/** Versions of one entity, newest or oldest first as given. */
export function versionTable(io: Io, records: readonly RecordJson[], bodies: boolean): string {
  const columns = bodies ? [...VERSION_COLUMNS, { title: 'BODY' }] : VERSION_COLUMNS;
  return table(
    io,
    columns,
    records.map((record) => [
      record.id,
      record.time,
      record.deleted ? 'deleted' : record.supersedes === null ? 'created' : 'changed',
      ...(bodies ? [bodyText(record)] : []),
    ]),
  );
}

export function bodyText(record: RecordJson): string {
  return record.deleted ? '' : JSON.stringify(record.body);
}
