/**
 * Whether the process lives, and whether it takes work: 503 with reasons while recovering, draining or read-only. And a pointer for
 * whoever opens the address in a browser.
 */

import type { Database, ShardInfo } from '../../engine/index.js';
import type { Verifier } from '../../replication/index.js';
import { sendJson } from '../answers.js';
import type { Copies } from '../copies.js';
import { type Exchange, parseQuery, type Route, type ServerContext } from '../exchange.js';
import { Problem } from '../problem.js';
import { noQuery, type ReadyCheck, readyQuery } from '../schemas.js';

function livez(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, { status: 'alive' });
}

function readyz(exchange: Exchange): void {
  const { verbose } = parseQuery(readyQuery, exchange);
  const { context, res } = exchange;
  const checks = readyChecks(context);
  const shown = verbose === true ? { checks } : {};
  const reasons = checks.flatMap(({ ok, reason }) => (ok ? [] : [reason ?? 'not ready']));
  if (reasons.length === 0) return sendJson(res, 200, { status: 'ready', ...shown });
  throw new Problem(context.phase === 'ready' ? 'read-only' : context.phase, `${reasons.join('; ')}.`, { reasons, ...shown });
}

/** Whatever speaks for or against taking work. A shard's own reason may name files; the log of the server has it. */
function readyChecks({ phase, db, copies, verifier }: ServerContext): ReadyCheck[] {
  const ofServer = { name: 'phase', state: phase, ok: phase === 'ready', ...(phase === 'ready' ? {} : { reason: PHASES[phase] }) };
  if (phase !== 'ready' || db === undefined) return [ofServer];
  return [
    ofServer,
    ...db.shards().map((info) => copyCheck(info, copies) ?? shardCheck(info)),
    ...upkeepChecks(db),
    ...verificationChecks(verifier),
  ];
}

/** What keeps a copy from doing all that it should; undefined where nothing does. */
function copyCheck({ shard }: ShardInfo, copies: Copies | undefined): ReadyCheck | undefined {
  const trouble = copies?.status(shard).trouble;
  if (trouble === undefined) return undefined;
  return { name: `shard ${shard}`, state: trouble.state, ok: !trouble.serious, reason: `shard ${shard} ${trouble.reason}` };
}

/** What it takes away from answers the shards' own checks say. */
function verificationChecks(verifier: Verifier | undefined): ReadyCheck[] {
  const { open = 0 } = verifier?.figures ?? {};
  if (open === 0) return [];
  return [
    { name: 'verification', state: 'findings', ok: true, reason: `the newest verification has told ${open} findings; its job lists them` },
  ];
}

/** Nothing is lost by it, and it is tried again: until then space does not come back. */
function upkeepChecks({ upkeepFailure }: Database): ReadyCheck[] {
  if (upkeepFailure === undefined) return [];
  return [{ name: 'upkeep', state: 'failing', ok: true, reason: 'the newest compaction or erasure failed; its job tells why' }];
}

const PHASES = { recovering: 'the database is being opened', draining: 'the server is shutting down' } as const;

function shardCheck({ shard, state, reason }: ShardInfo): ReadyCheck {
  const name = `shard ${shard}`;
  if (state === 'read-only') return { name, state, ok: false, reason: `shard ${shard} is read-only: a write to its disk failed` };
  if (state === 'damaged') return { name, state, ok: false, reason: `shard ${shard} takes no writes: part of its log is damaged` };
  // Nothing is lost by it: the log has it all, and the next fold tries again.
  if (reason !== undefined) return { name, state, ok: true, reason: `shard ${shard} could not fold its memory into the tree` };
  return { name, state, ok: true };
}

function pointer(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, {
    name: 'varve',
    api: '/v1',
    collections: '/v1/collections',
    shards: '/v1/shards',
    documents: ['/docs', '/openapi.json'],
    health: ['/livez', '/readyz?verbose', '/metrics'],
    try: 'curl -X PUT -H \'Content-Type: application/json\' -d \'{"name":"Alice"}\' http://127.0.0.1:7411/v1/collections/customers/entities/alice',
  });
}

export const healthRoutes: readonly Route[] = [
  { path: '/', endpoints: { GET: { role: 'none', handle: pointer } } },
  { path: '/livez', endpoints: { GET: { role: 'none', handle: livez } } },
  { path: '/readyz', endpoints: { GET: { role: 'none', handle: readyz } } },
];
