/**
 * The part of a node's answers that ownership rests on: promises to candidates, and what a time covers.
 *
 * Invariants: a promise is durable before it is answered, and given to nodes of the replica set alone; only an owner says what a time
 * covers, and it stamps later from then on (law 5).
 */
import type { ReplicaShard } from '../engine/copying.js';
import { type Database, isVarveError } from '../engine/index.js';
import { givePromise, type PromiseRequest, readPromiseRequest } from './election.js';
import { knownQuery, type PeerHandlers, PeerRefusal } from './peer-service.js';

export interface ElectionServiceOptions {
  readonly db: Pick<Database, 'asOf' | 'replica'>;
  /** Who may be promised anything. */
  readonly replicas: readonly string[];
  /** After a promise to another: whom to look at next. */
  readonly onPromised: (shard: ReplicaShard, request: PromiseRequest) => void;
}

const MAX_TIME_CHARS = 64;

export function electionHandlers({ db, replicas, onPromised }: ElectionServiceOptions): PeerHandlers {
  return {
    async 'POST /shards/:shard/promises'(call, { shard: id }) {
      knownQuery(call, []);
      const request = readPromiseRequest(call.json);
      if (request === undefined) {
        const expected = '{"epoch","candidate","url"}';
        throw new PeerRefusal(400, 'invalid', `a promise is asked for with ${expected}`, { path: '', expected });
      }
      const shard = db.replica(id);
      const answer = await givePromise(shard, request, replicas);
      if (answer.promised) onPromised(shard, request);
      return { status: 200, json: answer };
    },
    async 'GET /shards/:shard/position'(call, { shard: id }) {
      knownQuery(call, ['time']);
      const time = call.query.get('time');
      if (time === null || time.length > MAX_TIME_CHARS || /^[0-9a-f]{16}$/.test(time)) throw badTime();
      const { role, owner } = db.replica(id);
      if (role !== 'owner') {
        const known = { shard: id, owner: owner?.node ?? null, url: owner?.url ?? null };
        throw new PeerRefusal(503, 'not-owner', 'Another node owns the shard.', known);
      }
      try {
        const { positions } = await db.asOf(time);
        return { status: 200, json: { seq: positions[id - 1] ?? 0 } };
      } catch (error) {
        if (isVarveError(error, 'INVALID')) throw badTime();
        if (isVarveError(error, 'TIME_AHEAD')) throw new PeerRefusal(400, 'time-ahead', 'The time lies in the future.', error.details);
        throw error;
      }
    },
  };
}

function badTime(): PeerRefusal {
  return new PeerRefusal(400, 'invalid', 'time: an RFC 3339 time', { path: 'time', expected: 'an RFC 3339 time' });
}
