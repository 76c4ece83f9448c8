/**
 * Where a backup comes from: a running server, or a data directory that nobody holds. Both name the same files and give the
 * same bytes. What a server says is checked before any of it becomes a file name.
 */
import type { Database } from '../../engine/index.js';
import { isSegmentName } from '../../engine/segment-copy.js';
import { type HttpClient, ProblemError } from '../http-client.js';
import { erasuresOfDatabase, erasuresOfServer, type KnownErasure } from './erasures.js';

export interface SourceSegment {
  readonly shard: number;
  readonly name: string;
  /** How much of it is durable. */
  readonly bytes: number;
  readonly sealed: boolean;
}

export interface SourceState {
  readonly database: string;
  readonly shards: number;
  readonly segments: readonly SourceSegment[];
}

export interface BackupSource {
  /** One consistent state: lengths taken at one moment. */
  state(): Promise<SourceState>;
  /** What was erased so far. */
  erasures(): Promise<readonly KnownErasure[]>;
  /** The segment's bytes in `[from, to)`; throws SegmentGone where compaction has replaced it meanwhile. */
  read(segment: SourceSegment, from: number, to: number): AsyncGenerator<Uint8Array>;
}

/** The segment is not there any more: ask for the state anew. */
export class SegmentGone extends Error {
  override readonly name = 'SegmentGone';
}

const PIECE_BYTES = 4 * 1024 * 1024;

export function serverSource(client: HttpClient): BackupSource {
  return {
    state: async () => checkedState(await client.json('GET', '/replication/v1/segments')),
    erasures: () => erasuresOfServer(client),
    read: async function* ({ shard, name }, from, to) {
      for (let at = from; at < to; ) {
        const end = Math.min(to, at + PIECE_BYTES);
        const path = `/replication/v1/shards/${shard}/segments/${name}`;
        const reply = await client.request('GET', path, { headers: { range: `bytes=${at}-${end - 1}` } });
        if (reply.status === 404) throw new SegmentGone(name);
        if (reply.status !== 206) throw new ProblemError(reply.status, reply.body.toString('utf8'));
        if (reply.body.length !== end - at)
          throw new Error(`${client.url} sent ${reply.body.length} bytes of ${name} instead of ${end - at}`);
        yield reply.body;
        at = end;
      }
    },
  };
}

export function databaseSource(db: Database): BackupSource {
  return {
    state: async () => ({ database: db.databaseId, shards: db.shardCount, segments: db.logFiles() }),
    erasures: () => erasuresOfDatabase(db),
    read: async function* ({ shard, name }, from, to) {
      for (let at = from; at < to; ) {
        const bytes = db.readLogFile(shard, name, at, Math.min(PIECE_BYTES, to - at));
        if (bytes === undefined || bytes.length === 0) throw new SegmentGone(name);
        yield bytes;
        at += bytes.length;
      }
    },
  };
}

function checkedState(value: SourceState): SourceState {
  const sound =
    /^[0-9a-f]{32}$/.test(value.database) &&
    isCount(value.shards) &&
    value.segments.every(({ shard, name, bytes }) => isCount(shard) && shard <= value.shards && isSegmentName(name) && isCount(bytes));
  if (!sound) throw new Error('the server names segments that cannot be');
  return value;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}
