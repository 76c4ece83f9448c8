/**
 * The handful of hot calls, matched ahead of Express: one entity, and inserts of many. Same routes, same handlers, same answers (a
 * test holds both ways together); Express alone costs more than the rest of such a call.
 *
 * Anything unusual (a broken escape, another path) is left to Express.
 */
import type { Exchange, Route } from './exchange.js';
import { entityRoute } from './routes/entities.js';
import { recordsRoute } from './routes/records.js';

const COLLECTIONS = '/v1/collections/';
const ENTITIES = '/entities/';
const RECORDS = '/v1/records';
const RECORDS_MATCH: HotMatch = { route: recordsRoute, params: {} };

export interface HotMatch {
  readonly route: Route;
  readonly params: Exchange['params'];
}

/** Cut by hand: a pattern costs more than the whole read of a cached record. */
export function matchHot(target: string): HotMatch | undefined {
  const query = target.indexOf('?');
  const end = query < 0 ? target.length : query;
  if (!target.startsWith(COLLECTIONS)) return end === RECORDS.length && target.startsWith(RECORDS) ? RECORDS_MATCH : undefined;
  const slash = target.indexOf('/', COLLECTIONS.length);
  const keyAt = slash + ENTITIES.length;
  if (slash <= COLLECTIONS.length || keyAt >= end || !target.startsWith(ENTITIES, slash)) return undefined;
  const path = query < 0 ? target : target.slice(0, query);
  if (path.includes('/', keyAt)) return undefined;
  try {
    return {
      route: entityRoute,
      params: { collection: unescaped(path.slice(COLLECTIONS.length, slash)), key: unescaped(path.slice(keyAt)) },
    };
  } catch {
    return undefined;
  }
}

function unescaped(part: string): string {
  return part.includes('%') ? decodeURIComponent(part) : part;
}
