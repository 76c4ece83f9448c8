/**
 * What goes wrong, as errors with types: the server's own problems (RFC 9457), and the silence of one that is not heard.
 * Switch on `slug`, never on words.
 */

export const PROBLEM_SLUGS = [
  'acks-timeout',
  'bad-ref',
  'behind',
  'candidate-behind',
  'copies-differ',
  'corrupt',
  'cross-shard',
  'damaged',
  'deleted',
  'diverged',
  'draining',
  'erased',
  'forbidden',
  'headers-too-large',
  'host-not-allowed',
  'idempotency-mismatch',
  'internal',
  'invalid',
  'log-too-old',
  'method-not-allowed',
  'no-majority',
  'not-acceptable',
  'not-found',
  'not-owner',
  'not-written',
  'nothing-to-delete',
  'origin-not-allowed',
  'outcome-unknown',
  'overloaded',
  'owner-unreachable',
  'placement-fixed',
  'precondition-failed',
  'range-not-satisfiable',
  'read-only',
  'recovering',
  'request-timeout',
  'snapshot-exists',
  'system-collection',
  'time-ahead',
  'time-behind',
  'too-large',
  'too-many-requests',
  'trimmed',
  'unauthorized',
  'unavailable',
  'unknown-field',
  'unknown-parameter',
  'unsupported-media-type',
] as const;

export type KnownSlug = (typeof PROBLEM_SLUGS)[number];
/** A server newer than this client may know more. */
export type ProblemSlug = KnownSlug | (string & {});

/** The server answered with an error. */
export class VarveProblem extends Error {
  override readonly name = 'VarveProblem';
  readonly status: number;
  /** The end of `type`; empty where what answered is no Varve. */
  readonly slug: ProblemSlug;
  readonly type: string;
  readonly title: string;
  readonly detail: string;
  /** What this kind of problem says beside that: `horizon`, `current`, `tombstone` … */
  readonly fields: Readonly<Record<string, unknown>>;
  /** What Retry-After asked for. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, body: unknown, retryAfterMs?: number) {
    const problem = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
    const { type, title, detail, status: _status, ...fields } = problem;
    const said = (value: unknown, otherwise: string) => (typeof value === 'string' ? value : otherwise);
    super(said(detail, '') || said(title, '') || `the server answered ${status}`);
    this.status = status;
    this.type = said(type, 'about:blank');
    this.slug = this.type.startsWith('urn:varve:') ? this.type.slice('urn:varve:'.length) : '';
    this.title = said(title, '');
    this.detail = said(detail, '');
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }
}

/** No answer, or one that broke off. `reason` tells whether anything was heard. */
export class VarveConnectionError extends Error {
  override readonly name = 'VarveConnectionError';
  readonly reason: 'unreachable' | 'timeout' | 'cut-short';

  constructor(reason: VarveConnectionError['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** True for the server's problem of this slug. */
export function isProblem(error: unknown, slug: KnownSlug): error is VarveProblem {
  return error instanceof VarveProblem && error.slug === slug;
}

/** Whether the same request may do better a little later. A quorum that was too slow may not: the record is there. */
export function isTransient(error: unknown): boolean {
  if (error instanceof VarveConnectionError) return true;
  if (!(error instanceof VarveProblem)) return false;
  return [408, 429, 502, 503].includes(error.status) || (error.status === 504 && error.slug !== 'acks-timeout');
}
