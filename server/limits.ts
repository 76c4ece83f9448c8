/**
 * Every limit of the HTTP side in one place: no queue, buffer, wait or page of the server is without one.
 */

export interface Limits {
  /** Largest body of one record, as sent. */
  readonly maxBodyBytes: number;
  /** Largest request of one batch, as sent. */
  readonly maxBatchBytes: number;
  /** Largest NDJSON line: a body and its envelope. */
  readonly maxLineBytes: number;
  /** A page ends early once its bodies reach this. */
  readonly maxPageBytes: number;
  /** Request bodies being gathered or committed, over all connections. */
  readonly bodyMemoryBytes: number;
  /** NDJSON lines of one request on their way to the disk at a time, and their bytes: half of them gather while the others are synced. */
  readonly linesInFlight: number;
  readonly lineBytesInFlight: number;
  /** Bytes of a streamed answer that a slow reader may leave unread before the stream waits for it. */
  readonly answerBufferBytes: number;
  readonly maxConnections: number;
  /** Of one address; undefined: half of them, and all of them from this machine itself. */
  readonly maxConnectionsPerAddress: number | undefined;
  /** Connections that carry the log of a shard to a peer; they are not counted among the others until there are so many. */
  readonly maxPeerStreams: number;
  /** Requests being handled at a time, over all clients and of one (a token, or an address without one). More than that wait. */
  readonly activeRequests: number;
  readonly activePerClient: number;
  /** Requests that wait for their turn, over all clients and of one. More than that hear 503 and 429. */
  readonly queueRequests: number;
  readonly queuePerClient: number;
  readonly queueTimeoutMs: number;
  /** Requests on one connection whose answers have not left. */
  readonly pipelinedRequests: number;
  /** Answers and requests that last (feeds, streams of inserts), over all clients and of one. */
  readonly maxStreams: number;
  readonly maxStreamsPerClient: number;
  /** Bytes of answers that their readers have not read, over all connections; over it the largest of the greediest client is cut. */
  readonly answerMemoryBytes: number;
  /** An answer is cut when it stands still for this long and the time its unread bytes take at the slowest pace allowed. */
  readonly readTimeoutMs: number;
  readonly minReadBytesPerSecond: number;
  readonly maxHeaderBytes: number;
  readonly headersTimeoutMs: number;
  /** For a whole body to arrive (streams are bound by the idle timeout alone). */
  readonly bodyTimeoutMs: number;
  /** A connection on which nothing moves in either direction during a request is cut. */
  readonly idleTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** A feed that has nothing to tell says so this often. */
  readonly heartbeatMs: number;
  /** Shutting down waits this long for requests under way. */
  readonly shutdownTimeoutMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_LIMITS: Limits = {
  maxBodyBytes: MIB,
  maxBatchBytes: 32 * MIB,
  maxLineBytes: MIB + 64 * KIB,
  maxPageBytes: 8 * MIB,
  bodyMemoryBytes: 256 * MIB,
  linesInFlight: 4096,
  lineBytesInFlight: 4 * MIB,
  answerBufferBytes: MIB,
  maxConnections: 1024,
  maxConnectionsPerAddress: undefined,
  maxPeerStreams: 16_384,
  activeRequests: 1024,
  activePerClient: 256,
  queueRequests: 4096,
  queuePerClient: 1024,
  queueTimeoutMs: 30_000,
  pipelinedRequests: 64,
  maxStreams: 512,
  maxStreamsPerClient: 256,
  answerMemoryBytes: 256 * MIB,
  readTimeoutMs: 30_000,
  minReadBytesPerSecond: 16 * KIB,
  maxHeaderBytes: 16 * KIB,
  headersTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  idleTimeoutMs: 120_000,
  keepAliveTimeoutMs: 30_000,
  heartbeatMs: 15_000,
  shutdownTimeoutMs: 30_000,
};
