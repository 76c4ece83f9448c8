/**
 * The NDJSON that `dump` writes and `load` reads. Besides the lines that POST /v1/records takes as NDJSON, three
 * kinds, known by how they begin, so that `load` need not parse what it passes on:
 *
 *     {"collection":c,"placement":"group:g"}                                  a collection that is not placed by key
 *     {"id":"<old id>","refs":["<old id>",…],"time":t,"collection":…}         one record; id and refs as they were
 *     {"ids":["<old id>",…],"time":t,"records":[{…},…]}                       a batch of several; `#n` for refs within it
 *
 * A ref is written where what it names is in the dump, before it. Bodies are the stored canonical bytes.
 */

export interface DumpedRecord {
  readonly id: string;
  readonly time: string;
  readonly collection: string;
  readonly key: string;
  readonly refs: readonly string[];
  /** Canonical JSON; undefined for a tombstone. */
  readonly body: string | undefined;
}

export interface DumpedCollection {
  readonly name: string;
  readonly placement: string;
}

export function collectionLine({ name, placement }: DumpedCollection): string {
  return `{"collection":${JSON.stringify(name)},"placement":${JSON.stringify(placement)}}`;
}

/** Records of one batch, in order. */
export function batchLine(batch: readonly DumpedRecord[]): string {
  const first = batch[0] as DumpedRecord;
  if (batch.length === 1) return `{"id":"${first.id}",${refsField(first.refs)}"time":"${first.time}",${content(first)}}`;
  const within = new Map(batch.map(({ id }, index) => [id, `#${index}`]));
  const records = batch.map((record) => `{${refsField(record.refs.map((ref) => within.get(ref) ?? ref))}${content(record)}}`);
  return `{"ids":[${batch.map(({ id }) => `"${id}"`).join(',')}],"time":"${first.time}","records":[${records.join(',')}]}`;
}

/** Records of one batch, to be inserted as new ones: without their time. Refs to others of it stay right. */
export function renewedLine(batch: readonly Omit<DumpedRecord, 'time'>[]): string {
  const within = new Map(batch.map(({ id }, index) => [id, `#${index}`]));
  const records = batch.map((record) => `{${refsField(record.refs.map((ref) => within.get(ref) ?? ref))}${content(record)}}`);
  return `{"ids":[${batch.map(({ id }) => `"${id}"`).join(',')}],"records":[${records.join(',')}]}`;
}

function content({ collection, key, body }: Omit<DumpedRecord, 'time'>): string {
  return `"collection":"${collection}","key":${JSON.stringify(key)},${body === undefined ? '"deleted":true' : `"body":${body}`}`;
}

function refsField(refs: readonly string[]): string {
  return refs.length === 0 ? '' : `"refs":${JSON.stringify(refs)},`;
}

export type DumpLine =
  | { readonly kind: 'collection'; readonly name: string; readonly placement: string }
  /** A line for the NDJSON stream as it stands. */
  | { readonly kind: 'plain'; readonly line: Buffer }
  /** One with its old id: `rest` is to follow `{` and, where there are any, the new refs. */
  | { readonly kind: 'record'; readonly oldId: string; readonly refs: readonly string[]; readonly rest: Buffer }
  /** A body for POST /v1/records as JSON, but for refs to records outside it. */
  | { readonly kind: 'batch'; readonly oldIds: readonly string[]; readonly json: Buffer };

const HEAD_BYTES = 4096;
const RECORD_HEAD = /^\{"id":"([0-9a-f]{16})",(?:"refs":\[([0-9a-f",]*)\],)?/;
const COLLECTION_HEAD = /^\{"collection":"([A-Za-z0-9_-]+)","placement":"([^"\\]+)"\}\s*$/;
const BATCH_HEAD = /^\{(?:"ids":\[([0-9a-f",]*)\],)?((?:"time":"[^"\\]*",)?"records":\[)/;

export function parseDumpLine(line: Buffer): DumpLine {
  // Ids and refs are ASCII: one char a byte here.
  let head = line.subarray(0, HEAD_BYTES).toString('latin1');
  if (/^\{"(?:ids?)":/.test(head) && line.length > HEAD_BYTES) head = line.toString('latin1');
  const record = RECORD_HEAD.exec(head);
  if (record !== null) return { kind: 'record', oldId: record[1] ?? '', refs: idList(record[2]), rest: line.subarray(record[0].length) };
  const batch = BATCH_HEAD.exec(head);
  if (batch !== null) {
    const start = batch[0].length - (batch[2] ?? '').length;
    return { kind: 'batch', oldIds: idList(batch[1]), json: Buffer.concat([Buffer.from('{'), line.subarray(start)]) };
  }
  const collection = COLLECTION_HEAD.exec(head);
  if (collection !== null) return { kind: 'collection', name: collection[1] ?? '', placement: collection[2] ?? '' };
  return { kind: 'plain', line };
}

function idList(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.replaceAll('"', '').split(',');
}
