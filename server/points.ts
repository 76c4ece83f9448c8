/**
 * Points in time as requests name them: resolved to views of the database, with the parameter's name in what goes wrong.
 */
import { formatTime, isVarveError, parseTime, VarveError, type View } from '../engine/index.js';
import { database, type Exchange } from './exchange.js';
import { untilReached } from './freshness.js';
import { invalid } from './problem.js';

const RECORD_ID = /^[0-9a-f]{16}$/;

/** The view at `point`, or of now. An unusable point is a 400 that names `parameter`; one that this copy does not cover yet is waited for. */
export async function viewAt(exchange: Exchange, point: string | undefined, parameter: string): Promise<View> {
  const db = database(exchange);
  if (point === undefined) return db.now();
  try {
    await untilReached(exchange, point);
    return await db.asOf(point);
  } catch (error) {
    if (isVarveError(error, 'INVALID')) throw invalid(parameter, 'an RFC 3339 time, or the id of a record');
    throw error;
  }
}

/** The last seq the view sees in a shard; 422 where its point does not reach it. */
export function positionIn(view: View, shard: number): number {
  const position = view.positions[shard - 1];
  if (position !== undefined) return position;
  const reached = view.positions.findIndex((other) => other !== undefined) + 1;
  throw new VarveError('CROSS_SHARD', `the point in time is a record of shard ${reached}, the question is of shard ${shard}`, {
    shards: [reached, shard],
  });
}

/**
 * The last seq of a shard before `point`: what `from` leaves out. A range keeps the batch that stands exactly at its `from`, as it
 * keeps the one at its `to`.
 */
export async function positionBefore(exchange: Exchange, point: string, shard: number, parameter: string): Promise<number> {
  const db = database(exchange);
  const view = await viewAt(exchange, point, parameter);
  positionIn(view, shard);
  const time = RECORD_ID.test(point) ? db.record(point)?.time : point;
  if (time === undefined) throw invalid(parameter, 'an RFC 3339 time, or the id of a record');
  const micros = parseTime(time);
  return micros === 0 ? 0 : positionIn(await db.asOf(formatTime(micros - 1)), shard);
}
