/**
 * Any file of a data directory, told item by item: what `varve inspect` shows. Reads only, takes no lock, believes
 * nothing: what fails its checksum is an item too, with `bad` saying why.
 */
import { isVarveError, messageOf, VarveError } from './errors.js';
import { readIdentity } from './identity.js';
import { inspectSegment } from './inspect-segment.js';
import { inspectTreeFile } from './inspect-tree.js';
import { nodePlatform } from './platform/node.js';
import type { Platform } from './platform/platform.js';
import { batchesOfSegment } from './segment-records.js';
import type { JsonValue } from './types.js';

export interface InspectItem {
  /** `segment header`, `frame`, `batch`, `record`, `node`, … */
  readonly what: string;
  /** Bytes in the file; undefined for what is not a stretch of bytes. */
  readonly offset?: number;
  readonly length?: number;
  /** How far inside another item: a record stands in a batch, a batch in a frame. */
  readonly depth: number;
  readonly fields: Readonly<Record<string, JsonValue>>;
  /** Why it cannot be believed. */
  readonly bad?: string;
}

export interface InspectOptions {
  /** Frames and nodes only, not what is in them. */
  readonly brief?: boolean;
  /** Bodies of records too. */
  readonly bodies?: boolean;
}

/** `directory` and `name` of the file; `scratch` is a directory for copies of what cannot be read in place. */
export function inspectFile(directory: string, name: string, scratch: string, options: InspectOptions = {}): Iterable<InspectItem> {
  const platform = nodePlatform(directory);
  const plain = name.replace(/\.tmp$/, '');
  if (plain.endsWith('.seg')) return inspectSegment(platform, name, options);
  if (plain.endsWith('.tree')) return inspectTreeFile(platform, name, options);
  if (name === 'node.json') return inspectIdentity(platform);
  if (name === 'lock.sqlite')
    return [{ what: 'lock', depth: 0, fields: { says: 'held while the database is open; holds no data and is never deleted' } }];
  if (name.endsWith('.sqlite')) return inspectCatalog(platform, nodePlatform(scratch), name, options);
  const expected = 'node.json, catalog.sqlite, lock.sqlite, or a file that ends in .seg or .tree';
  throw new VarveError('INVALID', `'${name}' is no file of a data directory: ${expected}`, { path: 'file', expected });
}

/** The batches of a segment file, wherever it lies. Throws CORRUPT where bytes of it are bad. */
export function segmentFileBatches(directory: string, name: string): ReturnType<typeof batchesOfSegment> {
  return batchesOfSegment(nodePlatform(directory), name);
}

function* inspectIdentity(platform: Platform): Generator<InspectItem> {
  try {
    const identity = readIdentity(platform);
    yield { what: 'identity', depth: 0, fields: { ...identity } as Record<string, JsonValue> };
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'INCOMPATIBLE')) throw error;
    yield { what: 'identity', depth: 0, fields: {}, bad: error.message };
  }
}

/** From a copy: SQLite may write to what it opens. */
function* inspectCatalog(platform: Platform, scratch: Platform, name: string, options: InspectOptions): Generator<InspectItem> {
  const bytes = platform.files.readFile(name);
  const db = scratch.files.openSqlite('copy.sqlite');
  try {
    const copy = new (db.constructor as new (content: Buffer) => typeof db)(bytes);
    try {
      const tables = copy
        .prepare<[], { name: string; sql: string }>("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .all();
      for (const table of tables) {
        const rows = copy.prepare<[], Record<string, unknown>>(`SELECT * FROM "${table.name.replaceAll('"', '""')}"`).all();
        yield { what: 'table', depth: 0, fields: { name: table.name, rows: rows.length, columns: table.sql.replace(/\s+/g, ' ') } };
        if (options.brief === true) continue;
        for (const row of rows)
          yield { what: 'row', depth: 1, fields: Object.fromEntries(Object.entries(row).map(([column, value]) => [column, cell(value)])) };
      }
    } finally {
      copy.close();
    }
  } catch (error) {
    yield { what: 'catalog', depth: 0, fields: { bytes: bytes.length }, bad: messageOf(error) };
  } finally {
    db.close();
  }
}

function cell(value: unknown): JsonValue {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'number' || typeof value === 'string' ? value : value === null ? null : String(value);
}
