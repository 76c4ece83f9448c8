/**
 * Reads on a copy that may be behind: `Varve-Min-Id`, and points in time that only the owner can place (law 5).
 *
 * Invariants: a point that this copy does not cover yet is waited for or refused (503 `behind`), never guessed; on the owner nothing waits.
 */
import { type Database, isVarveError, parseRecordId, parseTime, recordId } from '../engine/index.js';
import { database, type Exchange } from './exchange.js';
import { invalid, Problem } from './problem.js';

/** How long a read waits for this copy to get there. */
const WAIT_MS = 2000;
const MOST_IDS = 256;
const RECORD_ID = /^[0-9a-f]{16}$/;

/** Resolves once this copy holds every id in `Varve-Min-Id`. 400 on the owner for an id it never gave. */
export async function untilMinIds(exchange: Exchange): Promise<void> {
  const ids = String(exchange.req.headers['varve-min-id']).split(',');
  if (ids.length > MOST_IDS) throw invalid('Varve-Min-Id', `${MOST_IDS} ids at most`);
  const db = database(exchange);
  for (const [index, text] of ids.entries()) {
    const id = text.trim();
    if (!RECORD_ID.test(id)) throw invalid(`Varve-Min-Id[${index}]`, 'a record id: 16 lowercase hex digits');
    const { shard, seq } = parseRecordId(id, `Varve-Min-Id[${index}]`);
    if (shard > db.shardCount) throw invalid(`Varve-Min-Id[${index}]`, 'the id of a record');
    if (seq <= db.replica(shard).visibleSeq) continue;
    if (owns(exchange, shard)) throw invalid(`Varve-Min-Id[${index}]`, 'an id that was given out');
    await untilVisible(exchange, shard, seq);
  }
}

/** Resolves once this copy can answer as of `point`. Malformed points are left to whoever resolves them. */
export async function untilReached(exchange: Exchange, point: string): Promise<void> {
  const { copies } = exchange.context;
  if (copies === undefined || copies.allHere) return;
  const db = database(exchange);
  if (RECORD_ID.test(point)) {
    const { shard, seq } = parseRecordId(point, 'asOf');
    if (shard <= db.shardCount && seq > db.replica(shard).visibleSeq && !owns(exchange, shard)) await untilVisible(exchange, shard, seq);
    return;
  }
  let time: number;
  try {
    time = parseTime(point, 'asOf');
  } catch (error) {
    if (isVarveError(error, 'INVALID')) return;
    throw error;
  }
  const shards = Array.from({ length: db.shardCount }, (_, i) => i + 1).filter((shard) => !owns(exchange, shard));
  await Promise.all(shards.map((shard) => untilTime(exchange, db, shard, point, time)));
}

async function untilTime(exchange: Exchange, db: Database, shard: number, point: string, time: number): Promise<void> {
  const newest = db.newestTime(shard);
  // Times rise in a log: what is not later than its newest record lies behind it for good.
  if (newest !== undefined && time <= parseTime(newest)) return;
  const seq = await exchange.context.copies?.positionAt(shard, point);
  if (seq === undefined)
    throw new Problem('behind', 'Only the owner of the shard can say what that time covers, and it cannot be asked now.', {
      shard,
      seq: db.replica(shard).visibleSeq,
    });
  await untilVisible(exchange, shard, seq);
}

function owns({ context }: Exchange, shard: number): boolean {
  return context.copies === undefined || context.copies.owner(shard).here;
}

/** Resolves once the shard shows `seq` here; 503 `behind` where that takes too long. */
async function untilVisible(exchange: Exchange, shard: number, seq: number): Promise<void> {
  const db = database(exchange);
  const replica = db.replica(shard);
  const { signal } = exchange.caller;
  const timeout = AbortSignal.any([AbortSignal.timeout(WAIT_MS), signal, exchange.context.draining]);
  while (replica.visibleSeq < seq && !timeout.aborted) {
    const after = db.now().positions.map((position) => position ?? 0);
    await db.changes({ shard, after }).wait(timeout);
  }
  if (replica.visibleSeq >= seq) return;
  throw new Problem('behind', `This copy has come to ${recordId(shard, replica.visibleSeq)}; ${recordId(shard, seq)} was asked for.`, {
    shard,
    seq: replica.visibleSeq,
  });
}
