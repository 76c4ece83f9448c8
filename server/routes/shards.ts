/**
 * What each shard holds, and its root: 32 bytes that name its whole live content.
 */
import type { ShardInfo } from '../../engine/index.js';
import { sendJson } from '../answers.js';
import { database, type Exchange, param, parseQuery, type Route } from '../exchange.js';
import { invalid, Problem } from '../problem.js';
import { noQuery, type RootAnswer, rootQuery, type ShardAnswer } from '../schemas.js';

function shardAnswer(info: ShardInfo): ShardAnswer {
  const { shard, role, state, epoch, firstSeq, lastSeq, durableSeq, checkpoint, liveBytes, deadBytes } = info;
  return { shard, role, state, epoch, firstSeq, lastSeq, durableSeq, checkpoint, liveBytes, deadBytes, followers: [] };
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
  sendJson(exchange.res, 200, { shards: database(exchange).shards().map(shardAnswer) });
}

function getShard(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  const shard = shardNumber(exchange);
  const info = database(exchange)
    .shards()
    .find((candidate) => candidate.shard === shard);
  if (info === undefined) throw new Problem('not-found', `There is no shard ${shard}.`);
  sendJson(exchange.res, 200, shardAnswer(info));
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
  { path: '/v1/shards/:shard/root', endpoints: { GET: { role: 'read', handle: getRoot } } },
];
