/**
 * A client of a Varve server, for Node and browsers alike: it needs fetch and nothing else.
 *
 *   const varve = new Client({ url: 'http://127.0.0.1:7411' });
 *   await varve.put('customers', 'alice', { city: 'Oslo' });
 *   (await varve.get('customers', 'alice'))?.body;
 *   for await (const change of varve.changes({ after: 'now' })) console.log(change.key);
 *
 * Invariants: reads are tried again after silence and after problems that time may mend; writes too, for each goes with an idempotency
 * key, its caller's or one made for it, so that it counts once however often it is sent. Without a key nothing is written twice, nor
 * tried twice. Errors are VarveProblem (the server's word) or VarveConnectionError (its silence).
 */
import { followChanges } from './feed.js';
import { Keep } from './keep.js';
import { isProblem } from './problem.js';
import { type ClientOptions, type Query, Transport } from './transport.js';
import type {
  BatchOptions,
  CallOptions,
  Change,
  ChangesOptions,
  CollectionInfo,
  Difference,
  DiffOptions,
  HistoryOptions,
  HistoryPage,
  Item,
  JsonValue,
  LineItem,
  ListOptions,
  Page,
  PatchOperation,
  Proof,
  PutOptions,
  RootInfo,
  ShardInfo,
  VarveRecord,
  VarveRecordHeader,
  WriteOptions,
} from './types.js';
import { type InsertOutcome, insertMany, newKey } from './write-many.js';

const PAGE_SIZE = 500;
const JSON_TYPE = 'application/json';

export class Client {
  /** Retention, snapshots, compactions, erasures, jobs. */
  readonly keep: Keep;
  readonly #transport: Transport;

  /** Throws TypeError unless the URL is an http one. */
  constructor(options: ClientOptions) {
    this.#transport = new Transport(options);
    this.keep = new Keep(this.#transport);
  }

  // ---- insert

  /** Inserts a version. */
  put(collection: string, key: string, body: JsonValue, options: PutOptions = {}): Promise<VarveRecordHeader> {
    return this.#write<VarveRecordHeader>('PUT', entityPath(collection, key), JSON.stringify(body), options, conditions(options));
  }

  /** Ends the entity; `nothing-to-delete` where it is not alive. */
  delete(collection: string, key: string, options: PutOptions = {}): Promise<VarveRecordHeader> {
    return this.#write<VarveRecordHeader>('DELETE', entityPath(collection, key), undefined, options, conditions(options));
  }

  /** Inserts one batch: all or nothing, in one shard. */
  async insert(items: readonly Item[], options: BatchOptions = {}): Promise<readonly VarveRecordHeader[]> {
    const { time } = options;
    const body = JSON.stringify({ ...(time === undefined ? {} : { time }), records: items });
    return (await this.#write<{ records: VarveRecordHeader[] }>('POST', '/v1/records', body, options, {})).records;
  }

  /** Inserts any number of items, each a batch of its own, and tells what became of each, in order. A bad one costs only itself. */
  insertMany(
    items: Iterable<LineItem> | AsyncIterable<LineItem>,
    options: WriteOptions = {},
  ): AsyncGenerator<InsertOutcome, void, undefined> {
    return insertMany(this.#transport, items, options);
  }

  // ---- select

  /**
   * The newest version, or the one then; undefined where the entity never existed or was deleted. `minIds`: from a copy that holds these
   * records, such as the one just written.
   */
  async get<T = JsonValue>(
    collection: string,
    key: string,
    options: CallOptions & { readonly asOf?: string; readonly minIds?: readonly string[] } = {},
  ): Promise<VarveRecord<T> | undefined> {
    const { asOf, minIds, signal } = options;
    const headers = minIds === undefined || minIds.length === 0 ? {} : { 'Varve-Min-Id': minIds.join(', ') };
    return this.#unless<VarveRecord<T>>(['not-found', 'deleted'], entityPath(collection, key), { asOf }, signal, headers);
  }

  /** Versions, newest first unless told otherwise. `historyPage` tells too whether they are all. */
  async *history<T = JsonValue>(
    collection: string,
    key: string,
    options: HistoryOptions = {},
  ): AsyncGenerator<VarveRecord<T>, void, undefined> {
    for (let cursor: string | undefined; ; ) {
      const page: HistoryPage<T> = await this.historyPage<T>(collection, key, { ...options, ...(cursor === undefined ? {} : { cursor }) });
      yield* page.records;
      if (page.next === null) return;
      cursor = page.next;
    }
  }

  historyPage<T = JsonValue>(
    collection: string,
    key: string,
    options: HistoryOptions & { readonly cursor?: string } = {},
  ): Promise<HistoryPage<T>> {
    const { signal, pageSize = PAGE_SIZE, ...query } = options;
    return this.#read<HistoryPage<T>>(`${entityPath(collection, key)}/history`, { ...query, limit: pageSize }, signal);
  }

  /** How one version's body becomes the other's; points are times or ids. */
  entityDiff(collection: string, key: string, from: string, to?: string, options: CallOptions = {}): Promise<PatchOperation[]> {
    return this.#read<PatchOperation[]>(`${entityPath(collection, key)}/diff`, { from, to }, options.signal);
  }

  /** Entities alive now or then, in the order of their keys. All pages see one point in time. */
  list<T = JsonValue>(collection: string, options: ListOptions = {}): AsyncGenerator<VarveRecord<T>, void, undefined> {
    return this.#list<VarveRecord<T>>(collection, options, undefined);
  }

  /** The same, keys and ids alone. */
  listKeys(collection: string, options: ListOptions = {}): AsyncGenerator<{ readonly id: string; readonly key: string }, void, undefined> {
    return this.#list<{ readonly id: string; readonly key: string }>(collection, options, false);
  }

  async collections(options: CallOptions = {}): Promise<readonly CollectionInfo[]> {
    return (await this.#read<{ collections: CollectionInfo[] }>('/v1/collections', {}, options.signal)).collections;
  }

  collection(name: string, options: CallOptions = {}): Promise<CollectionInfo | undefined> {
    return this.#unless<CollectionInfo>(['not-found'], `/v1/collections/${encodeURIComponent(name)}`, {}, options.signal);
  }

  /** `key`, or `group:<name>`; fixed once the collection has records. Asked for twice it is the same, so it may be tried again. */
  async setPlacement(name: string, placement: string, options: CallOptions = {}): Promise<CollectionInfo> {
    const { json } = await this.#transport.request('PUT', `/v1/collections/${encodeURIComponent(name)}`, {
      headers: { 'Content-Type': JSON_TYPE },
      body: JSON.stringify({ placement }),
      signal: options.signal,
      again: true,
    });
    return json as CollectionInfo;
  }

  /** Undefined for an id that was not given out. */
  record<T = JsonValue>(id: string, options: CallOptions = {}): Promise<VarveRecord<T> | undefined> {
    return this.#unless<VarveRecord<T>>(['not-found'], `/v1/records/${encodeURIComponent(id)}`, {}, options.signal);
  }

  /** For `verifyProof`, with a root from whom you trust. It is under a root that holds the record; after `root()`, under that one or a newer. */
  proof<T = JsonValue>(id: string, options: CallOptions = {}): Promise<Proof<T> | undefined> {
    return this.#unless<Proof<T>>(['not-found'], `/v1/records/${encodeURIComponent(id)}/proof`, {}, options.signal);
  }

  /** Entities that differ between two points in time. */
  async *diff(options: DiffOptions): AsyncGenerator<Difference, void, undefined> {
    const { signal, pageSize = PAGE_SIZE, ...first } = options;
    for (let query: Query = { ...first }; ; ) {
      const page = await this.#read<{ differences: Difference[]; next: string | null }>('/v1/diff', { ...query, limit: pageSize }, signal);
      yield* page.differences;
      if (page.next === null) return;
      query = { cursor: page.next };
    }
  }

  /** Records as they become durable; goes on by itself where the connection ends. `change.cursor` is where to begin `after` another day. */
  changes<T = JsonValue>(options: ChangesOptions = {}): AsyncGenerator<Change<T>, void, undefined> {
    return followChanges<T>(this.#transport, options);
  }

  // ---- copies

  async shards(options: CallOptions = {}): Promise<readonly ShardInfo[]> {
    return (await this.#read<{ shards: ShardInfo[] }>('/v1/shards', {}, options.signal)).shards;
  }

  shard(shard: number, options: CallOptions = {}): Promise<ShardInfo | undefined> {
    return this.#unless<ShardInfo>(['not-found'], `/v1/shards/${shard}`, {}, options.signal);
  }

  /** Of everything durable, or of a past checkpoint; undefined where there is none. */
  root(shard: number, options: CallOptions & { readonly seq?: number } = {}): Promise<RootInfo | undefined> {
    const { seq, signal } = options;
    return this.#unless<RootInfo>(['not-found'], `/v1/shards/${shard}/root`, { seq }, signal);
  }

  /** Makes the server that is asked the owner of the shard. `no-majority`, `candidate-behind`. Not tried again by itself. */
  async promote(shard: number, options: CallOptions & { readonly force?: boolean } = {}): Promise<ShardInfo> {
    const { force = false, signal } = options;
    const headers = { 'Content-Type': JSON_TYPE };
    const body = JSON.stringify({ force });
    return (await this.#transport.request('POST', `/v1/shards/${shard}/promotion`, { headers, body, signal, again: false }))
      .json as ShardInfo;
  }

  // ---- how

  async #read<R>(path: string, query: Query, signal: AbortSignal | undefined, headers: Record<string, string> = {}): Promise<R> {
    return (await this.#transport.request('GET', path, { query, headers, signal, again: true })).json as R;
  }

  async #unless<R>(
    absent: readonly ('not-found' | 'deleted')[],
    path: string,
    query: Query,
    signal: AbortSignal | undefined,
    headers: Record<string, string> = {},
  ): Promise<R | undefined> {
    try {
      return await this.#read<R>(path, query, signal, headers);
    } catch (error) {
      if (absent.some((slug) => isProblem(error, slug))) return undefined;
      throw error;
    }
  }

  async #write<R>(
    method: string,
    path: string,
    body: string | undefined,
    options: WriteOptions,
    headers: Record<string, string>,
  ): Promise<R> {
    const key = options.idempotencyKey ?? newKey();
    if (key !== false) headers['Idempotency-Key'] = key;
    if (body !== undefined) headers['Content-Type'] = JSON_TYPE;
    const { acks, signal } = options;
    const answer = await this.#transport.request(method, path, { query: { acks }, headers, body, signal, again: key !== false });
    return answer.json as R;
  }

  async *#list<R>(collection: string, options: ListOptions, bodies: false | undefined): AsyncGenerator<R, void, undefined> {
    const { signal, pageSize = PAGE_SIZE, ...first } = options;
    const path = `/v1/collections/${encodeURIComponent(collection)}/entities`;
    for (let query: Query = { ...first, bodies }; ; ) {
      const page = await this.#read<Page<R>>(path, { ...query, limit: pageSize }, signal);
      yield* page.records;
      if (page.next === null) return;
      query = { cursor: page.next };
    }
  }
}

function entityPath(collection: string, key: string): string {
  return `/v1/collections/${encodeURIComponent(collection)}/entities/${encodeURIComponent(key)}`;
}

function conditions({ expect, refs, time }: PutOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  if (expect === null) headers['If-None-Match'] = '*';
  else if (expect === '*') headers['If-Match'] = '*';
  else if (expect !== undefined) headers['If-Match'] = (typeof expect === 'string' ? [expect] : expect).map((id) => `"${id}"`).join(', ');
  if (refs !== undefined && refs.length > 0) headers['Varve-Refs'] = refs.join(', ');
  if (time !== undefined) headers['Varve-Time'] = time;
  return headers;
}
