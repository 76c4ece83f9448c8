/**
 * What a node answers to peers that knows of no copies itself: states, streams and segments. So a database may be copied from without having been told so.
 *
 * Invariant: it owns its shards, and its own durable position is the quorum's.
 */
import { type Clock, nodeClock } from '../engine/copying.js';
import { AckBook } from './ack-book.js';
import { type CopiedDatabase, LogService } from './log-service.js';
import { createPeerService } from './peer-service.js';
import type { PeerService } from './transport.js';

export function sourceOnly(db: CopiedDatabase, clock: Clock = nodeClock()): PeerService {
  const book = new AckBook((shard) => db.replica(shard), clock, undefined, []);
  const logs = new LogService({ db, clock, noteAcks: (report) => book.note(report), quorumSeq: (shard) => book.quorumSeq(shard) });
  return createPeerService(db, logs.handlers);
}
