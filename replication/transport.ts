/**
 * How a node reaches another: one call, one answer, bytes both ways. `http-transport.ts` does it over HTTP, the simulator in one process;
 * nothing else in replication knows which.
 */

export interface PeerRequest {
  readonly method: 'GET' | 'POST';
  /** Below the peer's URL: `/replication/v1/shards/1/log?after=0&epoch=0`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as application/json. */
  readonly json?: unknown;
  /** How long the headers, and the body where it is no stream, may take. Default 5000. */
  readonly timeoutMs?: number;
  /** The body lasts as long as it lasts, and is pulled; a call without this is read to its end within the time, and may be made again. */
  readonly stream?: boolean;
  /** Ends the call, and the body where it is under way. */
  readonly signal?: AbortSignal;
}

export interface PeerResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Must be read to its end, or left (`return`): that hangs up. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Transport {
  /** Rejects with PeerError where there is no answer. */
  request(url: string, request: PeerRequest): Promise<PeerResponse>;
  /** This peer has called here: it is there, whatever calls to it met before. */
  heardFrom?(url: string): void;
}

/** No answer, or one that is no good. `retryable`: a later call may fare better. */
export class PeerError extends Error {
  constructor(
    readonly url: string,
    message: string,
    readonly retryable = true,
    options?: ErrorOptions,
  ) {
    super(`${url}: ${message}`, options);
  }
}

/** What answers on the other side, whatever carries it: the server's routes and the simulated network call this. */
export interface PeerService {
  handle(request: PeerCall): Promise<PeerAnswer>;
}

export interface PeerCall {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Parsed JSON, undefined without a body. Untrusted. */
  readonly json: unknown;
  /** Aborted once the caller is gone. */
  readonly signal: AbortSignal;
}

export interface PeerAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as application/json. */
  readonly json?: unknown;
  /** Sent as it is; pulled one piece at a time (backpressure). */
  readonly stream?: AsyncIterable<Uint8Array>;
}
