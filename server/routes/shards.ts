/**
 * What each shard holds, and its root: 32 bytes that name its whole live content.
 */
import { parseStrict, type ShardInfo } from '../../engine/index.js';
import { PromotionRefused } from '../../replication/index.js';
import { JSON_TYPE, sendJson } from '../answers.js';
import { requireMediaType, withBody } from '../body.js';
import type { Copies } from '../copies.js';
import { database, type Exchange, param, parseEnvelope, parseQuery, type Route } from '../exchange.js';
import { invalid, Problem } from '../problem.js';
import { noQuery, promotionEnvelope, type RootAnswer, rootQuery, type ShardAnswer } from '../schemas.js';

const ENVELOPE_BYTES = 1024;

function shardAnswer(info: ShardInfo, copies: Copies | undefined): ShardAnswer {
  const { shard, state, epoch, firstSeq, lastSeq, durableSeq, checkpoint, liveBytes, deadBytes } = info;
  const status = copies?.status(shard);
  return {
    shard,
    role: status?.role ?? 'owner',
    state,
    epoch,
    owner: status?.owner ?? null,
    firstSeq,
    lastSeq,
    durableSeq,
    quorumSeq: status?.quorumSeq ?? durableSeq,
    lagSeconds: status?.lagSeconds ?? 0,
    checkpoint,
    liveBytes,
    deadBytes,
    followers: [...(status?.followers ?? [])],
  };
}

function shardNumber(exchange: Exchange): number {
  const text = param(exchange, 'shard');
  if (!/^[1-9]\d{0,4}$/.test(text)) throw invalid('shard', 'a shard number from 1');
  const shard = Number(text);
  if (shard > database(exchange).shardCount) throw new Problem('not-found', `There is no shard ${shard}.`);
  return shard;
}

function listShards(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, {
    shards: database(exchange)
      .shards()
      .map((info) => shardAnswer(info, exchange.context.copies)),
  });
}

function getShard(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  answerShard(exchange, shardNumber(exchange));
}

function answerShard(exchange: Exchange, shard: number): void {
  const info = database(exchange).shards()[shard - 1];
  if (info === undefined) throw new Problem('not-found', `There is no shard ${shard}.`);
  sendJson(exchange.res, 200, shardAnswer(info, exchange.context.copies));
}

/** Makes this node the owner. A body is optional: `{"force": true}`. */
async function promote(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  requireMediaType(exchange.req, [JSON_TYPE], true);
  const shard = shardNumber(exchange);
  const { force = false } = await withBody(exchange, 'promotion', ENVELOPE_BYTES, (bytes) =>
    bytes.length === 0 ? {} : parseEnvelope(promotionEnvelope, parseStrict(bytes)),
  );
  try {
    // Alone, a node is the owner of all it has.
    await exchange.context.copies?.promote(shard, force);
  } catch (error) {
    throw error instanceof PromotionRefused ? refusal(shard, error) : error;
  }
  answerShard(exchange, shard);
}

function refusal(shard: number, { kind, message, epoch, votes, ahead }: PromotionRefused): Problem {
  const fields = { shard, epoch, answers: votes };
  if (kind === 'no-majority') return new Problem('no-majority', `${message}.`, fields);
  return new Problem('candidate-behind', `${message}.`, { ...fields, ...(ahead === undefined ? {} : { ahead }) });
}

async function getRoot(exchange: Exchange): Promise<void> {
  const { seq } = parseQuery(rootQuery, exchange);
  const shard = shardNumber(exchange);
  const root = await database(exchange).root(shard, seq);
  if (root === undefined) throw new Problem('not-found', `Shard ${shard} has no checkpoint at seq ${seq}.`);
  sendJson(exchange.res, 200, { shard: root.shard, seq: root.seq, root: root.root, entries: root.entries } satisfies RootAnswer);
}

export const shardRoutes: readonly Route[] = [
  { path: '/v1/shards', endpoints: { GET: { role: 'read', handle: listShards } } },
  { path: '/v1/shards/:shard', endpoints: { GET: { role: 'read', handle: getShard } } },
  { path: '/v1/shards/:shard/promotion', endpoints: { POST: { role: 'admin', handle: promote } } },
  { path: '/v1/shards/:shard/root', endpoints: { GET: { role: 'read', handle: getRoot } } },
];
