/**
 * Collections: which there are, and where their entities are placed.
 */
import { type CollectionInfo, isSystemCollection, parseStrict, VarveError } from '../../engine/index.js';
import { sendJson } from '../answers.js';
import { requireMediaType, withBody } from '../body.js';
import { elsewhere, FIRST_SHARD, passOn } from '../copies.js';
import { database, type Exchange, param, parseEnvelope, parseQuery, type Route } from '../exchange.js';
import { Problem } from '../problem.js';
import { type CollectionAnswer, noQuery, placementEnvelope } from '../schemas.js';

const ENVELOPE_BYTES = 64 * 1024;

function collectionAnswer({ name, placement, entities, versions }: CollectionInfo): CollectionAnswer {
  return { name, placement, entities, versions };
}

async function listCollections(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const seen = (await database(exchange).collections()).filter(({ name }) => exchange.caller.mayUse(name));
  sendJson(exchange.res, 200, { collections: seen.map(collectionAnswer) });
}

async function getCollection(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const name = param(exchange, 'collection');
  const info = await database(exchange).collection(name);
  if (info === undefined)
    throw new Problem('not-found', `There is no collection ${name}; it comes into being with its first record.`, { collection: name });
  sendJson(exchange.res, 200, collectionAnswer(info));
}

async function putCollection(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const db = database(exchange);
  const name = param(exchange, 'collection');
  if (isSystemCollection(name)) throw new VarveError('SYSTEM_COLLECTION', `${name} is a system collection`, { collection: name });
  const other = elsewhere(exchange, () => FIRST_SHARD);
  if (other !== undefined) return passOn(exchange, other);
  requireMediaType(exchange.req, ['application/json'], true);
  const { placement } = await withBody(exchange, 'collection', ENVELOPE_BYTES, (bytes) =>
    parseEnvelope(placementEnvelope, parseStrict(bytes)),
  );
  sendJson(exchange.res, 200, collectionAnswer(await db.setPlacement(name, placement)));
}

export const collectionRoutes: readonly Route[] = [
  { path: '/v1/collections', endpoints: { GET: { role: 'read', scope: 'handler', handle: listCollections } } },
  {
    path: '/v1/collections/:collection',
    endpoints: { GET: { role: 'read', handle: getCollection }, PUT: { role: 'admin', handle: putCollection } },
  },
];
