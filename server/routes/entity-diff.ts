/**
 * What changed in one entity from one point in time to another, as a JSON Patch of the body.
 */
import type { VersionRecord } from '../../engine/index.js';
import { PATCH_TYPE, send } from '../answers.js';
import { type Exchange, parseQuery, type Route } from '../exchange.js';
import { patchOf } from '../patch.js';
import { viewAt } from '../points.js';
import { invalid, Problem } from '../problem.js';
import { entityDiffQuery } from '../schemas.js';
import { entityOf, requireBody } from './entity-versions.js';

async function getEntityDiff(exchange: Exchange): Promise<void> {
  const { from, to } = parseQuery(entityDiffQuery, exchange);
  if (from === undefined) throw invalid('from', 'a point in time: an RFC 3339 time, or the id of a record');
  const before = await versionAt(exchange, from, 'from');
  const after = await versionAt(exchange, to, 'to');
  const patch = patchOf(before.body ?? null, after.body ?? null);
  const headers = { 'Content-Type': PATCH_TYPE, 'Varve-From': before.id, 'Varve-To': after.id };
  send(exchange.res, 200, headers, JSON.stringify(patch));
}

/** The version then. Its absence is told with the parameter that asked for it. */
async function versionAt(exchange: Exchange, point: string | undefined, parameter: string): Promise<VersionRecord> {
  const view = await viewAt(exchange, point, parameter);
  try {
    const record = entityOf(exchange, view, point !== undefined);
    requireBody(record);
    return record;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.slug, `${parameter}: ${error.message}`, { ...error.fields, parameter });
  }
}

export const entityDiffRoutes: readonly Route[] = [
  { path: '/v1/collections/:collection/entities/:key/diff', endpoints: { GET: { role: 'read', handle: getEntityDiff } } },
];
