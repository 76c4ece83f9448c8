/**
 * Everything that can go wrong, as RFC 9457 problems: one table of kinds (slug, status, title) and one exhaustive table from the
 * engine's error codes to them.
 *
 * Invariants: a slug, once published, keeps its status and meaning. Nothing that leaves here holds a path, a stack or the text of
 * an error we did not mean: what the engine says of files and of the operating system stays in the log.
 */
import { type ErrorCode, type ErrorDetails, VarveError } from '../engine/index.js';

interface Kind {
  readonly status: number;
  readonly title: string;
  /** Seconds; every 503 has one. */
  readonly retryAfter?: number;
}

export const KINDS = {
  invalid: { status: 400, title: 'The request is not valid' },
  'unknown-parameter': { status: 400, title: 'A query parameter is not known here' },
  'unknown-field': { status: 400, title: 'A field of the request is not known' },
  'time-ahead': { status: 400, title: 'The time lies in the future' },
  unauthorized: { status: 401, title: 'A token is needed' },
  forbidden: { status: 403, title: 'The token does not allow this' },
  'host-not-allowed': { status: 403, title: 'The Host header does not name this machine' },
  'origin-not-allowed': { status: 403, title: 'Requests from other origins are refused' },
  'system-collection': { status: 403, title: 'System collections are readable only' },
  'not-found': { status: 404, title: 'Not found' },
  'nothing-to-delete': { status: 404, title: 'There is no entity to end' },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here' },
  'not-acceptable': { status: 406, title: 'None of the accepted media types is available' },
  'request-timeout': { status: 408, title: 'The request took too long to arrive' },
  'time-behind': { status: 409, title: 'The time is not later than the newest' },
  'snapshot-exists': { status: 409, title: 'The name is in use for another point in time' },
  'no-majority': { status: 409, title: 'Too few of the replica set agree' },
  'candidate-behind': { status: 409, title: 'Another replica has what this one has not' },
  'placement-fixed': { status: 409, title: 'The placement is fixed once a collection has records' },
  'copies-differ': { status: 409, title: 'The two copies do not meet here' },
  deleted: { status: 410, title: 'The entity was deleted' },
  trimmed: { status: 410, title: 'The point in time lies before what is kept' },
  erased: { status: 410, title: 'The body was erased for good' },
  'log-too-old': { status: 410, title: 'The log does not reach back so far' },
  'precondition-failed': { status: 412, title: 'The entity is not at the expected version' },
  'too-large': { status: 413, title: 'Too large' },
  'unsupported-media-type': { status: 415, title: 'The media type is not supported here' },
  'range-not-satisfiable': { status: 416, title: 'The range lies beyond the end' },
  'cross-shard': { status: 422, title: 'The request reaches over more than one shard' },
  'bad-ref': { status: 422, title: 'A reference does not name an earlier record of its shard' },
  'idempotency-mismatch': { status: 422, title: 'The idempotency key was used with other content' },
  'too-many-requests': { status: 429, title: 'This client has too much under way', retryAfter: 1 },
  'headers-too-large': { status: 431, title: 'The request headers are too large' },
  internal: { status: 500, title: 'Something went wrong inside' },
  corrupt: { status: 500, title: 'Stored bytes failed their check' },
  'not-written': { status: 503, title: 'The write did not reach the disk', retryAfter: 1 },
  'outcome-unknown': { status: 503, title: 'The write may or may not survive', retryAfter: 1 },
  damaged: { status: 503, title: 'Part of the log is damaged and the answer would not be exact', retryAfter: 60 },
  'owner-unreachable': { status: 503, title: 'The owner of the shard cannot be reached', retryAfter: 1 },
  'not-owner': { status: 503, title: 'Another node takes the writes of this shard', retryAfter: 1 },
  behind: { status: 503, title: 'This copy has not caught up yet', retryAfter: 1 },
  diverged: { status: 503, title: 'This copy differs from its owner and answers nothing until it is mended', retryAfter: 30 },
  'read-only': { status: 503, title: 'The database takes no writes', retryAfter: 5 },
  overloaded: { status: 503, title: 'Too much is under way', retryAfter: 1 },
  recovering: { status: 503, title: 'The database is being opened', retryAfter: 1 },
  draining: { status: 503, title: 'The server is shutting down', retryAfter: 5 },
  unavailable: { status: 503, title: 'The database cannot be used', retryAfter: 30 },
  'acks-timeout': { status: 504, title: 'Durable here, and not yet on a majority of the replicas' },
} as const satisfies Record<string, Kind>;

export type Slug = keyof typeof KINDS;
export type ProblemFields = Readonly<Record<string, unknown>>;

export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  [field: string]: unknown;
}

/** A problem to answer with. `cause` is for the log alone. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly slug: Slug;
  readonly status: number;
  readonly fields: ProblemFields;
  readonly headers: Readonly<Record<string, string>>;

  constructor(slug: Slug, detail: string, fields: ProblemFields = {}, options: { headers?: Record<string, string>; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    const kind: Kind = KINDS[slug];
    this.slug = slug;
    this.status = kind.status;
    this.fields = fields;
    this.headers = { ...(kind.retryAfter === undefined ? {} : { 'Retry-After': String(kind.retryAfter) }), ...options.headers };
  }

  toJSON(): ProblemBody {
    return { type: `urn:varve:${this.slug}`, title: KINDS[this.slug].title, status: this.status, detail: this.message, ...this.fields };
  }
}

/** How one engine code is told. `detail` replaces a message that may name files; `fields` are chosen, never spread. */
interface Mapping<C extends ErrorCode> {
  readonly slug: Slug;
  readonly detail?: string;
  readonly fields?: (details: ErrorDetails[C]) => ProblemFields;
  readonly headers?: (details: ErrorDetails[C]) => Record<string, string>;
}

export const FROM_ENGINE: { readonly [C in ErrorCode]: Mapping<C> } = {
  INVALID: { slug: 'invalid', fields: ({ path, expected }) => ({ path, expected }) },
  TOO_LARGE: { slug: 'too-large', fields: ({ what, limit, actual }) => ({ what, limit, ...(actual === undefined ? {} : { actual }) }) },
  CROSS_SHARD: { slug: 'cross-shard', fields: ({ shards }) => ({ shards }) },
  CONFLICT: { slug: 'precondition-failed', fields: ({ collection, key, current }) => ({ collection, key, current }) },
  NOTHING_TO_DELETE: { slug: 'nothing-to-delete', fields: ({ collection, key }) => ({ collection, key }) },
  BAD_REF: { slug: 'bad-ref', fields: ({ ref, reason }) => ({ ref, reason }) },
  TIME_BEHIND: { slug: 'time-behind', fields: ({ newest }) => ({ newest }) },
  TIME_AHEAD: { slug: 'time-ahead', fields: ({ now }) => ({ now }) },
  IDEMPOTENCY_MISMATCH: { slug: 'idempotency-mismatch', fields: ({ key }) => ({ key }) },
  PLACEMENT_FIXED: { slug: 'placement-fixed', fields: ({ collection, placement }) => ({ collection, placement }) },
  SYSTEM_COLLECTION: { slug: 'system-collection', fields: ({ collection }) => ({ collection }) },
  NOT_WRITTEN: {
    slug: 'not-written',
    detail: 'The write failed before it reached the disk; it may be sent again.',
    fields: ({ shard }) => ({ shard }),
  },
  OUTCOME_UNKNOWN: {
    slug: 'outcome-unknown',
    detail: 'The write failed on its way to the disk; it may yet appear. Send it again with the same idempotency key, or read first.',
    fields: ({ shard }) => ({ shard }),
  },
  UNAVAILABLE: {
    slug: 'unavailable',
    detail: 'The shard is recovering; what was asked depends on the outcome.',
    fields: ({ shard }) => ({ shard }),
    headers: () => ({ 'Retry-After': '1' }),
  },
  DAMAGED: {
    slug: 'damaged',
    detail: 'Part of this shard is damaged and no copy is at hand; the answer would not be exact.',
    fields: ({ shard, fromSeq, toSeq }) => ({ shard, fromSeq, toSeq }),
  },
  NOT_OWNER: { slug: 'not-owner', fields: ({ shard, owner, url }) => ({ shard, owner: owner ?? null, url: url ?? null }) },
  BEHIND: { slug: 'behind', fields: ({ shard, seq }) => ({ shard, seq }) },
  DIVERGED: { slug: 'diverged', fields: ({ shard, seq }) => ({ shard, seq }) },
  PASSED: { slug: 'internal', detail: 'The tree is beyond the seq that was asked for.' },
  UNSOUND: { slug: 'internal', detail: 'What another node sent was refused.' },
  CORRUPT: {
    slug: 'corrupt',
    detail: 'What is stored failed its checksum; nothing is answered from it. The log of the server names the place.',
  },
  // What a dropped record belonged to is not known any more.
  TRIMMED: { slug: 'trimmed', fields: ({ collection, horizon }) => (collection === '' ? { horizon } : { collection, horizon }) },
  ERASED: { slug: 'erased', fields: ({ id }) => ({ id }) },
  SNAPSHOT_EXISTS: { slug: 'snapshot-exists', fields: ({ name, asOf }) => ({ name, asOf }) },
  LOCKED: { slug: 'unavailable', detail: 'Another process holds the data directory.' },
  NETWORK_FILE_SYSTEM: { slug: 'unavailable', detail: 'The data directory is on a network file system.' },
  INCOMPATIBLE: { slug: 'unavailable', detail: 'The data directory is not one this version reads.' },
  OVERLOADED: {
    slug: 'overloaded',
    fields: ({ retryAfterMs }) => ({ retryAfterMs }),
    headers: ({ retryAfterMs }) => ({ 'Retry-After': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
  },
  CLOSED: { slug: 'draining', detail: 'The database is closing.' },
};

/** Any thrown thing as a problem; what nobody meant becomes `internal`, with the thing as its cause. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof VarveError) return fromEngine(error);
  return new Problem('internal', 'The server failed at this request; its log says more.', {}, { cause: error });
}

function fromEngine<C extends ErrorCode>(error: VarveError<C>): Problem {
  const mapping = FROM_ENGINE[error.code] as Mapping<C>;
  return new Problem(mapping.slug, mapping.detail ?? error.message, mapping.fields?.(error.details) ?? {}, {
    headers: mapping.headers?.(error.details) ?? {},
    cause: error,
  });
}

/** `invalid` with the place and what was expected there. */
export function invalid(path: string, expected: string, detail = `${path}: expected ${expected}`): Problem {
  return new Problem('invalid', detail, { path, expected });
}
