/**
 * A shard's log as files, for those who copy whole ones: backups, and replicas that begin anew. The bytes are the
 * segment's own, checksums and all; whoever takes them checks them.
 *
 *   GET /replication/v1/segments                        which there are, and how much of each is durable
 *   GET /replication/v1/shards/{n}/segments/{name}      their bytes; one range a request (RFC 9110)
 */
import type { LogFile } from '../../engine/index.js';
import { sendJson } from '../answers.js';
import { database, type Exchange, param, parseQuery, type Route } from '../exchange.js';
import { invalid, Problem } from '../problem.js';
import { noQuery } from '../schemas.js';

const SLICE_BYTES = 256 * 1024;
const RANGE = /^bytes=(\d{1,15})-(\d{0,15})$/;

function listSegments(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  const db = database(exchange);
  sendJson(exchange.res, 200, { database: db.databaseId, shards: db.shardCount, segments: db.logFiles() });
}

async function getSegment(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const { req, res } = exchange;
  const db = database(exchange);
  const file = find(exchange, db.logFiles());
  const range = readRange(req.headers.range, file.bytes);
  const headers: Record<string, string | number> = {
    'Cache-Control': 'no-cache',
    'Content-Type': 'application/octet-stream',
    'X-Content-Type-Options': 'nosniff',
    'Accept-Ranges': 'bytes',
    'Content-Length': range.to - range.from,
  };
  if (range.partial) headers['Content-Range'] = `bytes ${range.from}-${range.to - 1}/${file.bytes}`;
  res.writeHead(range.partial ? 206 : 200, headers);
  if (req.method === 'HEAD') return void res.end();
  for (let at = range.from; at < range.to && !res.destroyed; ) {
    const bytes = db.readLogFile(file.shard, file.name, at, Math.min(SLICE_BYTES, range.to - at));
    // Replaced by compaction in the middle: the length was promised, so the answer is cut short.
    if (bytes === undefined || bytes.length === 0) return void res.destroy();
    at += bytes.length;
    if (!res.write(bytes)) await drained(res);
  }
  res.end();
}

function find(exchange: Exchange, files: readonly LogFile[]): LogFile {
  const shard = param(exchange, 'shard');
  const name = param(exchange, 'name');
  const file = files.find((candidate) => String(candidate.shard) === shard && candidate.name === name);
  if (file === undefined) throw new Problem('not-found', 'There is no such segment, or compaction has replaced it.');
  return file;
}

function readRange(header: string | undefined, bytes: number): { from: number; to: number; partial: boolean } {
  if (header === undefined) return { from: 0, to: bytes, partial: false };
  const match = RANGE.exec(header);
  if (match === null) throw invalid('Range', 'one range of bytes with a beginning, such as bytes=0-1023 or bytes=4096-');
  const from = Number(match[1]);
  const to = match[2] === '' ? bytes : Math.min(bytes, Number(match[2]) + 1);
  if (from < to) return { from, to, partial: true };
  throw new Problem('range-not-satisfiable', `The segment has ${bytes} bytes.`, {}, { headers: { 'Content-Range': `bytes */${bytes}` } });
}

/** Resolves when the socket takes more, or never will. */
function drained(res: Exchange['res']): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off('drain', done).off('close', done);
      resolve();
    };
    res.on('drain', done).on('close', done);
  });
}

export const fileRoutes: readonly Route[] = [
  { path: '/replication/v1/segments', endpoints: { GET: { role: 'admin', handle: listSegments } } },
  { path: '/replication/v1/shards/:shard/segments/:name', endpoints: { GET: { role: 'admin', handle: getSegment } } },
];
