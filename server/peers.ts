/**
 * Who answers peers for an open database: its replicator, where serve.ts has started one, or else a service that shows its logs and nothing more.
 *
 * Nothing is kept alive here: a database that is gone takes its service along.
 */
import type { Database } from '../engine/index.js';
import { type PeerService, sourceOnly } from '../replication/index.js';

const services = new WeakMap<Database, PeerService>();

/** From now on this one answers. */
export function answerPeersWith(db: Database, service: PeerService): void {
  services.set(db, service);
}

export function peerServiceOf(db: Database): PeerService {
  let service = services.get(db);
  if (service === undefined) {
    service = sourceOnly(db);
    services.set(db, service);
  }
  return service;
}
