/**
 * Everything a database holds, as the lines of dump-format.ts: batches in the order of time, each shard's in its
 * own order, so that loading them gives every entity the same history with the same times. Ids change with the
 * shard layout and are mapped by `load`; a ref to a record that is not dumped is dropped, and counted.
 *
 * A shard is read by walking its seqs, the only way that meets deleted entities too until there is a feed. Two
 * records of a shard with one time are of one batch, for times increase from batch to batch.
 */
import { type Database, isSystemCollection, type ShardInfo } from '../engine/index.js';
import { batchLine, collectionLine, type DumpedCollection, type DumpedRecord } from './dump-format.js';
import { type HttpClient, ProblemError } from './http-client.js';
import type { RecordJson } from './records.js';

export interface ShardRange {
  readonly shard: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Where records come from. */
export interface DumpSource {
  collections(): Promise<readonly DumpedCollection[]>;
  shards(): Promise<readonly ShardRange[]>;
  /** Undefined for a seq that is no record's, `gone` for one that is kept no more. */
  record(id: string): Promise<DumpedRecord | 'gone' | undefined>;
}

export interface DumpOptions {
  /** All of them where empty. */
  readonly collections: readonly string[];
  readonly asOf: string | undefined;
  readonly line: (text: string) => Promise<void>;
  readonly progress?: (done: number, total: number) => void;
}

export interface DumpSummary {
  readonly records: number;
  readonly batches: number;
  readonly refsDropped: number;
  /** Trimmed or erased. */
  readonly gone: number;
}

/** Records asked for ahead of their turn, all shards together. */
const AHEAD = 64;

export async function dump(source: DumpSource, options: DumpOptions): Promise<DumpSummary> {
  const wanted = (name: string) => !isSystemCollection(name) && (options.collections.length === 0 || options.collections.includes(name));
  const collections = (await source.collections()).filter(({ name }) => wanted(name));
  const unknown = options.collections.find((name) => !collections.some((collection) => collection.name === name));
  if (unknown !== undefined) throw new Error(`there is no collection '${unknown}'`);
  const shards = await source.shards();
  const until = await limitOf(source, shards, options.asOf);
  for (const collection of collections) {
    if (collection.placement !== 'key') await options.line(collectionLine(collection));
  }

  const total = shards.reduce((sum, { firstSeq, lastSeq }) => sum + Math.max(0, lastSeq - firstSeq + 1), 0);
  const counts = { records: 0, batches: 0, refsDropped: 0, gone: 0, seen: 0 };
  const seen = (gone: boolean) => {
    counts.seen += 1;
    if (gone) counts.gone += 1;
    if (counts.seen % 256 === 0) options.progress?.(counts.seen, total);
  };
  // A ref can only leave the dump where something is left out of it.
  const dumped = options.collections.length === 0 ? undefined : new Set<string>();
  const ahead = Math.max(2, Math.floor(AHEAD / Math.max(1, shards.length)));
  for await (const batch of merged(shards.map((range) => batchesOf(source, range, until, ahead, seen)))) {
    const kept = batch.filter(({ collection }) => wanted(collection));
    if (kept.length === 0) continue;
    const records = kept.map((record) => {
      dumped?.add(record.id);
      const refs = dumped === undefined ? record.refs : record.refs.filter((ref) => dumped.has(ref));
      counts.refsDropped += record.refs.length - refs.length;
      return { ...record, refs };
    });
    counts.records += records.length;
    counts.batches += 1;
    await options.line(batchLine(records));
  }
  return { records: counts.records, batches: counts.batches, refsDropped: counts.refsDropped, gone: counts.gone };
}

/** The last time to dump. A record's batch has one time, so "at the end of that batch" is its time. */
async function limitOf(source: DumpSource, shards: readonly ShardRange[], asOf: string | undefined): Promise<string | undefined> {
  if (asOf === undefined) return undefined;
  if (/^[0-9a-f]{16}$/.test(asOf)) {
    if (shards.length > 1) throw new Error(`a record id is a point in its own shard only, and there are ${shards.length}: give a time`);
    const record = await source.record(asOf);
    if (record === undefined || record === 'gone') throw new Error(`there is no record ${asOf}`);
    return record.time;
  }
  return asOf;
}

async function* batchesOf(
  source: DumpSource,
  range: ShardRange,
  until: string | undefined,
  ahead: number,
  seen: (gone: boolean) => void,
): AsyncGenerator<DumpedRecord[]> {
  let batch: DumpedRecord[] = [];
  for await (const record of recordsOf(source, range, ahead)) {
    seen(record === 'gone');
    if (record === undefined || record === 'gone') continue;
    if (until !== undefined && record.time > until) break;
    if (batch[0] !== undefined && batch[0].time !== record.time) {
      yield batch;
      batch = [];
    }
    batch.push(record);
  }
  if (batch.length > 0) yield batch;
}

async function* recordsOf(
  source: DumpSource,
  { shard, firstSeq, lastSeq }: ShardRange,
  ahead: number,
): AsyncGenerator<DumpedRecord | 'gone' | undefined> {
  const asked: Promise<DumpedRecord | 'gone' | undefined>[] = [];
  for (let seq = firstSeq, next = firstSeq; seq <= lastSeq; seq += 1) {
    for (; next <= lastSeq && next < seq + ahead; next += 1) {
      const answer = source.record(shard.toString(16).padStart(4, '0') + next.toString(16).padStart(12, '0'));
      answer.catch(() => {}); // met when its turn comes
      asked.push(answer);
    }
    yield await asked.shift();
  }
}

/** By time; shards in order where times are equal. */
async function* merged(sources: readonly AsyncGenerator<DumpedRecord[]>[]): AsyncGenerator<DumpedRecord[]> {
  const heads = await Promise.all(sources.map((source) => source.next()));
  for (;;) {
    let least: number | undefined;
    for (const [index, head] of heads.entries()) {
      if (head.done) continue;
      const before = least === undefined ? undefined : (heads[least]?.value as DumpedRecord[]);
      if (before === undefined || timeOf(head.value) < timeOf(before)) least = index;
    }
    if (least === undefined) return;
    yield heads[least]?.value as DumpedRecord[];
    heads[least] = (await sources[least]?.next()) as IteratorResult<DumpedRecord[]>;
  }
}

function timeOf(batch: readonly DumpedRecord[]): string {
  return batch[0]?.time ?? '';
}

export function onlineSource(client: HttpClient): DumpSource {
  return {
    collections: async () => (await client.json<{ collections: DumpedCollection[] }>('GET', '/v1/collections')).collections,
    shards: async () => {
      const { shards } = await client.json<{ shards: { shard: number; firstSeq: number; durableSeq: number; epoch: number }[] }>(
        'GET',
        '/v1/shards',
      );
      return shards.map(rangeOf);
    },
    async record(id) {
      try {
        const record = await client.json<RecordJson>('GET', `/v1/records/${id}`);
        return { ...record, body: record.deleted ? undefined : JSON.stringify(record.body) };
      } catch (error) {
        if (error instanceof ProblemError && error.status === 404) return undefined;
        if (error instanceof ProblemError && error.status === 410) return 'gone';
        throw error;
      }
    },
  };
}

export function offlineSource(db: Database): DumpSource {
  return {
    collections: () => db.collections(),
    shards: async () => db.shards().map((shard: ShardInfo) => rangeOf(shard)),
    async record(id) {
      const record = db.record(id);
      if (record === undefined) return undefined;
      const body = record.bodyBytes === undefined ? undefined : Buffer.from(record.bodyBytes).toString('utf8');
      return { id, time: record.time, collection: record.collection, key: record.key, refs: record.refs, body };
    },
  };
}

function rangeOf(shard: { shard: number; firstSeq: number; durableSeq: number; epoch: number }): ShardRange {
  // A new epoch leaves 2^32 seqs out: nothing to walk through one by one.
  if (shard.epoch > 1) throw new Error(`shard ${shard.shard} is in epoch ${shard.epoch}: dumping it needs the feed`);
  return { shard: shard.shard, firstSeq: shard.firstSeq, lastSeq: shard.durableSeq };
}
