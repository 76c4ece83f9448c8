/**
 * What of a bunch of calls a database has after its machine died under them: per shard a prefix of what was issued, whole batches, in
 * order (I2, I4), with everything acknowledged among it (I1), and nothing that nobody wrote.
 */
import assert from 'node:assert/strict';
import stringify from 'fast-json-stable-stringify';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { type InsertResult, type RecordHeader, recordId } from '../../engine/types.js';
import { describeHeader, describeRecord } from './compare.js';
import type { Call } from './operations.js';

export interface Issued {
  readonly call: Call;
  outcome: 'pending' | 'done' | 'failed';
  result: InsertResult | undefined;
  error: unknown;
}

export interface Survivor {
  readonly call: Call;
  readonly records: readonly RecordHeader[];
  readonly wasAcknowledged: boolean;
}

/** `end`: the last seq that is accounted for already. */
export function survivorsOf(db: Database, shard: number, end: number, issued: readonly Issued[]): Survivor[] {
  const survivors: Survivor[] = [];
  const found = recordsBeyond(db, shard, end);
  let gone: string | undefined;
  for (const { call, outcome, result, error } of issued) {
    if (call.shard !== shard || call.mayFailWith.size > 0 || call.repeats !== undefined) continue;
    const records = found.slice(0, call.items.length);
    const there = records.length === call.items.length && records.every((record, i) => matches(record, call, i, records[0]));
    if (there) {
      assert.equal(gone, undefined, `${describeCall(call)} survived, and what was issued before it did not: ${gone}`);
      assert.ok(!isVarveError(error, 'NOT_WRITTEN'), `${describeCall(call)} was said not to have been written`);
      if (result !== undefined) assert.deepEqual(records.map(describeHeader), result.records.map(describeHeader));
      found.splice(0, call.items.length);
      survivors.push({ call, records, wasAcknowledged: outcome === 'done' });
    } else {
      const lost = `acknowledged and lost: ${describeCall(call)}; found ${records.map(describeRecord).join(' | ')}`;
      assert.notEqual(outcome, 'done', lost);
      gone ??= describeCall(call);
    }
  }
  assert.deepEqual(found.map(describeRecord), [], `records in shard ${shard} that nobody wrote`);
  return survivors;
}

function recordsBeyond(db: Database, shard: number, end: number) {
  const info = db.shards()[shard - 1];
  if (info === undefined) throw new Error(`no shard ${shard}`);
  const found = [];
  for (let seq = end + 1; seq <= info.durableSeq; seq++) {
    const record = db.record(recordId(shard, seq));
    if (record !== undefined && !record.collection.startsWith('_')) found.push(record);
  }
  return found;
}

function matches(
  record: RecordHeader & { bodyBytes: Uint8Array | undefined },
  call: Call,
  index: number,
  first: RecordHeader | undefined,
): boolean {
  const item = call.items[index];
  if (item === undefined || first === undefined) return false;
  const body = item.deleted === true ? undefined : stringify(item.body);
  const found = record.bodyBytes === undefined ? undefined : Buffer.from(record.bodyBytes).toString('utf8');
  return (
    record.collection === item.collection &&
    record.key === item.key &&
    found === body &&
    record.seq === first.seq + index &&
    record.time === first.time
  );
}

export function describeCall(call: Call): string {
  const short = (_: string, value: unknown): unknown => (typeof value === 'string' && value.length > 30 ? `${value.slice(0, 30)}…` : value);
  const text = JSON.stringify({ ...call, mayFailWith: [...call.mayFailWith], repeats: call.repeats !== undefined }, short);
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
