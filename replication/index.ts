/**
 * Copies of a database on several nodes: one owner a shard writes, the others follow it. docs/PROTOCOL.md is what they say to each other.
 *
 *   await prepareReplica({ platform, transport, url });          // an empty directory becomes a copy
 *   const db = await open(directory);
 *   const replicator = await startReplication({ db, platform, transport, config: { follow: url } });
 */
export type { AckReport, FollowerPosition } from './ack-book.js';
export { type Prepared, type PrepareEvent, type PrepareOptions, prepareReplica } from './bootstrap.js';
export { type Comparison, compare } from './comparison.js';
export { Candidate, type CandidateOptions, type Position, PromotionRefused, type Vote } from './election.js';
export { electionHandlers } from './election-service.js';
export type { FollowerStatus } from './follower.js';
export { type HttpTransport, type HttpTransportOptions, httpTransport, type PeerHealth } from './http-transport.js';
export { STREAM_TYPE } from './message.js';
export { askJson, isRecord } from './peer-json.js';
export { createPeerService, type PeerHandler, type PeerHandlers, PeerRefusal } from './peer-service.js';
export { type ReplicationConfig, type ReplicationOptions, type Replicator, type ShardReplication, startReplication } from './replicator.js';
export type { Decision } from './roles.js';
export type { ReplicationLog } from './shard-copy.js';
export type { VerificationFinding, VerificationRequest, VerifiedReplica } from './shard-verification.js';
export { sourceOnly } from './source-only.js';
export * from './transport.js';
export { treeHandlers } from './tree-service.js';
export { loneVerifier, Verifier, type VerifierFigures, type VerifierOptions } from './verifier.js';
