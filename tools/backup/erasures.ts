/**
 * Which erasures a database knows of, and carrying them out in a directory that was restored from before them.
 *
 *   a running server | another, newer backup | a data directory nobody holds  ->  what was erased  ->  the restored directory
 *
 * Invariants: an erasure that is known here is carried out before the directory gets its name, so that no body it covers is ever served
 * or left in a file of it. Of one that nothing given here knows, nothing can be done: the command says so.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open } from '../../engine/index.js';
import type { HttpClient } from '../http-client.js';
import { UsageError } from '../output.js';
import { MANIFEST_FILE, ManifestError, readManifest } from './manifest.js';
import { serverSource } from './source.js';

/** As the database's own collection of them tells it. */
export interface KnownErasure {
  readonly collection: string;
  readonly key: string;
  readonly reason: string;
  /** In the entity's shard: bodies before it are to be gone. */
  readonly seq: number;
  /** No file of the database that told it holds one any more. */
  readonly done: boolean;
}

export interface ToldErasures {
  /** Which database they are of. */
  readonly database: string;
  readonly erasures: readonly KnownErasure[];
}

const COLLECTION = '_erasures';

export async function erasuresOfDatabase(db: Database): Promise<KnownErasure[]> {
  const found: KnownErasure[] = [];
  for await (const { body } of db.now().entities(COLLECTION)) found.push(checked(body));
  return found;
}

export async function erasuresOfServer(client: HttpClient): Promise<KnownErasure[]> {
  const found: KnownErasure[] = [];
  for await (const { body } of client.lines<{ body?: unknown }>(`/v1/collections/${COLLECTION}/entities`)) found.push(checked(body));
  return found;
}

/** `where`: a server's URL, a backup, or a data directory that no server holds. */
export async function erasuresFrom(
  where: string,
  withServer: (url: string, work: (client: HttpClient) => Promise<ToldErasures>) => Promise<ToldErasures>,
): Promise<ToldErasures> {
  if (/^https?:\/\//.test(where))
    return withServer(where, async (client) => {
      const { database } = await serverSource(client).state();
      return { database, erasures: await erasuresOfServer(client) };
    });
  if (existsSync(join(where, MANIFEST_FILE))) {
    const manifest = await readManifest(where);
    if (manifest?.erasures === undefined)
      throw new ManifestError(`the backup in ${where} does not say what was erased: bring it up to date with 'varve backup' first`);
    return { database: manifest.database, erasures: manifest.erasures };
  }
  if (!existsSync(join(where, 'node.json')))
    throw new UsageError(`${where} is neither the URL of a server, nor a backup, nor a data directory`);
  const db = await open(where, { upkeep: { automatic: false } });
  try {
    return { database: db.databaseId, erasures: await erasuresOfDatabase(db) };
  } finally {
    await db.close();
  }
}

/** Carries out in a closed directory what is told and what it knows itself; answers how many it did not know. */
export async function applyErasures(directory: string, told: readonly KnownErasure[]): Promise<number> {
  // Those that its own log began, it goes on with by itself.
  const db = await open(directory, { upkeep: { automatic: false } });
  try {
    const known = new Map((await erasuresOfDatabase(db)).map((erasure) => [nameOf(erasure), erasure.seq]));
    let applied = 0;
    let hidden = false;
    for (const erasure of told) {
      if ((known.get(nameOf(erasure)) ?? 0) >= erasure.seq) continue;
      const { collection, key, reason } = erasure;
      if (db.now().history(collection, key, { limit: 1 }).records.length === 0) {
        // It has none here, but what retention has let go may lie in the files still.
        hidden = true;
        continue;
      }
      await db.erase({ collection, key, reason });
      applied++;
    }
    if (hidden) db.compact({ force: true });
    for (const { id, kind, request } of db.jobs()) {
      const ended = await db.jobEnded(id);
      if (ended?.state !== 'done')
        throw new Error(`${kind} ${JSON.stringify(request)} was not carried out: ${JSON.stringify(ended?.error)}`);
    }
    return applied;
  } finally {
    await db.close();
  }
}

function nameOf({ collection, key }: KnownErasure): string {
  return `${collection}/${key}`;
}

/** What a server says is a stranger's. */
function checked(body: unknown): KnownErasure {
  const { collection, key, reason, seq, done } = (body ?? {}) as Partial<KnownErasure>;
  if (typeof collection !== 'string' || typeof key !== 'string' || typeof reason !== 'string' || !Number.isSafeInteger(seq))
    throw new Error('what was erased cannot be understood');
  return { collection, key, reason, seq: seq!, done: done === true };
}
