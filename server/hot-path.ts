/**
 * The handful of hot calls, matched ahead of Express: one entity, and inserts of many. Same routes, same handlers, same answers (a
 * test holds both ways together); Express alone costs more than the rest of such a call.
 *
 * Anything unusual (a broken escape, another path) is left to Express.
 */
import type { Exchange, Route } from './exchange.js';
import { entityRoute } from './routes/entities.js';
import { recordsRoute } from './routes/records.js';

const ENTITY = /^\/v1\/collections\/([^/?]+)\/entities\/([^/?]+)(?:\?|$)/;
const RECORDS = /^\/v1\/records(?:\?|$)/;

export interface HotMatch {
  readonly route: Route;
  readonly params: Exchange['params'];
}

export function matchHot(target: string): HotMatch | undefined {
  const match = ENTITY.exec(target);
  if (match === null) return RECORDS.test(target) ? { route: recordsRoute, params: {} } : undefined;
  try {
    return { route: entityRoute, params: { collection: decodeURIComponent(match[1]!), key: decodeURIComponent(match[2]!) } };
  } catch {
    return undefined;
  }
}
