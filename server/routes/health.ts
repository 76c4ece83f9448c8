/**
 * Whether the process lives, and whether it takes work: 503 with reasons while recovering, draining or read-only. And a pointer for
 * whoever opens the address in a browser.
 */
import { sendJson } from '../answers.js';
import { type Exchange, parseQuery, type Route } from '../exchange.js';
import { Problem, type Slug } from '../problem.js';
import { noQuery, readyQuery } from '../schemas.js';

function livez(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, { status: 'alive' });
}

function readyz(exchange: Exchange): void {
  const { verbose } = parseQuery(readyQuery, exchange);
  const { context, res } = exchange;
  const shards = context.phase === 'ready' ? (context.db?.shards() ?? []) : [];
  const checks = shards.map(({ shard, state, reason }) => ({
    shard,
    state,
    ...(reason === undefined ? {} : { reason: reasonWord(state) }),
  }));
  const details = verbose === true ? { shards: checks } : {};
  const readOnly = shards.filter((shard) => shard.state === 'read-only');
  if (context.phase !== 'ready') throw notReady(context.phase, [context.phase], details);
  if (readOnly.length > 0) {
    throw notReady(
      'read-only',
      readOnly.map(({ shard }) => `shard ${shard} is read-only: a write to its disk failed`),
      details,
    );
  }
  sendJson(res, 200, { status: 'ready', ...details });
}

/** A shard's own reason may name files; the log has it. */
function reasonWord(state: string): string {
  return state === 'read-only' ? 'a write to its disk failed' : 'part of its log is damaged';
}

function notReady(slug: Slug, reasons: readonly string[], details: object): Problem {
  return new Problem(slug, reasons.join('; '), { reasons, ...details });
}

function pointer(exchange: Exchange): void {
  parseQuery(noQuery, exchange);
  sendJson(exchange.res, 200, {
    name: 'varve',
    api: '/v1',
    collections: '/v1/collections',
    shards: '/v1/shards',
    health: ['/livez', '/readyz?verbose'],
    try: 'curl -X PUT -H \'Content-Type: application/json\' -d \'{"name":"Alice"}\' http://127.0.0.1:7411/v1/collections/customers/entities/alice',
  });
}

export const healthRoutes: readonly Route[] = [
  { path: '/', endpoints: { GET: { role: 'none', handle: pointer } } },
  { path: '/livez', endpoints: { GET: { role: 'none', handle: livez } } },
  { path: '/readyz', endpoints: { GET: { role: 'none', handle: readyz } } },
];
