/**
 * A record's inclusion proof: enough to check, without a server, that the record with this body belongs to a root.
 *
 * Its nodes name neighbours of the record, of whatever collection they are: who may see only some collections is refused.
 */
import { headerJson, JSON_TYPE, recordBytes, send } from '../answers.js';
import { database, type Exchange, param, parseQuery, type Route } from '../exchange.js';
import { Problem } from '../problem.js';
import { noQuery } from '../schemas.js';

async function getProof(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  const id = param(exchange, 'id');
  const proof = await database(exchange).proof(id);
  if (proof === undefined) throw new Problem('not-found', `There is no record ${id}.`, { id });
  const { record, salt, bodyHash, path, seq, root } = proof;
  const shown = salt === undefined ? Buffer.from(headerJson(record)) : recordBytes(record);
  const tie = salt === undefined ? `"bodyHash":"${bodyHash}"` : `"salt":"${salt}"`;
  const nodes = path.map((node) => `"${Buffer.from(node.buffer, node.byteOffset, node.length).toString('base64')}"`);
  const rest = `,${tie},"path":[${nodes.join(',')}],"seq":${seq},"root":"${root}"}`;
  send(exchange.res, 200, { 'Content-Type': JSON_TYPE }, Buffer.concat([Buffer.from('{"record":'), shown, Buffer.from(rest)]));
}

export const proofRoutes: readonly Route[] = [{ path: '/v1/records/:id/proof', endpoints: { GET: { role: 'read', handle: getProof } } }];
