/** PouchDB: documents with trees of revisions, as replication moves them. It has no reads as of a point. */
import path from 'node:path';
import type { JsonValue } from '../../../engine/index.js';
import type { Adapter, KeyedVersion, Store, Version } from '../adapter.js';
import type { BenchRecord } from '../data/index.js';
import type { Packages } from '../packages.js';

interface Document {
  readonly _id: string;
  readonly _rev?: string;
  readonly _revisions?: { readonly start: number; readonly ids: readonly string[] };
  readonly seq: number;
  readonly [field: string]: unknown;
}

interface Pouch {
  get(key: string, options?: object): Promise<unknown>;
  put(document: object): Promise<unknown>;
  info(): Promise<{ doc_count: number }>;
  bulkDocs(documents: readonly object[], options: object): Promise<unknown[]>;
  allDocs(options?: object): Promise<{ rows: { id: string; value: { rev: string }; doc?: Document }[] }>;
  compact(): Promise<unknown>;
  close(): Promise<void>;
}

const NOT_FOUND = 404;
const CONFLICT = 409;

export const pouchdb: Adapter = {
  meta: {
    title: 'PouchDB',
    packages: ['pouchdb-node'],
    design:
      'a document a key, its versions the revision tree (the seq is in the revision id); loaded by bulkDocs without new edits; update: get and put',
    durable: false,
    durableNote: 'its LevelDB adapter does not sync',
    sync: false,
    entities: 10_000,
    diffHow: 'listing of both without bodies, revision ids compared',
  },
  async open(directory: string, packages: Packages): Promise<PouchStore> {
    const PouchDB = packages.require<new (directory: string, options: object) => Pouch>('pouchdb-node');
    const db = new PouchDB(path.join(directory, 'pouch'), { auto_compaction: false });
    return new PouchStore(db, (await db.info()).doc_count === 0);
  },
};

class PouchStore implements Store {
  readonly #db: Pouch;
  /** Nothing is stored that this client does not know. */
  readonly #begunEmpty: boolean;
  /** What a client that loads would hold: generation and id of each document's newest revision. */
  readonly #revisions = new Map<string, { readonly generation: number; readonly id: string }>();
  readonly putConcurrent = (record: BenchRecord) => this.put(record);

  constructor(db: Pouch, begunEmpty: boolean) {
    this.#db = db;
    this.#begunEmpty = begunEmpty;
  }

  async putBatch(records: readonly BenchRecord[]): Promise<void> {
    const documents = [];
    for (const { key, seq, body } of records) {
      const before = this.#revisions.get(key) ?? (await this.#stored(key));
      const generation = (before?.generation ?? 0) + 1;
      const id = seq.toString(16).padStart(32, '0');
      this.#revisions.set(key, { generation, id });
      const ids = before === undefined ? [id] : [id, before.id];
      documents.push({ _id: key, _rev: `${generation}-${id}`, _revisions: { start: generation, ids }, seq, ...(body as object) });
    }
    const [failure] = await this.#db.bulkDocs(documents, { new_edits: false });
    if (failure !== undefined) throw new Error(`bulkDocs: ${JSON.stringify(failure)}`);
  }

  async put({ key, seq, body }: BenchRecord): Promise<void> {
    for (;;) {
      const before = await this.#get(key);
      try {
        await this.#db.put({ _id: key, ...(before?._rev === undefined ? {} : { _rev: before._rev }), seq, ...(body as object) });
        return;
      } catch (error) {
        // Somebody else was faster: again.
        if (status(error) !== CONFLICT) throw error;
      }
    }
  }

  async newest(key: string): Promise<Version | undefined> {
    const document = await this.#get(key);
    return document && version(document);
  }

  async history(key: string): Promise<Version[]> {
    const newest = (await this.#db.get(key, { revs: true })) as Document;
    const { start, ids } = newest._revisions ?? { start: 1, ids: [''] };
    if (ids.length === 1) return [version(newest)];
    const answers = (await this.#db.get(key, { open_revs: ids.map((id, i) => `${start - i}-${id}`) })) as { ok?: Document }[];
    return answers.flatMap(({ ok }) => (ok === undefined ? [] : [version(ok)])).sort((a, b) => a.seq - b.seq);
  }

  async scan(fromKey: string, count: number): Promise<KeyedVersion[]> {
    const { rows } = await this.#db.allDocs({ startkey: fromKey, limit: count, include_docs: true });
    return rows.flatMap(({ doc }) => (doc === undefined ? [] : [version(doc)]));
  }

  async compact(): Promise<{ into: boolean }> {
    await this.#db.compact();
    return { into: false };
  }

  async diff(other: PouchStore): Promise<Set<string>> {
    const [ours, theirs] = await Promise.all([this.#db.allDocs(), other.#db.allDocs()]);
    const known = new Map(ours.rows.map(({ id, value }) => [id, value.rev]));
    return new Set(theirs.rows.filter(({ id, value }) => known.get(id) !== value.rev).map(({ id }) => id));
  }

  close(): Promise<void> {
    return this.#db.close();
  }

  async #get(key: string): Promise<Document | undefined> {
    try {
      return (await this.#db.get(key)) as Document;
    } catch (error) {
      if (status(error) === NOT_FOUND) return undefined;
      throw error;
    }
  }

  async #stored(key: string): Promise<{ generation: number; id: string } | undefined> {
    if (this.#begunEmpty) return undefined;
    const revision = (await this.#get(key))?._rev?.split('-');
    return revision && { generation: Number(revision[0]), id: revision[1] ?? '' };
  }
}

function version({ _id, _rev, _revisions, seq, ...body }: Document): KeyedVersion {
  return { key: _id, seq, body: body as { [field: string]: JsonValue } };
}

function status(error: unknown): number | undefined {
  return (error as { status?: number }).status;
}
