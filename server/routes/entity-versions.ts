/** The version of an entity that a question is about, or the problem that says why there is none to show. */
import type { VersionRecord, View } from '../../engine/index.js';
import { headerJson } from '../answers.js';
import { type Exchange, param } from '../exchange.js';
import { Problem } from '../problem.js';

/** Answers about an entity depend on this header, absences too. */
export const VARY = { Vary: 'Accept-Datetime' } as const;

/** The entity's version in `view`, a tombstone too; 404 where it never existed (then). */
export function entityOf(exchange: Exchange, view: View, asOf: boolean): VersionRecord {
  const collection = param(exchange, 'collection');
  const key = param(exchange, 'key');
  const record = view.get(collection, key);
  if (record !== undefined) return record;
  const detail = `${collection} has no entity of this key${asOf ? ' then' : ''}.`;
  throw new Problem('not-found', detail, { collection, key }, { headers: VARY });
}

/** 410 for a tombstone, and for a version whose body was erased. */
export function requireBody(record: VersionRecord): void {
  if (record.deleted) {
    const tombstone = JSON.parse(headerJson(record)) as object;
    throw new Problem('deleted', 'The entity was deleted; the tombstone tells when.', { tombstone }, { headers: VARY });
  }
  requireUnerased(record);
}

export function requireUnerased(record: VersionRecord): void {
  if (record.erased) throw new Problem('erased', 'The body of this version was erased for good.', { id: record.id }, { headers: VARY });
}
