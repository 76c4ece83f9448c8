/**
 * Verification and repair, as jobs. Only an administrator may begin one: it is told whom to call, and it reads and mends everything.
 */
import { readPeerUrl } from '../copies-config.js';
import { database, type Exchange, parseEnvelope, type Route } from '../exchange.js';
import { ConfigError } from '../guard.js';
import { verificationEnvelope } from '../keep-schemas.js';
import { Problem } from '../problem.js';
import { accepted, envelope } from './keep.js';

async function postVerification(exchange: Exchange): Promise<void> {
  const { shard, peers, repair, deep } = await envelope(exchange, 'verification', (body) => parseEnvelope(verificationEnvelope, body));
  database(exchange);
  const { verifier } = exchange.context;
  if (verifier === undefined) throw new Error('assertion failed: who has a database has a verifier');
  const job = verifier.verify({
    ...(shard === undefined ? {} : { shard }),
    ...(peers === undefined ? {} : { peers: peers.map(peerUrl) }),
    ...(repair === undefined ? {} : { repair }),
    ...(deep === undefined ? {} : { deep }),
  });
  accepted(exchange, job);
}

function peerUrl(url: string, index: number): string {
  try {
    return readPeerUrl(url, 'peers');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new Problem('invalid', `peers[${index}]: not the URL of a server.`, { path: `peers[${index}]`, expected: 'http://HOST:PORT' });
  }
}

export const verificationRoutes: readonly Route[] = [
  { path: '/v1/verifications', endpoints: { POST: { role: 'admin', handle: postVerification } } },
];
