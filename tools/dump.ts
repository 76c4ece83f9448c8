/**
 * Everything a database holds, as the lines of dump-format.ts: batches in the order of time, each shard's in its
 * own order, so that loading them gives every entity the same history with the same times. Ids change with the
 * shard layout and are mapped by `load`; a ref to a record that is not dumped is dropped, and counted.
 *
 * A shard is read from its feed, which meets deleted entities too and passes over the seqs that hold nothing. Two
 * records of a shard with one time are of one batch, for times increase from batch to batch.
 */
import { type Database, isSystemCollection, isVarveError, type VersionRecord } from '../engine/index.js';
import { batchLine, collectionLine, type DumpedCollection, type DumpedRecord } from './dump-format.js';
import { type HttpClient, ProblemError } from './http-client.js';
import type { RecordJson } from './records.js';

export interface ShardRange {
  readonly shard: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** A record of a shard's feed. Without a body it is a tombstone, or erased. */
export interface FedRecord extends DumpedRecord {
  readonly seq: number;
  readonly erased: boolean;
}

/** Where records come from. */
export interface DumpSource {
  collections(): Promise<readonly DumpedCollection[]>;
  shards(): Promise<readonly ShardRange[]>;
  /** Undefined for an id that names no record, or one that is kept no more. */
  timeOf(id: string): Promise<string | undefined>;
  /** A shard's records in order, up to its last seq; of one collection where it is named. `ahead` of them are read at a time. */
  records(range: ShardRange, collection: string | undefined, ahead: number): AsyncGenerator<FedRecord>;
  /** Set once it has turned out that part of the history was trimmed: what is left is told then. */
  trimmed: boolean;
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
  /** Left out, for their bodies are gone. */
  readonly erased: number;
  /** Older versions had been trimmed. */
  readonly trimmed: boolean;
}

/** Records read ahead of their turn, all shards together. */
const AHEAD = 256;
const LEAST_AHEAD = 8;

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
  const counts = { records: 0, batches: 0, refsDropped: 0, seen: 0 };
  const reached = new Map<number, number>();
  const erased = new Set<string>();
  const seen = ({ shard, firstSeq }: ShardRange, record: FedRecord) => {
    reached.set(shard, record.seq - firstSeq + 1);
    if (record.erased) erased.add(record.id);
    counts.seen += 1;
    if (counts.seen % 256 === 0)
      options.progress?.(
        [...reached.values()].reduce((sum, seqs) => sum + seqs, 0),
        total,
      );
  };
  // A ref can only leave the dump where something is left out of it.
  const dumped = options.collections.length === 0 ? undefined : new Set<string>();
  const ahead = Math.max(LEAST_AHEAD, Math.floor(AHEAD / Math.max(1, shards.length)));
  const only = options.collections.length === 1 ? options.collections[0] : undefined;
  const feeds = shards.map((range) => batchesOf(source.records(range, only, ahead), until, (record) => seen(range, record)));
  for await (const batch of merged(feeds)) {
    const kept = batch.filter(({ collection }) => wanted(collection));
    if (kept.length === 0) continue;
    const records = kept.map((record) => {
      dumped?.add(record.id);
      const refs = record.refs.filter((ref) => !erased.has(ref) && dumped?.has(ref) !== false);
      counts.refsDropped += record.refs.length - refs.length;
      return { ...record, refs };
    });
    counts.records += records.length;
    counts.batches += 1;
    await options.line(batchLine(records));
  }
  return {
    records: counts.records,
    batches: counts.batches,
    refsDropped: counts.refsDropped,
    erased: erased.size,
    trimmed: source.trimmed,
  };
}

/** The last time to dump. A record's batch has one time, so "at the end of that batch" is its time. */
async function limitOf(source: DumpSource, shards: readonly ShardRange[], asOf: string | undefined): Promise<string | undefined> {
  if (asOf === undefined) return undefined;
  if (/^[0-9a-f]{16}$/.test(asOf)) {
    if (shards.length > 1) throw new Error(`a record id is a point in its own shard only, and there are ${shards.length}: give a time`);
    const time = await source.timeOf(asOf);
    if (time === undefined) throw new Error(`there is no record ${asOf}`);
    return time;
  }
  return asOf;
}

async function* batchesOf(
  records: AsyncGenerator<FedRecord>,
  until: string | undefined,
  seen: (record: FedRecord) => void,
): AsyncGenerator<DumpedRecord[]> {
  let batch: DumpedRecord[] = [];
  for await (const record of records) {
    seen(record);
    if (record.erased) continue;
    if (until !== undefined && record.time > until) break;
    if (batch[0] !== undefined && batch[0].time !== record.time) {
      yield batch;
      batch = [];
    }
    batch.push(record);
  }
  if (batch.length > 0) yield batch;
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
  const record = async (id: string): Promise<RecordJson | undefined> => {
    try {
      return await client.json<RecordJson>('GET', `/v1/records/${id}`);
    } catch (error) {
      if (error instanceof ProblemError && (error.status === 404 || error.status === 410)) return undefined;
      throw error;
    }
  };
  return {
    trimmed: false,
    collections: async () => (await client.json<{ collections: DumpedCollection[] }>('GET', '/v1/collections')).collections,
    shards: async () => {
      const { shards } = await client.json<{ shards: { shard: number; firstSeq: number; durableSeq: number }[] }>('GET', '/v1/shards');
      return shards.map(rangeOf);
    },
    timeOf: async (id) => (await record(id))?.time,
    /** Page by page: who waits for another shard's records holds no connection meanwhile. */
    async *records({ shard, lastSeq }, collection, ahead) {
      for (let after: string | undefined; ; ) {
        const partial = this.trimmed;
        const query = { shard, collection, live: false, limit: ahead, after, partial };
        const page: FeedRecord[] = [];
        try {
          for await (const line of client.lines<FeedRecord>('/v1/changes', { query })) page.push(line);
        } catch (error) {
          if (partial || !(error instanceof ProblemError && error.slug === 'trimmed')) throw error;
          this.trimmed = true;
          continue;
        }
        for (const line of page) {
          if (line.seq > lastSeq) return;
          yield { ...line, erased: !line.deleted && !('body' in line), body: 'body' in line ? JSON.stringify(line.body) : undefined };
        }
        after = page.at(-1)?.cursor;
        if (page.length < ahead) return;
      }
    },
  };
}

type FeedRecord = RecordJson & { readonly cursor: string };

export function offlineSource(db: Database): DumpSource {
  return {
    trimmed: false,
    collections: () => db.collections(),
    shards: async () => db.shards().map(rangeOf),
    timeOf: async (id) => db.record(id)?.time,
    async *records({ shard, lastSeq }, collection, ahead) {
      const until = db.shards().map(() => lastSeq);
      const only = collection === undefined ? {} : { collection };
      let changes = db.changes({ shard, until, ...only });
      let partial = false;
      while (!changes.done) {
        let records: readonly VersionRecord[];
        try {
          records = changes.next(ahead);
        } catch (error) {
          if (partial || !isVarveError(error, 'TRIMMED')) throw error;
          this.trimmed = partial = true;
          changes = db.changes({ shard, until, partial, ...only });
          continue;
        }
        for (const { id, seq, time, collection, key, refs, erased, bodyBytes } of records) {
          yield { id, seq, time, collection, key, refs, erased, body: bodyBytes && Buffer.from(bodyBytes).toString('utf8') };
        }
      }
    },
  };
}

function rangeOf(shard: { shard: number; firstSeq: number; durableSeq: number }): ShardRange {
  return { shard: shard.shard, firstSeq: shard.firstSeq, lastSeq: shard.durableSeq };
}
